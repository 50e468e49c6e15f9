//! What goes into an image: entries, the rules for their paths, and their order.
//!
//! Nothing here knows how an entry is stored.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use super::error::shown;
use crate::error::RejectCode;
use crate::limits;
use crate::path;
use crate::time::PackedTime;

/// The caller's name for a file's content, handed back to [`super::Contents::open`].
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
    /// A second name of a folder.
    Alias {
        /// The folder's path, from the package's root; leading slashes are ignored.
        target: Vec<u8>,
    },
}

/// One entry of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanEntry {
    /// Path from the package's root, components separated by `/`, without a leading slash.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most 0777. Format 1.0 stores 0777 for every folder.
    pub permissions: u32,
    /// Time of the last change.
    pub modified: PackedTime,
}

impl PlanEntry {
    /// A file of `size` bytes without a time.
    #[must_use]
    pub fn file(path: impl Into<Vec<u8>>, permissions: u32, content: ContentId, size: u64) -> Self {
        let kind = Kind::File { content, size };
        Self { path: path.into(), kind, permissions, modified: PackedTime::NONE }
    }

    /// A folder without a time.
    #[must_use]
    pub fn folder(path: impl Into<Vec<u8>>) -> Self {
        let path = path.into();
        Self { path, kind: Kind::Folder, permissions: 0o777, modified: PackedTime::NONE }
    }

    /// A folder alias without a time.
    #[must_use]
    pub fn alias(path: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        let kind = Kind::Alias { target: target.into() };
        Self { path: path.into(), kind, permissions: 0o777, modified: PackedTime::NONE }
    }
}

/// Why a path can't be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathProblem {
    /// Readers would refuse it.
    Rejected {
        /// The code that they would give.
        code: RejectCode,
        /// What was found.
        detail: String,
    },
    /// It has a backslash, which EXOS's packer takes for a slash: two packers would make two
    /// trees of one.
    Backslash,
}

impl fmt::Display for PathProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected { detail, .. } => f.write_str(detail),
            Self::Backslash => f.write_str("path with a backslash"),
        }
    }
}

/// What is wrong with an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AliasProblem {
    /// No target bytes.
    Empty,
    /// More than [`limits::PATH_BYTES`] bytes.
    TooLong,
    /// A NUL byte in the target.
    Nul,
    /// The target is no UTF-8.
    NotUtf8,
    /// Nothing is at the target; aliases inside a target path are not followed.
    Missing,
    /// The target is a file.
    File,
    /// More than [`limits::ALIAS_CHAIN`] aliases follow each other, or they form a ring.
    Chain,
}

impl fmt::Display for AliasProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => write!(f, "is longer than {} bytes", limits::PATH_BYTES),
            Self::Nul => f.write_str("has a NUL byte"),
            Self::NotUtf8 => f.write_str("is not UTF-8"),
            Self::Missing => f.write_str("is not in the package"),
            Self::File => f.write_str("is a file, not a folder"),
            Self::Chain => {
                write!(f, "is reached through more than {} aliases", limits::ALIAS_CHAIN)
            }
        }
    }
}

/// Why entries make no package.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A path that can't be packed.
    #[error("{problem}: `{path}`")]
    Path {
        /// The path, escaped where it is no text.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// Two entries have one path.
    #[error("path `{path}` appears twice")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// An entry lies below something that isn't a folder.
    #[error("`{path}` lies below `{parent}`, which is not a folder")]
    Parent {
        /// The entry's path.
        path: String,
        /// The file or alias above it.
        parent: String,
    },
    /// Permission bits that no entry may have.
    #[error("`{path}` has permissions {found:o}, at most 777 can be stored")]
    Permissions {
        /// The entry's path.
        path: String,
        /// Its permission bits.
        found: u32,
    },
    /// An alias that leads nowhere.
    #[error("the target `{target}` of the alias `{path}` {problem}")]
    Alias {
        /// The alias's path.
        path: String,
        /// Its target.
        target: String,
        /// What is wrong.
        problem: AliasProblem,
    },
}

/// Checks one path by the rules of [`path::components`], and for backslashes.
///
/// # Errors
/// The first rule broken.
pub fn check_path(path: &[u8]) -> Result<(), PathProblem> {
    match path::components(path) {
        Err((code, detail)) => Err(PathProblem::Rejected { code, detail }),
        Ok(_) if path.contains(&b'\\') => Err(PathProblem::Backslash),
        Ok(_) => Ok(()),
    }
}

/// Entries that make a package: checked, and sorted by the bytes of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    entries: Vec<PlanEntry>,
}

impl Plan {
    /// Sorts and checks `entries`. Folders above an entry need no entry of their own.
    ///
    /// # Errors
    /// The first entry, in path order, that breaks a rule.
    pub fn new(mut entries: Vec<PlanEntry>) -> Result<Self, PlanError> {
        // The whole path is compared, not component by component: `a-b` lies before `a/b`.
        entries.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        let plan = Self { entries };
        let mut previous: Option<&PlanEntry> = None;
        for entry in &plan.entries {
            check_entry(entry)?;
            if previous.is_some_and(|previous| previous.path == entry.path) {
                return Err(PlanError::Duplicate { path: shown(&entry.path) });
            }
            plan.check_parents(entry)?;
            previous = Some(entry);
        }
        plan.check_aliases()?;
        Ok(plan)
    }

