//! A folder for what has come of a package until it is installed: one for each package, which one
//! process has at a time. A process that is killed leaves it, and the next one goes on.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use driftpm::files;

use super::Offer;
use crate::exit::Failure;

/// The folder, locked (flock(2)). If nothing is in it at the end, it goes.
#[derive(Debug)]
pub(super) struct Work {
    folder: PathBuf,
    _lock: File,
}

impl Work {
    /// The folder of a package in `cache`, made if it isn't there. Waits for whoever has it.
    pub(super) fn open(cache: &Path, offer: &Offer) -> Result<Self, Failure> {
        let folder = path(cache, offer);
        loop {
            files::create_dirs(&folder).map_err(Failure::environment)?;
            let lock = match File::open(&folder) {
                // Whoever had it is through.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lock => lock.map_err(|error| failed(&folder, &error))?,
            };
            if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
                eprintln!("note: another process fetches `{}`: waiting for it", offer.identity);
                // Where there are no locks, two do the same work, and hashes tell.
                let _ = lock.lock();
            }
            if is_still(&lock, &folder) {
                return Ok(Self { folder, _lock: lock });
            }
        }
    }

    /// The package when it is whole.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.join("package.epk")
    }

    /// The package that is put together of local blocks and fetched ones.
    pub(super) fn delta(&self) -> PathBuf {
        self.folder.join("package.delta")
    }

    /// Removes all of it.
    pub(super) fn remove(self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.folder).map_err(|error| failed(&self.folder, &error))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Only an empty folder can be removed so.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Removes what was left of a package, unless somebody is at it.
pub(super) fn forget(cache: &Path, offer: &Offer) {
    let folder = path(cache, offer);
    if let Ok(lock) = File::open(&folder)
        && lock.try_lock().is_ok()
        && is_still(&lock, &folder)
    {
        let _ = fs::remove_dir_all(&folder);
    }
}

fn path(cache: &Path, offer: &Offer) -> PathBuf {
    cache.join(&offer.release.sha256)
}

/// Whether the folder that was locked is the one that has the name.
fn is_still(lock: &File, folder: &Path) -> bool {
    match (lock.metadata(), fs::metadata(folder)) {
        (Ok(ours), Ok(named)) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn failed(folder: &Path, error: &io::Error) -> Failure {
    Failure::system(format!("cannot use `{}`", folder.display()), error)
}
