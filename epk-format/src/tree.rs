//! The tree that the paths of a table of contents describe (format 1.0).
//!
//! Entries come in any order and name whole paths; folders that none names exist all the same.
//! Here they become nodes with a parent and sorted children. Whatever makes no tree on Linux is
//! refused: two entries of one path, children of a file or an alias, an alias that leads to no
//! folder.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use crate::error::{Location, Reject, RejectCode};
use crate::layout::toc::{NODE_FILE, NODE_FOLDER};
use crate::limits;
use crate::package::{Kind, NodeId, Sections};
use crate::path;

/// The name under which the manifest appears at the root.
pub(crate) const MANIFEST_NAME: &[u8] = b"manifest.toml";

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A folder that no entry names, the root among them.
    Implied,
    /// An entry of the table of contents, by its number.
    Entry(u32),
    /// The manifest section.
    Manifest,
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) origin: Origin,
    pub(crate) kind: Kind,
    pub(crate) parent: NodeId,
    /// Number of folders inside.
    pub(crate) folders: u32,
    /// Where an alias leads.
    pub(crate) target: NodeId,
    /// Where the name lies in the table of contents. The manifest's lies nowhere.
    name: (u32, u16),
    /// The children's part of [`Tree::children`].
    children: (u32, u32),
}

/// Nodes by number, the root first.
#[derive(Debug)]
pub(crate) struct Tree {
    records: Vec<Record>,
    children: Vec<NodeId>,
}

impl Tree {
    pub(crate) fn build(sections: &Sections) -> Result<Self, Reject> {
        let mut builder = Builder::new(&sections.toc);
        for (index, entry, path, _) in sections.entries.iter(&sections.toc) {
            let kind = match entry.node_type.get() {
                NODE_FILE => Kind::File,
                NODE_FOLDER => Kind::Folder,
                _ => Kind::Link,
            };
            builder.insert(index, path, kind).map_err(|(code, detail)| {
                Reject::new(code, Location::Path(path.to_vec()), detail)
            })?;
        }
        builder.insert_manifest(sections);
        let mut tree = builder.finish();
        tree.resolve_aliases(sections)?;
        Ok(tree)
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Record> {
        self.records.get(id.index())
    }

    pub(crate) fn name<'t>(&self, record: &Record, toc: &'t [u8]) -> &'t [u8] {
        if record.origin == Origin::Manifest {
            return MANIFEST_NAME;
        }
        let start = usize::try_from(record.name.0).unwrap_or(usize::MAX);
        toc.get(start..start.saturating_add(usize::from(record.name.1))).unwrap_or_default()
    }

    /// The children of a folder in the order of their names' bytes.
    pub(crate) fn children(&self, record: &Record) -> &[NodeId] {
        let (start, count) = record.children;
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.children.get(start..start.saturating_add(count)).unwrap_or_default()
    }

    pub(crate) fn child(&self, record: &Record, name: &[u8], toc: &[u8]) -> Option<NodeId> {
        let children = self.children(record);
        let name_of = |id: &NodeId| self.get(*id).map_or(&[][..], |child| self.name(child, toc));
        let at = children.binary_search_by(|id| name_of(id).cmp(name)).ok()?;
        children.get(at).copied()
    }

    /// The names from the root to a node.
    pub(crate) fn path<'t>(&self, id: NodeId, toc: &'t [u8]) -> Vec<&'t [u8]> {
        let mut names = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT
            && let Some(record) = self.get(at)
        {
            names.push(self.name(record, toc));
            at = record.parent;
        }
        names.reverse();
        names
    }

    /// Finds out where each alias leads. Targets are resolved from the package's root, `.` and
    /// `..` as usual, the root being its own parent; an alias inside a target isn't followed,
    /// one at its end is.
    fn resolve_aliases(&mut self, sections: &Sections) -> Result<(), Reject> {
        let aliases: Vec<NodeId> = (0..self.len())
            .filter_map(NodeId::from_index)
            .filter(|id| self.get(*id).is_some_and(|record| record.kind == Kind::Link))
            .collect();
        // First each alias's own target, then the ends of the chains.
        for &id in &aliases {
            let target = self.walk(sections, id).map_err(|d| self.invalid(sections, id, d))?;
            if let Some(record) = self.records.get_mut(id.index()) {
                record.target = target;
            }
        }
        let ends = aliases.iter().map(|&id| {
            let end = self.follow(id).map_err(|detail| self.invalid(sections, id, detail))?;
            Ok((id, end))
        });
        for (id, end) in ends.collect::<Result<Vec<_>, Reject>>()? {
            if let Some(record) = self.records.get_mut(id.index()) {
                record.target = end;
            }
        }
        Ok(())
    }

    fn walk(&self, sections: &Sections, alias: NodeId) -> Result<NodeId, String> {
        let target = self
            .get(alias)
            .and_then(|record| match record.origin {
                Origin::Entry(index) => sections.entries.get(&sections.toc, index),
                Origin::Implied | Origin::Manifest => None,
            })
            .map_or(&[][..], |(_, _, target)| target);
        if target.len() > limits::PATH_BYTES {
            return Err(format!(
                "alias target of {} bytes, at most {} are allowed",
                target.len(),
                limits::PATH_BYTES
            ));
        }
        if target.contains(&0) {
            return Err("alias target with a NUL byte".into());
        }
        let mut at = NodeId::ROOT;
        for component in path::split(target) {
            match component {
                b"" | b"." => {}
                b".." => at = self.get(at).map_or(NodeId::ROOT, |record| record.parent),
                name => {
                    let found = self.get(at).and_then(|r| self.child(r, name, &sections.toc));
                    at = found.ok_or_else(|| {
                        format!("alias target `{}` doesn't exist", path::display(target))
                    })?;
                }
            }
        }
        Ok(at)
    }

    fn follow(&self, alias: NodeId) -> Result<NodeId, String> {
        let mut at = alias;
        for _ in 0..=limits::ALIAS_CHAIN {
            match self.get(at) {
                Some(record) if record.kind == Kind::Link => at = record.target,
                Some(record) if record.kind == Kind::Folder => return Ok(at),
                _ => return Err("alias target is not a folder".into()),
            }
        }
        Err(format!("chain of more than {} aliases", limits::ALIAS_CHAIN))
    }

    fn invalid(&self, sections: &Sections, id: NodeId, detail: String) -> Reject {
        let path = self.path(id, &sections.toc).join(&b'/');
        Reject::new(RejectCode::InvalidAlias, Location::Path(path), detail)
    }
}

