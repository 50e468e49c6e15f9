//! Mounting: by mount(2) where the kernel lets us, else through fuse3's setuid helper.
//!
//! Done here and not by fuser, so that options are exactly those that we mean: always read-only,
//! without setuid and devices, permissions checked by the kernel, the image named as the source.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::mount::MsFlags;
use nix::unistd::{getgid, getuid};

use crate::fusermount;
use crate::table::FILESYSTEM_TYPE;

/// The device through which filesystems are served.
pub(crate) const DEVICE: &str = "/dev/fuse";

/// Most bytes of one request to read, a usual chunk. The kernel reads ahead twice as much, and so
/// asks for it in two requests, which two processors answer.
pub(crate) const MAX_READ: u32 = 1 << 16;

/// How to mount.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MountOptions {
    /// What the table of mounts shows as the source: the image's absolute path.
    pub source: PathBuf,
    /// Whether other users than the mounting one may enter.
    pub allow_other: bool,
    /// Whether programs on the mount may be executed.
    pub exec: bool,
    /// Folders in which fuse3's helper is looked for before the usual ones: the value of `PATH`.
    pub search_path: Option<OsString>,
}

impl MountOptions {
    /// For the mounting user only, with execution, the helper looked for in the usual folders.
    #[must_use]
    pub fn new(source: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), allow_other: false, exec: true, search_path: None }
    }
}

/// A way of mounting that was tried, and why it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{way}: {reason}")]
#[non_exhaustive]
pub struct Attempt {
    /// The way: `mount(2)`, a device's or a helper's path.
    pub way: String,
    /// What it said.
    pub reason: String,
    /// The system's error number, when there is one.
    pub errno: Option<i32>,
}

impl Attempt {
    pub(crate) fn new(way: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { way: way.into(), reason: reason.into(), errno: None }
    }

    pub(crate) fn system(way: impl Into<String>, errno: Errno) -> Self {
        Self { way: way.into(), reason: errno.desc().to_lowercase(), errno: Some(errno as i32) }
    }

    fn is(&self, errno: Errno) -> bool {
        self.errno == Some(errno as i32)
    }
}

/// Why nothing was mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The mountpoint can't be used.
    #[error("cannot mount on `{path}`: {source}")]
    Mountpoint {
        /// The mountpoint as it was given.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// Every way failed.
    #[error("cannot mount on `{path}`{}", list(attempts))]
    AllFailed {
        /// The mountpoint.
        path: PathBuf,
        /// The ways that were tried, in their order.
        attempts: Vec<Attempt>,
        /// Whether entry for other users was asked for.
        allow_other: bool,
    },
}

/// The ways that were tried, as the end of a sentence.
pub(crate) fn list(attempts: &[Attempt]) -> String {
    attempts.iter().fold(String::new(), |mut text, attempt| {
        let separator = if text.is_empty() { ": " } else { "; " };
        // Writing to a string doesn't fail.
        let _ = write!(text, "{separator}{attempt}");
        text
    })
}

impl MountError {
    /// What may help, one sentence each.
    #[must_use]
    pub fn hints(&self) -> Vec<&'static str> {
        let Self::AllFailed { attempts, allow_other, .. } = self else { return Vec::new() };
        let mut hints = Vec::new();
        let device = attempts.iter().find(|attempt| attempt.way == DEVICE);
        match device {
            Some(attempt) if attempt.is(Errno::ENOENT) || attempt.is(Errno::ENODEV) => {
                hints.push("`/dev/fuse` is missing: load the kernel's module with `modprobe fuse`, or pass the device into the container");
            }
            Some(attempt) if attempt.is(Errno::EACCES) || attempt.is(Errno::EPERM) => {
                hints.push("`/dev/fuse` is usually open to everyone (mode 0666): ask the administrator of this machine");
            }
            _ => {}
        }
        if *allow_other && attempts.iter().any(|attempt| attempt.reason.contains("allow_other")) {
            hints.push("`allow_other` by ordinary users needs the line `user_allow_other` in `/etc/fuse.conf`");
        }
        if attempts.iter().any(|attempt| attempt.way == fusermount::NAME) {
            hints.push(
                "the package `fuse3` has the helper `fusermount3`, which mounts for ordinary users",
            );
        }
        hints.push("`pkgtool run` needs neither helper nor privileges: it mounts in a namespace of its own");
        hints
    }
}

