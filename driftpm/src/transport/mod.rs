//! Fetching files over `file`, `http`, `https` and `s3`, and from registries of containers
//! ([`oci`]), for whoever needs them: nothing here knows what a package is.
//!
//! [`Transport`] is the whole interface and blocks; the async runtime stays inside [`Client`].
//! What is fetched is not yet trusted: callers hold it against a hash or a signature. The
//! transport promises less, but keeps it:
//!
//! - nothing larger than the caller's limit is taken, whatever a server announces or sends;
//! - connections that stall end, and failures are tried again only so often;
//! - redirects are followed a few times, never from `https` to `http`;
//! - a download goes to a `.part` file and continues there after an interruption, if the server
//!   still has the same file, and appears under its name only when it is whole.
//!
//! [`zstd`] is the outer compression, bounded in the same way.
//!
//! ```
//! use driftpm::transport::{Client, Location, Settings, Transport as _};
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("a b"), "bytes")?;
//! let base = Location::of_directory(folder.path())?;
//! let client = Client::new(Settings::default())?;
//! assert_eq!(client.read(&base.join("a b")?, 5)?, b"bytes");
//! assert!(client.read(&base.join("a b")?, 4).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod download;
mod error;
mod location;
pub mod oci;
mod pace;
mod part;
mod settings;
mod web;
pub mod zstd;

use std::ops::Range;
use std::path::PathBuf;

pub use client::Client;
pub use error::{ErrorKind, TransportError};
pub use location::{Location, LocationError, Scheme};
pub use settings::{Proxies, S3Settings, Settings};

/// A file to be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// From where.
    pub from: Location,
    /// Where to, in a directory that exists. Until it is whole it is called `<to>.part`.
    pub to: PathBuf,
    /// The most bytes it may have.
    pub limit: u64,
    /// How many bytes it must have, if that is known.
    pub size: Option<u64>,
}

/// What a download took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// The file's size in bytes.
    pub size: u64,
    /// How many of them were there from an earlier try.
    pub resumed: u64,
}

/// Gets files. All calls block, and may be made from several threads at once.
pub trait Transport: Send + Sync {
    /// The whole file.
    ///
    /// # Errors
    /// [`TransportError`]; of kind [`ErrorKind::TooLarge`] if it has more than `limit` bytes.
    fn read(&self, from: &Location, limit: u64) -> Result<Vec<u8>, TransportError>;

    /// The bytes in `range`, which must be inside the file.
    ///
    /// # Errors
    /// [`TransportError`]
    fn read_range(&self, from: &Location, range: Range<u64>) -> Result<Vec<u8>, TransportError>;

    /// Downloads files, several at a time; the answers are in the order of the requests.
    fn download(
        &self,
        requests: &[Request],
        progress: &dyn Progress,
    ) -> Vec<Result<Downloaded, TransportError>>;
}

/// Somebody who wants to know how far downloads are. All methods do nothing by default.
pub trait Progress: Sync {
    /// Downloads of so many bytes in all begin; `None` if the number is not known.
    fn begin(&self, _bytes: Option<u64>) {}
    /// So many bytes have come, or were there already.
    fn advance(&self, _bytes: u64) {}
    /// The downloads are over, well or not.
    fn end(&self) {}
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
