//! The walk: every path below a folder becomes an entry of the plan, or a finding.
//!
//! Folders are opened relative to their parents and never through links, so nobody who renames
//! things meanwhile makes the walk leave the folder. What is found is sorted by bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use epk_format::path::display;
use epk_format::time::Timestamp;
use epk_format::write::{ContentId, Format, PathProblem, PlanEntry, Xattr, check_path};
use nix::dir::Dir;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use rustix::fs::{AtFlags, FileType};

use super::contents::{FOLDER, Found, Identity, READ, Via};
use super::links::{self, Resolved};
use super::losses::{Finding, Kind, Lost, Policy, Property, Symlinks, Unpackable};
use super::times::{BadTime, Times};
use super::xattrs;
use crate::exit::{Exit, Failure};

/// Bits of a file's mode beyond its permissions: set-user-id, set-group-id, sticky.
const SPECIAL_BITS: u32 = 0o7000;

/// What is walked, and how.
pub(crate) struct Options<'a> {
    /// The folder, for messages.
    pub(crate) folder: &'a Path,
    /// A path that gets no entry: the manifest's.
    pub(crate) leave_out: Option<&'a [u8]>,
    /// Device and inode of the folder where the package will lie: it must not be in the package.
    pub(crate) output_folder: (u64, u64),
    /// What the package will be: it decides what can be packed as it is.
    pub(crate) format: Format,
    pub(crate) policy: Policy,
    pub(crate) times: Times,
}

/// What the walk found.
pub(crate) struct Tree {
    pub(crate) entries: Vec<PlanEntry>,
    /// By [`ContentId`].
    pub(crate) files: Vec<Found>,
    /// What forbids packing, in path order.
    pub(crate) findings: Vec<Finding>,
    pub(crate) lost: Lost,
}

/// Walks the folder open at `root`.
pub(crate) fn walk(root: &OwnedFd, options: &Options<'_>) -> Result<Tree, Failure> {
    let canonical = options.folder.canonicalize().map_err(|error| {
        Failure::system(format!("cannot resolve `{}`", options.folder.display()), &error)
    })?;
    let mut walk = Walk {
        options,
        root,
        canonical,
        chain: Vec::new(),
        names: HashMap::new(),
        tree: Tree {
            entries: Vec::new(),
            files: Vec::new(),
            findings: Vec::new(),
            lost: Lost::default(),
        },
    };
    let folder = root.try_clone().map_err(|error| walk.failed("cannot open", &[], &error))?;
    let (folder, metadata) = walk.metadata(&[], File::from(folder))?;
    walk.check_output(&metadata)?;
    walk.chain.push((metadata.dev(), metadata.ino()));
    if options.format == Format::V2 {
        let entry = walk.folder_entry(&folder, &metadata, &[])?;
        walk.tree.entries.push(entry);
    }
    walk.children(root, &[], Via::Folders)?;
    walk.tree.findings.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(walk.tree)
}

struct Walk<'a> {
    options: &'a Options<'a>,
    root: &'a OwnedFd,
    canonical: PathBuf,
    /// Device and inode of every folder from the root to where the walk is.
    chain: Vec<(u64, u64)>,
    /// The contents of files with several names, by device, inode and way.
    names: HashMap<(u64, u64, Via), ContentId>,
    tree: Tree,
}

