//! What goes into an image: entries, the rules for them, and their order.
//!
//! Nothing here knows how an entry is stored.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::entry::{ContentId, Kind, PlanEntry};
use super::error::shown;
use super::format::{Format, LINK_BYTES, XATTR_NAME_BYTES, XATTR_VALUE_BYTES};
use super::plan_error::{AliasProblem, LinkProblem, PathProblem, PlanError, Unheld, XattrProblem};
use crate::error::RejectCode;
use crate::time::PackedTime;
use crate::{limits, path};

/// Checks one path by the rules of [`path::components`], with the format's limit on its length,
/// and in format 1.0 for backslashes.
///
/// # Errors
/// The first rule broken.
pub fn check_path(format: Format, path: &[u8]) -> Result<(), PathProblem> {
    let rejected = |(code, detail)| PathProblem::Rejected { code, detail };
    if format == Format::V1 {
        let _ = path::components(path).map_err(rejected)?;
        return if path.contains(&b'\\') { Err(PathProblem::Backslash) } else { Ok(()) };
    }
    let allowed = format.path_bytes();
    if path.len() > allowed {
        let detail = format!("path of {} bytes, at most {allowed} are allowed", path.len());
        return Err(rejected((RejectCode::PathTooLong, detail)));
    }
    // The limit on whole paths there is that of 1.0; a component is far below it.
    let long = |name: &&[u8]| name.len() > limits::COMPONENT_BYTES;
    if let Some(name) = path::split(path).find(long) {
        let (found, allowed) = (name.len(), limits::COMPONENT_BYTES);
        let detail = format!("path component of {found} bytes, at most {allowed} are allowed");
        return Err(rejected((RejectCode::PathTooLong, detail)));
    }
    for name in path::split(path) {
        let _ = path::components(name).map_err(rejected)?;
    }
    Ok(())
}

/// Entries that make a package: checked, and sorted by the bytes of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    format: Format,
    entries: Vec<PlanEntry>,
}

impl Plan {
    /// Sorts and checks `entries` for a package of this format. Folders above an entry need no entry of their own.
    ///
    /// # Errors
    /// The first entry, in path order, that breaks a rule.
    pub fn new(format: Format, mut entries: Vec<PlanEntry>) -> Result<Self, PlanError> {
        // The whole path is compared, not component by component: `a-b` lies before `a/b`.
        entries.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        for entry in &mut entries {
            entry.xattrs.sort_unstable();
        }
        let plan = Self { format, entries };
        let mut previous: Option<&PlanEntry> = None;
        for entry in &plan.entries {
            check_entry(format, entry)?;
            if previous.is_some_and(|previous| previous.path == entry.path) {
                return Err(PlanError::Duplicate { path: shown(&entry.path) });
            }
            plan.check_parents(entry)?;
            previous = Some(entry);
        }
        plan.check_aliases()?;
        if format >= Format::V2 {
            plan.check_links()?;
        }
        Ok(plan)
    }

    /// The format that the entries were checked for.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
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

