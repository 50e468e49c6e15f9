//! The application's view, built as its plan says.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;

use crate::exit::Failure;
use crate::isolation::{Mount, Namespace, PACKAGE, Plan};

use super::root::{self, OLD, Restriction};
use super::step::{Refused, make_folder, make_parents, step};

/// Where the layer over a writable package is made.
const LAYER: &str = "/.epk-layer";

/// Replaces this process's root, and leaves the host's namespaces, but for that of processes,
/// which a process can't leave itself. Afterwards `/package` is the host's folder `package`,
/// read-only, or an empty one to mount on. [`seal`] must follow before anybody else enters: the old root is there until then.
pub(crate) fn enter(plan: &Plan, package: Option<&Path>) -> Result<(), Failure> {
    build(plan, package).map_err(|refused| told(&refused))
}

fn build(plan: &Plan, package: Option<&Path>) -> Result<(), Refused> {
    let others = plan.namespaces.iter().filter(|&&one| one != Namespace::Process);
    let others =
        others.map(|&one| super::flag(one)).fold(CloneFlags::empty(), |all, one| all | one);
    root::leave(others, MsFlags::MS_SLAVE)?;
    // Opened before anything covers it, and in this namespace, else it could not be bound.
    let sources = plan.mounts.iter().map(open_source).collect::<Result<Vec<_>, _>>()?;
    let package = package.map(root::open_source).transpose()?;
    root::replace()?;
    for (mount, source) in plan.mounts.iter().zip(sources) {
        place(mount, source, plan)?;
    }
    match package {
        Some(package) => {
            root::bind_opened(package.as_fd(), Path::new(PACKAGE), Restriction::ReadOnly)
        }
        None => Ok(()),
    }
}

/// Lets the old root go, and makes the new one read-only, when everything is mounted.
pub(crate) fn seal() -> Result<(), Failure> {
    root::seal().map_err(|refused| told(&refused))
}

fn told(refused: &Refused) -> Failure {
    refused.launch("cannot set up the application's view")
}

fn open_source(mount: &Mount) -> Result<Option<OwnedFd>, Refused> {
    let Mount::Host { source, optional, .. } = mount else { return Ok(None) };
    match root::open_source(source) {
        Err(_) if *optional => Ok(None),
        opened => opened.map(Some),
    }
}

fn place(mount: &Mount, source: Option<OwnedFd>, plan: &Plan) -> Result<(), Refused> {
    match mount {
        Mount::HostRoot => copy_root(plan),
        Mount::Runtime { path } => root::show(path, Restriction::ReadOnly),
        Mount::Device { path } => root::show(path, Restriction::Device),
        Mount::Host { target, writable, .. } => {
            let Some(source) = source else { return Ok(()) };
            let how = match plan.mounts.contains(&Mount::HostRoot) {
                // The same as the host's folders have beside it.
                true => Restriction::None,
                false if *writable => Restriction::Writable,
                false => Restriction::ReadOnly,
            };
            root::bind_opened(source.as_fd(), target, how)
        }
        Mount::Empty { target, mode } => {
            make_folder(target, 0o755)?;
            root::tmpfs(target, &format!("mode={mode:o}"))
        }
        Mount::Folder { target, mode } => {
            make_parents(target)?;
            make_folder(target, *mode)
        }
        Mount::Link { target, text } => {
            make_parents(target)?;
            let failed = |error| Refused::new(format!("make `{}`", target.display()), error);
            symlink(text, target).map_err(failed)
        }
        Mount::Processes { or_hosts } => mount_processes(*or_hosts),
        Mount::Terminals => mount_terminals(),
        Mount::Package { .. } => make_folder(Path::new(PACKAGE), 0o755),
    }
}

fn copy_root(plan: &Plan) -> Result<(), Refused> {
    let placed = |name: &OsStr| {
        plan.mounts
            .iter()
            .filter_map(Mount::target)
            .any(|target| target.strip_prefix("/").is_ok_and(|rest| rest.as_os_str() == name))
    };
    let failed = |error| Refused::new("list the old root", error);
    for entry in fs::read_dir(OLD).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if placed(&name) || OsStr::new(OLD.trim_start_matches('/')) == name {
            continue;
        }
        match copy_entry(&entry, &name) {
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|error| {
                Refused::new(format!("show the host's `/{}`", name.display()), error)
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
        return symlink(fs::read_link(source)?, target);
    }
    if kind.is_dir() {
        fs::DirBuilder::new().mode(0o755).create(&target)?;
    } else {
        drop(fs::File::create_new(&target)?);
    }
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    Ok(mount(Some(&source), &target, None::<&str>, flags, None::<&str>)?)
}

/// The processes of this namespace. The kernel refuses that where a part of the `/proc` outside
/// is covered, as containers do: what is there covered would be seen.
fn mount_processes(or_hosts: bool) -> Result<(), Refused> {
    make_folder(Path::new("/proc"), 0o755)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>) {
        Err(Errno::EPERM | Errno::EACCES) if or_hosts => {
            root::bind(&root::in_old(Path::new("/proc")), Path::new("/proc"), Restriction::None)
        }
        mounted => step("mount `/proc`", || mounted),
    }
}

fn mount_terminals() -> Result<(), Refused> {
    let target = Path::new("/dev/pts");
    make_folder(target, 0o755)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let options = "newinstance,ptmxmode=0666,mode=620";
    step("mount `/dev/pts`", || mount(Some("devpts"), target, Some("devpts"), flags, Some(options)))
}

/// Puts a layer over the package that takes what is written, and is gone with the view. The
/// package must be mounted, and its server about to answer.
pub(crate) fn make_package_writable() -> Result<(), Failure> {
    cover().map_err(|refused| {
        refused
            .launch("cannot make the package writable")
            .hint("this needs the kernel's overlayfs, of version 5.11 or later")
    })
}

fn cover() -> Result<(), Refused> {
    let layer = Path::new(LAYER);
    make_folder(layer, 0o700)?;
    root::tmpfs(layer, "mode=700")?;
    for name in ["upper", "work"] {
        make_folder(&layer.join(name), 0o755)?;
    }
    // Its notes on files go where a user namespace may write them, too.
    let options =
        format!("lowerdir={PACKAGE},upperdir={LAYER}/upper,workdir={LAYER}/work,userxattr");
    step("mount an overlay", || {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("epk"), PACKAGE, Some("overlay"), flags, Some(options.as_str()))
    })?;
    step("let the layer go", || umount2(layer, MntFlags::MNT_DETACH))?;
    fs::remove_dir(layer).map_err(|error| Refused::new("remove the layer's folder", error))
}
