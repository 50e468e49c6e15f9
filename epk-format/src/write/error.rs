//! What can go wrong while writing.

use std::fmt;
use std::io;

use thiserror::Error;

use super::MAX_LEVEL;
use super::format::Format;

/// What a limit of the format counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Files, folders and aliases, those that no entry names included.
    Nodes,
    /// Bytes of the table of contents.
    TocSize,
    /// Bytes of the block table.
    BlockTableSize,
    /// Bytes of the manifest.
    ManifestSize,
    /// Bytes of the signature.
    SignatureSize,
    /// Where the data of the blocks ends.
    DataEnd,
    /// Where the manifest ends.
    ManifestEnd,
    /// Where the signature ends.
    SignatureEnd,
    /// Entries of folders (format 2.0).
    Entries,
    /// Rows of the chunk table (format 2.0).
    Chunks,
    /// Rows of the block table (format 2.0).
    Blocks,
    /// Extended attributes (format 2.0).
    Xattrs,
    /// Bytes of names, link targets and attributes (format 2.0).
    Strings,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nodes => "number of files and folders",
            Self::TocSize => "table of contents",
            Self::BlockTableSize => "block table",
            Self::ManifestSize => "manifest",
            Self::SignatureSize => "signature",
            Self::DataEnd => "end of the data",
            Self::ManifestEnd => "end of the manifest",
            Self::SignatureEnd => "end of the signature",
            Self::Entries => "number of entries",
            Self::Chunks => "number of chunks",
            Self::Blocks => "number of blocks",
            Self::Xattrs => "number of extended attributes",
            Self::Strings => "string area",
        })
    }
}

/// Why no package was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A chunk size out of range.
    #[error("chunk size {found}, format {format} allows {}", ChunkSizes(*.format))]
    ChunkSize {
        /// The format.
        format: Format,
        /// The chunk size asked for.
        found: u32,
    },
    /// A compression level out of range.
    #[error("compression level {found} is above {MAX_LEVEL}")]
    Level {
        /// The level asked for.
        found: u32,
    },
    /// The package would be larger than its format can say or readers are willing to hold
    /// ([`crate::limits`]).
    #[error("the package's {what} would be {found}, at most {allowed} is allowed")]
    Limit {
        /// What is too large.
        what: Limit,
        /// The value needed; at least this much when the writing stopped early.
        found: u64,
        /// The largest value allowed.
        allowed: u64,
    },
    /// A file can't be opened.
    #[error("cannot open `{path}`")]
    Open {
        /// Path in the package.
        path: String,
        /// What the storage said.
        source: io::Error,
    },
    /// A file can't be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Path in the package.
        path: String,
        /// What the storage said.
        source: io::Error,
    },
    /// A file isn't as long as planned.
    #[error("`{path}` has {} bytes, planned were {planned}", FoundLength(*.found, *.more))]
    Length {
        /// Path in the package.
        path: String,
        /// Bytes in the plan.
        planned: u64,
        /// Bytes found.
        found: u64,
        /// Whether there are more bytes than `found` says.
        more: bool,
    },
    /// The codec failed.
    #[error("the compressor failed on a chunk of {chunk} bytes: {reason}")]
    Compressor {
        /// Bytes of the chunk.
        chunk: usize,
        /// What the codec said.
        reason: String,
    },
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The output can't be read, written or sought.
    #[error("cannot write the package at offset {offset}")]
    Output {
        /// Offset in the image.
        offset: u64,
        /// What the output said.
        source: io::Error,
    },
    /// The temporary output can't be read, written or sought.
    #[error("cannot use the temporary file of the package")]
    Spool(#[source] io::Error),
    /// The output or the temporary one held bytes already.
    #[error("the output is not empty: it has {found} bytes")]
    OutputNotEmpty {
        /// Bytes it has.
        found: u64,
    },
    /// The signer failed.
    #[error("cannot sign the package")]
    Signer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The signer gave no bytes.
    #[error("the signer gave an empty signature")]
    EmptySignature,
    /// The signer's blob has another length each time.
    #[error("the signature's size did not settle in {runs} runs: {sizes:?} bytes")]
    SignatureSize {
        /// How often the signer was asked.
        runs: usize,
        /// The sizes it gave.
        sizes: Vec<u64>,
    },
}

struct ChunkSizes(Format);

impl fmt::Display for ChunkSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self.0.chunk_sizes();
        let what = if self.0 == Format::V1 { "" } else { "the powers of two from " };
        write!(f, "{what}{} to {} bytes", sizes.start(), sizes.end())
    }
}

struct FoundLength(u64, bool);

impl fmt::Display for FoundLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1 {
            f.write_str("more than ")?;
        }
        write!(f, "{}", self.0)
    }
}

/// A path for messages.
pub(super) fn shown(path: &[u8]) -> String {
    crate::path::display(path).into_owned()
}
