//! The numbers of nodes and entries, and where names lie.
//!
//! Nodes are numbered breadth first: the children of a folder have neighbouring numbers and their
//! entries one run, so listing a folder touches few pages, and every folder's number is above its
//! parent's.

use std::cmp::Ordering;
use std::ops::Range;

use super::super::super::entry::{Kind, PlanEntry, Xattr};
use super::super::super::error::{Limit, WriteError};
use super::super::super::plan::Plan;
use super::super::{length, limit};
use super::MAX_COUNT;
use super::strings::Strings;

/// A file, folder, link or alias.
pub(super) struct Node {
    /// The entry of the plan that describes it; `None` for folders that have none.
    pub(super) planned: Option<u32>,
    /// As `st_nlink` counts.
    pub(super) links: u32,
    /// The folder that it lies in; a file may lie in others, too.
    pub(super) parent: u32,
    /// The entry that names it.
    pub(super) own: u32,
    /// Folder: its first entry. Alias: the folder's node. Symbolic link: place of its target.
    pub(super) first: u32,
    /// Folder: number of entries.
    pub(super) count: u32,
    /// 0, or the number of the first attribute plus one.
    pub(super) xattrs: u32,
}

/// A name in a folder.
pub(super) struct Entry {
    pub(super) node: u32,
    pub(super) name: u32,
    pub(super) name_length: u16,
}

/// The tree of a plan.
pub(super) struct Tree<'a> {
    pub(super) plan: &'a Plan,
    pub(super) nodes: Vec<Node>,
    pub(super) entries: Vec<Entry>,
    pub(super) strings: Strings<'a>,
    /// Rows of attributes.
    pub(super) xattrs: u64,
}

/// A path: of an entry of the plan, or of a folder without one, numbered after these.
type Slot = u32;
/// The number of what has none yet.
const NONE: u32 = u32::MAX;

struct Paths<'a> {
    plan: &'a Plan,
    implicit: Vec<&'a [u8]>,
    /// Slots sorted by the folder that they lie in, then by name.
    sorted: Vec<Slot>,
}

impl<'a> Paths<'a> {
    fn new(plan: &'a Plan) -> Result<Self, WriteError> {
        let implicit: Vec<&[u8]> = plan.implicit_folders().into_iter().collect();
        let count = plan.entries().len().saturating_add(implicit.len());
        // One more: the root may have no entry.
        let count = limit(Limit::Nodes, length(count), MAX_COUNT - 1)?;
        let mut paths = Self { plan, implicit, sorted: Vec::new() };
        let slots = 0..u32::try_from(count).unwrap_or(NONE);
        paths.sorted = slots.filter(|&slot| !paths.path(slot).is_empty()).collect();
        let mut sorted = std::mem::take(&mut paths.sorted);
        sorted.sort_unstable_by(|&left, &right| {
            split(paths.path(left)).cmp(&split(paths.path(right)))
        });
        paths.sorted = sorted;
        Ok(paths)
    }

    fn planned(&self, slot: Slot) -> Option<&'a PlanEntry> {
        self.plan.entries().get(usize::try_from(slot).ok()?)
    }

    fn path(&self, slot: Slot) -> &'a [u8] {
        match self.planned(slot) {
            Some(entry) => &entry.path,
            None => {
                let at = usize::try_from(slot).unwrap_or(usize::MAX);
                let at = at.saturating_sub(self.plan.entries().len());
                self.implicit.get(at).copied().unwrap_or_default()
            }
        }
    }

    /// The slot of a folder's path other than the root's.
    fn find(&self, path: &[u8]) -> Option<Slot> {
        let wanted = split(path);
        let at = self.sorted.binary_search_by(|&slot| split(self.path(slot)).cmp(&wanted)).ok()?;
        self.sorted.get(at).copied()
    }

    /// What lies in a folder, as a range of the sorted slots.
    fn children(&self, folder: &[u8]) -> Range<usize> {
        let parent = |slot: &Slot| split(self.path(*slot)).0;
        let start = self.sorted.partition_point(|slot| parent(slot) < folder);
        let rest = self.sorted.get(start..).unwrap_or_default();
        let count = rest.partition_point(|slot| parent(slot).cmp(folder) == Ordering::Equal);
        start..start.saturating_add(count)
    }
}

/// A path's folder and name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (&[], path),
    }
}

impl<'a> Tree<'a> {
    /// Numbers the plan's entries. `primary` has for each the first entry of the same file.
    pub(super) fn new(plan: &'a Plan, primary: &[u32]) -> Result<Self, WriteError> {
        let paths = Paths::new(plan)?;
        let root = plan.get(b"").is_some().then_some(0);
        let mut tree = Self {
            plan,
            nodes: vec![Node {
                planned: root,
                links: 2,
                parent: 0,
                own: 0,
                first: 0,
                count: 0,
                xattrs: 0,
            }],
            entries: Vec::new(),
            strings: Strings::default(),
            xattrs: 0,
        };
        let slots = plan.entries().len().saturating_add(paths.implicit.len());
        let mut numbers = vec![NONE; slots];
        // The path of the node whose turn it is: `None` for what is no folder.
        let mut folders = vec![Some(NONE)];
        let mut number = 0;
        while let Some(&folder) = folders.get(number) {
            if let Some(slot) = folder {
                let path = if slot == NONE { &[][..] } else { paths.path(slot) };
                tree.fill(number, path, &paths, primary, &mut numbers, &mut folders)?;
            }
            number += 1;
        }
        tree.place_targets(&paths, &numbers)?;
        tree.place_xattrs()?;
        Ok(tree)
    }

