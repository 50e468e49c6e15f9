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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// The folder of the last file opened: files come folder by folder, so it is often the next's.
    folder: Mutex<Option<(Vec<u8>, OwnedFd)>>,
}

impl Files {
    pub(crate) fn new(root: OwnedFd, found: Vec<Found>) -> Self {
        Self { root, found, folder: Mutex::new(None) }
    }

    fn open_file(&self, path: &[u8], via: Via) -> io::Result<File> {
        let descriptor = match via {
            Via::Folders => return self.open_through_folders(path, READ | OFlag::O_NOFOLLOW),
            Via::LinksBeneath => links::open_beneath(&self.root, path, READ)?,
            Via::Links => openat(&self.root, path, READ, Mode::empty())?,
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

/// How files are opened: however large, and without waiting for the writer of a pipe that has taken
/// a file's place.
pub(crate) const READ: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_LARGEFILE)
    .union(OFlag::O_CLOEXEC);

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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn files(folder: &Path, path: &str) -> Files {
        let metadata = fs::metadata(folder.join(path)).expect("there");
        let found = Found { identity: Identity::of(&metadata), via: Via::Folders };
        Files::new(File::open(folder).expect("a folder").into(), vec![found])
    }

    fn read(files: &Files, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        files.open(ContentId(0), path.as_bytes())?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn reads_what_the_walk_found() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("a/b")).expect("made");
        for path in ["f", "a/b/f"] {
            fs::write(folder.path().join(path), path).expect("written");
            let files = files(folder.path(), path);
            // Twice: the second time its folder is still open.
            for _ in 0..2 {
                assert_eq!(read(&files, path).expect("readable"), path.as_bytes());
            }
        }
    }

    #[test]
    fn refuses_what_has_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("d/f");
        fs::create_dir(folder.path().join("d")).expect("made");
        let changes: [(&str, &dyn Fn()); 5] = [
            ("longer", &|| fs::write(&path, "longer").expect("written")),
            ("mode", &|| {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
                fs::set_permissions(&path, mode).expect("set");
            }),
            ("another file", &|| {
                fs::write(folder.path().join("g"), "text").expect("written");
                fs::rename(folder.path().join("g"), &path).expect("renamed");
            }),
            ("a link", &|| {
                fs::rename(&path, folder.path().join("d/g")).expect("renamed");
                std::os::unix::fs::symlink("g", &path).expect("linked");
            }),
            ("a link above", &|| {
                fs::rename(folder.path().join("d"), folder.path().join("e")).expect("renamed");
                std::os::unix::fs::symlink("e", folder.path().join("d")).expect("linked");
            }),
        ];
        for (name, change) in changes {
            let _ = fs::remove_file(&path);
            fs::write(&path, "text").expect("written");
            let files = files(folder.path(), "d/f");
            change();
            assert!(read(&files, "d/f").is_err(), "{name}");
        }
    }

    #[test]
    fn refuses_what_changes_while_it_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        fs::write(&path, "text").expect("written");
        let files = files(folder.path(), "f");
        let mut reader = files.open(ContentId(0), b"f").expect("open");
        let mut half = [0; 2];
        reader.read_exact(&mut half).expect("readable");
        fs::write(&path, "another").expect("written");
        let mut rest = Vec::new();
        assert!(reader.read_to_end(&mut rest).is_err());
    }
}
