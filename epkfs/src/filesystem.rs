//! What the kernel asks and what it is told.
//!
//! An image never changes, so every answer may be kept for ever: names, names that don't exist,
//! attributes, links' texts, folders' contents and pages. The kernel asks each thing once, until
//! it needs the memory for something else.

use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use epk_format::package::{Kind, Node, NodeId, Xattr};
use epk_format::source::Source;
use epk_format::{Format, Package, limits};
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use nix::libc;

use crate::attr::{self, Owner};
use crate::attributes;
use crate::confine::Gate;
use crate::control::{Question, Reporter};
use crate::linger::{Linger, Serving};
use crate::profile::Recorder;
use crate::read::{Reader, Wanted};
use crate::stats::Counters;
use crate::tally::Tally;
use crate::{inode, readdir};

/// How long the kernel may believe an answer: for ever, as far as it can count.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Inode numbers are never used again for something else.
const GENERATION: Generation = Generation(0);

/// What we ask of the kernel, each if it knows it.
const WANTED: [InitFlags; 10] = [
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_NO_OPEN_SUPPORT,
    InitFlags::FUSE_NO_OPENDIR_SUPPORT,
    InitFlags::FUSE_EXPORT_SUPPORT,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    InitFlags::FUSE_HAS_IOCTL_DIR,
];

/// Requests that the kernel may have under way for read-ahead.
const MAX_BACKGROUND: u16 = 64;

/// Bounds answers to requests for names as well: 256 pages. Those to reads the mount bounds.
const MAX_REQUEST: u32 = 1 << 20;

/// A package as the kernel sees it.
pub(crate) struct EpkFilesystem<S> {
    reader: Reader<S>,
    owner: Owner,
    counters: Counters,
    reads: Tally,
    reporter: Reporter,
    recorder: Option<Recorder>,
    /// Whether the kernel can do without asking to open files, and folders.
    no_open: bool,
    no_opendir: bool,
    linger: Option<Linger>,
    gate: Option<Gate>,
}

impl<S: Source> EpkFilesystem<S> {
    pub(crate) fn new(
        reader: Reader<S>,
        owner: Owner,
        reporter: Reporter,
        recorder: Option<Recorder>,
        linger: Option<Linger>,
        gate: Option<Gate>,
    ) -> Self {
        let (counters, reads) = (Counters::default(), Tally::new(reader.package().node_count()));
        Self {
            reader,
            owner,
            counters,
            reads,
            reporter,
            recorder,
            no_open: false,
            no_opendir: false,
            linger,
            gate,
        }
    }

    fn package(&self) -> &Package<S> {
        self.reader.package()
    }

    /// To be called before the package is looked at. At the first request, and no earlier, all
    /// queues of the mount are open.
    fn confine(&self) {
        if let Some(gate) = &self.gate {
            gate.close_or_end();
        }
    }

    fn node(&self, inode: INodeNo) -> Result<Node, Errno> {
        let id = inode::node(inode).ok_or(Errno::ENOENT)?;
        self.package().node(id).map_err(|error| self.reader.damage().metadata(&error))
    }

    fn folder(&self, inode: INodeNo) -> Result<NodeId, Errno> {
        let node = self.node(inode)?;
        if node.kind == Kind::Folder { Ok(node.id) } else { Err(Errno::ENOTDIR) }
    }

    fn child(&self, parent: INodeNo, name: &[u8]) -> Result<Option<Node>, Errno> {
        let to_errno = |error| self.reader.damage().metadata(&error);
        if name.len() > limits::COMPONENT_BYTES {
            return Err(Errno::ENAMETOOLONG);
        }
        let id = match name {
            // For NFS servers: a file handle's folder is looked up by these.
            b"." => Some(self.node(parent)?.id),
            b".." => {
                let id = self.node(parent)?.id;
                Some(self.package().parent(id).map_err(to_errno)?)
            }
            _ => self.package().lookup(self.folder(parent)?, name).map_err(to_errno)?,
        };
        id.map(|id| self.package().node(id).map_err(to_errno)).transpose()
    }

    /// The extended attributes of a node that the package stores.
    fn xattrs(&self, inode: INodeNo) -> Result<Vec<Xattr>, Errno> {
        let id = inode::node(inode).ok_or(Errno::ENOENT)?;
        self.package().xattrs(id).map_err(|error| self.reader.damage().metadata(&error))
    }

