//! A new root: a small tmpfs that replaces the old one (pivot_root(2)), which is there under
//! another name until what is wanted of it was bound into the new one.
//!
//! Mounts that the host makes later still arrive where the view is to follow the host; nothing
//! that happens in the view reaches the host.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::{chdir, pivot_root};

use super::step::{Refused, make_folder, make_parents, step};

/// Where the old root is seen until [`seal`].
pub(super) const OLD: &str = "/.epk-old-root";
/// Folders on which the tmpfs may be mounted for a moment, in this view only.
pub(super) const BASES: [&str; 5] = ["/tmp", "/run", "/var", "/usr", "/mnt"];

/// Leaves the host's mount namespace, and those of `others`.
pub(super) fn leave(others: CloneFlags, follow: MsFlags) -> Result<(), Refused> {
    step("unshare(2)", || unshare(CloneFlags::CLONE_NEWNS | others))?;
    step("make mounts private", || {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | follow, None::<&str>)
    })
}

/// Replaces the root by an empty one. What is to be bound from a path that a link leads to was
/// opened before.
pub(super) fn replace() -> Result<(), Refused> {
    let base = BASES.iter().map(Path::new).find(|path| path.is_dir()).ok_or_else(|| {
        let none = format!("the host has none of the folders {}", BASES.join(", "));
        Refused::new("make a root", io::Error::other(none))
    })?;
    tmpfs(base, "mode=755,size=1m")?;
    let old = base.join(OLD.trim_start_matches('/'));
    make_folder(&old, 0o755)?;
    step("change the root", || pivot_root(base, &old).and_then(|()| chdir("/")))
}

/// Lets the old root go, and makes the new one read-only, when everything is mounted.
pub(super) fn seal() -> Result<(), Refused> {
    step("let the old root go", || umount2(OLD, MntFlags::MNT_DETACH))?;
    fs::remove_dir(OLD).map_err(|error| Refused::new("remove the old root's folder", error))?;
    step("make the root read-only", || {
        let flags = MsFlags::MS_REMOUNT
            | MsFlags::MS_BIND
            | MsFlags::MS_RDONLY
            | MsFlags::MS_NOSUID
            | MsFlags::MS_NODEV;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
    })
}

pub(super) fn tmpfs(target: &Path, options: &str) -> Result<(), Refused> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    step(format_args!("mount a tmpfs on `{}`", target.display()), || {
        mount(Some("epk"), target, Some("tmpfs"), flags, Some(options))
    })
}

/// What is more forbidden on a bound mount than on the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restriction {
    /// Nothing: as on the host.
    None,
    /// Set-user-id programs and devices.
    Writable,
    /// Writing, too.
    ReadOnly,
    /// Set-user-id programs, and changing the device's file.
    Device,
}

impl Restriction {
    fn attributes(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Writable => libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
            Self::ReadOnly => {
                libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_RDONLY
            }
            Self::Device => libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_RDONLY,
        }
    }
}

/// Binds a folder, or anything else, to where `target` is made, with everything mounted below:
/// without, the kernel refuses to uncover what is hidden there.
pub(super) fn bind(source: &Path, target: &Path, how: Restriction) -> Result<(), Refused> {
    let what = || format!("show `{}`", target.display());
    let metadata = fs::metadata(source).map_err(|error| Refused::new(what(), error))?;
    make_parents(target)?;
    if metadata.is_dir() {
        make_folder(target, 0o755)?;
    } else {
        make_file(target)?;
    }
    step(what(), || {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(source), target, None::<&str>, flags, None::<&str>)?;
        if how == Restriction::None {
            return Ok(());
        }
        let target = CString::new(target.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
        epkfs::process::restrict_mounts(&target, how.attributes())
    })
}

/// The same of what was opened before the root was replaced.
pub(super) fn bind_opened(
    source: BorrowedFd<'_>,
    target: &Path,
    how: Restriction,
) -> Result<(), Refused> {
    let source = format!("{OLD}/proc/self/fd/{}", source.as_raw_fd());
    bind(Path::new(&source), target, how)
}

/// Shows a part of the host where it is, links as links, or nothing if the host has none.
pub(super) fn show(path: &Path, how: Restriction) -> Result<(), Refused> {
    let source = in_old(path);
    let failed = |error| Refused::new(format!("show `{}`", path.display()), error);
    match fs::symlink_metadata(&source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(metadata) if metadata.is_symlink() => {
            make_parents(path)?;
            fs::read_link(&source).and_then(|text| symlink(text, path)).map_err(failed)
        }
        Ok(_) => bind(&source, path, how),
    }
}

/// A path of the host while the old root is there.
pub(super) fn in_old(path: &Path) -> PathBuf {
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}

/// Opens a file or folder of the host, to be bound.
pub(super) fn open_source(path: &Path) -> Result<OwnedFd, Refused> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    step(format_args!("open `{}`", path.display()), || open(path, flags, Mode::empty()))
}

/// A file to bind on.
fn make_file(path: &Path) -> Result<(), Refused> {
    match mknod(path, SFlag::S_IFREG, Mode::S_IRUSR, 0) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(Refused::new(format!("make `{}`", path.display()), errno)),
    }
}
