//! Folders in the user's cache whose content is believed, because only the user can have written it.
//!
//! A folder counts only if it and the ones above it up to the cache are this user's, nobody else
//! can write them, and none is reached by a symbolic link. Files appear whole, by a rename. They
//! aren't synced: what a crash makes of them must be recognized by whoever reads them.

use std::fmt;
use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

/// How folders are opened.
const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A file that changed in the last seconds might change again within a tick of its clock.
const SETTLED: u64 = 2;

/// A folder in the user's cache that is this user's alone.
#[derive(Debug)]
pub struct OwnFolder(OwnedFd);

impl OwnFolder {
    /// Opens the folder that lies at `below` in `cache`, one name after another. With `make`, what
    /// isn't there is made.
    ///
    /// # Errors
    /// It isn't there, or others can write to it or to one above it.
    pub fn open(cache: &Path, below: &[&str], make: bool) -> io::Result<Self> {
        if make {
            DirBuilder::new().recursive(true).mode(0o700).create(cache)?;
        }
        let mut folder = openat(CWD, cache, FOLDER, Mode::empty())?;
        check_ours(&folder)?;
        for &name in below {
            if make {
                match mkdirat(&folder, name, Mode::RWXU) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            folder = openat(&folder, name, FOLDER, Mode::empty())?;
            check_ours(&folder)?;
        }
        Ok(Self(folder))
    }

    /// The first `limit` bytes of a file that is this user's alone.
    ///
    /// # Errors
    /// It isn't there, is no regular file, or others can write it.
    pub fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::empty())?;
        check_ours(&file)?;
        let file = File::from(file);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(limit)).unwrap_or(0));
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a file under another name first: nobody sees half of one.
    ///
    /// # Errors
    /// It can't be written. The file is then as it was.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = format!(".{name}-{}.tmp", std::process::id());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What a killed process of the same number left.
        let _absent = unlinkat(&self.0, &temporary, AtFlags::empty());
        let file = openat(&self.0, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
        let written = File::from(file)
            .write_all(bytes)
            .and_then(|()| Ok(renameat(&self.0, &temporary, &self.0, name)?));
        if written.is_err() {
            let _left = unlinkat(&self.0, &temporary, AtFlags::empty());
        }
        written
    }
}

impl AsFd for OwnFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether an open file or folder is this user's, and nobody else can write it. An access list
/// that lets somebody shows in the group's bits (acl(5)).
fn check_ours(file: impl AsFd) -> io::Result<()> {
    let stat = fstat(file)?;
    let others = Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH);
    if stat.st_uid == geteuid().as_raw() && !others {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "others can write it"))
    }
}

/// What stat(2) says of a file or folder, and what changes when somebody changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    /// Out of what stat(2) has said.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the last change, which nobody can set, was long enough ago that the next one will
    /// have another time.
    #[must_use]
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        u64::try_from(self.changed.0).is_ok_and(|changed| changed.saturating_add(SETTLED) < now)
    }
}

/// One word, different for different states.
impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, inode, size, modified, changed } = self;
        write!(f, "{device:x},{inode:x},{size},{}.{},", modified.0, modified.1)?;
        write!(f, "{}.{}", changed.0, changed.1)
    }
}