struct Builder<'t> {
    toc: &'t [u8],
    records: Vec<Record>,
    by_name: HashMap<(NodeId, &'t [u8]), NodeId>,
}

impl<'t> Builder<'t> {
    fn new(toc: &'t [u8]) -> Self {
        let root = Record {
            origin: Origin::Implied,
            kind: Kind::Folder,
            parent: NodeId::ROOT,
            folders: 0,
            target: NodeId::ROOT,
            name: (0, 0),
            children: (0, 0),
        };
        Self { toc, records: vec![root], by_name: HashMap::new() }
    }

    fn insert(&mut self, index: u32, path: &'t [u8], kind: Kind) -> Result<(), Refusal> {
        let mut parent = NodeId::ROOT;
        let mut names = path::components(path)?.peekable();
        while let Some(name) = names.next() {
            let last = names.peek().is_none();
            let (origin, as_kind) =
                if last { (Origin::Entry(index), kind) } else { (Origin::Implied, Kind::Folder) };
            let next = NodeId::from_index(self.records.len())
                .filter(|_| self.records.len() < limits::NODES);
            let id = match self.by_name.entry((parent, name)) {
                Slot::Occupied(slot) => {
                    let id = *slot.get();
                    self.meet(id, origin, as_kind)?;
                    id
                }
                Slot::Vacant(slot) => {
                    let id = next.ok_or_else(|| {
                        let detail = format!("more than {} files and folders", limits::NODES);
                        (RejectCode::TooManyNodes, detail)
                    })?;
                    slot.insert(id);
                    self.records.push(Record {
                        origin,
                        kind: as_kind,
                        parent,
                        folders: 0,
                        target: NodeId::ROOT,
                        name: place(self.toc, name),
                        children: (0, 0),
                    });
                    id
                }
            };
            parent = id;
        }
        Ok(())
    }

    /// A path leads to a node that is there already.
    fn meet(&mut self, id: NodeId, origin: Origin, kind: Kind) -> Result<(), Refusal> {
        let Some(record) = self.records.get_mut(id.index()) else { return Ok(()) };
        match (origin, record.origin) {
            // On the way through.
            (Origin::Implied | Origin::Manifest, _) if record.kind == Kind::Folder => Ok(()),
            (Origin::Implied | Origin::Manifest, _) => Err((
                RejectCode::ParentNotFolder,
                "entry below something that is not a folder".into(),
            )),
            (Origin::Entry(_), Origin::Implied) if kind == Kind::Folder => {
                record.origin = origin;
                Ok(())
            }
            (Origin::Entry(_), Origin::Implied) => Err((
                RejectCode::ParentNotFolder,
                "a file or an alias by the name of a folder that other entries lie in".into(),
            )),
            (Origin::Entry(_), Origin::Entry(_) | Origin::Manifest) => {
                Err((RejectCode::DuplicatePath, "second entry of this path".into()))
            }
        }
    }

    fn insert_manifest(&mut self, sections: &Sections) {
        let shown = sections.manifest.as_ref().is_some_and(|text| !text.is_empty());
        if !shown || self.by_name.contains_key(&(NodeId::ROOT, MANIFEST_NAME)) {
            return;
        }
        if let Some(id) = NodeId::from_index(self.records.len()) {
            self.by_name.insert((NodeId::ROOT, MANIFEST_NAME), id);
            self.records.push(Record {
                origin: Origin::Manifest,
                kind: Kind::File,
                parent: NodeId::ROOT,
                folders: 0,
                target: NodeId::ROOT,
                name: (0, 0),
                children: (0, 0),
            });
        }
    }

    /// Lays the children of each folder one after another, sorted.
    fn finish(self) -> Tree {
        let mut tree = Tree { records: self.records, children: Vec::new() };
        drop(self.by_name);
        let mut order: Vec<NodeId> = (1..tree.len()).filter_map(NodeId::from_index).collect();
        let key =
            |id: &NodeId| tree.get(*id).map(|record| (record.parent, tree.name(record, self.toc)));
        order.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        for (position, &id) in (0_u32..).zip(&order) {
            let Some(record) = tree.get(id) else { continue };
            let (parent, folder) = (record.parent, record.kind == Kind::Folder);
            if let Some(parent) = tree.records.get_mut(parent.index()) {
                if parent.children.1 == 0 {
                    parent.children.0 = position;
                }
                parent.children.1 += 1;
                parent.folders += u32::from(folder);
            }
        }
        tree.children = order;
        tree
    }
}

type Refusal = (RejectCode, String);

/// Where a slice of the table lies in it. The table is below 2^32 bytes, a name below 2^8.
fn place(toc: &[u8], name: &[u8]) -> (u32, u16) {
    let offset = (name.as_ptr() as usize).checked_sub(toc.as_ptr() as usize);
    let offset = offset.and_then(|at| u32::try_from(at).ok());
    (offset.unwrap_or(0), u16::try_from(name.len()).unwrap_or(0))
}
