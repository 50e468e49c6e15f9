//! The file system's answers to the kernel.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::unistd::{getegid, geteuid};

use super::Shared;
use super::model::{ROOT, Step};

/// The kernel asks again each time: tests change answers.
const NO_TIME: Duration = Duration::ZERO;
const GENERATION: Generation = Generation(0);
const HANDLE: FileHandle = FileHandle(0);

pub(super) struct Served(pub(super) Arc<Mutex<Shared>>);

impl Served {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn attributes(&self, inode: u64) -> Result<FileAttr, Errno> {
        let node = self.content.0.get(&inode).ok_or(Errno::ENOENT)?;
        let time = self.times.unwrap_or_else(SystemTime::now);
        let is_folder = node.entries.is_some();
        Ok(FileAttr {
            ino: INodeNo(inode),
            size: node.bytes.len() as u64,
            blocks: node.bytes.len().div_ceil(512) as u64,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: if is_folder { FileType::Directory } else { FileType::RegularFile },
            perm: node.mode,
            nlink: if is_folder { 2 } else { 1 },
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn find(&self, folder: INodeNo, name: &OsStr) -> Result<u64, Errno> {
        self.content.find(folder.0, name).ok_or(Errno::ENOENT)
    }

    fn act(&mut self, step: Step) -> Result<(), Errno> {
        if self.faults.broken {
            return Err(Errno::EIO);
        }
        self.content.apply(&step);
        self.steps.push(step);
        Ok(())
    }

    fn create(
        &mut self,
        folder: INodeNo,
        name: &OsStr,
        is_folder: bool,
        mode: u32,
    ) -> Result<FileAttr, Errno> {
        if self.find(folder, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.last_inode += 1;
        let (inode, folder, name) = (self.last_inode, folder.0, name.to_owned());
        let mode = u16::try_from(mode & 0o7777).unwrap_or(0);
        self.act(Step::Create { folder, name, inode, is_folder, mode })?;
        self.attributes(inode)
    }

    /// The bytes of a file before the first that can't be read, `size` at most.
    fn read(&self, inode: INodeNo, offset: u64, size: u32) -> Result<&[u8], Errno> {
        let bytes = &self.content.0.get(&inode.0).ok_or(Errno::ENOENT)?.bytes;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let most = self.faults.shortest.unwrap_or(usize::MAX).min(size as usize);
        let end = start.saturating_add(most).min(bytes.len());
        let (first, last) = (start as u64, end as u64);
        if self.faults.unreadable.as_ref().is_some_and(|bad| bad.start < last && first < bad.end) {
            return Err(Errno::EIO);
        }
        Ok(&bytes[start..end])
    }

    fn write(&mut self, inode: INodeNo, offset: u64, bytes: &[u8]) -> Result<u32, Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        let end = offset.checked_add(bytes.len()).ok_or(Errno::EFBIG)?;
        let now = self.content.0.get(&inode.0).ok_or(Errno::ENOENT)?.bytes.len();
        let more = end.saturating_sub(now);
        if self.faults.room.is_some_and(|room| self.content.used() + more > room) {
            return Err(Errno::ENOSPC);
        }
        self.act(Step::Write { inode: inode.0, offset, bytes: bytes.to_vec() })?;
        u32::try_from(bytes.len()).map_err(|_| Errno::EFBIG)
    }
}

fn answer(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn entry(reply: ReplyEntry, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attributes) => reply.entry(&NO_TIME, &attributes, GENERATION),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let shared = self.shared();
        entry(reply, shared.find(parent, name).and_then(|inode| shared.attributes(inode)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.shared().attributes(ino.0) {
            Ok(attributes) => reply.attr(&NO_TIME, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
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
        let mut shared = self.shared();
        let inode = ino.0;
        let mode = mode.map(|mode| u16::try_from(mode & 0o7777).unwrap_or(0));
        let size = size.map(|size| usize::try_from(size).unwrap_or(0));
        let result = mode
            .map_or(Ok(()), |mode| shared.act(Step::Mode { inode, mode }))
            .and_then(|()| size.map_or(Ok(()), |size| shared.act(Step::Resize { inode, size })))
            .and_then(|()| shared.attributes(inode));
        match result {
            Ok(attributes) => reply.attr(&NO_TIME, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        entry(reply, self.shared().create(parent, name, true, mode & !umask));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut shared = self.shared();
        let step = Step::Remove { folder: parent.0, name: name.to_owned() };
        answer(reply, shared.find(parent, name).and_then(|_| shared.act(step)));
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.unlink(request, parent, name, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut shared = self.shared();
        let (from, to) = ((parent.0, name.to_owned()), (newparent.0, newname.to_owned()));
        let found = shared.find(parent, name);
        answer(reply, found.and_then(|_| shared.act(Step::Rename { from, to })));
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let mut shared = self.shared();
        let (inode, folder, name) = (ino.0, newparent.0, newname.to_owned());
        let linked = match shared.find(newparent, newname) {
            Ok(_) => Err(Errno::EEXIST),
            Err(_) => shared.act(Step::Link { inode, folder, name }),
        };
        entry(reply, linked.and_then(|()| shared.attributes(inode)));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // No pages: each read and each write gets here as it is.
        reply.opened(HANDLE, FopenFlags::FOPEN_DIRECT_IO);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.shared().create(parent, name, false, mode & !umask) {
            Ok(attributes) => {
                let flags = FopenFlags::FOPEN_DIRECT_IO;
                reply.created(&NO_TIME, &attributes, GENERATION, HANDLE, flags);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.shared().read(ino, offset, size) {
            Ok(bytes) => reply.data(bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.shared().write(ino, offset, data) {
            Ok(size) => reply.written(size),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.shared().act(Step::SyncFile(ino.0)));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.shared().act(Step::SyncFolder(ino.0)));
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let shared = self.shared();
        let Some(entries) = shared.content.0.get(&ino.0).and_then(|node| node.entries.as_ref())
        else {
            return reply.error(Errno::ENOTDIR);
        };
        let dots = [(OsStr::new("."), ino.0), (OsStr::new(".."), ROOT)];
        let all = dots.into_iter().chain(entries.iter().map(|(name, inode)| (&**name, *inode)));
        for (at, (name, inode)) in (1..).zip(all).skip(usize::try_from(offset).unwrap_or(0)) {
            let is_folder = shared.content.0.get(&inode).is_some_and(|node| node.entries.is_some());
            let kind = if is_folder { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(inode), at, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, 255, 4096);
    }
}
