//! A disk that fails when it is told to, and remembers what was done to it: a file system in memory,
//! through FUSE.

mod filesystem;
mod model;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use fuser::{BackgroundSession, Config, SessionACL};
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::files::temp_folder;
use filesystem::Served;
pub use model::{Content, Cut, ROOT, Step};

/// How it fails.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Bytes of any file that can't be read.
    pub unreadable: Option<Range<u64>>,
    /// Most bytes that one read gives.
    pub shortest: Option<usize>,
    /// Most bytes that all files have together.
    pub room: Option<usize>,
    /// Whether nothing can be written or synced.
    pub broken: bool,
}

/// What the file system and the test share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) content: Content,
    pub(crate) steps: Vec<Step>,
    pub(crate) faults: Faults,
    /// Times of all files, unless it is now.
    pub(crate) times: Option<SystemTime>,
    pub(crate) last_inode: u64,
}

/// A disk, mounted until it's dropped.
pub struct FailingDisk {
    // Before the folder: it must be unmounted by then.
    session: Option<BackgroundSession>,
    folder: TempDir,
    shared: Arc<Mutex<Shared>>,
}

impl Default for FailingDisk {
    fn default() -> Self {
        let folder = temp_folder();
        let shared = Arc::new(Mutex::new(Shared { last_inode: ROOT, ..Shared::default() }));
        let mut config = Config::default();
        // What tests start may be another process of theirs, not another user's.
        config.acl = if geteuid().is_root() { SessionACL::All } else { SessionACL::Owner };
        let served = Served(Arc::clone(&shared));
        let session = fuser::spawn_mount(served, folder.path(), &config)
            .expect("file systems can be mounted on this machine, which these tests need");
        Self { session: Some(session), folder, shared }
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        let ended = self.session.take().map(BackgroundSession::umount_and_join);
        if !std::thread::panicking() {
            ended.transpose().expect("it is unmounted");
        }
    }
}

impl FailingDisk {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A path on it.
    #[must_use]
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// Fails like this from now on.
    pub fn fail(&self, faults: Faults) {
        self.shared().faults = faults;
    }

    /// Says of all files that they were changed at a time, from now on.
    pub fn set_times(&self, time: SystemTime) {
        self.shared().times = Some(time);
    }

    /// What is on it.
    #[must_use]
    pub fn content(&self) -> Content {
        self.shared().content.clone()
    }

    /// Frees what no name leads to. Nobody may have it open.
    pub fn forget_removed(&self) {
        self.shared().content.forget_removed();
    }

    /// What was done to it since it was last asked, in that order.
    #[must_use]
    pub fn take_steps(&self) -> Vec<Step> {
        std::mem::take(&mut self.shared().steps)
    }

    /// Makes it what it was, or would be: for what happens after a power cut.
    pub fn replace(&self, content: Content) {
        let mut shared = self.shared();
        shared.content = content;
        shared.steps.clear();
    }
}