    /// An extended attribute of a node: one of ours, or a stored one.
    fn xattr(&self, inode: INodeNo, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let id = inode::node(inode).ok_or(Errno::ENOENT)?;
        let ours = attributes::value(self.package(), id, name)
            .map_err(|error| self.reader.damage().metadata(&error))?;
        if let Some(value) = ours {
            return Ok(value);
        }
        let stored = if self.package().has_xattrs() { self.xattrs(inode)? } else { Vec::new() };
        let found = stored.into_iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value).ok_or(Errno::ENODATA)
    }

    /// The answer to a question about the mount itself.
    fn account(&self, question: Question, request: &Request) -> Result<Vec<u8>, Errno> {
        let timing = self.reader.timing();
        let cache = (self.reader.cache().bytes(), self.reader.cache().capacity());
        match question {
            Question::Status => Ok(self.reporter.report(cache, self.counters.read()).to_vec()),
            Question::Details => {
                Ok(self.reporter.details(cache, self.counters.read(), timing, &self.reads).to_vec())
            }
            // Whose the mount is may say how closely it is watched.
            Question::TimeRequests(_) if ![0, self.owner.uid].contains(&request.uid()) => {
                Err(Errno::EPERM)
            }
            Question::TimeRequests(on) => {
                timing.time_requests(on);
                Ok(Vec::new())
            }
        }
    }

    fn failed(&self, errno: Errno) -> Errno {
        if errno.code() == Errno::EIO.code() {
            self.counters.errors.one();
        }
        errno
    }

    /// To be held while a request is answered.
    fn serve(&self, request: &Request) -> Option<Serving<'_>> {
        self.confine();
        self.linger.as_ref().map(|linger| linger.serve(request.pid()))
    }

    fn refused(&self) -> Errno {
        self.counters.write.one();
        Errno::EROFS
    }
}

