//! Files: bounded reads that follow no symbolic link inside a source, and writes that appear
//! whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::relpath::{RelPath, shown};

/// The largest package that is read: a signature covers the whole file, so the whole file has
/// to be held at once.
pub const MAX_PACKAGE: u64 = 1 << 30;
/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Nothing is there.
    #[error("`{0}` does not exist")]
    Missing(String),
    /// Something is there, but no regular file.
    #[error("`{path}` is {found}, not a regular file")]
    NotRegular {
        /// Where.
        path: String,
        /// What was found.
        found: &'static str,
    },
    /// A symbolic link where none is followed.
    #[error("`{0}` is a symbolic link, and none is followed here")]
    Symlink(String),
    /// Larger than files of this kind may be.
    #[error("`{path}` has {found} bytes, at most {allowed} are read")]
    TooLarge {
        /// Where.
        path: String,
        /// Bytes there are.
        found: u64,
        /// Bytes allowed.
        allowed: u64,
    },
    /// The file is there already and must not be replaced.
    #[error("`{0}` exists and is not overwritten")]
    Exists(String),
    /// The system refused.
    #[error("cannot {action} `{path}`: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: String,
        /// The system's answer.
        error: io::Error,
    },
}

impl FileError {
    /// Whether the file simply isn't there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }
}

/// Turns a system error into a [`FileError`] that names what was tried and where.
fn because(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FileError::Missing(shown(path)),
        _ => FileError::Io { action, path: shown(path), error },
    }
}

/// Reads a file that the user named; a symbolic link to it is followed.
///
/// # Errors
/// [`FileError`]
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let before = fs::metadata(path).map_err(because("read", path))?;
    read_known(path, &before, limit)
}

/// Reads `path` inside `root`, following no symbolic link below `root`.
///
/// # Errors
/// [`FileError`]
pub fn read_below(root: &Path, path: &RelPath, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = regular_below(root, path)?;
    read_known(&path.below(root), &file, limit)
}

/// The metadata of the regular file at `path` inside `root`.
///
/// # Errors
/// [`FileError`] if it is missing, no regular file, or behind a symbolic link.
pub fn regular_below(root: &Path, path: &RelPath) -> Result<fs::Metadata, FileError> {
    let mut at = root.to_owned();
    let mut found = None;
    for component in path.components() {
        at.push(component);
        let metadata = fs::symlink_metadata(&at).map_err(because("read", &at))?;
        if metadata.is_symlink() {
            return Err(FileError::Symlink(shown(&at)));
        }
        found = Some(metadata);
    }
    let metadata = found.ok_or_else(|| FileError::Missing(shown(&at)))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular { path: shown(&at), found: kind(&metadata) });
    }
    Ok(metadata)
}

/// Opens only what `before` described, so that a file swapped in between is noticed and opening
/// never waits for the other end of a pipe.
fn read_known(path: &Path, before: &fs::Metadata, limit: u64) -> Result<Vec<u8>, FileError> {
    if !before.is_file() {
        return Err(FileError::NotRegular { path: shown(path), found: kind(before) });
    }
    let too_large = |found| FileError::TooLarge { path: shown(path), found, allowed: limit };
    let file = File::open(path).map_err(because("open", path))?;
    let now = file.metadata().map_err(because("read", path))?;
    if (now.dev(), now.ino()) != (before.dev(), before.ino()) {
        let error = io::Error::other("it was replaced while being opened");
        return Err(FileError::Io { action: "open", path: shown(path), error });
    }
    if now.len() > limit {
        return Err(too_large(now.len()));
    }
    let mut bytes = Vec::new();
    let expected = usize::try_from(now.len()).map_err(|_| too_large(now.len()))?;
    bytes.try_reserve_exact(expected).map_err(|_| FileError::Io {
        action: "hold",
        path: shown(path),
        error: io::ErrorKind::OutOfMemory.into(),
    })?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(because("read", path))?;
    let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if read > limit { Err(too_large(read)) } else { Ok(bytes) }
}

fn kind(metadata: &fs::Metadata) -> &'static str {
    if metadata.is_dir() { "a directory" } else { "a special file" }
}

/// Creates the directory `path` and its parents.
///
/// # Errors
/// [`FileError`]
pub fn create_dirs(path: &Path) -> Result<(), FileError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(|error| FileError::Io {
        action: "create the directory",
        path: shown(path),
        error,
    })
}

/// Creates the directories that lead to `path` inside `root`, through no symbolic link.
///
/// # Errors
/// [`FileError`]
pub fn create_parents_below(root: &Path, path: &RelPath) -> Result<(), FileError> {
    create_dirs(root)?;
    let mut at = root.to_owned();
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        if components.peek().is_none() {
            break;
        }
        at.push(component);
        match fs::symlink_metadata(&at) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(metadata) if metadata.is_symlink() => return Err(FileError::Symlink(shown(&at))),
            Ok(_) => {
                let error = io::Error::other("a file is in the way");
                return Err(FileError::Io {
                    action: "create the directory",
                    path: shown(&at),
                    error,
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Another thread may be quicker; that is as good.
                match fs::create_dir(&at) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(because("create the directory", &at)(error));
                    }
                    _ => {}
                }
            }
            Err(error) => return Err(because("create the directory", &at)(error)),
        }
    }
    Ok(())
}

/// What the names of temporary files begin and end with.
const TEMPORARY: (&str, &str) = (".drift-", ".tmp");

/// A file that is written under a temporary name beside its place. It is durable only after
/// [`sync`](Self::sync) or [`sync_file_system`].
#[derive(Debug)]
#[must_use = "a staged file vanishes unless it is committed"]
pub struct Staged {
    temporary: Option<TempPath>,
    destination: PathBuf,
}

