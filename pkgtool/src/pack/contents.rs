//! The bytes of the files that the walk found: opened again when their turn comes, and refused
//! when they aren't the files that were found, or change while they are read.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use epk_format::write::{ContentId, Contents};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::links;

/// How a file is reached from the root of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Via {
    /// Through folders only.
    Folders,
    /// Through symbolic links that stay beneath the root.
    LinksBeneath,
    /// Through symbolic links that lead anywhere.
    Links,
}

/// What must stay the same from the walk to the end of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    mode: u32,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            mode: metadata.mode(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file that the walk found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) identity: Identity,
    pub(crate) via: Via,
}

/// The files of a walk.
pub(crate) struct Files {
    root: OwnedFd,
    found: Vec<Found>,
    /// The folder of the last file opened: files come in path order, so it is often the next's.
    folder: Mutex<Option<(Vec<u8>, OwnedFd)>>,
}

impl Files {
    pub(crate) fn new(root: OwnedFd, found: Vec<Found>) -> Self {
        Self { root, found, folder: Mutex::new(None) }
    }

    fn open_file(&self, path: &[u8], via: Via) -> io::Result<File> {
        // A pipe that has taken the file's place must not make us wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let descriptor = match via {
            Via::Folders => return self.open_through_folders(path, flags | OFlag::O_NOFOLLOW),
            Via::LinksBeneath => links::open_beneath(&self.root, path, flags)?,
            Via::Links => openat(&self.root, path, flags, Mode::empty())?,
        };
        Ok(descriptor.into())
    }

    /// Opens component by component: no link that somebody plants on the way is followed.
    fn open_through_folders(&self, path: &[u8], flags: OFlag) -> io::Result<File> {
        let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..)),
            None => (&[][..], Some(path)),
        };
        let name = name.unwrap_or_default();
        let mut last = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = match last.take() {
            Some((path, folder)) if path == parent => folder,
            _ => self.open_folder(parent)?,
        };
        let file = openat(&folder, name, flags, Mode::empty());
        *last = Some((parent.to_vec(), folder));
        Ok(file?.into())
    }

    fn open_folder(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let mut folder = self.root.as_fd().try_clone_to_owned()?;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            folder = openat(&folder, name, FOLDER, Mode::empty())?;
        }
        Ok(folder)
    }
}

/// How folders are opened: never through a link.
pub(crate) const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

impl Contents for Files {
    fn open(&self, id: ContentId, path: &[u8]) -> io::Result<Box<dyn Read + Send + '_>> {
        let found = self.found.get(id.0).ok_or(io::ErrorKind::NotFound)?;
        let file = self.open_file(path, found.via)?;
        let reader = Checked { file, identity: found.identity };
        reader.check()?;
        Ok(Box::new(reader))
    }
}

/// A file that is compared with what the walk saw, when it is opened and at its end.
struct Checked {
    file: File,
    identity: Identity,
}

impl Checked {
    fn check(&self) -> io::Result<()> {
        if Identity::of(&self.file.metadata()?) == self.identity {
            Ok(())
        } else {
            Err(io::Error::other("the file changed while the package was made"))
        }
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            self.check()?;
        }
        Ok(read)
    }
}
