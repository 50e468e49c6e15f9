//! Reading many small files below one directory.
//!
//! A registry of thousands of packages is tens of thousands of files of a few hundred bytes,
//! and nearly all the time goes to opening them. A [`Folder`] holds its directory open, so a
//! path is walked from there and not from the root of the file system, and asks the kernel
//! for nothing but names and bytes.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, statat};
use rustix::io::Errno;

/// How much is read at once.
const PIECE: usize = 64 * 1024;

thread_local! {
    /// One buffer a thread; most files fit.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// An open directory, with the path it was opened by for messages.
#[derive(Debug)]
pub struct Folder {
    directory: Directory,
    path: PathBuf,
}

/// An open directory from which files are read.
#[derive(Debug)]
pub struct Directory(OwnedFd);

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Box<OsStr>,
    /// What it is; links are not followed.
    pub kind: Kind,
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

impl From<FileType> for Kind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

/// What identifies a file while it exists: device and inode.
pub type Identity = (u64, u64);

impl Folder {
    /// Opens a directory.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let shown = if path == Path::new("") { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry(|| openat(CWD, shown, flags, Mode::empty()))?;
        Ok(Self { directory: Directory(fd), path: path.to_path_buf() })
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the bytes of the file at `relative` to `take`, piece by piece.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn read_pieces(&self, relative: &str, take: impl FnMut(&[u8])) -> io::Result<()> {
        self.directory.read_pieces(relative, take)
    }

    /// The whole of the file at `relative`.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn read(&self, relative: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_pieces(relative, |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// The whole of the UTF-8 text file at `relative`. What is there is taken for a regular file,
    /// as by [`Directory::read_regular`]: of a pipe this is what is in it at the moment.
    ///
    /// # Errors
    ///
    /// The system's, or `stream did not contain valid UTF-8`.
    pub fn read_text(&self, relative: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.directory.read_regular(relative, |piece| bytes.extend_from_slice(piece))?;
        String::from_utf8(bytes).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8")
        })
    }

    /// The entries of the directory at `relative`, in no order.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn entries(&self, relative: &str) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        self.open_listed(relative, |name, kind| found.push(Entry { name: name.into(), kind }))?;
        Ok(found)
    }

    /// Opens the directory at `relative`, and gives its entries to `take` in no order: name and
    /// kind, as in [`Entry`].
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn open_listed(
        &self,
        relative: &str,
        mut take: impl FnMut(&OsStr, Kind),
    ) -> io::Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let relative = if relative.is_empty() { "." } else { relative };
        let directory = retry(|| openat(&self.directory.0, relative, flags, Mode::empty()))?;
        let mut buffer = [MaybeUninit::uninit(); 8 * 1024];
        let mut listing = RawDir::new(&directory, &mut buffer);
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // Some file systems leave the kind to a separate question.
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(found.st_mode)
                }
                kind => kind,
            };
            take(OsStr::from_bytes(name.to_bytes()), kind.into());
        }
        Ok(Directory(directory))
    }

    /// What the path leads to, links followed, and which file that is.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn target(&self, relative: &str) -> io::Result<(Kind, Identity)> {
        let relative = if relative.is_empty() { "." } else { relative };
        let found = retry(|| statat(&self.directory.0, relative, AtFlags::empty()))?;
        Ok((FileType::from_raw_mode(found.st_mode).into(), (found.st_dev, found.st_ino)))
    }

    /// Whether anything at all, even a broken link, is at the path.
    #[must_use]
    pub fn occupied(&self, relative: &str) -> bool {
        statat(&self.directory.0, relative, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }
}

impl Directory {
    /// Gives the bytes of the file at `relative` to `take`, piece by piece.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn read_pieces(&self, relative: &str, take: impl FnMut(&[u8])) -> io::Result<()> {
        self.read_until(relative, 0, take)
    }

    /// The same of a file that is known to be a regular one: POSIX lets a read of it come short at
    /// its end only, so the end need not be asked for. A pipe is short whenever it likes.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn read_regular(&self, relative: &str, take: impl FnMut(&[u8])) -> io::Result<()> {
        self.read_until(relative, PIECE.saturating_sub(1), take)
    }

    /// Reads until no more than `last` bytes come at once.
    fn read_until(
        &self,
        relative: &str,
        last: usize,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        // Without NONBLOCK, opening a pipe that someone left here would wait for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = retry(|| openat(&self.0, relative, flags, Mode::empty()))?;
        BUFFER.with_borrow_mut(|buffer| {
            loop {
                let count = retry(|| rustix::io::read(&file, buffer.as_mut_slice()))?;
                take(buffer.get(..count).unwrap_or_default());
                if count <= last {
                    return Ok(());
                }
            }
        })
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_below_itself() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("sub"))?;
        std::fs::write(dir.path().join("sub/big"), vec![7; 200_000])?;
        std::os::unix::fs::symlink("big", dir.path().join("sub/link"))?;
        let folder = Folder::open(dir.path())?;
        let mut length = 0;
        folder.read_pieces("sub/big", |piece| length += piece.len())?;
        assert_eq!(length, 200_000);
        // Sizes around that of a piece, where a short read and the end are told apart.
        for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 200_000] {
            std::fs::write(dir.path().join("some"), vec![7; size])?;
            let mut length = 0;
            folder.directory.read_regular("some", |piece| length += piece.len())?;
            assert_eq!(length, size);
        }
        std::fs::remove_file(dir.path().join("some"))?;
        let mut entries = folder.entries("sub")?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let kinds: Vec<_> = entries.iter().map(|entry| (entry.name.to_str(), entry.kind)).collect();
        assert_eq!(kinds, [(Some("big"), Kind::File), (Some("link"), Kind::Link)]);
        assert_eq!(folder.target("sub/link")?, folder.target("sub/big")?);
        assert_eq!(folder.entries("")?.len(), 1);
        Ok(())
    }

    #[test]
    fn a_pipe_does_not_hang() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        rustix::fs::mknodat(CWD, dir.path().join("p"), FileType::Fifo, Mode::RWXU, 0)?;
        assert_eq!(Folder::open(dir.path())?.read("p")?, b"");
        Ok(())
    }

    #[test]
    fn errors_read_like_the_systems() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("bad"), b"\xff")?;
        let folder = Folder::open(dir.path())?;
        for (outcome, text) in [
            (folder.read_text("none"), "No such file or directory (os error 2)"),
            (folder.read_text("bad"), "stream did not contain valid UTF-8"),
            (folder.read_text(""), "No such file or directory (os error 2)"),
            (folder.read_text("bad/x"), "Not a directory (os error 20)"),
        ] {
            assert_eq!(outcome.map_err(|error| error.to_string()), Err(text.to_string()));
        }
        Ok(())
    }
}
