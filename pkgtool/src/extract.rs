//! Writing a package's tree to disk.
//!
//! Everything is created relative to folder descriptors, one component at a time, exclusively
//! and without following links, in a folder that nobody else can enter. So neither a package nor
//! another process can make a write land elsewhere. The finished tree is renamed into place.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use epk_format::Package;
use epk_format::package::{Kind, Node, NodeId, Scratch, Xattr};
use epk_format::path;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{linkat, symlinkat};
use rustix::fs::{Timespec, Timestamps, XattrFlags, futimens, utimensat};

use crate::commands::cat::Broken;
use crate::exit::Failure;
use crate::select::Visit;
use crate::signals::Deferred;

/// A private folder beside the target, removed unless it is published.
pub(crate) struct Staging {
    target: PathBuf,
    folder: tempfile::TempDir,
}

impl Staging {
    pub(crate) fn new(target: &Path) -> Result<Self, Failure> {
        match std::fs::read_dir(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failure(target, &error)),
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(Failure::refused(format!("`{}` is not empty", target.display()))
                        .hint(
                            "name a folder that doesn't exist: it is made, complete or not at all",
                        ));
                }
            }
        }
        // A relative name of one component has the parent "", which means the current folder.
        let parent = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let folder = tempfile::Builder::new()
            .prefix(".epk-extract-")
            // Without this the umask decides who may look into half a tree.
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(|error| failure(parent, &error))?;
        Ok(Self { target: target.to_owned(), folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Renames the folder to the target, which replaces an empty one in one step (rename(2)).
    pub(crate) fn publish(self) -> Result<(), Failure> {
        std::fs::rename(self.folder.path(), &self.target)
            .map_err(|error| failure(&self.target, &error))?;
        // The name is gone: nothing is left to remove.
        let _ = self.folder.keep();
        Ok(())
    }
}

/// Writes nodes as a walk brings them, parents first.
pub(crate) struct Writer<'p> {
    package: &'p Package<File>,
    file: &'p Path,
    /// The folders from the root to the one written to last, with the names that lead there.
    open: Vec<(OsString, OwnedFd)>,
    /// Modes and times of folders, set when nothing more is written into them.
    folders: Vec<(Vec<u8>, Node)>,
    /// The first path of each node that has several.
    linked: HashMap<NodeId, Vec<u8>>,
    scratch: Scratch,
    signals: &'p Deferred,
    /// The bits of modes that are kept.
    modes: u32,
}

