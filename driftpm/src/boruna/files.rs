//! Reading whole files, and replacing them so that a crash leaves the old or the new one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The whole of a UTF-8 text file.
///
/// # Errors
///
/// The system's, or `stream did not contain valid UTF-8`.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(fs::read(path)?).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8")
    })
}

/// Whether an error means that there is nothing at a path.
#[must_use]
pub fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether anything at all, even a broken symbolic link, is at `path`.
#[must_use]
pub fn occupied(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether the file at `path` can be read and holds exactly `bytes`.
#[must_use]
pub fn says(path: &Path, bytes: &[u8]) -> bool {
    let compare = || -> io::Result<bool> {
        let mut file = File::open(path)?;
        let mut rest = bytes;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => return Ok(rest.is_empty()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            match rest.split_at_checked(count) {
                Some((same, left)) if buffer.starts_with(same) => rest = left,
                _ => return Ok(false),
            }
        }
    };
    compare().unwrap_or(false)
}

/// Writes `bytes` to a temporary file beside `path`, syncs it and renames it into place.
///
/// Permissions of a file that is replaced stay, and a symbolic link stays one: its target is
/// replaced.
///
/// # Errors
///
/// The system's; `path` is then as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => fs::canonicalize(path)?,
        _ => path.to_path_buf(),
    };
    let temporary = temporary_beside(&target);
    let written = write_new(&temporary, bytes)
        .and_then(|()| match fs::metadata(&target) {
            Ok(old) if old.is_file() => fs::set_permissions(&temporary, old.permissions()),
            _ => Ok(()),
        })
        .and_then(|()| fs::rename(&temporary, &target));
    if let Err(error) = written {
        // The error that matters is the first; a leftover is only untidy.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(parent_of(&target))
}

/// Writes and syncs a file that must not exist yet.
///
/// # Errors
///
/// The system's.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes renames and new entries in a directory durable.
///
/// # Errors
///
/// The system's.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The directory that holds `path`.
#[must_use]
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A name for a hidden temporary file or directory beside `path`, unique on this machine.
#[must_use]
pub fn temporary_beside(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{number}.tmp", std::process::id()));
    parent_of(path).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_leaves_nothing_else_behind() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("file");
        replace(&path, b"one")?;
        replace(&path, b"two")?;
        assert_eq!(fs::read(&path)?, b"two");
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_directory_in_the_way_is_an_error_and_stays() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("file");
        fs::create_dir(&path)?;
        fs::write(path.join("keep"), b"")?;
        let error = replace(&path, b"one").map_err(|error| error.to_string());
        assert_eq!(error, Err("Is a directory (os error 21)".to_string()));
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_link_stays_a_link() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("real"), b"one")?;
        std::os::unix::fs::symlink("real", dir.path().join("link"))?;
        replace(&dir.path().join("link"), b"two")?;
        assert!(fs::symlink_metadata(dir.path().join("link"))?.is_symlink());
        assert_eq!(fs::read(dir.path().join("real"))?, b"two");
        Ok(())
    }

    #[test]
    fn a_file_says_exactly_its_bytes() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("file");
        assert!(!says(&path, b""));
        let long = vec![7; 200_000];
        fs::write(&path, &long)?;
        assert!(says(&path, &long));
        for other in [&long[1..], &[&long[..], b"x"].concat(), &[&long[1..], b"x"].concat(), b""] {
            assert!(!says(&path, other), "{}", other.len());
        }
        Ok(())
    }

    #[test]
    fn text_must_be_utf8() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("file");
        fs::write(&path, b"\xff")?;
        let error = read_text(&path).map_err(|error| error.to_string());
        assert_eq!(error, Err("stream did not contain valid UTF-8".to_string()));
        Ok(())
    }
}
