//! A private view of the host: its own table of mounts, and, where the caller isn't allowed to
//! mount, its own user namespace with the same user in it.
//!
//! The kernel throws the view away with its last process: there is nothing to clean up.

pub(crate) mod confine;
pub(crate) mod probe;
pub(crate) mod root;
pub(crate) mod user;

use std::path::Path;

use nix::mount::MsFlags;
use rustix::fs::StatVfsMountFlags;

/// The flags that a mount has and that an ordinary user may not take away.
fn locked_flags(path: &Path) -> nix::Result<MsFlags> {
    let found = rustix::fs::statvfs(path)
        .map_err(|errno| nix::errno::Errno::from_raw(errno.raw_os_error()))?
        .f_flag;
    let pairs = [
        (StatVfsMountFlags::RDONLY, MsFlags::MS_RDONLY),
        (StatVfsMountFlags::NODEV, MsFlags::MS_NODEV),
        (StatVfsMountFlags::NOEXEC, MsFlags::MS_NOEXEC),
        (StatVfsMountFlags::NOATIME, MsFlags::MS_NOATIME),
        (StatVfsMountFlags::NODIRATIME, MsFlags::MS_NODIRATIME),
        (StatVfsMountFlags::RELATIME, MsFlags::MS_RELATIME),
    ];
    Ok(pairs
        .into_iter()
        .filter(|(flag, _)| found.contains(*flag))
        .fold(MsFlags::empty(), |all, (_, flag)| all | flag))
}
