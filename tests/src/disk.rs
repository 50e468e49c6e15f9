//! Trees on disk, to be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What is at a path.
#[derive(Clone, PartialEq, Eq)]
pub enum Found {
    /// A file: permissions and content.
    File {
        /// Permission bits and the three above them.
        mode: u32,
        /// Content.
        bytes: Vec<u8>,
    },
    /// A folder.
    Folder {
        /// Permission bits and the three above them.
        mode: u32,
    },
    /// A symbolic link.
    Link(PathBuf),
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { mode, bytes } => write!(f, "file {mode:o} of {} bytes", bytes.len()),
            Self::Folder { mode } => write!(f, "folder {mode:o}"),
            Self::Link(target) => write!(f, "link to {}", target.display()),
        }
    }
}

/// By path below the root. The root isn't among them.
pub type Tree = BTreeMap<Vec<u8>, (Found, i64)>;

/// Everything below a folder, with the times of the last change in seconds.
#[must_use]
pub fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            let mode = metadata.permissions().mode() & 0o7777;
            let what = if metadata.is_symlink() {
                Found::Link(fs::read_link(&path).expect("a link"))
            } else if metadata.is_dir() {
                folders.push(path.clone());
                Found::Folder { mode }
            } else {
                let bytes = match fs::read(&path) {
                    // Its owner may not read it: so be it, in every tree.
                    Err(_) if mode & 0o400 == 0 => Vec::new(),
                    read => {
                        let bytes = read.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                        assert_eq!(bytes.len() as u64, metadata.len(), "{}", path.display());
                        bytes
                    }
                };
                Found::File { mode, bytes }
            };
            let inside = path.strip_prefix(root).expect("below the root");
            found.insert(inside.as_os_str().as_bytes().to_vec(), (what, metadata.mtime()));
        }
    }
    found
}

/// The differences between two trees, by path; none when they are equal.
#[must_use]
pub fn differences(left: &Tree, right: &Tree) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    paths
        .into_iter()
        .filter(|path| left.get(*path) != right.get(*path))
        .map(|path| {
            let shown = String::from_utf8_lossy(path);
            format!("`{shown}`: {:?} and {:?}", left.get(path), right.get(path))
        })
        .collect()
}