impl<S: Source + 'static> Filesystem for EpkFilesystem<S> {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for flag in WANTED {
            // Older kernels lack some, and are served without.
            let _unsupported = config.add_capabilities(flag);
        }
        let known = config.capabilities();
        self.no_open = known.contains(InitFlags::FUSE_NO_OPEN_SUPPORT);
        self.no_opendir = known.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        // Neither can fail: both values are above 0 and below the protocol's limits.
        let _previous = config.set_max_background(MAX_BACKGROUND);
        let _previous = config.set_max_write(MAX_REQUEST);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _serving = self.serve(request);
        self.counters.lookup.one();
        match self.child(parent, name.as_bytes()) {
            Ok(Some(node)) => reply.entry(&FOR_EVER, &attr::of(&node, self.owner), GENERATION),
            Ok(None) => reply.entry(&FOR_EVER, &attr::nothing(), GENERATION),
            Err(errno) => reply.error(self.failed(errno)),
        }
    }

    fn forget(&self, _: &Request, _: INodeNo, _: u64) {}

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let _serving = self.serve(request);
        self.counters.getattr.one();
        match self.node(ino) {
            Ok(node) => reply.attr(&FOR_EVER, &attr::of(&node, self.owner)),
            Err(errno) => reply.error(self.failed(errno)),
        }
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let _serving = self.serve(request);
        self.counters.readlink.one();
        let target = self.node(ino).and_then(|node| match node.kind {
            Kind::Link => self
                .package()
                .link_target(node.id)
                .map_err(|error| self.reader.damage().metadata(&error)),
            _ => Err(Errno::EINVAL),
        });
        match target {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(self.failed(errno)),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.counters.open.one();
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            reply.error(self.refused());
        } else if self.no_open {
            // "Don't ask again, and keep the pages."
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        }
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _serving = self.serve(request);
        let _watch = self.reader.timing().read();
        self.counters.read.one();
        // The reply is consumed on one of two paths, which a closure can't express.
        let mut reply = Some(reply);
        let result = inode::node(ino).ok_or(Errno::ENOENT).and_then(|id| {
            if let Some(recorder) = &self.recorder {
                recorder.read(id);
            }
            self.reads.one(id);
            self.reader.read(id, offset, size, &self.counters, |bytes| {
                if let Some(reply) = reply.take() {
                    reply.data(bytes);
                }
            })
        });
        if let (Err(errno), Some(reply)) = (result, reply) {
            reply.error(self.failed(errno));
        }
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        self.confine();
        self.counters.lseek.one();
        // The kernel answers all else itself.
        let wanted = match whence {
            libc::SEEK_DATA => Wanted::Data,
            libc::SEEK_HOLE => Wanted::Hole,
            _ => return reply.error(Errno::EINVAL),
        };
        // "Don't ask again": no file of format 1.0 has holes.
        if self.package().format() == Format::V1 {
            return reply.error(Errno::ENOSYS);
        }
        let found = inode::node(ino)
            .ok_or(Errno::ENOENT)
            .and_then(|id| self.reader.seek(id, offset, wanted));
        match found {
            Ok(offset) => reply.offset(offset),
            Err(errno) => reply.error(self.failed(errno)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.counters.opendir.one();
        if self.no_opendir {
            reply.error(Errno::ENOSYS);
        } else {
            let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR;
            reply.opened(FileHandle(0), flags);
        }
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let _serving = self.serve(request);
        self.counters.readdir.one();
        let result = self.folder(ino).and_then(|folder| {
            readdir::names(self.package(), folder, offset, |name| {
                let (inode, kind) = (inode::number(name.id), attr::file_type(name.kind));
                full(reply.add(inode, name.next, kind, OsStr::from_bytes(name.name)))
            })
            .map_err(|error| self.reader.damage().metadata(&error))
        });
        match result {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(self.failed(errno)),
        }
    }

    fn readdirplus(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let _serving = self.serve(request);
        self.counters.readdirplus.one();
        let mut damage = None;
        let result = self.folder(ino).and_then(|folder| {
            readdir::names(self.package(), folder, offset, |name| {
                match self.package().node(name.id) {
                    Ok(node) => {
                        let attr = attr::of(&node, self.owner);
                        let bytes = OsStr::from_bytes(name.name);
                        full(reply.add(attr.ino, name.next, bytes, &FOR_EVER, &attr, GENERATION))
                    }
                    Err(error) => {
                        damage = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })
            .map_err(|error| self.reader.damage().metadata(&error))
        });
        match result.and(damage.map_or(Ok(()), |error| Err(self.reader.damage().metadata(&error))))
        {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(self.failed(errno)),
        }
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.confine();
        self.counters.statfs.one();
        let blocks = self.package().image_size().div_ceil(u64::from(attr::BLOCK_SIZE));
        let nodes = self.package().node_count() as u64;
        let name_length = u32::try_from(limits::COMPONENT_BYTES).unwrap_or(u32::MAX);
        reply.statfs(blocks, 0, 0, nodes, 0, attr::BLOCK_SIZE, name_length, attr::BLOCK_SIZE);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.confine();
        self.counters.xattr.one();
        answer_xattr(reply, size, self.xattr(ino, name.as_bytes()));
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.confine();
        self.counters.xattr.one();
        // Where a package has none at all, the kernel is told not to ask again.
        let stored =
            if self.package().has_xattrs() { self.xattrs(ino) } else { Err(Errno::ENOSYS) };
        let names = stored.map(|attributes| {
            attributes.into_iter().flat_map(|(name, _)| [name, vec![0]].concat()).collect()
        });
        answer_xattr(reply, size, names);
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks permissions itself: the mount says default_permissions.
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        command: u32,
        _: &[u8],
        size: u32,
        reply: ReplyIoctl,
    ) {
        let _serving = self.serve(request);
        self.counters.ioctl.one();
        let question = Question::parse(command, size).filter(|_| ino == INodeNo::ROOT);
        match question.ok_or(Errno::ENOTTY).and_then(|question| self.account(question, request)) {
            Ok(answer) => reply.ioctl(0, &answer),
            Err(errno) => reply.error(errno),
        }
    }

    // The kernel refuses what follows before it asks: the mount is read-only. Answers are here
    // for mounts that someone made otherwise, through `serve` and a descriptor of their own.

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(self.refused());
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(self.refused());
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(self.refused());
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(self.refused());
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(self.refused());
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.error(self.refused());
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: INodeNo,
        _: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(self.refused());
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(self.refused());
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(self.refused());
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        reply.error(self.refused());
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(self.refused());
    }

    fn setxattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(self.refused());
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(self.refused());
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(self.refused());
    }
}

/// An attribute's value, or a list of names: the size of it when that is asked for by a size of
/// 0 (listxattr(2)).
fn answer_xattr(reply: ReplyXattr, size: u32, value: Result<Vec<u8>, Errno>) {
    match value {
        Err(errno) => reply.error(errno),
        Ok(value) => match u32::try_from(value.len()) {
            Ok(length) if size == 0 => reply.size(length),
            Ok(length) if length <= size => reply.data(&value),
            _ => reply.error(Errno::ERANGE),
        },
    }
}

/// Whether a folder's listing goes on.
fn full(full: bool) -> ControlFlow<()> {
    if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