    /// The entries, sorted by the bytes of their paths.
    #[must_use]
    pub fn entries(&self) -> &[PlanEntry] {
        &self.entries
    }

    /// The entry with this path.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&PlanEntry> {
        let index = self.entries.binary_search_by(|entry| entry.path.as_slice().cmp(path)).ok()?;
        self.entries.get(index)
    }

    /// Bytes of content in all files; `None` when they don't fit 64 bits.
    #[must_use]
    pub fn content_bytes(&self) -> Option<u64> {
        self.entries.iter().try_fold(0u64, |sum, entry| match entry.kind {
            Kind::File { size, .. } => sum.checked_add(size),
            _ => Some(sum),
        })
    }

    fn check_parents(&self, entry: &PlanEntry) -> Result<(), PlanError> {
        for parent in ancestors(&entry.path) {
            if self.get(parent).is_some_and(|above| above.kind != Kind::Folder) {
                let (path, parent) = (shown(&entry.path), shown(parent));
                return Err(PlanError::Parent { path, parent });
            }
        }
        Ok(())
    }

    fn check_aliases(&self) -> Result<(), PlanError> {
        for entry in &self.entries {
            let Kind::Alias { target } = &entry.kind else { continue };
            self.resolve(target).map_err(|problem| PlanError::Alias {
                path: shown(&entry.path),
                target: shown(target),
                problem,
            })?;
        }
        Ok(())
    }

    /// Follows an alias target as EXOS does: from the root, `..` clamped there, aliases inside
    /// the path not expanded, an alias at its end followed.
    fn resolve(&self, target: &[u8]) -> Result<(), AliasProblem> {
        let mut target = target;
        // The alias that is being checked is the first of the chain.
        for _ in 0..limits::ALIAS_CHAIN {
            check_target(target)?;
            let path = normalised(target);
            if path.is_empty() {
                return Ok(());
            }
            match self.get(&path).map(|entry| &entry.kind) {
                Some(Kind::Folder) => return Ok(()),
                Some(Kind::File { .. }) => return Err(AliasProblem::File),
                Some(Kind::Alias { target: next }) => target = next,
                None if self.is_implicit_folder(&path) => return Ok(()),
                None => return Err(AliasProblem::Missing),
            }
        }
        Err(AliasProblem::Chain)
    }

    /// Whether some entry lies below `path`, which has no entry.
    fn is_implicit_folder(&self, path: &[u8]) -> bool {
        let mut prefix = path.to_vec();
        prefix.push(b'/');
        let first = self
            .entries
            .partition_point(|entry| entry.path.as_slice().cmp(&prefix) == Ordering::Less);
        self.entries.get(first).is_some_and(|entry| entry.path.starts_with(&prefix))
    }

    /// The folders above some entry that have no entry themselves, in path order.
    #[must_use]
    pub fn implicit_folders(&self) -> BTreeSet<&[u8]> {
        self.entries
            .iter()
            .flat_map(|entry| ancestors(&entry.path))
            .filter(|path| self.get(path).is_none())
            .collect()
    }
}

/// The proper prefixes of `path` that end before a slash, shortest first.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
    slashes.filter_map(|(at, _)| path.get(..at))
}

fn check_entry(entry: &PlanEntry) -> Result<(), PlanError> {
    check_path(&entry.path)
        .map_err(|problem| PlanError::Path { path: shown(&entry.path), problem })?;
    if entry.permissions > 0o777 {
        let path = shown(&entry.path);
        return Err(PlanError::Permissions { path, found: entry.permissions });
    }
    Ok(())
}

fn check_target(target: &[u8]) -> Result<(), AliasProblem> {
    if target.is_empty() {
        Err(AliasProblem::Empty)
    } else if target.len() > limits::PATH_BYTES {
        Err(AliasProblem::TooLong)
    } else if target.contains(&0) {
        Err(AliasProblem::Nul)
    } else if std::str::from_utf8(target).is_err() {
        Err(AliasProblem::NotUtf8)
    } else {
        Ok(())
    }
}

