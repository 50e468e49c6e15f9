//! The writer: a [`Plan`] of entries and their contents become an image.
//!
//! The writer knows bytes only. Names, sizes and times arrive in the plan, contents through
//! [`Contents`], and the image goes to anything that reads, writes and seeks. It is deterministic:
//! the same plan, contents, manifest and [`Options`] give the same bytes, whatever the number of
//! threads.
//!
//! The work is done in rooms that know little of each other:
//!
//! - `format`, `entry`, `plan`: what a version of the format can hold, what entries may look like,
//!   and their order;
//! - `chunks`: reads file contents in chunks (one thread);
//! - `pipeline`: hashes and compresses chunks on many threads and hands them on in order;
//! - `compress`: the codec, one chunk at a time;
//! - `emit`: where things lie in each format, and the hash over them.
//!
//! Memory is bounded by the number of entries and blocks (rows of the tables, which come first in
//! the file and are known last) plus a fixed number of chunks in flight. No file is held. In
//! format 2.0 the data comes last and is known first: [`Job::write`] takes a temporary output that
//! holds it meanwhile.
//!
//! ```
//! use std::io::{Cursor, Read};
//! use epk_format::write::{self, ContentId, Contents, Format, Options, Plan, PlanEntry};
//!
//! struct Texts(Vec<&'static [u8]>);
//! impl Contents for Texts {
//!     fn open(&self, id: ContentId, _path: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
//!         Ok(Box::new(self.0[id.0]))
//!     }
//! }
//!
//! let plan = Plan::new(Format::V2, vec![
//!     PlanEntry::folder("bin"),
//!     PlanEntry::file("bin/app", 0o755, ContentId(0), 2),
//! ])?;
//! let mut image = Cursor::new(Vec::new());
//! let written = write::write(
//!     &plan,
//!     &Texts(vec![b"hi"]),
//!     b"name = \"org.example.app\"\n",
//!     &Options::default(),
//!     None,
//!     &(),
//!     &mut image,
//! )?;
//! assert_eq!(&image.get_ref()[..4], b"EPK1");
//! assert_eq!(written.size, image.get_ref().len() as u64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chunks;
mod compress;
mod emit;
mod entry;
mod error;
mod format;
mod pipeline;
mod plan;
mod plan_error;

use std::io::{self, Cursor, Read, Seek, Write};
use std::num::NonZeroUsize;

pub use self::compress::Compression;
pub use self::entry::{ContentId, Kind, PlanEntry, Xattr};
pub use self::error::{Limit, WriteError};
pub use self::format::Format;
pub use self::plan::{Plan, check_path};
pub use self::plan_error::{
    AliasProblem, LinkProblem, PathProblem, PlanError, Unheld, XattrProblem,
};
use crate::digest::Sha256;
use crate::signature;

/// Chunk size unless told otherwise, in bytes.
pub const DEFAULT_CHUNK_SIZE: u32 = 64 << 10;
/// The strongest compression level.
pub const MAX_LEVEL: u32 = 12;
/// The compression level unless told otherwise.
pub const DEFAULT_LEVEL: u32 = 7;

/// How an image is written. The bytes depend on everything here but `threads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of content a block holds, one of [`Format::chunk_sizes`].
    pub chunk_size: u32,
    /// Which blocks are compressed.
    pub compression: Compression,
    /// Compression level, 0 (stored) to [`MAX_LEVEL`]: those of libdeflate. Without that feature
    /// those above 9 are 9.
    pub level: u32,
    /// Threads that compress. One more reads, and the calling thread writes.
    pub threads: NonZeroUsize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chunk_size: DEFAULT_CHUNK_SIZE,
            compression: Compression::default(),
            level: DEFAULT_LEVEL,
            threads: NonZeroUsize::MIN,
        }
    }
}

/// Gives the content of the plan's files.
///
/// Files are opened one after another on one thread that isn't the caller's, and each is read to
/// its end: a reader may check there that nothing changed meanwhile, and fail. Format 1.0 takes
/// them in path order; 2.0 in the order of the data, the large ones that may be alike twice, and a
/// file of several names by its first.
pub trait Contents: Sync {
    /// Opens the content of the file that the plan has at `path`.
    ///
    /// # Errors
    /// What the storage says; it ends the writing as [`WriteError::Open`].
    fn open(&self, id: ContentId, path: &[u8]) -> io::Result<Box<dyn Read + Send + '_>>;
}

