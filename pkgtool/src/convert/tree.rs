//! The entries of a package, as far as another format holds them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::fs::File;
use std::path::Path;

use epk_format::package::{Kind, Node, NodeId};
use epk_format::path::display;
use epk_format::time::{PackedTime, Timestamp};
use epk_format::write::{ContentId, Format, PlanEntry, Xattr, check_path};
use epk_format::{Error, Package};
use serde::Serialize;

use crate::exit::Failure;
use crate::select;

/// What a package becomes.
pub(crate) struct Converted {
    pub(crate) entries: Vec<PlanEntry>,
    /// The files, by [`ContentId`].
    pub(crate) files: Vec<NodeId>,
    /// What the new format can't hold, in path order, parents first.
    pub(crate) lost: Vec<Loss>,
}

/// Something that a format can't hold. For people, as a line "`/path`: what".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Loss {
    /// The path, from the root, with a slash before it.
    pub(crate) path: String,
    /// What becomes of it.
    pub(crate) what: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", display(self.path.as_bytes()), self.what)
    }
}

/// Permissions that format 1.0 shows for every folder.
const FOLDER_MODE: u32 = 0o755;

/// Makes entries of format `format` of a package's nodes.
pub(crate) fn convert(
    package: &Package<File>,
    file: &Path,
    format: Format,
) -> Result<Converted, Failure> {
    let converted = Converted { entries: Vec::new(), files: Vec::new(), lost: Vec::new() };
    let mut walk = Walk { package, format, first: HashMap::new(), converted };
    let failed = |error: &Error| Failure::package(file, error);
    let root = package.node(NodeId::ROOT).map_err(|error| failed(&error))?;
    walk.visit(b"", root).map_err(|error| failed(&error))?;
    select::walk(package, file, &[], |visit| {
        walk.visit(visit.path, visit.node).map_err(|error| failed(&error))
    })?;
    Ok(walk.converted)
}

struct Walk<'p> {
    package: &'p Package<File>,
    format: Format,
    /// The number of each file's content, and the first path that has it.
    first: HashMap<NodeId, (ContentId, Vec<u8>)>,
    converted: Converted,
}

impl Walk<'_> {
    fn visit(&mut self, path: &[u8], node: Node) -> Result<(), Error> {
        if self.package.shown_manifest() == Some(node.id) {
            return Ok(());
        }
        if !path.is_empty()
            && let Err(problem) = check_path(self.format, path)
        {
            self.lose(path, &[format!("left out: {problem}")]);
            return Ok(());
        }
        let mut lost = Vec::new();
        let entry = match node.kind {
            Kind::Folder => {
                let mode = self.folder_mode(&node, &mut lost);
                Some(PlanEntry { permissions: mode, ..PlanEntry::folder(path) })
            }
            Kind::File => Some(self.file(path, &node, &mut lost)),
            Kind::Link => self.link(path, &node, &mut lost)?,
        };
        if let Some(mut entry) = entry {
            entry.xattrs = self.xattrs(&node, &mut lost)?;
            entry.modified = self.time(path, &node, &mut lost);
            // Format 1.0 has no entry for the root.
            if !path.is_empty() || self.format == Format::V2 {
                self.converted.entries.push(entry);
            }
        }
        if !lost.is_empty() {
            self.lose(path, &lost);
        }
        Ok(())
    }

    fn folder_mode(&self, node: &Node, lost: &mut Vec<String>) -> u32 {
        if self.format == Format::V1 && node.mode != FOLDER_MODE {
            lost.push(format!("permissions {:04o} become {FOLDER_MODE:04o}", node.mode));
        }
        node.mode
    }

    fn file(&mut self, path: &[u8], node: &Node, lost: &mut Vec<String>) -> PlanEntry {
        let next = ContentId(self.converted.files.len());
        let content = match self.first.entry(node.id) {
            Entry::Vacant(place) => {
                place.insert((next, path.to_vec()));
                self.converted.files.push(node.id);
                next
            }
            Entry::Occupied(first) => {
                let (content, first) = first.get();
                if self.format == Format::V1 {
                    let first = display(first);
                    lost.push(format!("hard link to `/{first}`, becomes a file of its own"));
                }
                *content
            }
        };
        PlanEntry::file(path, node.mode, content, node.size)
    }

    fn link(
        &self,
        path: &[u8],
        node: &Node,
        lost: &mut Vec<String>,
    ) -> Result<Option<PlanEntry>, Error> {
        if let Some(target) = self.package.alias_path(node.id)? {
            if target.is_empty() {
                return Ok(Some(PlanEntry::alias(path, b"/")));
            }
            if let Err(problem) = check_path(self.format, &target) {
                let shown = display(&target);
                lost.push(format!("left out: alias of `/{shown}`, which is: {problem}"));
                return Ok(None);
            }
            return Ok(Some(PlanEntry::alias(path, target)));
        }
        let target = self.package.link_target(node.id)?;
        if self.format == Format::V1 {
            lost.push(format!("left out: symbolic link to `{}`", display(&target)));
            return Ok(None);
        }
        Ok(Some(PlanEntry::symlink(path, target)))
    }

    fn xattrs(&self, node: &Node, lost: &mut Vec<String>) -> Result<Vec<Xattr>, Error> {
        if !self.package.has_xattrs() {
            return Ok(Vec::new());
        }
        let found = self.package.xattrs(node.id)?;
        if self.format == Format::V1 {
            let dropped = |(name, _): &(Vec<u8>, _)| format!("without `{}`", display(name));
            lost.extend(found.iter().map(dropped));
            return Ok(Vec::new());
        }
        Ok(found.into_iter().map(|(name, value)| Xattr { name, value }).collect())
    }

    /// The beginning of 1970 is no time: a reader shows it where there is none.
    fn time(&self, path: &[u8], node: &Node, lost: &mut Vec<String>) -> Option<Timestamp> {
        let time = Some(node.modified).filter(|time| *time != Timestamp::default());
        if self.format == Format::V2 {
            return time;
        }
        let held = time.filter(|_| !path.is_empty()).and_then(PackedTime::from_timestamp);
        let held = held.and_then(PackedTime::to_timestamp);
        match (time, held) {
            (Some(time), None) => lost.push(format!("time {} left out", shown(time))),
            (Some(time), Some(held)) if held != time => {
                lost.push(format!("time {} becomes {}", shown(time), shown(held)));
            }
            _ => {}
        }
        held
    }

    fn lose(&mut self, path: &[u8], lost: &[String]) {
        let path = format!("/{}", String::from_utf8_lossy(path));
        self.converted.lost.push(Loss { path, what: lost.join("; ") });
    }
}

/// Seconds since 1970.
fn shown(time: Timestamp) -> String {
    format!("{}.{:09}", time.seconds, time.nanoseconds)
}
