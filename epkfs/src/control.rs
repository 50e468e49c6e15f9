//! What a mount tells of itself, on request: an ioctl on its root folder.
//!
//! There is no registry that could be out of date: whoever can open a mount's root folder can
//! ask the daemon behind it.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use epk_format::digest::Sha256;
use nix::errno::Errno;
use nix::libc;
use serde::{Deserialize, Serialize};

use crate::stats::Counts;
use crate::sys;

/// The ioctl's "type" and number: `_IOR('E', 1, [u8; 4096])`.
pub(crate) const COMMAND_TYPE: u8 = b'E';
pub(crate) const COMMAND_NUMBER: u8 = 1;

/// Bytes of a report: JSON, then zeros.
pub(crate) const REPORT_BYTES: usize = 4096;

/// A mount's account of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Says how to read the rest.
    pub schema: String,
    /// `sha256:` and the package's hash in hexadecimal digits.
    pub package_hash: String,
    /// The package's name, when it is known.
    pub name: Option<String>,
    /// The image's absolute path when it was mounted. `None` when it doesn't fit the report, or
    /// isn't UTF-8: the mount's source has it.
    pub image: Option<PathBuf>,
    /// The daemon's process id, as the daemon sees it.
    pub pid: u32,
    /// When the mount began to answer, in seconds since 1970.
    pub started: u64,
    /// Event loops.
    pub threads: usize,
    /// Plain bytes in the block cache.
    pub cache_bytes: usize,
    /// Most plain bytes that the block cache keeps.
    pub cache_capacity: usize,
    /// What has happened so far.
    pub counters: Counts,
}

/// The value of [`Status::schema`].
pub const SCHEMA: &str = "epk.mount/1";

/// Why a mount doesn't tell its status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The daemon is gone and left its mount behind.
    #[error("the daemon behind `{0}` is gone")]
    Dead(PathBuf),
    /// No answer in time: the daemon hangs, is stopped, or waits for a disk.
    #[error("no answer from the daemon behind `{0}` within {1:?}")]
    Timeout(PathBuf, Duration),
    /// It isn't an epkfs mount, or not its root folder.
    #[error("`{0}` is not the root folder of an epkfs mount")]
    NotMounted(PathBuf),
    /// What the system says.
    #[error("cannot ask the daemon behind `{path}`: {source}")]
    Io {
        /// The mount.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The answer isn't one that this version understands.
    #[error("the daemon behind `{0}` gave an answer that cannot be read: {1}")]
    Malformed(PathBuf, serde_json::Error),
}

/// Asks the mount at `mountpoint` for its status.
///
/// The question is put by a thread of its own, so that a daemon that hangs doesn't hang the
/// caller. Such a thread stays behind until the daemon answers, is killed, or the caller ends.
///
/// # Errors
/// [`QueryError`] says.
pub fn query(mountpoint: &Path, timeout: Duration) -> Result<Status, QueryError> {
    let (sender, receiver) = mpsc::channel();
    let path = mountpoint.to_owned();
    let thread = std::thread::Builder::new()
        .name("epkfs-query".into())
        .spawn(move || {
            // Nobody listens any more when the answer comes too late.
            let _sent = sender.send(ask(&path));
        })
        .map_err(|source| QueryError::Io { path: mountpoint.to_owned(), source })?;
    let Ok(answer) = receiver.recv_timeout(timeout) else {
        return Err(QueryError::Timeout(mountpoint.to_owned(), timeout));
    };
    // It has nothing left to do. Whoever wants to fork next must be alone.
    let _ended = thread.join();
    answer
}

fn ask(path: &Path) -> Result<Status, QueryError> {
    let failed = |error: io::Error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOTCONN | Errno::ECONNABORTED) => QueryError::Dead(path.to_owned()),
        Some(Errno::ENOTTY | Errno::EINVAL | Errno::ENOTDIR) => {
            QueryError::NotMounted(path.to_owned())
        }
        _ => QueryError::Io { path: path.to_owned(), source: error },
    };
    let folder = File::options()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let mut report = [0; REPORT_BYTES];
    sys::status(&folder, &mut report).map_err(|errno| failed(errno.into()))?;
    let length = report.iter().position(|&byte| byte == 0).unwrap_or(REPORT_BYTES);
    serde_json::from_slice(report.get(..length).unwrap_or_default())
        .map_err(|error| QueryError::Malformed(path.to_owned(), error))
}

/// The whole number of the command, as the C library's type has it on this platform.
const COMMAND: u32 = nix::request_code_read!(COMMAND_TYPE, COMMAND_NUMBER, REPORT_BYTES) as u32;

/// Whether an ioctl is the one that asks for a report.
pub(crate) fn is_status_request(command: u32, size: u32) -> bool {
    command == COMMAND && usize::try_from(size) == Ok(REPORT_BYTES)
}

/// What a daemon's reports say that doesn't change.
#[derive(Debug)]
pub(crate) struct Reporter(Status);

impl Reporter {
    pub(crate) fn new(hash: &Sha256, image: &Path, threads: usize, started: SystemTime) -> Self {
        let started = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self(Status {
            schema: SCHEMA.into(),
            package_hash: format!("sha256:{hash}"),
            name: None,
            image: image.to_str().map(PathBuf::from),
            pid: std::process::id(),
            started,
            threads,
            cache_bytes: 0,
            cache_capacity: 0,
            counters: Counts::default(),
        })
    }

    /// The report, padded with zeros to its fixed length.
    pub(crate) fn report(&self, cache: (usize, usize), counters: Counts) -> [u8; REPORT_BYTES] {
        let (cache_bytes, cache_capacity) = cache;
        let mut status = Status { cache_bytes, cache_capacity, counters, ..self.0.clone() };
        loop {
            let text = serde_json::to_vec(&status).unwrap_or_default();
            let mut report = [0; REPORT_BYTES];
            if let Some(start) = report.get_mut(..text.len()) {
                start.copy_from_slice(&text);
                return report;
            }
            if status.image.take().is_none() && status.name.take().is_none() {
                return report;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_give_way() {
        for length in [1, 100, 3000, 4096, 9000] {
            let image = Path::new("/").join("x".repeat(length));
            let reporter = Reporter::new(&Sha256([1; 32]), &image, 1, UNIX_EPOCH);
            let report = reporter.report((1, 2), Counts::default());
            let end = report.iter().position(|&byte| byte == 0).expect("padded");
            let status: Status = serde_json::from_slice(&report[..end]).expect("JSON");
            assert_eq!(status.image, (length <= 3000).then_some(image), "{length}");
            assert_eq!((status.cache_bytes, status.cache_capacity), (1, 2));
        }
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn knows_its_own_command() {
        assert!(is_status_request(0x9000_4501, 4096));
        assert!(!is_status_request(0x9000_4501, 4095));
        assert!(!is_status_request(0x9000_4502, 4096));
    }

    #[test]
    fn what_is_no_mount_is_recognised() {
        let answer = query(Path::new("/"), Duration::from_secs(10));
        assert!(matches!(answer, Err(QueryError::NotMounted(_))), "{answer:?}");
    }
}
