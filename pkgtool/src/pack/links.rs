//! Following symbolic links without leaving the folder that is packed.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;

/// Where a link leads.
pub(crate) enum Resolved {
    /// Something, open without rights to read it.
    Target(OwnedFd),
    /// It leads out of the root.
    Outside,
    /// It leads nowhere, or in a ring.
    Broken(&'static str),
}

/// Follows the link at `path`.
pub(crate) fn resolve(root: impl AsFd, path: &[u8], outside: bool) -> io::Result<Resolved> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let opened = if outside {
        openat(root, path, flags, Mode::empty()).map_err(io::Error::from)
    } else {
        open_beneath(root, path, flags)
    };
    let error = match opened {
        Ok(target) => return Ok(Resolved::Target(target)),
        Err(error) => error,
    };
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EXDEV) => Ok(Resolved::Outside),
        Some(Errno::ENOENT | Errno::ENOTDIR) => Ok(Resolved::Broken("leads nowhere")),
        Some(Errno::ELOOP) => Ok(Resolved::Broken("leads in a ring")),
        _ => Err(error),
    }
}

/// Opens `path`, following links that stay beneath `root`. The kernel sees to it, whatever others
/// rename meanwhile. Absolute links count as leading out: they don't move with the folder.
pub(crate) fn open_beneath(root: impl AsFd, path: &[u8], flags: OFlag) -> io::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(flags).resolve(resolve);
    loop {
        match openat2(root.as_fd(), path, how) {
            // A component was renamed on the way and `..` could not be vouched for.
            Err(Errno::EAGAIN) => {}
            Err(Errno::ENOSYS) => {
                let message = "this system has no openat2(2), which following links needs";
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
            opened => return Ok(opened?),
        }
    }
}

/// The path of an open folder beneath `root`, which is an absolute path without links.
pub(crate) fn path_beneath(root: &Path, folder: &OwnedFd) -> io::Result<Option<Vec<u8>>> {
    let path = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd()))?;
    let beneath = path.strip_prefix(root).ok().map(Path::as_os_str).map(OsStr::as_bytes);
    Ok(beneath.map(<[u8]>::to_vec))
}