/// Signs a package.
pub trait Signer {
    /// The complete signature blob for a package with this PackageHash.
    ///
    /// PackageHash covers the blob's length. When the length differs from
    /// [`Signer::expected_size`] or from the last call's, the hash changes and the signer is
    /// asked again, four times at most.
    ///
    /// # Errors
    /// Any; it ends the writing as [`WriteError::Signer`].
    fn sign(
        &self,
        package_hash: &Sha256,
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;

    /// The blob's length in bytes as far as it is known beforehand. A right guess saves a pass
    /// over the image.
    fn expected_size(&self) -> u64 {
        signature::BLOB_BYTES as u64
    }
}

/// Told how far the writing is, on the calling thread. `()` listens to nothing.
pub trait Progress {
    /// `bytes` more bytes of content are in the package.
    fn content(&self, bytes: u64);

    /// `bytes` more bytes of the image have been hashed; begins when all content is written, and
    /// only in format 1.0.
    fn hashed(&self, bytes: u64) {
        let _ = bytes;
    }
}

impl Progress for () {
    fn content(&self, _bytes: u64) {}
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The package's PackageHash.
    pub package_hash: Sha256,
    /// Bytes of the image.
    pub size: u64,
    /// Entries of the plan, not counting the root's.
    pub entries: u64,
    /// Entries that are files.
    pub files: u64,
    /// Blocks.
    pub blocks: u64,
    /// Blocks that are compressed.
    pub compressed_blocks: u64,
    /// Bytes of content of all files before compression. In format 2.0 a file of several names
    /// counts once.
    pub plain_bytes: u64,
    /// Bytes of content as stored.
    pub stored_bytes: u64,
    /// Files with the content of another one, not counting names of the same file (format 2.0).
    pub shared_files: u64,
    /// Bytes of content that are stored nowhere of their own: they are zeros, or those of another
    /// file or chunk (format 2.0).
    pub shared_bytes: u64,
    /// Where the signature blob lies in the image, 0 when there is none.
    pub signature_offset: u64,
    /// Bytes of the signature blob, 0 when there is none.
    pub signature_size: u64,
}

/// A package to write, and who takes part.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Its entries.
    pub plan: &'a Plan,
    /// The content of its files.
    pub contents: &'a dyn Contents,
    /// The text of its manifest.
    pub manifest: &'a [u8],
    /// How it is written.
    pub options: &'a Options,
    /// Paths of files whose data shall come first, in this order (format 2.0 only): what an
    /// application reads when it starts. Paths of nothing are ignored.
    pub profile: &'a [Vec<u8>],
    /// Who signs it.
    pub signer: Option<&'a dyn Signer>,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
}

impl<'a> Job<'a> {
    /// A package without profile and signature, of whose progress nobody is told.
    #[must_use]
    pub fn new(
        plan: &'a Plan,
        contents: &'a dyn Contents,
        manifest: &'a [u8],
        options: &'a Options,
    ) -> Self {
        Self { plan, contents, manifest, options, profile: &[], signer: None, progress: &() }
    }

    /// Writes the package in the format of its plan: 1.0 laid out as EXOS's packer does it.
    ///
    /// `output` and `spool` must be empty. After an error their content is undefined and is best
    /// thrown away. `spool` holds the data of a 2.0 package until the rest is known; it is of no
    /// use afterwards, and 1.0 doesn't touch it. When both are [`std::fs::File`], the kernel
    /// copies from one to the other.
    ///
    /// # Errors
    /// [`WriteError`]: options out of range, contents that can't be read or differ from the plan,
    /// a limit of the format, the signer, the outputs.
    pub fn write<W, S>(&self, output: &mut W, spool: &mut S) -> Result<Written, WriteError>
    where
        W: Read + Write + Seek,
        S: Read + Write + Seek,
    {
        let (format, options) = (self.plan.format(), self.options);
        if !format.allows_chunk_size(options.chunk_size) {
            return Err(WriteError::ChunkSize { format, found: options.chunk_size });
        }
        if options.level > MAX_LEVEL {
            return Err(WriteError::Level { found: options.level });
        }
        match format {
            Format::V1 => emit::v1::Image::new(self)?.write(output),
            Format::V2 => emit::v2::write(self, output, spool),
        }
    }
}

/// Writes a package with its stored data in memory meanwhile, if it has format 2.0: for small
/// ones. [`Job::write`] needs no such memory.
///
/// # Errors
/// Those of [`Job::write`].
pub fn write<W: Read + Write + Seek>(
    plan: &Plan,
    contents: &dyn Contents,
    manifest: &[u8],
    options: &Options,
    signer: Option<&dyn Signer>,
    progress: &dyn Progress,
    output: &mut W,
) -> Result<Written, WriteError> {
    let job = Job { signer, progress, ..Job::new(plan, contents, manifest, options) };
    job.write(output, &mut Cursor::new(Vec::new()))
}