    /// Bytes of content in all files; `None` when they don't fit 64 bits. In format 2.0 a file of
    /// several names counts once.
    #[must_use]
    pub fn content_bytes(&self) -> Option<u64> {
        let mut seen = HashSet::new();
        self.entries.iter().try_fold(0u64, |sum, entry| match entry.kind {
            Kind::File { content, size } if self.format == Format::V1 || seen.insert(content) => {
                sum.checked_add(size)
            }
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

    /// Names of one file must agree on what it is.
    fn check_links(&self) -> Result<(), PlanError> {
        let mut first: HashMap<ContentId, &PlanEntry> = HashMap::new();
        for entry in &self.entries {
            let Kind::File { content, .. } = entry.kind else { continue };
            let other = *first.entry(content).or_insert(entry);
            let alike = other.kind == entry.kind
                && other.permissions == entry.permissions
                && other.modified == entry.modified
                && other.xattrs == entry.xattrs;
            if !alike {
                let (other, path) = (shown(&other.path), shown(&entry.path));
                return Err(PlanError::Unlike { other, path });
            }
        }
        Ok(())
    }

    /// The path of the folder that an alias target leads to. Follows it as EXOS does: from the
    /// root, `..` clamped there, aliases inside the path not expanded, an alias at its end
    /// followed.
    pub(super) fn resolve(&self, target: &[u8]) -> Result<Vec<u8>, AliasProblem> {
        let mut target = target;
        // The alias that is being checked is the first of the chain.
        for _ in 0..limits::ALIAS_CHAIN {
            check_target(self.format, target)?;
            let path = self.walk(target).ok_or(AliasProblem::Missing)?;
            if path.is_empty() {
                return Ok(path);
            }
            match self.get(&path).map(|entry| &entry.kind) {
                Some(Kind::Folder) => return Ok(path),
                Some(Kind::File { .. } | Kind::Symlink { .. }) => return Err(AliasProblem::File),
                Some(Kind::Alias { target: next }) => target = next,
                None if self.is_implicit_folder(&path) => return Ok(path),
                None => return Err(AliasProblem::Missing),
            }
        }
        Err(AliasProblem::Chain)
    }

    /// `target` without empty components, `.` and `..`; `None` when it leads through something
    /// that isn't there, be it to come back at once.
    fn walk(&self, target: &[u8]) -> Option<Vec<u8>> {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path::split(target) {
            match part {
                b"" | b"." => {}
                b".." => {
                    let here = parts.join(&b'/');
                    if !here.is_empty()
                        && self.get(&here).is_none()
                        && !self.is_implicit_folder(&here)
                    {
                        return None;
                    }
                    parts.pop();
                }
                _ => parts.push(part),
            }
        }
        Some(parts.join(&b'/'))
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

fn check_entry(format: Format, entry: &PlanEntry) -> Result<(), PlanError> {
    let path = || shown(&entry.path);
    let root = format >= Format::V2 && entry.path.is_empty() && entry.kind == Kind::Folder;
    if !root {
        check_path(format, &entry.path)
            .map_err(|problem| PlanError::Path { path: path(), problem })?;
    }
    if entry.permissions > 0o777 {
        return Err(PlanError::Permissions { path: path(), found: entry.permissions });
    }
    if let Some(found) = entry.modified.map(|time| time.nanoseconds).filter(|&n| n > 999_999_999) {
        return Err(PlanError::Nanoseconds { path: path(), found });
    }
    if format == Format::V1 {
        let unheld = |what| Err(PlanError::Unheld { path: path(), format, what });
        return match entry.modified.map(PackedTime::from_timestamp) {
            Some(None) => unheld(Unheld::Time),
            _ if matches!(entry.kind, Kind::Symlink { .. }) => unheld(Unheld::Symlink),
            _ if !entry.xattrs.is_empty() => unheld(Unheld::Xattrs),
            _ => Ok(()),
        };
    }
    if let Kind::Symlink { target } = &entry.kind {
        check_link(target).map_err(|problem| PlanError::Link { path: path(), problem })?;
    }
    check_xattrs(entry)
}

fn check_link(target: &[u8]) -> Result<(), LinkProblem> {
    if target.is_empty() {
        Err(LinkProblem::Empty)
    } else if target.len() > LINK_BYTES {
        Err(LinkProblem::TooLong)
    } else if target.contains(&0) {
        Err(LinkProblem::Nul)
    } else {
        Ok(())
    }
}

/// The attributes are sorted.
fn check_xattrs(entry: &PlanEntry) -> Result<(), PlanError> {
    let mut previous = None;
    for (number, xattr) in entry.xattrs.iter().enumerate() {
        let name = xattr.name.as_slice();
        let rest = name.strip_prefix(b"user.").unwrap_or_default();
        let problem = if rest.is_empty() || rest.contains(&0) {
            XattrProblem::Name
        } else if name.len() > XATTR_NAME_BYTES {
            XattrProblem::NameTooLong
        } else if xattr.value.len() > XATTR_VALUE_BYTES {
            XattrProblem::ValueTooLong
        } else if previous == Some(name) {
            XattrProblem::Duplicate
        } else if number >= limits::XATTRS {
            XattrProblem::TooMany
        } else {
            previous = Some(name);
            continue;
        };
        return Err(PlanError::Xattr { path: shown(&entry.path), name: shown(name), problem });
    }
    Ok(())
}

fn check_target(format: Format, target: &[u8]) -> Result<(), AliasProblem> {
    if target.is_empty() {
        Err(AliasProblem::Empty)
    } else if target.len() > format.path_bytes() {
        Err(AliasProblem::TooLong)
    } else if target.contains(&0) {
        Err(AliasProblem::Nul)
    } else if std::str::from_utf8(target).is_err() {
        Err(AliasProblem::NotUtf8)
    } else {
        Ok(())
    }
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
        let plan = Plan::new(Format::V1, entries.collect()).expect("a good plan");
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
            match Plan::new(Format::V1, vec![PlanEntry::folder(path)]) {
                Err(PlanError::Path { problem: PathProblem::Rejected { code, .. }, .. }) => {
                    assert_eq!(code, expected, "{}", shown(path));
                }
                other => panic!("{}: {other:?}", shown(path)),
            }
        }
        let error = Plan::new(Format::V1, vec![PlanEntry::folder("a\\b")]).expect_err("refused");
        assert_eq!(error.to_string(), "path with a backslash: `a\\\\b`");
        for path in [&long[1..], &deep[1..], "...", ".a", "a b", "a\nb", "é*?:"] {
            let path = path.trim_start_matches('/');
            assert_eq!(check_path(Format::V1, path.as_bytes()), Ok(()), "{path}");
        }
    }

    #[test]
    fn refuses_duplicates_and_parents_that_are_no_folders() {
        let error =
            Plan::new(Format::V1, vec![file("a"), file("b"), file("a")]).expect_err("refused");
        assert_eq!(error.to_string(), "path `a` appears twice");
        // `a/b` has no entry of its own: the file two levels up counts all the same.
        let error = Plan::new(Format::V1, vec![file("a/b/c"), file("a")]).expect_err("refused");
        assert_eq!(error.to_string(), "`a/b/c` lies below `a`, which is not a folder");
        let entries = vec![PlanEntry::folder("d"), PlanEntry::alias("l", "d"), file("l/x")];
        let error = Plan::new(Format::V1, entries).expect_err("refused");
        assert_eq!(error.to_string(), "`l/x` lies below `l`, which is not a folder");
    }

    #[test]
    fn refuses_bits_beyond_permissions() {
        let mut entry = file("su");
        entry.permissions = 0o4755;
        let error = Plan::new(Format::V1, vec![entry]).expect_err("refused");
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
            Plan::new(Format::V1, entries.into_iter().filter(|e| e.path != b"ring").collect())
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
            // Found by fuzzing: what isn't there leads nowhere, not even back.
            (b"nothing/..", AliasProblem::Missing),
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
            Plan::new(Format::V1, entries)
        };
        assert!(chain(32).is_ok());
        assert!(chain(33).is_err());
    }

    #[test]
    fn names_the_folders_that_have_no_entry() {
        let plan = Plan::new(Format::V1, vec![PlanEntry::folder("a"), file("a/b/c/f"), file("x")]);
        let plan = plan.expect("a good plan");
        let implicit: Vec<_> = plan.implicit_folders().into_iter().map(shown).collect();
        assert_eq!(implicit, ["a/b", "a/b/c"]);
    }
}
