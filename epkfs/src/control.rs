//! What a mount tells of itself, on request: ioctls on its root folder.
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
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::inode;
use crate::stats::{Counts, Durations};
use crate::sys;
use crate::tally::Tally;
use crate::timing::Timing;

/// The ioctls' "type", and their numbers: `_IOR('E', 1, [u8; 4096])`, `_IOR('E', 2, [u8; 8192])`,
/// `_IO('E', 3)` and `_IO('E', 4)`.
pub(crate) const COMMAND_TYPE: u8 = b'E';
pub(crate) const STATUS_NUMBER: u8 = 1;
pub(crate) const DETAILS_NUMBER: u8 = 2;
pub(crate) const TIME_NUMBER: u8 = 3;
pub(crate) const UNTIME_NUMBER: u8 = 4;

/// Bytes of a report: JSON, then zeros.
pub(crate) const REPORT_BYTES: usize = 4096;
/// The same with details, which take less than half of what a report leaves.
pub(crate) const DETAILS_BYTES: usize = 8192;

/// Most files that are told as often read.
const MOST_HOT: usize = 20;

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

/// What a mount tells beyond its status: how long its work takes, and which files are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Details {
    /// Its status.
    pub status: Status,
    /// Whether requests for content are timed, [`time_requests`].
    pub timed: bool,
    /// Nanoseconds that reading blocks' stored bytes from the image took.
    pub fetching: u64,
    /// Nanoseconds that hashing blocks took.
    pub hashing: u64,
    /// Nanoseconds that inflating blocks took.
    pub inflating: u64,
    /// Loads of blocks, which is all of that.
    pub loads: Durations,
    /// Requests for content while they were timed, from their arrival to their answer.
    pub reads: Durations,
    /// The files for whose content was asked most often, up to twenty, the first the most.
    pub hot: Vec<HotFile>,
}

/// A file that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HotFile {
    /// Its inode number: [`epk_format::package::NodeId::number`] and one.
    pub inode: u64,
    /// Requests for its content.
    pub reads: u64,
}

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
    in_time(mountpoint, timeout, |path| {
        let mut report = [0; REPORT_BYTES];
        call(path, |folder| sys::status(folder, &mut report))?;
        parse(path, &report)
    })
}

/// Asks the mount at `mountpoint` for all it tells, as [`query`] does.
///
/// # Errors
/// [`QueryError`] says.
pub fn details(mountpoint: &Path, timeout: Duration) -> Result<Details, QueryError> {
    in_time(mountpoint, timeout, |path| {
        let mut report = [0; DETAILS_BYTES];
        call(path, |folder| sys::details(folder, &mut report))?;
        parse(path, &report)
    })
}

/// Tells the mount at `mountpoint` to time requests for content from now on, or no more. The one
/// whose the mount is may do that, and root.
///
/// # Errors
/// [`QueryError`] says.
pub fn time_requests(mountpoint: &Path, on: bool, timeout: Duration) -> Result<(), QueryError> {
    in_time(mountpoint, timeout, move |path| call(path, |folder| sys::time_requests(folder, on)))
}

fn in_time<T: Send + 'static>(
    mountpoint: &Path,
    timeout: Duration,
    ask: impl FnOnce(&Path) -> Result<T, QueryError> + Send + 'static,
) -> Result<T, QueryError> {
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

fn call(path: &Path, command: impl FnOnce(&File) -> nix::Result<()>) -> Result<(), QueryError> {
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
    command(&folder).map_err(|errno| failed(errno.into()))
}

fn parse<T: DeserializeOwned>(path: &Path, report: &[u8]) -> Result<T, QueryError> {
    let length = report.iter().position(|&byte| byte == 0).unwrap_or(report.len());
    serde_json::from_slice(report.get(..length).unwrap_or_default())
        .map_err(|error| QueryError::Malformed(path.to_owned(), error))
}

/// The whole numbers of the commands, as the C library's type has them on this platform.
const STATUS: u32 = nix::request_code_read!(COMMAND_TYPE, STATUS_NUMBER, REPORT_BYTES) as u32;
const DETAILS: u32 = nix::request_code_read!(COMMAND_TYPE, DETAILS_NUMBER, DETAILS_BYTES) as u32;
const TIME: u32 = nix::request_code_none!(COMMAND_TYPE, TIME_NUMBER) as u32;
const UNTIME: u32 = nix::request_code_none!(COMMAND_TYPE, UNTIME_NUMBER) as u32;

/// What an ioctl wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// A [`Status`].
    Status,
    /// [`Details`].
    Details,
    /// That requests are timed, or no more.
    TimeRequests(bool),
}

