//! The files below a package's `src/`, in the order in which they are hashed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::files::is_absent;

/// The directory of a package that holds its sources.
pub const SOURCE_DIRECTORY: &str = "src";

/// Everything below `src/`, whatever its kind of file or first character.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SourceTree {
    /// Directories relative to the package, each after its parent.
    pub directories: Vec<String>,
    /// Files, component by component in byte order: `src/a/b.ax` before `src/a-b.ax`.
    pub files: Vec<SourceFile>,
}

/// A regular file below `src/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// `src/…` with `/` between components.
    pub relative: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Lists `<package>/src`; symbolic links are followed. An absent `src` is an empty tree.
///
/// # Errors
///
/// A directory that can't be read, a name that is not UTF-8, something that is neither file
/// nor directory, a link to nothing or to a directory it stands in.
pub fn list(package: &Path) -> Result<SourceTree, Error> {
    let mut tree = SourceTree::default();
    let top = package.join(SOURCE_DIRECTORY);
    let mut pending = match entries(&top, SOURCE_DIRECTORY) {
        Ok(found) => found,
        Err(Error::Io { reason, .. }) if reason.kind() == std::io::ErrorKind::NotFound => {
            // A link to nothing is something: only true absence is an empty tree.
            if super::files::occupied(&top) {
                return Err(Error::Io { action: format!("read dir {}", top.display()), reason });
            }
            return Ok(tree);
        }
        Err(error) => return Err(error),
    };
    // The pile holds what is still to visit, next on top; a directory's entries replace it.
    while let Some(entry) = pending.pop() {
        let Entry { relative, path, mut is_directory, mut is_file, is_link } = entry;
        if is_link {
            let target = fs::metadata(&path).map_err(Error::io(format!("read {relative}")))?;
            is_directory = target.is_dir();
            is_file = target.is_file();
            if is_directory {
                refuse_loop(package, &relative, (target.dev(), target.ino()))?;
            }
        }
        if is_directory {
            pending.extend(entries(&path, &relative)?);
            tree.directories.push(relative);
        } else if is_file {
            tree.files.push(SourceFile { relative, path });
        } else {
            return Err(Error::Io {
                action: format!("read {relative}"),
                reason: std::io::Error::other("neither a file nor a directory"),
            });
        }
    }
    Ok(tree)
}

struct Entry {
    relative: String,
    path: PathBuf,
    is_directory: bool,
    is_file: bool,
    is_link: bool,
}

/// The entries of one directory, last first.
fn entries(directory: &Path, relative: &str) -> Result<Vec<Entry>, Error> {
    let failed = |reason| Error::Io { action: format!("read dir {}", directory.display()), reason };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(Error::Io {
                action: format!("read {relative}/{}", name.to_string_lossy()),
                reason: std::io::Error::other("the file name is not UTF-8"),
            });
        };
        found.push(Entry {
            relative: format!("{relative}/{name}"),
            path: entry.path(),
            is_directory: kind.is_dir(),
            is_file: kind.is_file(),
            is_link: kind.is_symlink(),
        });
    }
    found.sort_unstable_by(|a, b| b.relative.cmp(&a.relative));
    Ok(found)
}

/// Refuses a link to one of the directories that lead to it.
fn refuse_loop(package: &Path, relative: &str, target: (u64, u64)) -> Result<(), Error> {
    let mut above = Path::new(relative).parent();
    while let Some(directory) = above {
        match fs::metadata(package.join(directory)) {
            Ok(found) if (found.dev(), found.ino()) == target => {
                return Err(Error::Io {
                    action: format!("read {relative}"),
                    reason: std::io::Error::other(format!(
                        "symbolic link to a directory it stands in, {}",
                        directory.display()
                    )),
                });
            }
            Err(reason) if !is_absent(&reason) => {
                return Err(Error::Io { action: format!("read {relative}"), reason });
            }
            _ => above = directory.parent(),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn write(package: &Path, relative: &str) -> Outcome {
        let path = package.join(relative);
        fs::create_dir_all(path.parent().unwrap_or(package))?;
        Ok(fs::write(path, relative)?)
    }

    #[test]
    fn order_is_by_component() -> Outcome {
        let dir = tempfile::tempdir()?;
        let sorted = [
            "src/.h",
            "src/A.ax",
            "src/a/b/c.ax",
            "src/a/b.ax",
            "src/a-b.ax",
            "src/a.ax",
            "src/a0.ax",
            "src/é.txt",
        ];
        for relative in sorted.iter().rev() {
            write(dir.path(), relative)?;
        }
        let tree = list(dir.path())?;
        let found: Vec<_> = tree.files.iter().map(|file| file.relative.as_str()).collect();
        assert_eq!(found, sorted);
        assert_eq!(tree.directories, ["src/a", "src/a/b"]);
        Ok(())
    }

    #[test]
    fn links_are_followed_and_loops_refused() -> Outcome {
        let dir = tempfile::tempdir()?;
        write(dir.path(), "src/core.ax")?;
        write(dir.path(), "shared/deep/x.ax")?;
        symlink("../shared", dir.path().join("src/s"))?;
        let found: Vec<_> = list(dir.path())?.files.into_iter().map(|f| f.relative).collect();
        assert_eq!(found, ["src/core.ax", "src/s/deep/x.ax"]);

        symlink("../../shared", dir.path().join("shared/deep/up"))?;
        let error = list(dir.path()).map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("read src/s/deep/up: symbolic link to a directory it stands in, src/s".to_string())
        );
        Ok(())
    }

    #[test]
    fn what_is_missing_or_odd() -> Outcome {
        let dir = tempfile::tempdir()?;
        assert_eq!(list(dir.path())?, SourceTree::default());
        fs::create_dir(dir.path().join("src"))?;
        symlink("nowhere", dir.path().join("src/x"))?;
        let error = list(dir.path()).map_err(|error| error.to_string());
        assert_eq!(error, Err("read src/x: No such file or directory (os error 2)".to_string()));

        fs::remove_file(dir.path().join("src/x"))?;
        fs::remove_dir(dir.path().join("src"))?;
        fs::write(dir.path().join("src"), "")?;
        let error = list(dir.path()).map_err(|error| error.to_string());
        let path = dir.path().join("src");
        let text = format!("read dir {}: Not a directory (os error 20)", path.display());
        assert_eq!(error, Err(text));
        Ok(())
    }
}
