//! One entry of a package, as its maker describes it.

use crate::time::Timestamp;

/// The caller's name for a file's content, handed back to [`super::Contents::open`].
///
/// Entries that share one are names of one file: format 2.0 has hard links, 1.0 stores the
/// content for each name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub usize);

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Where its bytes come from.
        content: ContentId,
        /// Number of bytes.
        size: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link (format 2.0 only).
    Symlink {
        /// Where it leads: any 1 to 4095 bytes without NUL, kept as they are.
        target: Vec<u8>,
    },
    /// A second name of a folder.
    Alias {
        /// The folder's path, from the package's root; leading slashes are ignored.
        target: Vec<u8>,
    },
}

/// An extended attribute (format 2.0 only).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Its name, `user.` included: 6 to 255 bytes.
    pub name: Vec<u8>,
    /// At most 64 KiB.
    pub value: Vec<u8>,
}

/// One entry of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanEntry {
    /// Path from the package's root, components separated by `/`, without a leading slash. In
    /// format 2.0 the empty path is the root itself, which must be a folder and may be left out.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most 0777. Format 1.0 stores 0777 for every folder, 2.0 0777 for every
    /// link and alias.
    pub permissions: u32,
    /// Time of the last change. Format 1.0 cuts it to milliseconds; 2.0 takes none for the
    /// beginning of 1970.
    pub modified: Option<Timestamp>,
    /// Extended attributes, no name twice; in any order.
    pub xattrs: Vec<Xattr>,
}

impl PlanEntry {
    /// A file of `size` bytes without a time.
    #[must_use]
    pub fn file(path: impl Into<Vec<u8>>, permissions: u32, content: ContentId, size: u64) -> Self {
        Self::new(path.into(), Kind::File { content, size }, permissions)
    }

    /// A folder without a time.
    #[must_use]
    pub fn folder(path: impl Into<Vec<u8>>) -> Self {
        Self::new(path.into(), Kind::Folder, 0o755)
    }

    /// A symbolic link without a time.
    #[must_use]
    pub fn symlink(path: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self::new(path.into(), Kind::Symlink { target: target.into() }, 0o777)
    }

    /// A folder alias without a time.
    #[must_use]
    pub fn alias(path: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self::new(path.into(), Kind::Alias { target: target.into() }, 0o777)
    }

    fn new(path: Vec<u8>, kind: Kind, permissions: u32) -> Self {
        Self { path, kind, permissions, modified: None, xattrs: Vec::new() }
    }
}