    /// Gives a folder its entries, and their nodes numbers.
    fn fill(
        &mut self,
        folder: usize,
        path: &[u8],
        paths: &Paths<'a>,
        primary: &[u32],
        numbers: &mut [u32],
        folders: &mut Vec<Option<Slot>>,
    ) -> Result<(), WriteError> {
        let first = self.entry_count()?;
        let parent = u32::try_from(folder).unwrap_or(NONE);
        let mut inside = 0u32;
        let children = paths.sorted.get(paths.children(path)).unwrap_or_default();
        for &slot in children {
            let at = usize::try_from(slot).unwrap_or(usize::MAX);
            let file = primary.get(at).copied().unwrap_or(slot);
            let own = self.entry_count()?;
            let known = usize::try_from(file).ok().and_then(|file| numbers.get_mut(file));
            let node = match known {
                Some(known) if *known != NONE => {
                    let node = usize::try_from(*known).ok().and_then(|at| self.nodes.get_mut(at));
                    if let Some(node) = node {
                        node.links = node.links.saturating_add(1);
                    }
                    *known
                }
                known => {
                    let number = u32::try_from(self.nodes.len()).unwrap_or(NONE);
                    if let Some(known) = known {
                        *known = number;
                    }
                    let kind = paths.planned(file).map(|entry| &entry.kind);
                    let is_folder = kind.is_none_or(|kind| *kind == Kind::Folder);
                    inside = inside.saturating_add(u32::from(is_folder));
                    folders.push(is_folder.then_some(slot));
                    self.nodes.push(Node {
                        planned: kind.is_some().then_some(file),
                        links: if is_folder { 2 } else { 1 },
                        parent,
                        own,
                        first: 0,
                        count: 0,
                        xattrs: 0,
                    });
                    number
                }
            };
            let name = split(paths.path(slot)).1;
            // The plan has no longer names.
            let name_length = u16::try_from(name.len()).unwrap_or(u16::MAX);
            let name = self.strings.place(name)?;
            self.entries.push(Entry { node, name, name_length });
        }
        if let Some(node) = self.nodes.get_mut(folder) {
            node.first = first;
            node.count = u32::try_from(children.len()).unwrap_or(NONE);
            node.links = node.links.saturating_add(inside);
        }
        Ok(())
    }

    fn entry_count(&self) -> Result<u32, WriteError> {
        // A name more than there are is asked about: the count itself must fit, too.
        let count = limit(Limit::Entries, length(self.entries.len()), MAX_COUNT)?;
        Ok(u32::try_from(count).unwrap_or(NONE))
    }

    /// Finds what aliases and links lead to.
    fn place_targets(&mut self, paths: &Paths<'a>, numbers: &[u32]) -> Result<(), WriteError> {
        for node in &mut self.nodes {
            let planned = node.planned.and_then(|slot| paths.planned(slot));
            match planned.map(|entry| &entry.kind) {
                Some(Kind::Symlink { target }) => node.first = self.strings.place(target)?,
                Some(Kind::Alias { target }) => {
                    // The plan has checked that it leads to a folder.
                    let folder = self.plan.resolve(target).unwrap_or_default();
                    let slot = paths.find(&folder).and_then(|slot| usize::try_from(slot).ok());
                    node.first = slot.and_then(|slot| numbers.get(slot).copied()).unwrap_or(0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn place_xattrs(&mut self) -> Result<(), WriteError> {
        for node in &mut self.nodes {
            let xattrs = xattrs_of(self.plan, node);
            if xattrs.is_empty() {
                continue;
            }
            node.xattrs = u32::try_from(self.xattrs + 1).unwrap_or(NONE);
            self.xattrs = self.xattrs.saturating_add(length(xattrs.len()));
            limit(Limit::Xattrs, self.xattrs, MAX_COUNT)?;
            for xattr in xattrs {
                self.strings.place(&xattr.name)?;
                self.strings.place(&xattr.value)?;
            }
        }
        Ok(())
    }

    /// What the plan says about a node.
    pub(super) fn planned(&self, node: &Node) -> Option<&'a PlanEntry> {
        planned(self.plan, node)
    }

    /// A node's attributes, sorted by name.
    pub(super) fn xattrs(&self, node: &Node) -> &'a [Xattr] {
        xattrs_of(self.plan, node)
    }
}

fn planned<'a>(plan: &'a Plan, node: &Node) -> Option<&'a PlanEntry> {
    node.planned.and_then(|at| plan.entries().get(usize::try_from(at).ok()?))
}

fn xattrs_of<'a>(plan: &'a Plan, node: &Node) -> &'a [Xattr] {
    planned(plan, node).map(|entry| entry.xattrs.as_slice()).unwrap_or_default()
}