/// Opens the device through which one filesystem is served.
///
/// A filesystem can be mounted in the user namespace only in which its device was opened.
///
/// # Errors
/// What the system says, naming the device.
pub fn open_device() -> Result<OwnedFd, Attempt> {
    // std opens with O_CLOEXEC.
    let device = File::options().read(true).write(true).open(DEVICE);
    let device = device.and_then(|device| Ok((device.metadata()?, device)));
    let (metadata, device) = device.map_err(|error| {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
        Attempt::system(DEVICE, errno)
    })?;
    // Containers hide devices by putting others in their place.
    if !metadata.file_type().is_char_device() || metadata.rdev() != libc::makedev(10, 229) {
        let errno = Some(Errno::ENODEV as i32);
        let reason = "it is not the device of FUSE, 10:229".into();
        return Err(Attempt { way: DEVICE.into(), reason, errno });
    }
    Ok(device.into())
}

/// The path of fuse3's helper, looked for in `search_path`, the value of `PATH`, and then in the
/// usual folders.
#[must_use]
pub fn helper(search_path: Option<&OsStr>) -> Option<PathBuf> {
    fusermount::find(search_path)
}

/// Mounts an opened device with mount(2). The one who serves the device answers from then on;
/// until it does, everyone who looks at `target` waits.
///
/// # Errors
/// What the system says.
pub fn mount_device(
    device: impl AsFd,
    target: &Path,
    options: &MountOptions,
) -> Result<(), Attempt> {
    let way = "mount(2)";
    let mut data = format!(
        "fd={},rootmode={:o},user_id={},group_id={},default_permissions,max_read={MAX_READ}",
        device.as_fd().as_raw_fd(),
        // A package's root is a folder; the kernel refuses other targets.
        libc::S_IFDIR,
        getuid(),
        getgid(),
    );
    if options.allow_other {
        data.push_str(",allow_other");
    }
    let mut flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    if !options.exec {
        flags |= MsFlags::MS_NOEXEC;
    }
    let source = Some(options.source.as_path());
    nix::mount::mount(source, target, Some(FILESYSTEM_TYPE), flags, Some(data.as_str()))
        .map_err(|errno| Attempt::system(way, errno))
}

/// Mounts on `target`, a folder, whichever way works, and gives the device to be served.
///
/// # Errors
/// Each way that was tried, and why it failed.
pub fn mount(target: &Path, options: &MountOptions) -> Result<OwnedFd, MountError> {
    check_target(target)?;
    let direct = open_device().and_then(|device| {
        mount_device(&device, target, options)?;
        Ok(device)
    });
    let mut attempts = match direct {
        Ok(device) => return Ok(device),
        Err(attempt) => vec![attempt],
    };
    // Even where the device isn't ours to open, the helper may.
    match fusermount::mount(target, options) {
        Ok(device) => return Ok(device),
        Err(attempt) => attempts.push(attempt),
    }
    let (path, allow_other) = (target.to_owned(), options.allow_other);
    Err(MountError::AllFailed { path, attempts, allow_other })
}

fn check_target(target: &Path) -> Result<(), MountError> {
    let kind = fs::metadata(target).and_then(|metadata| {
        let refused = io::Error::from_raw_os_error(libc::ENOTDIR);
        if metadata.is_dir() { Ok(()) } else { Err(refused) }
    });
    kind.map_err(|source| MountError::Mountpoint { path: target.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(attempts: Vec<Attempt>, allow_other: bool) -> MountError {
        MountError::AllFailed { path: "/mnt".into(), attempts, allow_other }
    }

    #[test]
    fn says_what_was_tried_and_what_may_help() {
        let error = failure(
            vec![
                Attempt::system("mount(2)", Errno::EPERM),
                Attempt::new(fusermount::NAME, "not found"),
            ],
            false,
        );
        assert_eq!(
            error.to_string(),
            "cannot mount on `/mnt`: mount(2): operation not permitted; fusermount3: not found"
        );
        assert_eq!(error.hints().len(), 2, "{:?}", error.hints());
        for (errno, word) in [(Errno::ENOENT, "modprobe"), (Errno::EACCES, "0666")] {
            let hints = failure(vec![Attempt::system(DEVICE, errno)], false).hints();
            assert!(hints[0].contains(word), "{hints:?}");
        }
        let attempts = vec![Attempt::new("/bin/fusermount3", "option allow_other only allowed if")];
        assert!(failure(attempts, true).hints()[0].contains("/etc/fuse.conf"));
    }

    #[test]
    fn a_mountpoint_must_be_a_folder() {
        for path in ["/proc/self/status", "/nonexistent"] {
            let error = mount(Path::new(path), &MountOptions::new("/x.epk"));
            assert!(matches!(error, Err(MountError::Mountpoint { .. })), "{error:?}");
        }
    }
}
