//! The cache: `INDEX` of what was fetched, and the packages below `pkgs/`.

use std::path::{Path, PathBuf};

use super::index::{self, Index, IndexError};
use crate::files::{self, FileError};
use crate::json::Limit;

/// Where a project's cache lies.
pub const DEFAULT_DIR: &str = "cache/driftpm";

/// Why the cache's index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// The directory of the packages.
#[must_use]
pub fn packages_dir(cache: &Path) -> PathBuf {
    cache.join("pkgs")
}

/// The path of the index.
#[must_use]
pub fn index_path(cache: &Path) -> PathBuf {
    cache.join(index::FILE_NAME)
}

/// Reads the index; `None` if there is none.
///
/// # Errors
/// [`CacheError`]
pub fn read_index(cache: &Path) -> Result<Option<Index>, CacheError> {
    match files::read(&index_path(cache), Limit::INDEX.file()) {
        Ok(bytes) => Ok(Some(Index::parse(&bytes)?)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