impl Question {
    /// What an ioctl with room for `size` bytes of an answer wants, if it is one of ours.
    pub(crate) fn parse(command: u32, size: u32) -> Option<Self> {
        let (question, bytes) = match command {
            STATUS => (Self::Status, REPORT_BYTES),
            DETAILS => (Self::Details, DETAILS_BYTES),
            TIME => (Self::TimeRequests(true), 0),
            UNTIME => (Self::TimeRequests(false), 0),
            _ => return None,
        };
        (usize::try_from(size) == Ok(bytes)).then_some(question)
    }
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
        padded(&self.status(cache, counters)).unwrap_or([0; REPORT_BYTES])
    }

    /// The details, padded in the same way.
    pub(crate) fn details(
        &self,
        cache: (usize, usize),
        counters: Counts,
        timing: &Timing,
        reads: &Tally,
    ) -> [u8; DETAILS_BYTES] {
        let hot = reads.hottest(MOST_HOT).into_iter();
        let details = Details {
            status: self.status(cache, counters),
            timed: timing.times_requests(),
            fetching: timing.fetching.get(),
            hashing: timing.hashing.get(),
            inflating: timing.inflating.get(),
            loads: timing.loads.read(),
            reads: timing.reads.read(),
            hot: hot.map(|(id, reads)| HotFile { inode: inode::number(id).0, reads }).collect(),
        };
        padded(&details).unwrap_or([0; DETAILS_BYTES])
    }

    /// A status that fits a report.
    fn status(&self, (cache_bytes, cache_capacity): (usize, usize), counters: Counts) -> Status {
        let mut status = Status { cache_bytes, cache_capacity, counters, ..self.0.clone() };
        while padded::<REPORT_BYTES>(&status).is_none()
            && (status.image.take().is_some() || status.name.take().is_some())
        {}
        status
    }
}

/// JSON and zeros, if there is room for it.
fn padded<const N: usize>(value: &impl Serialize) -> Option<[u8; N]> {
    let text = serde_json::to_vec(value).ok()?;
    let mut report = [0; N];
    report.get_mut(..text.len())?.copy_from_slice(&text);
    Some(report)
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
    fn the_longest_details_fit() {
        let most = Durations { counts: vec![u64::MAX; 21], nanoseconds: u64::MAX };
        let image = Path::new("/").join("x".repeat(3000));
        let reporter = Reporter::new(&Sha256([1; 32]), &image, 1, UNIX_EPOCH);
        let details = Details {
            status: reporter.status((usize::MAX, usize::MAX), Counts::default()),
            timed: false,
            fetching: u64::MAX,
            hashing: u64::MAX,
            inflating: u64::MAX,
            loads: most.clone(),
            reads: most,
            hot: vec![HotFile { inode: u64::MAX, reads: u64::MAX }; MOST_HOT],
        };
        assert!(padded::<{ DETAILS_BYTES - 1000 }>(&details).is_some());
        let reads = Tally::new(2);
        reads.one(epk_format::package::NodeId::ROOT);
        let report = reporter.details((1, 2), Counts::default(), &Timing::default(), &reads);
        let told: Details = parse(Path::new("x"), &report).expect("JSON");
        assert_eq!(told.hot, [HotFile { inode: 1, reads: 1 }]);
        assert_eq!((told.status.image, told.loads.count()), (Some(image), 0));
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))]
    fn knows_its_own_commands() {
        for (command, size, expected) in [
            (0x9000_4501, 4096, Some(Question::Status)),
            (0x9000_4501, 4095, None),
            (0x9000_4502, 4096, None),
            (0xa000_4502, 8192, Some(Question::Details)),
            (0x4503, 0, Some(Question::TimeRequests(true))),
            (0x4504, 0, Some(Question::TimeRequests(false))),
            (0x4504, 1, None),
            (0x4505, 0, None),
        ] {
            assert_eq!(Question::parse(command, size), expected, "{command:#x}");
        }
    }

    #[test]
    fn what_is_no_mount_is_recognised() {
        let answer = query(Path::new("/"), Duration::from_secs(10));
        assert!(matches!(answer, Err(QueryError::NotMounted(_))), "{answer:?}");
    }
}