impl<'p> Writer<'p> {
    pub(crate) fn new(
        package: &'p Package<File>,
        file: &'p Path,
        root: &Path,
        signals: &'p Deferred,
    ) -> Result<Self, Failure> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(root, flags, Mode::empty())
            .map_err(|errno| failure(root, &errno.into()))?;
        Ok(Self {
            package,
            file,
            open: vec![(OsString::new(), fd)],
            folders: Vec::new(),
            linked: HashMap::new(),
            scratch: Scratch::default(),
            signals,
            modes: 0o7777,
        })
    }

    /// Lets nobody write what is written.
    #[must_use]
    pub(crate) fn read_only(mut self) -> Self {
        self.modes = 0o7555;
        self
    }

    pub(crate) fn write(&mut self, visit: &Visit<'_>) -> Result<(), Failure> {
        let at = |error: &io::Error| {
            let inside = path::display(visit.path);
            Failure::environment(format!("cannot write `/{inside}`: {error}"))
        };
        let (parent, name) = match visit.path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => visit.path.split_at(slash),
            None => (&[][..], visit.path),
        };
        let name = OsStr::from_bytes(name.strip_prefix(b"/").unwrap_or(name));
        self.signals.check().map_err(|error| at(&error))?;
        self.enter(parent).map_err(|error| at(&error))?;
        let folder = self.folder();
        if visit.node.kind != Kind::Folder && visit.node.links > 1 {
            match self.linked.get(&visit.node.id) {
                Some(first) => {
                    // Relative to the root, through folders that were made here.
                    let first = OsStr::from_bytes(first);
                    return linkat(self.root(), first, folder, name, AtFlags::empty())
                        .map_err(|errno| at(&errno.into()));
                }
                None => self.linked.insert(visit.node.id, visit.path.to_vec()),
            };
        }
        let folder = self.folder();
        match visit.node.kind {
            Kind::Folder => {
                mkdirat(folder, name, Mode::S_IRWXU).map_err(|errno| at(&errno.into()))?;
                self.folders.push((visit.path.to_vec(), visit.node));
            }
            Kind::Link => {
                let target = self
                    .package
                    .link_target(visit.node.id)
                    .map_err(|error| Failure::package(self.file, &error))?;
                symlinkat(OsStr::from_bytes(&target), folder, name)
                    .map_err(|errno| at(&errno.into()))?;
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                utimensat(folder, name, &times(&visit.node), flags)
                    .map_err(|errno| at(&errno.into()))?;
            }
            Kind::File => {
                let flags = OFlag::O_CREAT
                    | OFlag::O_EXCL
                    | OFlag::O_WRONLY
                    | OFlag::O_LARGEFILE
                    | OFlag::O_NOFOLLOW
                    | OFlag::O_CLOEXEC;
                let fd = openat(folder, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
                    .map_err(|errno| at(&errno.into()))?;
                let mut out = File::from(fd);
                self.package
                    .read(visit.node.id, 0..u64::MAX, &mut self.scratch, |bytes| {
                        self.signals.check()?;
                        Ok(io::Write::write_all(&mut out, bytes)?)
                    })
                    .map_err(|error| match error {
                        Broken::Package(error) => Failure::package(self.file, &error),
                        Broken::Output(error) => at(&error),
                    })?;
                let attributes = self.attributes(&visit.node)?;
                finish(&out, &visit.node, &attributes, self.modes).map_err(|error| at(&error))?;
            }
        }
        Ok(())
    }

    /// Sets the folders' modes and times, deepest first.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let root =
            self.package.node(NodeId::ROOT).map_err(|error| Failure::package(self.file, &error))?;
        let mut folders = std::mem::take(&mut self.folders);
        folders.insert(0, (Vec::new(), root));
        for (path, node) in folders.iter().rev() {
            let attributes = self.attributes(node)?;
            let modes = self.modes;
            let finished =
                self.enter(path).and_then(|()| finish(self.folder(), node, &attributes, modes));
            finished.map_err(|error| {
                let inside = path::display(path);
                Failure::environment(format!("cannot finish `/{inside}`: {error}"))
            })?;
        }
        Ok(())
    }

    fn attributes(&self, node: &Node) -> Result<Vec<Xattr>, Failure> {
        self.package.xattrs(node.id).map_err(|error| Failure::package(self.file, &error))
    }

    /// Opens the folder at `path`, reusing what is open on the way, making what is missing: a
    /// selection may begin below folders that nobody selected.
    fn enter(&mut self, path: &[u8]) -> io::Result<()> {
        let names: Vec<&[u8]> = match path {
            [] => Vec::new(),
            path => path::split(path).collect(),
        };
        let shared = self
            .open
            .iter()
            .skip(1)
            .zip(&names)
            .take_while(|((open, _), name)| open.as_bytes() == **name)
            .count();
        self.open.truncate(shared + 1);
        for name in names.into_iter().skip(shared) {
            let name = OsStr::from_bytes(name);
            let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let parent = self.folder();
            let fd = match openat(parent, name, flags, Mode::empty()) {
                Err(nix::Error::ENOENT) => {
                    mkdirat(parent, name, Mode::from_bits_truncate(0o755))?;
                    openat(parent, name, flags, Mode::empty())?
                }
                other => other?,
            };
            self.open.push((OsString::from_vec(name.as_bytes().to_vec()), fd));
        }
        Ok(())
    }

    fn root(&self) -> &OwnedFd {
        &self.open[0].1
    }

    fn folder(&self) -> &OwnedFd {
        // The root is opened first and never left.
        &self.open[self.open.len() - 1].1
    }
}

/// Sets what a file or folder has besides its content. The mode comes last: it may forbid the
/// rest.
fn finish(
    fd: &impl std::os::fd::AsFd,
    node: &Node,
    attributes: &[Xattr],
    modes: u32,
) -> io::Result<()> {
    for (name, value) in attributes {
        let set = rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty());
        set.map_err(|errno| {
            let name = path::display(name);
            io::Error::other(format!("attribute `{name}`: {}", io::Error::from(errno)))
        })?;
    }
    futimens(fd, &times(node))?;
    fchmod(fd.as_fd(), Mode::from_bits_truncate(node.mode & modes))?;
    Ok(())
}

/// The time of last change, for both. Not in the types of the C library, whose seconds are too
/// narrow on x86-32.
fn times(node: &Node) -> Timestamps {
    let nanoseconds = node.modified.nanoseconds.into();
    let time = Timespec { tv_sec: node.modified.seconds, tv_nsec: nanoseconds };
    Timestamps { last_access: time, last_modification: time }
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!("`{}`: {error}", path.display()))
}