impl Walk<'_> {
    /// Visits what is in the folder at `path`. As deep as the longest path allows.
    fn children(&mut self, folder: &OwnedFd, path: &[u8], via: Via) -> Result<(), Failure> {
        for name in self.names_in(folder, path)? {
            let mut child = path.to_vec();
            if !child.is_empty() {
                child.push(b'/');
            }
            child.extend(&name);
            self.visit(folder, &name, &child, via)?;
        }
        Ok(())
    }

    fn names_in(&self, folder: &OwnedFd, path: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        let failed = |error: &dyn std::error::Error| self.failed("cannot list", path, error);
        let copy = folder.try_clone().map_err(|error| failed(&error))?;
        let mut names = Vec::new();
        for entry in Dir::from_fd(copy).map_err(|error| failed(&error))?.iter() {
            let name = entry.map_err(|error| failed(&error))?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn visit(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        path: &[u8],
        via: Via,
    ) -> Result<(), Failure> {
        if self.options.leave_out == Some(path) {
            return Ok(());
        }
        if let Err(problem) = check_path(self.options.format, path) {
            self.bad_name(path, &problem);
            return Ok(());
        }
        // Not that of the C library, which has no large files and late times on x86-32.
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.failed("cannot look at", path, &error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.folder(self.open(folder, name, path, FOLDER)?, path, via),
            FileType::RegularFile => {
                let flags = READ | OFlag::O_NOFOLLOW;
                self.file(self.open(folder, name, path, flags)?, path, via)
            }
            FileType::Symlink => {
                let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
                let modified = (stat.st_mtime, nanoseconds);
                self.link(folder, name, path, via, modified)
            }
            other => {
                self.special(path, special_name(other));
                Ok(())
            }
        }
    }

    fn folder(&mut self, folder: OwnedFd, path: &[u8], via: Via) -> Result<(), Failure> {
        let (folder, metadata) = self.metadata(path, File::from(folder))?;
        self.check_output(&metadata)?;
        let identity = (metadata.dev(), metadata.ino());
        if self.chain.contains(&identity) {
            // Only links or bind mounts lead back up.
            self.find(Kind::Link, path, "leads back to a folder that it lies in".into());
            return Ok(());
        }
        let entry = self.folder_entry(&folder, &metadata, path)?;
        self.tree.entries.push(entry);
        self.chain.push(identity);
        self.children(&folder.into(), path, via)?;
        self.chain.pop();
        Ok(())
    }

    fn folder_entry(
        &mut self,
        folder: &File,
        metadata: &Metadata,
        path: &[u8],
    ) -> Result<PlanEntry, Failure> {
        let mut entry = PlanEntry::folder(path);
        match self.options.format {
            Format::V1 => {
                if !matches!(metadata.mode() & 0o7777, 0o755 | 0o777) {
                    self.tree.lost.folder_modes += 1;
                }
            }
            Format::V2 => {
                entry.permissions = self.permissions(metadata, path);
                entry.modified = self.time(metadata, path);
            }
        }
        entry.xattrs = self.xattrs(folder, path)?;
        Ok(entry)
    }

    fn file(&mut self, file: OwnedFd, path: &[u8], via: Via) -> Result<(), Failure> {
        let (file, metadata) = self.metadata(path, File::from(file))?;
        if !metadata.is_file() {
            return Err(self.failed("cannot pack", path, &std::io::Error::other("it changed")));
        }
        let permissions = self.permissions(&metadata, path);
        let xattrs = self.xattrs(&file, path)?;
        let modified = self.time(&metadata, path);
        let id = self.content(&metadata, via);
        let entry = PlanEntry::file(path, permissions, id, metadata.size());
        self.tree.entries.push(PlanEntry { modified, xattrs, ..entry });
        Ok(())
    }

    /// The number of a file's content: that of its earlier names if the format has hard links.
    fn content(&mut self, metadata: &Metadata, via: Via) -> ContentId {
        let next = ContentId(self.tree.files.len());
        if metadata.nlink() > 1 {
            // A name that links lead to is opened in another way than one in its folder.
            match self.names.entry((metadata.dev(), metadata.ino(), via)) {
                Entry::Vacant(place) => {
                    place.insert(next);
                }
                Entry::Occupied(first) if self.options.format == Format::V2 => return *first.get(),
                Entry::Occupied(_) => self.tree.lost.hard_links += 1,
            }
        }
        self.tree.files.push(Found { identity: Identity::of(metadata), via });
        next
    }

    fn permissions(&mut self, metadata: &Metadata, path: &[u8]) -> u32 {
        let bits = metadata.mode() & SPECIAL_BITS;
        if bits != 0 {
            match self.options.policy.mode_bits {
                Property::Drop => self.tree.lost.mode_bits_dropped += 1,
                Property::Error => {
                    let what = format!("permission bits {bits:04o} ({})", bit_names(bits));
                    self.find(Kind::ModeBits, path, what);
                }
            }
        }
        metadata.permissions().mode() & 0o777
    }

    fn time(&mut self, metadata: &Metadata, path: &[u8]) -> Option<Timestamp> {
        self.time_of(metadata.mtime(), metadata.mtime_nsec(), path)
    }

    fn time_of(&mut self, seconds: i64, nanoseconds: i64, path: &[u8]) -> Option<Timestamp> {
        let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
        let time = Timestamp { seconds, nanoseconds };
        self.options.times.of(self.options.format, time).unwrap_or_else(|BadTime| {
            let what = format!("changed {seconds} seconds after 1970");
            self.find_what_2_holds(Kind::Time, path, what);
            None
        })
    }

    fn link(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        path: &[u8],
        via: Via,
        modified: (i64, i64),
    ) -> Result<(), Failure> {
        let text = readlinkat(folder, name)
            .map_err(|error| self.failed("cannot read the link", path, &error))?;
        let shown = format!("symbolic link to `{}`", display(text.as_bytes()));
        match self.options.policy.symlinks {
            Symlinks::Keep if self.options.format == Format::V2 => {
                let modified = self.time_of(modified.0, modified.1, path);
                let entry = PlanEntry::symlink(path, text.as_bytes());
                self.tree.entries.push(PlanEntry { modified, ..entry });
            }
            Symlinks::Keep => self.find_what_2_holds(Kind::Symlink, path, shown),
            Symlinks::Error => self.find(Kind::Symlink, path, shown),
            Symlinks::Skip => self.tree.lost.symlinks_skipped += 1,
            Symlinks::Follow | Symlinks::Alias => return self.follow(path, via, &shown),
        }
        Ok(())
    }

    fn follow(&mut self, path: &[u8], via: Via, shown: &str) -> Result<(), Failure> {
        // The kernel walks the path from the root anew: it meets the same links on the way.
        let outside = self.options.policy.follow_outside;
        let resolved = links::resolve(self.root, path, outside)
            .map_err(|error| self.failed("cannot follow the link", path, &error))?;
        let target = match resolved {
            Resolved::Target(target) => target,
            Resolved::Outside => {
                self.find(Kind::OutsideLink, path, format!("{shown}, out of the folder"));
                return Ok(());
            }
            Resolved::Broken(how) => {
                self.find(Kind::Link, path, format!("{shown}, which {how}"));
                return Ok(());
            }
        };
        let (target, metadata) = self.metadata(path, File::from(target))?;
        let target = OwnedFd::from(target);
        let kind = metadata.file_type();
        if metadata.is_dir() && self.options.policy.symlinks == Symlinks::Alias {
            let beneath = links::path_beneath(&self.canonical, &target)
                .map_err(|error| self.failed("cannot follow the link", path, &error))?;
            if let Some(beneath) = beneath {
                let target = [b"/".as_slice(), &beneath].concat();
                self.tree.entries.push(PlanEntry::alias(path, target));
                return Ok(());
            }
        }
        if !metadata.is_dir() && !metadata.is_file() {
            let what = if kind.is_fifo() {
                "pipe"
            } else if kind.is_socket() {
                "socket"
            } else {
                "device"
            };
            self.special(path, &format!("{shown}, a {what}"));
            return Ok(());
        }
        if self.chain.contains(&(metadata.dev(), metadata.ino())) {
            let what = format!("{shown}, a folder that it lies in");
            self.find(Kind::Link, path, what);
            return Ok(());
        }
        self.tree.lost.symlinks_followed += 1;
        let via = if outside { Via::Links } else { via.max(Via::LinksBeneath) };
        let flags = if metadata.is_dir() { FOLDER.difference(OFlag::O_NOFOLLOW) } else { READ };
        let opened = if outside {
            openat(self.root, path, flags, Mode::empty()).map_err(std::io::Error::from)
        } else {
            links::open_beneath(self.root, path, flags)
        };
        let opened = opened.map_err(|error| self.failed("cannot open", path, &error))?;
        if metadata.is_dir() {
            self.folder(opened, path, via)
        } else {
            self.file(opened, path, via)
        }
    }

    fn special(&mut self, path: &[u8], what: &str) {
        match self.options.policy.special {
            Unpackable::Skip => self.tree.lost.special_skipped += 1,
            Unpackable::Error => self.find(Kind::Special, path, what.to_owned()),
        }
    }

    fn bad_name(&mut self, path: &[u8], problem: &PathProblem) {
        match self.options.policy.names {
            Unpackable::Skip => self.tree.lost.names_skipped += 1,
            Unpackable::Error if check_path(Format::V2, path).is_ok() => {
                self.find_what_2_holds(Kind::Name, path, problem.to_string());
            }
            Unpackable::Error => self.find(Kind::Name, path, problem.to_string()),
        }
    }

    /// The attributes that the package will have; those that it can't have are dealt with.
    fn xattrs(&mut self, file: &File, path: &[u8]) -> Result<Vec<Xattr>, Failure> {
        let (kept, names) = xattrs::read(file, self.options.format)
            .map_err(|error| self.failed("cannot read the attributes of", path, &error))?;
        if names.is_empty() {
            return Ok(kept);
        }
        match self.options.policy.xattrs {
            Property::Drop => self.tree.lost.xattrs_dropped += 1,
            Property::Error => {
                let what = format!("extended attributes {}", names.join(", "));
                if names.iter().all(|name| name.starts_with("user.")) {
                    self.find_what_2_holds(Kind::Xattr, path, what);
                } else {
                    self.find(Kind::Xattr, path, what);
                }
            }
        }
        Ok(kept)
    }

    fn check_output(&self, folder: &Metadata) -> Result<(), Failure> {
        if (folder.dev(), folder.ino()) == self.options.output_folder {
            let message = format!(
                "the package would lie inside of `{}`, and the next run would pack it",
                self.options.folder.display()
            );
            return Err(Failure::new(Exit::Usage, message)
                .hint("choose a place outside, like `-o ../app.epk`"));
        }
        Ok(())
    }

    fn open(
        &self,
        folder: impl AsFd,
        name: &[u8],
        path: &[u8],
        flags: OFlag,
    ) -> Result<OwnedFd, Failure> {
        openat(folder, name, flags, Mode::empty())
            .map_err(|error| self.failed("cannot open", path, &error))
    }

    fn metadata(&self, path: &[u8], file: File) -> Result<(File, Metadata), Failure> {
        match file.metadata() {
            Ok(metadata) => Ok((file, metadata)),
            Err(error) => Err(self.failed("cannot look at", path, &error)),
        }
    }

    fn find(&mut self, kind: Kind, path: &[u8], what: String) {
        self.tree.findings.push(Finding { kind, path: path.to_vec(), what, held_by_2: false });
    }

    fn find_what_2_holds(&mut self, kind: Kind, path: &[u8], what: String) {
        self.tree.findings.push(Finding { kind, path: path.to_vec(), what, held_by_2: true });
    }

    fn failed(&self, what: &str, path: &[u8], error: &dyn std::error::Error) -> Failure {
        let folder = display(self.options.folder.as_os_str().as_bytes()).into_owned();
        let separator = if path.is_empty() || folder.ends_with('/') { "" } else { "/" };
        Failure::system(format!("{what} `{folder}{separator}{}`", display(path)), error)
    }
}

fn special_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        _ => "of unknown kind",
    }
}

pub(crate) fn bit_names(bits: u32) -> String {
    let names = [(0o4000, "set-user-id"), (0o2000, "set-group-id"), (0o1000, "sticky")];
    let set: Vec<_> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|&(_, n)| n).collect();
    set.join(", ")
}
