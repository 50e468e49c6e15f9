//! Unmounting, and what a daemon that died left behind.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use rustix::fs::{Mode, OFlags, open};

use crate::control::{self, QueryError};
use crate::fusermount;
use crate::mount::{self, Attempt};
use crate::table::{self, MountInfo};

/// How long a daemon has to answer before it counts as one that hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why nothing was unmounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnmountError {
    /// Something else is mounted there, or nothing at all: it's not ours to unmount.
    #[error("`{0}` is not an epkfs mount")]
    NotMounted(PathBuf),
    /// Someone has a file open on it, or works in it.
    #[error("`{0}` is in use")]
    Busy(PathBuf),
    /// Something else is mounted over it. Whoever named the path named that.
    #[error("something else is mounted over `{0}`")]
    Covered(PathBuf),
    /// Neither way worked.
    #[error("cannot unmount `{path}`{}", mount::list(attempts))]
    AllFailed {
        /// The mount.
        path: PathBuf,
        /// The ways that were tried, in their order.
        attempts: Vec<Attempt>,
    },
    /// What the system says.
    #[error("cannot unmount `{path}`: {source}")]
    Io {
        /// The mount.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// Unmounts the epkfs mount at `folder`; with `lazy`, even if it is in use: it vanishes at once
/// and ends when the last user has left.
///
/// # Errors
/// [`UnmountError`] says.
pub fn unmount(folder: &Path, lazy: bool, search_path: Option<&OsStr>) -> Result<(), UnmountError> {
    let failed = |source| UnmountError::Io { path: folder.to_owned(), source };
    let path = resolve(folder).map_err(failed)?;
    match table::at(&path).map_err(failed)? {
        Some(mount) if mount.is_epkfs() => remove(&mount, lazy, search_path),
        _ => Err(UnmountError::NotMounted(folder.to_owned())),
    }
}

/// Unmounts what a dead daemon left at `folder`, if that is what is there, and says whether.
///
/// # Errors
/// As [`unmount`].
pub fn clean_dead(folder: &Path, search_path: Option<&OsStr>) -> Result<bool, UnmountError> {
    // This very mount, whatever is mounted here while it is looked at.
    let held = open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let dead =
        is_dead(folder).map_err(|source| UnmountError::Io { path: folder.to_owned(), source })?;
    if !dead {
        return Ok(false);
    }
    let failed = |source| UnmountError::Io { path: folder.to_owned(), source };
    let mount = match &held {
        Ok(held) => {
            let id = table::id_of(held).map_err(failed)?;
            if !matches!(control::query(&by_descriptor(held), PATIENCE), Err(QueryError::Dead(_))) {
                return Ok(false);
            }
            table::list().map_err(failed)?.into_iter().find(|mount| mount.id == id)
        }
        Err(_) => table::at(&resolve(folder).map_err(failed)?).map_err(failed)?,
    };
    match mount.filter(MountInfo::is_epkfs).map(|mount| remove(&mount, true, search_path)) {
        // Somebody else was faster, and may have mounted anew since.
        None | Some(Ok(()) | Err(UnmountError::Covered(_))) => Ok(true),
        Some(Err(error)) => Err(error),
    }
}

/// A path that leads to what a descriptor is of, and to nothing else.
fn by_descriptor(held: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()))
}

/// Whether there is an epkfs mount at `folder` whose daemon is gone. One that doesn't answer in
/// time isn't.
///
/// Such a folder may look alive: what the kernel has in its caches it goes on to show.
///
/// # Errors
/// When the table of mounts can't be read.
pub fn is_dead(folder: &Path) -> io::Result<bool> {
    // Other filesystems aren't asked anything.
    let Ok(path) = resolve(folder) else { return Ok(false) };
    let ours = table::at(&path)?.is_some_and(|mount| mount.is_epkfs());
    Ok(ours && matches!(control::query(&path, PATIENCE), Err(QueryError::Dead(_))))
}

/// The path of a folder as the table of mounts has it, also when it can't be looked into.
pub(crate) fn resolve(folder: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(folder) {
        // A dead mount that isn't in the kernel's caches, or one that died while it was asked.
        Err(error)
            if matches!(
                error.raw_os_error().map(Errno::from_raw),
                Some(Errno::ENOTCONN | Errno::ECONNABORTED)
            ) =>
        {
            let folder = std::path::absolute(folder)?;
            match (folder.parent(), folder.file_name()) {
                (Some(parent), Some(name)) => Ok(fs::canonicalize(parent)?.join(name)),
                _ => Err(error),
            }
        }
        path => path,
    }
}

/// Unmounts a mount at the path that the table has, and nothing else that may be there by now. With
/// `lazy` and the right to it that is certain; else it is looked at just before.
pub(crate) fn remove(
    mount: &MountInfo,
    lazy: bool,
    search_path: Option<&OsStr>,
) -> Result<(), UnmountError> {
    let path = &mount.mountpoint;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Below a folder that this user may not enter nothing can be looked at, nor unmounted.
    let held = open(path, flags, Mode::empty()).ok();
    if let Some(held) = &held {
        let failed = |source| UnmountError::Io { path: path.clone(), source };
        if table::id_of(held).map_err(failed)? != mount.id {
            let there = table::all().map_err(failed)?.iter().any(|one| one.id == mount.id);
            return if there { Err(UnmountError::Covered(path.clone())) } else { Ok(()) };
        }
    }
    let direct = match held {
        Some(held) if lazy => match umount2(&by_descriptor(&held), MntFlags::MNT_DETACH) {
            // Somebody else was faster.
            Err(Errno::EINVAL) => Ok(()),
            result => result,
        },
        // Held, it would be in use.
        held => {
            drop(held);
            let lazily = if lazy { MntFlags::MNT_DETACH } else { MntFlags::empty() };
            umount2(path, MntFlags::UMOUNT_NOFOLLOW | lazily)
        }
    };
    match direct {
        Ok(()) => Ok(()),
        Err(Errno::EBUSY) => Err(UnmountError::Busy(path.clone())),
        Err(errno) => {
            let direct = Attempt::system("umount2(2)", errno);
            match fusermount::unmount(path, lazy, search_path) {
                Ok(()) => Ok(()),
                Err(helper) if helper.reason.to_lowercase().contains("busy") => {
                    Err(UnmountError::Busy(path.clone()))
                }
                Err(helper) => {
                    let attempts = vec![direct, helper];
                    Err(UnmountError::AllFailed { path: path.clone(), attempts })
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_instead_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        // A mount that is elsewhere, as one that was here and has something else over it.
        let mut covered = table::at(Path::new("/proc")).expect("a table").expect("it is mounted");
        covered.mountpoint = folder.path().canonicalize().expect("it is there");
        let gone = MountInfo { id: u64::MAX, ..covered.clone() };
        for lazy in [false, true] {
            let result = remove(&covered, lazy, None);
            assert!(matches!(result, Err(UnmountError::Covered(_))), "{result:?}");
            remove(&gone, lazy, None).expect("it is gone");
        }
    }

    #[test]
    fn what_is_not_ours_stays() {
        for folder in ["/", "/proc", "/tmp"] {
            let result = unmount(Path::new(folder), true, None);
            assert!(matches!(result, Err(UnmountError::NotMounted(_))), "{folder}: {result:?}");
            assert!(!clean_dead(Path::new(folder), None).expect("alive"));
        }
    }
}
