//! Serves a folder from memory, with all that epkfs asks of the kernel and without anything that
//! epkfs does: no disk, no hash, no inflating, no table but one. What a program takes here, it takes
//! with any FUSE server of this machine; how much faster ours could become at most is the rest.
//!
//!   floor FOLDER MOUNTPOINT

use std::collections::HashMap;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use epkfs::mount::{self, MountOptions};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyOpen, ReplyXattr, Request, Session, SessionACL,
};

#[allow(dead_code)]
#[path = "../../../../epkfs/src/linger.rs"]
mod linger;

use linger::{Linger, Serving};

const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);
const GENERATION: Generation = Generation(0);

/// As in epkfs.
const WANTED: [InitFlags; 8] = [
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_NO_OPEN_SUPPORT,
    InitFlags::FUSE_NO_OPENDIR_SUPPORT,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
];

struct Node {
    attr: FileAttr,
    /// A file's content or a link's text.
    bytes: Vec<u8>,
    names: Vec<(OsString, usize)>,
    by_name: HashMap<OsString, usize>,
}

struct Floor {
    nodes: Vec<Node>,
    linger: Option<Linger>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [folder, target] = &words[..] else { return Err("usage: floor FOLDER MOUNTPOINT".into()) };
    let mut nodes = Vec::new();
    load(Path::new(folder), &mut nodes)?;
    let device = mount::mount(Path::new(target), &MountOptions::new(folder))?;
    let mut config = fuser::Config::default();
    config.n_threads = Some(epkfs::session::default_threads());
    config.clone_fd = config.n_threads > Some(1);
    let floor = Floor { nodes, linger: Linger::new(&device) };
    Session::from_fd(floor, device, SessionACL::All, config)?.run()?;
    Ok(())
}

/// Reads all that is at a path, and gives its number.
fn load(path: &Path, nodes: &mut Vec<Node>) -> std::io::Result<usize> {
    let found = fs::symlink_metadata(path)?;
    let (number, kind) = (nodes.len(), found.file_type());
    let (kind, bytes) = if kind.is_dir() {
        (FileType::Directory, Vec::new())
    } else if kind.is_symlink() {
        (FileType::Symlink, fs::read_link(path)?.as_os_str().as_bytes().to_vec())
    } else {
        (FileType::RegularFile, fs::read(path)?)
    };
    let attr = FileAttr {
        ino: INodeNo(number as u64 + 1),
        size: bytes.len() as u64,
        blocks: (bytes.len() as u64).div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: (found.mode() & 0o777) as u16,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    };
    nodes.push(Node { attr, bytes, names: Vec::new(), by_name: HashMap::new() });
    if kind == FileType::Directory {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            names.push((entry.file_name(), load(&entry.path(), nodes)?));
        }
        names.sort();
        nodes[number].by_name = names.iter().cloned().collect();
        nodes[number].names = names;
    }
    Ok(number)
}

impl Floor {
    fn node(&self, inode: INodeNo) -> Result<&Node, Errno> {
        self.nodes.get((inode.0 as usize).wrapping_sub(1)).ok_or(Errno::ENOENT)
    }

    fn serve(&self, request: &Request) -> Option<Serving<'_>> {
        self.linger.as_ref().map(|linger| linger.serve(request.pid()))
    }

    /// Names of a folder from a position on, the dots left out: nobody misses them here.
    fn names(&self, inode: INodeNo, from: u64) -> impl Iterator<Item = (u64, &OsStr, &FileAttr)> {
        let names = self.node(inode).map_or(&[][..], |node| &node.names);
        (1..).zip(names).skip(from as usize).map(|(next, (name, number))| {
            (next, name.as_os_str(), &self.nodes[*number].attr)
        })
    }
}

impl Filesystem for Floor {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for flag in WANTED {
            let _unsupported = config.add_capabilities(flag);
        }
        let _previous = config.set_max_background(64);
        let _previous = config.set_max_write(1 << 20);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _serving = self.serve(request);
        let found = self.node(parent).ok().and_then(|node| node.by_name.get(name));
        match found {
            Some(&number) => reply.entry(&FOR_EVER, &self.nodes[number].attr, GENERATION),
            None => {
                let attr = FileAttr { ino: INodeNo(0), ..self.nodes[0].attr };
                reply.entry(&FOR_EVER, &attr, GENERATION);
            }
        }
    }

    fn getattr(&self, request: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let _serving = self.serve(request);
        match self.node(inode) {
            Ok(node) => reply.attr(&FOR_EVER, &node.attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, request: &Request, inode: INodeNo, reply: ReplyData) {
        let _serving = self.serve(request);
        reply.data(self.node(inode).map_or(b"", |node| &node.bytes));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        request: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _serving = self.serve(request);
        let bytes = self.node(inode).map_or(&[][..], |node| &node.bytes);
        let bytes = bytes.get(offset as usize..).unwrap_or_default();
        reply.data(&bytes[..bytes.len().min(size as usize)]);
    }

    fn readdir(
        &self,
        request: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let _serving = self.serve(request);
        for (next, name, attr) in self.names(inode, offset) {
            if reply.add(attr.ino, next, attr.kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        request: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let _serving = self.serve(request);
        for (next, name, attr) in self.names(inode, offset) {
            if reply.add(attr.ino, next, name, &FOR_EVER, attr, GENERATION) {
                break;
            }
        }
        reply.ok();
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        request: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        let _serving = self.serve(request);
        reply.error(Errno::ENOTTY);
    }
}
