//! Serving a package on an opened and mounted `/dev/fuse`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use epk_format::Package;
use epk_format::source::Source;
use fuser::{Session, SessionACL};
use nix::unistd::{getgid, getuid};

use crate::attr::Owner;
use crate::cache::BlockCache;
use crate::confine::Gate;
use crate::control::Reporter;
use crate::errno::DamageLog;
use crate::filesystem::EpkFilesystem;
use crate::linger::Linger;
use crate::mount::DEVICE;
use crate::profile::Recorder;
use crate::read::Reader;
use crate::sys;

/// Bytes of the block cache when nothing else is said. The kernel keeps what was read; this is
/// for blocks that are read in parts.
pub const DEFAULT_CACHE_BYTES: usize = 16 << 20;

/// Most event loops when nothing else is said.
const DEFAULT_MAX_THREADS: usize = 4;

/// How to serve.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The image's path, for reports and the log.
    pub image: PathBuf,
    /// When the mount began, for reports.
    pub started: SystemTime,
    /// The owner of all files, as the user namespace of the mount numbers users.
    pub uid: u32,
    /// The group of all files.
    pub gid: u32,
    /// Most plain bytes to keep in memory.
    pub cache_bytes: usize,
    /// Event loops, at least one.
    pub threads: usize,
    /// Where the path of each file is noted, a line each, when it is first read. With it the
    /// names of all files are read beforehand.
    pub profile: Option<Arc<File>>,
}

impl Config {
    /// Files belong to the user of this process; default sizes.
    #[must_use]
    pub fn new(image: impl Into<PathBuf>, started: SystemTime) -> Self {
        Self {
            image: image.into(),
            started,
            uid: getuid().as_raw(),
            gid: getgid().as_raw(),
            cache_bytes: DEFAULT_CACHE_BYTES,
            threads: default_threads(),
            profile: None,
        }
    }
}

/// One event loop a processor that this process may use, up to four. A quota of processor time
/// doesn't count: loops that wait take none, and looking for one is twenty system calls of a start.
#[must_use]
pub fn default_threads() -> usize {
    let processors = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
    usize::try_from(processors).unwrap_or(1).clamp(1, DEFAULT_MAX_THREADS)
}

/// Serves a package on `device`, which must be mounted already, until it is unmounted.
///
/// `on_ready` is called when the mount answers, before there is any other thread; what it refuses is
/// not served. The gate is closed before the first bytes of the package are read. All threads are
/// gone when this returns.
///
/// # Errors
/// What the kernel says, before or after `on_ready`, and what that says.
pub fn serve<S: Source + 'static>(
    package: Package<S>,
    device: OwnedFd,
    config: &Config,
    gate: Option<Gate>,
    on_ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let threads = config.threads.max(1);
    let reporter = Reporter::new(&package.package_hash(), &config.image, threads, config.started);
    let recorder = match &config.profile {
        Some(output) => {
            Some(Recorder::new(&package, Arc::clone(output)).map_err(io::Error::other)?)
        }
        None => None,
    };
    let reader = Reader::new(
        package,
        BlockCache::new(config.cache_bytes),
        DamageLog::new(config.image.clone()),
    );
    let owner = Owner { uid: config.uid, gid: config.gid };
    let linger = Linger::new(&device);
    let filesystem = EpkFilesystem::new(reader, owner, reporter, recorder, linger, gate);

    let mut loops = fuser::Config::default();
    loops.n_threads = Some(threads);
    // A queue for each loop. Where the device belongs to another user namespace than ours that
    // isn't allowed, and the loops share one.
    loops.clone_fd = threads > 1 && can_clone(&device);
    // Who may enter is the kernel's decision, by the mount's options.
    let session = Session::from_fd(filesystem, device, SessionACL::All, loops)?;
    on_ready()?;
    session.run()
}

fn can_clone(device: impl AsFd) -> bool {
    File::options()
        .read(true)
        .write(true)
        .open(DEVICE)
        .is_ok_and(|other| sys::clone_device(device, other).is_ok())
}
