//! The files below a package's `src/`, in the order in which they are hashed, and those below
//! its other directories.

use std::io;

use super::error::Error;
use super::folder::{Directory, Folder, Identity, Kind};

/// The directory of a package that holds its sources.
pub const SOURCE_DIRECTORY: &str = "src";

/// Everything below a directory such as `src/`, whatever its kind of file or first character.
/// Paths are relative to the package, `src/…` with `/` between components.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SourceTree {
    /// Directories, each after its parent.
    pub directories: Vec<String>,
    /// Regular files, component by component in byte order: `src/a/b.ax` before `src/a-b.ax`.
    pub files: Vec<String>,
}

/// Lists the directory `top` of the package at `package` (empty or ending in `/`) in a folder;
/// symbolic links are followed. If it is absent, the tree is empty.
///
/// # Errors
///
/// A directory that can't be read, a name that is not UTF-8, something that is neither file
/// nor directory, a link to nothing or to a directory it stands in.
pub fn list(folder: &Folder, package: &str, top: &str) -> Result<SourceTree, Error> {
    Ok(open(folder, package, top)?.0)
}

/// [`list`], and `top` itself, from which its files are reached by fewer steps. It is `None` if
/// it is absent.
///
/// # Errors
///
/// Those of [`list`].
pub fn open(
    folder: &Folder,
    package: &str,
    top: &str,
) -> Result<(SourceTree, Option<Directory>), Error> {
    let mut tree = SourceTree::default();
    let (opened, mut pending) = match entries(folder, package, top) {
        // A link to nothing is something: only true absence is an empty tree.
        Err(Error::Io { reason, .. })
            if reason.kind() == io::ErrorKind::NotFound
                && !folder.occupied(&format!("{package}{top}")) =>
        {
            return Ok((tree, None));
        }
        other => other?,
    };
    // The pile holds what is still to visit, next on top; a directory's entries replace it.
    while let Some((relative, mut kind)) = pending.pop() {
        if kind == Kind::Link {
            let (target, identity) = folder
                .target(&format!("{package}{relative}"))
                .map_err(Error::io(format!("read {relative}")))?;
            kind = target;
            if kind == Kind::Directory {
                refuse_loop(folder, package, &relative, identity)?;
            }
        }
        match kind {
            Kind::Directory => {
                pending.extend(entries(folder, package, &relative)?.1);
                tree.directories.push(relative);
            }
            Kind::File => tree.files.push(relative),
            Kind::Link | Kind::Other => {
                return Err(Error::Io {
                    action: format!("read {relative}"),
                    reason: io::Error::other("neither a file nor a directory"),
                });
            }
        }
    }
    Ok((tree, Some(opened)))
}

/// One directory and its entries, last first.
fn entries(
    folder: &Folder,
    package: &str,
    directory: &str,
) -> Result<(Directory, Vec<(String, Kind)>), Error> {
    let path = [package, directory].concat();
    let mut found = Vec::with_capacity(16);
    let mut odd = None;
    let opened = folder.open_listed(&path, |name, kind| match name.to_str() {
        Some(name) => found.push(([directory, name].join("/"), kind)),
        None => odd = Some(name.to_string_lossy().into_owned()),
    });
    let opened = opened.map_err(|reason| Error::Io {
        action: format!("read dir {}", folder.path().join(&path).display()),
        reason,
    })?;
    if let Some(name) = odd {
        return Err(Error::Io {
            action: format!("read {directory}/{name}"),
            reason: io::Error::other("the file name is not UTF-8"),
        });
    }
    found.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    Ok((opened, found))
}

/// Refuses a link to one of the directories that lead to it.
fn refuse_loop(
    folder: &Folder,
    package: &str,
    relative: &str,
    target: Identity,
) -> Result<(), Error> {
    let mut above = relative;
    while let Some((directory, _)) = above.rsplit_once('/') {
        let found = folder
            .target(&format!("{package}{directory}"))
            .map_err(Error::io(format!("read {relative}")))?;
        if found.1 == target {
            return Err(Error::Io {
                action: format!("read {relative}"),
                reason: io::Error::other(format!(
                    "symbolic link to a directory it stands in, {directory}"
                )),
            });
        }
        above = directory;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn list(package: &Path) -> Result<SourceTree, Error> {
        let folder = Folder::open(package).map_err(Error::io("open"))?;
        super::list(&folder, "", SOURCE_DIRECTORY)
    }

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
        assert_eq!(tree.files, sorted);
        assert_eq!(tree.directories, ["src/a", "src/a/b"]);
        Ok(())
    }

    #[test]
    fn links_are_followed_and_loops_refused() -> Outcome {
        let dir = tempfile::tempdir()?;
        write(dir.path(), "src/core.ax")?;
        write(dir.path(), "shared/deep/x.ax")?;
        symlink("../shared", dir.path().join("src/s"))?;
        assert_eq!(list(dir.path())?.files, ["src/core.ax", "src/s/deep/x.ax"]);

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
