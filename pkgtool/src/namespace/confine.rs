//! A view of the host for programs that nobody trusts with it: the system's programs and
//! libraries, a few folders that are named, and nothing else. No network, no other processes, no
//! privileges.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::exit::Failure;

use super::root::{self, Restriction};
use super::step::{Refused, make_folder, step};
use super::{privileges, user};

/// What of the host is seen, read-only: where programs, libraries and headers are.
const SYSTEM: [&str; 9] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/ld.so.cache",
];
/// Devices without which programs stumble, and with which they can do no harm.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"];

/// What a confined program may use at most: seconds of processor, bytes of memory, bytes of a
/// file; and it leaves no core.
const LIMITS: [(Resource, u64); 4] = [
    (Resource::Cpu, 600),
    (Resource::As, 8 << 30),
    (Resource::Fsize, 1 << 30),
    (Resource::Core, 0),
];

/// Which folders are seen beside the system, under their own paths.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// Read-only.
    pub(crate) read: &'a [PathBuf],
    /// Writable.
    pub(crate) write: &'a [PathBuf],
}

/// Moves this process, which must have one thread, behind the walls. Its children are in a
/// process namespace of their own: the first of them is its init.
pub(crate) fn enter(view: &View<'_>) -> Result<(), Failure> {
    if !user::may_mount() {
        user::enter()?;
    }
    build(view)
        .and_then(|()| give_up_privileges())
        .map_err(|refused| refused.launch("cannot confine the program"))
}

fn build(view: &View<'_>) -> Result<(), Refused> {
    let spaces = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWPID;
    root::leave(spaces, MsFlags::MS_PRIVATE)?;
    let read = open_all(view.read)?;
    let write = open_all(view.write)?;
    root::replace()?;
    for path in SYSTEM {
        root::show(Path::new(path), Restriction::ReadOnly)?;
    }
    for path in DEVICES {
        root::show(Path::new(path), Restriction::Device)?;
    }
    let scratch = Path::new("/tmp");
    make_folder(scratch, 0o755)?;
    root::tmpfs(scratch, "mode=1777,size=512m")?;
    for (folders, how) in [(&read, Restriction::ReadOnly), (&write, Restriction::Writable)] {
        for (path, handle) in folders {
            root::bind_opened(handle.as_fd(), path, how)?;
        }
    }
    root::seal()
}

/// No program behind the walls ever has a privilege, root neither.
fn give_up_privileges() -> Result<(), Refused> {
    for (resource, limit) in LIMITS {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        // A lower limit that is there already stays.
        match setrlimit(resource, limit) {
            Ok(()) | Err(rustix::io::Errno::PERM) => {}
            Err(errno) => return Err(Refused::new("setrlimit(2)", errno)),
        }
    }
    step("drop privileges", privileges::drop_capabilities)?;
    step("forbid privileges", privileges::forbid_new_privileges)
}

type Opened = Vec<(PathBuf, OwnedFd)>;

/// Opens the folders that are to be shown, under the paths that they really have.
fn open_all(folders: &[PathBuf]) -> Result<Opened, Refused> {
    folders
        .iter()
        .map(|folder| {
            let failed = |error| Refused::new(format!("open `{}`", folder.display()), error);
            let real = fs::canonicalize(folder).map_err(failed)?;
            if !real.is_dir() {
                return Err(failed(std::io::ErrorKind::NotADirectory.into()));
            }
            let handle = root::open_source(&real)?;
            Ok((real, handle))
        })
        .collect()
}
