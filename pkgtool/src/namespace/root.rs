//! The new root: the host's top-level folders as they are, and two more that the host doesn't
//! have and the user may not create.
//!
//! A small tmpfs becomes the root (pivot_root(2)); everything in the old one is bound into it,
//! and the old one is let go. Mounts that the host makes later still arrive; nothing that
//! happens here reaches the host.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::{chdir, pivot_root};

use crate::exit::Failure;

/// Where the package is seen.
pub(crate) const PACKAGE: &str = "/package";
/// Where the application's own folder is seen.
pub(crate) const USER_DATA: &str = "/user-data";

/// The old root's name in the new one while things are moved.
const OLD: &str = ".epk-old-root";
/// Folders on which the tmpfs may be mounted for a moment, in this view only.
pub(super) const BASES: [&str; 5] = ["/tmp", "/run", "/var", "/usr", "/mnt"];

/// Replaces this process's root. Afterwards `/package` is the host's folder `package`, read-only,
/// or an empty one to mount on; `/user-data` is the host's folder `user_data`. [`seal`] must follow
/// before anybody else enters: the old root is there until then.
pub(crate) fn enter(user_data: &Path, package: Option<&Path>) -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| failure("unshare(2)", &errno.into()))?;
    step("make mounts private", || remount("/", MsFlags::MS_REC | MsFlags::MS_SLAVE))?;
    // Opened before anything covers it, and in this namespace, else it could not be bound.
    let user_data = open_folder(user_data)?;
    let package = package.map(open_folder).transpose()?;
    let base = base()?;
    step("mount a tmpfs", || {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("epk"), base, Some("tmpfs"), flags, Some("mode=755,size=1m"))
    })?;
    let new = |name: &str| base.join(name.trim_start_matches('/'));
    make_folder(&new(USER_DATA))?;
    step("bind the application's folder", || {
        let source = format!("/proc/self/fd/{}", user_data.as_raw_fd());
        bind(Path::new(&source), &new(USER_DATA))
    })?;
    drop(user_data);
    make_folder(&new(PACKAGE))?;
    if let Some(package) = package {
        step("bind the package", || {
            let source = format!("/proc/self/fd/{}", package.as_raw_fd());
            bind(Path::new(&source), &new(PACKAGE))?;
            let kept = super::locked_flags(&new(PACKAGE))?;
            let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | kept;
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
            mount(None::<&str>, &new(PACKAGE), None::<&str>, flags, None::<&str>)
        })?;
    }
    make_folder(&new(OLD))?;
    step("change the root", || pivot_root(base, &new(OLD)).and_then(|()| chdir("/")))?;
    copy_root(&old_root())
}

/// Lets the old root go, and makes the new one read-only, when everything is mounted.
pub(crate) fn seal() -> Result<(), Failure> {
    let old = old_root();
    step("let the old root go", || umount2(&old, MntFlags::MNT_DETACH))?;
    fs::remove_dir(&old).map_err(|error| failure("remove the old root's folder", &error))?;
    step("make the root read-only", || {
        let flags = MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        remount("/", MsFlags::MS_REMOUNT | flags)
    })
}

/// Where the old root is seen until it is let go.
fn old_root() -> PathBuf {
    Path::new("/").join(OLD)
}

fn copy_root(old: &Path) -> Result<(), Failure> {
    let listing = fs::read_dir(old).map_err(|error| failure("list the old root", &error))?;
    for entry in listing {
        let entry = entry.map_err(|error| failure("list the old root", &error))?;
        let name = entry.file_name();
        if [PACKAGE, USER_DATA, OLD].iter().any(|ours| name == ours.trim_start_matches('/')) {
            continue;
        }
        match copy_entry(&entry, &name) {
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|error| {
                failure(&format!("show the host's `/{}`", name.display()), &error)
            })?,
        }
    }
    Ok(())
}

/// What is bound covers what is made here, so that needs no mode of the host's.
fn copy_entry(entry: &fs::DirEntry, name: &OsStr) -> io::Result<()> {
    let (source, target) = (entry.path(), Path::new("/").join(name));
    let kind = entry.file_type()?;
    if kind.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(source)?, target);
    }
    if kind.is_dir() {
        fs::DirBuilder::new().mode(0o755).create(&target)?;
    } else {
        mknod(&target, SFlag::S_IFREG, Mode::S_IRUSR, 0)?;
    }
    Ok(bind(&source, &target)?)
}

/// With everything mounted below: without, the kernel refuses to uncover what is hidden there.
fn bind(source: &Path, target: &Path) -> nix::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
}

fn remount(target: &str, flags: MsFlags) -> nix::Result<()> {
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
}

fn base() -> Result<&'static Path, Failure> {
    BASES.iter().map(Path::new).find(|path| path.is_dir()).ok_or_else(|| {
        Failure::launch(format!("the host has none of the folders {}", BASES.join(", ")))
    })
}

pub(super) fn open_folder(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty())
        .map_err(|errno| failure(&format!("open `{}`", path.display()), &errno.into()))
}

fn make_folder(path: &PathBuf) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .mode(0o755)
        .create(path)
        .map_err(|error| failure(&format!("make `{}`", path.display()), &error))
}

fn step(what: &str, action: impl FnOnce() -> nix::Result<()>) -> Result<(), Failure> {
    action().map_err(|errno| failure(what, &errno.into()))
}

fn failure(step: &str, error: &io::Error) -> Failure {
    Failure::launch(format!("cannot set up the application's view: {step}: {error}"))
}