/// `target` without empty components, `.` and `..`.
fn normalised(target: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> PlanEntry {
        PlanEntry::file(path, 0o644, ContentId(0), 0)
    }

    #[test]
    fn sorts_by_the_bytes_of_the_whole_path() {
        let names = ["a/b", "a-b", "a", "Z", "ä", "a.b"];
        let entries = names.iter().map(|name| match *name {
            "a" => PlanEntry::folder("a"),
            name => file(name),
        });
        let plan = Plan::new(entries.collect()).expect("a good plan");
        let sorted: Vec<_> = plan.entries().iter().map(|e| shown(&e.path)).collect();
        assert_eq!(sorted, ["Z", "a", "a-b", "a.b", "a/b", "ä"]);
    }

    #[test]
    fn refuses_bad_paths() {
        let long = "x".repeat(256);
        let deep = "y/".repeat(511) + "zz";
        assert_eq!(deep.len(), 1024);
        let table: &[(&[u8], RejectCode)] = &[
            (b"", RejectCode::PathEmptyComponent),
            (b"/a", RejectCode::PathEmptyComponent),
            (b"a/", RejectCode::PathEmptyComponent),
            (b"a//b", RejectCode::PathEmptyComponent),
            (b"./a", RejectCode::PathDotComponent),
            (b"a/..", RejectCode::PathDotComponent),
            (b"a\0", RejectCode::PathHasNul),
            (b"\xff", RejectCode::PathNotUtf8),
            (long.as_bytes(), RejectCode::PathTooLong),
            (deep.as_bytes(), RejectCode::PathTooLong),
        ];
        for &(path, expected) in table {
            match Plan::new(vec![PlanEntry::folder(path)]) {
                Err(PlanError::Path { problem: PathProblem::Rejected { code, .. }, .. }) => {
                    assert_eq!(code, expected, "{}", shown(path));
                }
                other => panic!("{}: {other:?}", shown(path)),
            }
        }
        let error = Plan::new(vec![PlanEntry::folder("a\\b")]).expect_err("refused");
        assert_eq!(error.to_string(), "path with a backslash: `a\\\\b`");
        for path in [&long[1..], &deep[1..], "...", ".a", "a b", "a\nb", "é*?:"] {
            let path = path.trim_start_matches('/');
            assert_eq!(check_path(path.as_bytes()), Ok(()), "{path}");
        }
    }

    #[test]
    fn refuses_duplicates_and_parents_that_are_no_folders() {
        let error = Plan::new(vec![file("a"), file("b"), file("a")]).expect_err("refused");
        assert_eq!(error.to_string(), "path `a` appears twice");
        // `a/b` has no entry of its own: the file two levels up counts all the same.
        let error = Plan::new(vec![file("a/b/c"), file("a")]).expect_err("refused");
        assert_eq!(error.to_string(), "`a/b/c` lies below `a`, which is not a folder");
        let entries = vec![PlanEntry::folder("d"), PlanEntry::alias("l", "d"), file("l/x")];
        let error = Plan::new(entries).expect_err("refused");
        assert_eq!(error.to_string(), "`l/x` lies below `l`, which is not a folder");
    }

    #[test]
    fn refuses_bits_beyond_permissions() {
        let mut entry = file("su");
        entry.permissions = 0o4755;
        let error = Plan::new(vec![entry]).expect_err("refused");
        assert_eq!(error.to_string(), "`su` has permissions 4755, at most 777 can be stored");
    }

    #[test]
    fn aliases_lead_to_folders() {
        let with = |target: &[u8]| {
            let entries = vec![
                PlanEntry::folder("lib"),
                PlanEntry::folder("lib/x"),
                file("lib/f"),
                file("implicit/deep/f"),
                PlanEntry::alias("ring", "ring"),
                PlanEntry::alias("usr", target),
            ];
            // The ring is checked first, so take it out again for the good ones.
            Plan::new(entries.into_iter().filter(|e| e.path != b"ring").collect())
        };
        for target in
            ["lib", "/lib", "//lib/", "./lib/x/..", "../../lib", "/", ".", "implicit/deep"]
        {
            assert!(with(target.as_bytes()).is_ok(), "{target}");
        }
        let table: &[(&[u8], AliasProblem)] = &[
            (b"", AliasProblem::Empty),
            (&[b'x'; 1024], AliasProblem::TooLong),
            (b"lib\0", AliasProblem::Nul),
            (b"\xfe", AliasProblem::NotUtf8),
            (b"nothing", AliasProblem::Missing),
            (b"li", AliasProblem::Missing),
            (b"lib/f", AliasProblem::File),
            (b"usr", AliasProblem::Chain),
            // An alias inside a target is not expanded.
            (b"usr/x", AliasProblem::Missing),
        ];
        for &(target, expected) in table {
            match with(target) {
                Err(PlanError::Alias { problem, .. }) => assert_eq!(problem, expected),
                other => panic!("{}: {other:?}", shown(target)),
            }
        }
    }

    #[test]
    fn a_chain_of_thirty_two_aliases_is_the_longest() {
        let chain = |length: usize| {
            let mut entries = vec![PlanEntry::folder("end")];
            for link in 0..length {
                let target = if link == 0 { "end".to_owned() } else { format!("link{}", link - 1) };
                entries.push(PlanEntry::alias(format!("link{link}"), target));
            }
            Plan::new(entries)
        };
        assert!(chain(32).is_ok());
        assert!(chain(33).is_err());
    }

    #[test]
    fn names_the_folders_that_have_no_entry() {
        let plan = Plan::new(vec![PlanEntry::folder("a"), file("a/b/c/f"), file("x")]);
        let plan = plan.expect("a good plan");
        let implicit: Vec<_> = plan.implicit_folders().into_iter().map(shown).collect();
        assert_eq!(implicit, ["a/b", "a/b/c"]);
    }
}
