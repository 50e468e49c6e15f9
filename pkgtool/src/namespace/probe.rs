//! What can be mounted here, found out by doing it, in a copy of this process that ends then.

use std::fs;
use std::io;
use std::path::Path;

use epkfs::apart;
use epkfs::mount::{MountOptions, mount_device, open_device};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

use super::root;
use super::user::{self, Refusal};

/// How each step went. A step after a failed one was not taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// A user namespace with this user in it. Also tried by those who may mount without one.
    pub(crate) user: Result<(), Refusal>,
    /// A mount in a mount namespace.
    pub(crate) mount: Option<Result<(), Refusal>>,
    /// A mount through FUSE there: what failed, or nothing.
    pub(crate) fuse: Option<Result<(), String>>,
}

impl Probe {
    /// Tries. With `user_namespace` in a new one in any case, else only if this process may not
    /// mount as it is.
    pub(crate) fn run(user_namespace: bool) -> io::Result<Self> {
        let answer = apart::run(|| {
            let probe = attempt(user_namespace);
            // It has nothing but texts.
            serde_json::to_vec(&probe).unwrap_or_default()
        })?;
        serde_json::from_slice(&answer).map_err(io::Error::other)
    }

    /// Why there is no view of the host for an application, if there is none.
    pub(crate) fn view(&self) -> Result<(), &Refusal> {
        self.user.as_ref()?;
        match &self.mount {
            Some(Err(refusal)) => Err(refusal),
            _ => Ok(()),
        }
    }
}

fn attempt(user_namespace: bool) -> Probe {
    let mut probe = Probe { user: Ok(()), mount: None, fuse: None };
    if user_namespace || !user::may_mount() {
        probe.user = user::try_enter();
        if probe.user.is_err() {
            return probe;
        }
    }
    let entered = probe.user.is_ok();
    let place = match mount_something() {
        Ok(place) => place,
        Err((step, error)) => {
            probe.mount = Some(Err(Refusal::new(step, &error, entered)));
            return probe;
        }
    };
    probe.mount = Some(Ok(()));
    let fuse = open_device()
        .and_then(|device| mount_device(device, place, &MountOptions::new("probe")))
        .map_err(|attempt| attempt.to_string());
    probe.fuse = Some(fuse);
    probe
}

/// Mounts a tmpfs as a launch does, and says where.
fn mount_something() -> Result<&'static Path, (&'static str, io::Error)> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| ("unshare(2)", errno.into()))?;
    let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .map_err(|errno| ("make mounts private", errno.into()))?;
    let missing = || ("mount(2)", io::ErrorKind::NotFound.into());
    let place = root::BASES.iter().map(Path::new).find(|path| path.is_dir());
    let place = place.ok_or_else(missing)?;
    mount(Some("epk"), place, Some("tmpfs"), MsFlags::empty(), Some("size=64k"))
        .map_err(|errno| ("mount(2)", errno.into()))?;
    Ok(place)
}

/// Whether a user namespace might be granted and then be worth nothing, which nobody can undo:
/// AppArmor does so, filters of system calls may, and so does a `/proc` that can't be written.
/// Then it is better tried apart first.
pub(crate) fn is_doubtful() -> bool {
    let filtered = || {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|n| n.trim() != "0"))
    };
    user::is_restricted_by_apparmor()
        || access("/proc/self/uid_map", AccessFlags::W_OK).is_err()
        || filtered()
}
