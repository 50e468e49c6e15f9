//! The writer: a [`Plan`] of entries and their contents become an image.
//!
//! The writer knows bytes only. Names, sizes and times arrive in the plan, contents through
//! [`Contents`], and the image goes to anything that reads, writes and seeks. It is deterministic:
//! the same plan, contents, manifest and [`Options`] give the same bytes, whatever the number of
//! threads.
//!
//! The work is done in rooms that know little of each other:
//!
//! - `plan`: what entries may look like, and their order;
//! - `chunks`: cuts file contents into chunks, in path order (one thread);
//! - `pipeline`: hashes and compresses chunks on many threads and hands them on in order;
//! - `compress`: the codec, one chunk at a time;
//! - `emit`: where things lie in format 1.0, and the hash over them.
//!
//! Memory is bounded by the number of entries and blocks (rows of the tables, which come first in
//! the file and are known last) plus a fixed number of chunks in flight. No file is held.
//!
//! ```
//! use std::io::{Cursor, Read};
//! use epk_format::write::{self, ContentId, Contents, Kind, Options, Plan, PlanEntry};
//! use epk_format::time::PackedTime;
//!
//! struct Texts(Vec<&'static [u8]>);
//! impl Contents for Texts {
//!     fn open(&self, id: ContentId, _path: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
//!         Ok(Box::new(self.0[id.0]))
//!     }
//! }
//!
//! let plan = Plan::new(vec![
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
mod error;
mod pipeline;
mod plan;

use std::io::{self, Read, Seek, Write};
use std::num::NonZeroUsize;

pub use self::compress::Compression;
pub use self::error::{Limit, WriteError};
pub use self::plan::{
    AliasProblem, ContentId, Kind, PathProblem, Plan, PlanEntry, PlanError, check_path,
};
use crate::digest::Sha256;
use crate::{limits, signature};

/// Smallest chunk size in bytes.
pub const MIN_CHUNK_SIZE: u32 = 1;
/// Largest chunk size in bytes. Format 1.0 has no limit of its own; a reader must hold one chunk.
pub const MAX_CHUNK_SIZE: u32 = limits::BLOCK_BYTES;
/// Chunk size unless told otherwise, in bytes.
pub const DEFAULT_CHUNK_SIZE: u32 = 64 << 10;
/// The strongest compression level.
pub const MAX_LEVEL: u32 = 9;
/// The compression level unless told otherwise.
pub const DEFAULT_LEVEL: u32 = 6;
/// How an image is written. The bytes depend on everything here but `threads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of content a block holds, [`MIN_CHUNK_SIZE`] to [`MAX_CHUNK_SIZE`].
    pub chunk_size: u32,
    /// Which blocks are compressed.
    pub compression: Compression,
    /// zlib level, 0 (stored) to [`MAX_LEVEL`].
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
/// Files are opened one after another in path order, on one thread that isn't the caller's, and
/// each is read to its end: a reader may check there that nothing changed meanwhile, and fail.
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
    /// `bytes` more bytes of content have been written as blocks.
    fn content(&self, bytes: u64);

    /// `bytes` more bytes of the image have been hashed; begins when all content is written.
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
    /// Entries in the table of contents.
    pub entries: u64,
    /// Entries that are files.
    pub files: u64,
    /// Blocks.
    pub blocks: u64,
    /// Blocks that are compressed.
    pub compressed_blocks: u64,
    /// Bytes of content before compression.
    pub plain_bytes: u64,
    /// Bytes of content as stored.
    pub stored_bytes: u64,
    /// Bytes of the signature blob, 0 when there is none.
    pub signature_size: u64,
}

/// Writes a package in format 1.0, laid out as EXOS's packer does it.
///
/// `output` must be empty. After an error its content is undefined and is best thrown away.
///
/// # Errors
/// [`WriteError`]: options out of range, contents that can't be read or differ from the plan, a
/// limit of the format, the signer, the output.
pub fn write<W: Read + Write + Seek>(
    plan: &Plan,
    contents: &dyn Contents,
    manifest: &[u8],
    options: &Options,
    signer: Option<&dyn Signer>,
    progress: &dyn Progress,
    output: &mut W,
) -> Result<Written, WriteError> {
    check_options(options)?;
    emit::Image::new(plan, manifest, options)?.write(contents, signer, progress, output)
}

fn check_options(options: &Options) -> Result<(), WriteError> {
    if !(MIN_CHUNK_SIZE..=MAX_CHUNK_SIZE).contains(&options.chunk_size) {
        return Err(WriteError::ChunkSize { found: options.chunk_size });
    }
    if options.level > MAX_LEVEL {
        return Err(WriteError::Level { found: options.level });
    }
    Ok(())
}
