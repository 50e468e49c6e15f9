//! A view of the host for programs that nobody trusts with it: the system's programs and
//! libraries, a few folders that are named, and nothing else. No network, no other processes, no
//! privileges.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, pivot_root};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set, set_no_new_privs};

use crate::exit::Failure;

use super::user;

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
/// Where the new root is put together.
const BASE: &str = "/tmp";
/// The old root's name in the new one, for a moment.
const OLD: &str = ".epk-old-root";

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
    let privileged = user::may_mount();
    if !privileged {
        user::enter()?;
    }
    let spaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWPID;
    unshare(spaces).map_err(|errno| failure("unshare(2)", &errno.into()))?;
    step("make mounts private", || {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
    })?;
    // Opened before the tmpfs covers what lies below it.
    let read = open_all(view.read)?;
    let write = open_all(view.write)?;
    tmpfs(Path::new(BASE), "mode=755,size=16m")?;
    let binder = Binder { whole: !privileged };
    for path in SYSTEM {
        binder.show(Path::new(path))?;
    }
    for path in DEVICES {
        binder.bind(Path::new(path), Path::new(path), false)?;
    }
    let scratch = inside(Path::new("/tmp"));
    make_folder(&scratch)?;
    tmpfs(&scratch, "mode=1777,size=512m")?;
    for (folders, writable) in [(&read, false), (&write, true)] {
        for (path, handle) in folders {
            let source = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(handle));
            binder.bind(Path::new(&source), path, writable)?;
        }
    }
    drop((read, write));
    let base = Path::new(BASE);
    make_folder(&base.join(OLD))?;
    step("change the root", || pivot_root(base, &base.join(OLD)).and_then(|()| chdir("/")))?;
    step("let the old root go", || umount2(&Path::new("/").join(OLD), MntFlags::MNT_DETACH))?;
    fs::remove_dir(Path::new("/").join(OLD))
        .map_err(|error| failure("remove the old root's folder", &error))?;
    step("make the root read-only", || {
        let flags = MsFlags::MS_REMOUNT
            | MsFlags::MS_BIND
            | MsFlags::MS_RDONLY
            | MsFlags::MS_NOSUID
            | MsFlags::MS_NODEV;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
    })?;
    give_up_privileges()
}

/// No program behind the walls ever has a privilege, root neither.
fn give_up_privileges() -> Result<(), Failure> {
    let system = |what: &str, result: rustix::io::Result<()>| {
        result.map_err(|errno| failure(what, &errno.into()))
    };
    for (resource, limit) in LIMITS {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        // A lower limit that is there already stays.
        match setrlimit(resource, limit) {
            Ok(()) | Err(rustix::io::Errno::PERM) => {}
            Err(errno) => return Err(failure("setrlimit(2)", &errno.into())),
        }
    }
    for capability in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(failure("drop privileges", &errno.into())),
        }
    }
    system("forbid privileges", set_no_new_privs(true))
}

/// A path of the new root while it is put together.
fn inside(path: &Path) -> PathBuf {
    Path::new(BASE).join(path.strip_prefix("/").unwrap_or(path))
}

struct Binder {
    /// Whether everything mounted below is bound, too: an ordinary user may not uncover what a
    /// mount hides.
    whole: bool,
}

impl Binder {
    /// Shows a part of the system where it is, or nothing if the host has none.
    fn show(&self, path: &Path) -> Result<(), Failure> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failure(&format!("look at `{}`", path.display()), &error)),
            Ok(metadata) if metadata.is_symlink() => {
                let target = inside(path);
                make_parents(&target)?;
                fs::read_link(path)
                    .and_then(|text| symlink(text, &target))
                    .map_err(|error| failure(&format!("show `{}`", path.display()), &error))
            }
            Ok(_) => self.bind(path, path, false),
        }
    }

    /// Binds `source` to where `path` is in the new root.
    fn bind(&self, source: &Path, path: &Path, writable: bool) -> Result<(), Failure> {
        let target = inside(path);
        let what = format!("show `{}`", path.display());
        make_parents(&target)?;
        let metadata = fs::metadata(source).map_err(|error| failure(&what, &error))?;
        if metadata.is_dir() {
            make_folder(&target)?;
        } else {
            fs::File::create_new(&target).map_err(|error| failure(&what, &error))?;
        }
        let depth = if self.whole { MsFlags::MS_REC } else { MsFlags::empty() };
        step(&what, || {
            mount(Some(source), &target, None::<&str>, MsFlags::MS_BIND | depth, None::<&str>)?;
            let kept = super::locked_flags(&target)?;
            let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOSUID | kept;
            if !path.starts_with("/dev") {
                flags |= MsFlags::MS_NODEV;
            }
            if !writable {
                flags |= MsFlags::MS_RDONLY;
            }
            mount(None::<&str>, &target, None::<&str>, flags, None::<&str>)
        })
    }
}

type Opened = Vec<(PathBuf, std::os::fd::OwnedFd)>;

/// Opens the folders that are to be shown, under the paths that they really have.
fn open_all(folders: &[PathBuf]) -> Result<Opened, Failure> {
    folders
        .iter()
        .map(|folder| {
            let what = format!("open `{}`", folder.display());
            let real = fs::canonicalize(folder).map_err(|error| failure(&what, &error))?;
            let handle = super::root::open_folder(&real)?;
            Ok((real, handle))
        })
        .collect()
}

fn tmpfs(path: &Path, options: &str) -> Result<(), Failure> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    step("mount a tmpfs", || mount(Some("epk"), path, Some("tmpfs"), flags, Some(options)))
}

fn make_parents(path: &Path) -> Result<(), Failure> {
    path.parent().map_or(Ok(()), make_folder)
}

/// Makes a folder and those that lead to it; one that is there is as good.
fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|error| failure(&format!("make `{}`", path.display()), &error))
}

fn step(what: &str, action: impl FnOnce() -> nix::Result<()>) -> Result<(), Failure> {
    action().map_err(|errno| failure(what, &errno.into()))
}

fn failure(step: &str, error: &io::Error) -> Failure {
    Failure::launch(format!("cannot confine the program: {step}: {error}"))
}