impl Staged {
    /// Writes `bytes` for `destination`, whose directory exists. If the same bytes are there
    /// already, nothing is written.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn write(destination: &Path, bytes: &[u8]) -> Result<Self, FileError> {
        if has_bytes(destination, bytes) {
            return Ok(Self { temporary: None, destination: destination.to_owned() });
        }
        let failed = |error| FileError::Io { action: "write", path: shown(destination), error };
        let directory = directory_of(destination);
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY.0)
            .suffix(TEMPORARY.1)
            // What any new file gets, narrowed by the umask; tempfile's habit is 0600.
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(directory)
            .map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        Ok(Self { temporary: Some(file.into_temp_path()), destination: destination.to_owned() })
    }

    /// Makes the bytes durable.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn sync(&self) -> Result<(), FileError> {
        match &self.temporary {
            None => Ok(()),
            Some(temporary) => File::open(temporary)
                .and_then(|file| file.sync_data())
                .map_err(because("sync", &self.destination)),
        }
    }

    /// Gives the file its name, replacing what was there.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn commit(self) -> Result<(), FileError> {
        match self.temporary {
            None => Ok(()),
            Some(temporary) => {
                temporary.persist(&self.destination).map_err(|error| FileError::Io {
                    action: "write",
                    path: shown(&self.destination),
                    error: error.error,
                })
            }
        }
    }
}

/// Whether `path` is a regular file of exactly these bytes.
fn has_bytes(path: &Path, bytes: &[u8]) -> bool {
    let same_length = |metadata: &fs::Metadata| {
        metadata.is_file() && u64::try_from(bytes.len()) == Ok(metadata.len())
    };
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    same_length(&metadata)
        && read_known(path, &metadata, metadata.len()).is_ok_and(|found| found == bytes)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes `bytes` to `path` so that readers see the old file or the new one, and a crash leaves
/// one of them. The directory must exist.
///
/// # Errors
/// [`FileError`]
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let staged = Staged::write(path, bytes)?;
    staged.sync()?;
    staged.commit()?;
    sync_directory(directory_of(path))
}

/// Makes the names in `directory` durable.
///
/// # Errors
/// [`FileError`]
pub fn sync_directory(directory: &Path) -> Result<(), FileError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(because("sync", directory))
}

/// Makes everything on the file system of `directory` durable: for thousands of files many times
/// faster than one after the other.
///
/// # Errors
/// [`FileError`]
pub fn sync_file_system(directory: &Path) -> Result<(), FileError> {
    File::open(directory)
        .and_then(|directory| nix::unistd::syncfs(directory).map_err(io::Error::from))
        .map_err(because("sync", directory))
}

/// Creates `path`, readable and writable by its owner only, with `bytes` in it.
///
/// # Errors
/// [`FileError::Exists`] if something is there; nothing is ever overwritten.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    create_dirs(directory_of(path))?;
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
            |error| match error.kind() {
                io::ErrorKind::AlreadyExists => FileError::Exists(shown(path)),
                _ => FileError::Io { action: "create", path: shown(path), error },
            },
        )?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key is no key.
        let _ = fs::remove_file(path);
        return Err(FileError::Io { action: "write", path: shown(path), error });
    }
    sync_directory(directory_of(path))
}

/// Removes the file at `path` if there is one.
///
/// # Errors
/// [`FileError`]
pub fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::Io { action: "remove", path: shown(path), error })
        }
        _ => Ok(()),
    }
}

/// Keeps other writers of this tool out of `directory` as long as the value lives. The lock is
/// on the directory itself, so no file is left behind.
///
/// # Errors
/// [`FileError`]
pub fn lock_directory(directory: &Path) -> Result<File, FileError> {
    let handle = File::open(directory).map_err(because("open", directory))?;
    // Some file systems have no locks. Files stay whole without, so that is no reason to stop.
    let _ = handle.lock();
    Ok(handle)
}

/// Removes the temporary files that killed programs have left in a directory where whoever writes
/// has locked it ([`lock_directory`]), as the caller has. What cannot be removed stays.
pub fn remove_left_behind(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(TEMPORARY.0.as_bytes()) && name.ends_with(TEMPORARY.1.as_bytes()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The directory in which `path` lies.
#[must_use]
pub fn parent_of(path: &Path) -> &Path {
    directory_of(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn follows_no_link_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("real")).unwrap();
        fs::write(root.join("real/a"), "bytes").unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        std::os::unix::fs::symlink("real/a", root.join("b")).unwrap();
        assert_eq!(read_below(root, &rel("real/a"), 5).unwrap(), b"bytes");
        for path in ["link/a", "b"] {
            assert!(
                matches!(read_below(root, &rel(path), 5), Err(FileError::Symlink(_))),
                "{path}"
            );
        }
        assert!(matches!(create_parents_below(root, &rel("link/x/y")), Err(FileError::Symlink(_))));
    }

    #[test]
    fn reads_regular_files_within_the_limit_only() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(root.join("a"), "12345").unwrap();
        assert!(matches!(read(&root.join("a"), 4), Err(FileError::TooLarge { found: 5, .. })));
        assert!(matches!(read(root, 4), Err(FileError::NotRegular { .. })));
        assert!(read(&root.join("none"), 4).unwrap_err().is_missing());
        assert!(read(&root.join("a/below-a-file"), 4).unwrap_err().is_missing());
    }

    #[test]
    fn a_staged_file_appears_only_when_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "old").unwrap();
        drop(Staged::write(&path, b"new").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        Staged::write(&path, b"new").unwrap().commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn private_files_are_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/key");
        create_private(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create_private(&path, b"other"), Err(FileError::Exists(_))));
        assert_eq!(fs::read(&path).unwrap(), b"secret");
    }
}
