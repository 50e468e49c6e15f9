//! How the trees of two packages differ, found by their metadata: content is read only where a
//! package declares no hash of it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use epk_format::Package;
use epk_format::digest::{Hasher, Sha256};
use epk_format::package::{BlockIndex, Kind, Node, NodeId, Scratch};

use crate::exit::Failure;

/// A package, and the file that it is in.
#[derive(Clone, Copy)]
pub(crate) struct Side<'p> {
    pub(crate) package: &'p Package<File>,
    pub(crate) file: &'p Path,
}

/// What a package has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) node: Node,
    /// A link's text.
    pub(crate) target: Option<Vec<u8>>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A difference at a path.
#[derive(Debug)]
pub(crate) struct Difference {
    /// From the root, without a leading slash; the root's is empty.
    pub(crate) path: Vec<u8>,
    pub(crate) left: Option<Item>,
    pub(crate) right: Option<Item>,
    /// What differs if both have it.
    pub(crate) what: Vec<What>,
}

/// What two things of one path differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Kind,
    Content,
    Target,
    Mode,
    Time,
    /// How many names a file has.
    Links,
    Xattrs,
}

impl What {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Content => "content",
            Self::Target => "target",
            Self::Mode => "mode",
            Self::Time => "time",
            Self::Links => "links",
            Self::Xattrs => "xattrs",
        }
    }
}

/// Shows `found` every difference, folders before what is in them, names in order.
pub(crate) fn trees(
    left: Side<'_>,
    right: Side<'_>,
    mut found: impl FnMut(Difference) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // Packages may be deep: no recursion. The next pair is the last.
    let mut pairs = vec![(Vec::new(), Some(NodeId::ROOT), Some(NodeId::ROOT))];
    while let Some((path, a, b)) = pairs.pop() {
        let one = a.map(|id| left.item(id)).transpose()?;
        let other = b.map(|id| right.item(id)).transpose()?;
        let what = match (&one, &other) {
            (Some(one), Some(other)) => compare(left, right, one, other)?,
            _ => Vec::new(),
        };
        let folder = |item: &Option<Item>| {
            item.as_ref().filter(|item| item.node.kind == Kind::Folder).map(|item| item.node.id)
        };
        let mut names: BTreeMap<Vec<u8>, (Option<NodeId>, Option<NodeId>)> = BTreeMap::new();
        if let Some(id) = folder(&one) {
            for (name, child, _) in left.children(id)? {
                names.entry(name).or_default().0 = Some(child);
            }
        }
        if let Some(id) = folder(&other) {
            for (name, child, _) in right.children(id)? {
                names.entry(name).or_default().1 = Some(child);
            }
        }
        for (name, (a, b)) in names.into_iter().rev() {
            let path = if path.is_empty() { name } else { [&*path, &*name].join(&b'/') };
            pairs.push((path, a, b));
        }
        if !what.is_empty() || one.is_none() || other.is_none() {
            found(Difference { path, left: one, right: other, what })?;
        }
    }
    Ok(())
}

impl Side<'_> {
    fn failed(&self, error: &epk_format::Error) -> Failure {
        Failure::package(self.file, error)
    }

    fn children(&self, id: NodeId) -> Result<Vec<(Vec<u8>, NodeId, Kind)>, Failure> {
        self.package.children(id).map_err(|error| self.failed(&error))
    }

    fn item(&self, id: NodeId) -> Result<Item, Failure> {
        let item = || {
            let node = self.package.node(id)?;
            let link = node.kind == Kind::Link;
            let target = link.then(|| self.package.link_target(id)).transpose()?;
            let mut xattrs = self.package.xattrs(id)?;
            xattrs.sort();
            Ok(Item { node, target, xattrs })
        };
        item().map_err(|error| self.failed(&error))
    }

    /// The hash of a file's content: the one that the package declares, or else its bytes'.
    fn hash(&self, node: &Node) -> Result<Sha256, Failure> {
        let hash = || {
            if let Some(hash) = self.package.file_hash(node.id)? {
                return Ok(hash);
            }
            let mut hasher = Hasher::new();
            self.package.read(node.id, 0..u64::MAX, &mut Scratch::default(), |bytes| {
                hasher.update(bytes);
                Ok::<(), epk_format::Error>(())
            })?;
            Ok(hasher.finish())
        };
        hash().map_err(|error| self.failed(&error))
    }
}

fn compare(
    left: Side<'_>,
    right: Side<'_>,
    one: &Item,
    other: &Item,
) -> Result<Vec<What>, Failure> {
    let (a, b) = (&one.node, &other.node);
    if a.kind != b.kind {
        return Ok(vec![What::Kind]);
    }
    let file = a.kind == Kind::File;
    let content = file && (a.size != b.size || left.hash(a)? != right.hash(b)?);
    let table = [
        (content, What::Content),
        (one.target != other.target, What::Target),
        (a.mode != b.mode, What::Mode),
        (a.modified != b.modified, What::Time),
        (file && a.links != b.links, What::Links),
        (one.xattrs != other.xattrs, What::Xattrs),
    ];
    Ok(table.into_iter().filter(|(differs, _)| *differs).map(|(_, what)| what).collect())
}

/// Blocks that two packages have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Blocks {
    /// Different blocks of each.
    pub(crate) left: u64,
    pub(crate) right: u64,
    /// Of the right ones those that the left has, too, and their stored bytes.
    pub(crate) shared: u64,
    pub(crate) shared_bytes: u64,
    /// Stored bytes of all different blocks on the right.
    pub(crate) right_bytes: u64,
}

/// Compares blocks by their hashes; `None` for packages of two formats, whose blocks are hashed
/// differently.
pub(crate) fn blocks(left: Side<'_>, right: Side<'_>) -> Result<Option<Blocks>, Failure> {
    if left.package.format() != right.package.format() {
        return Ok(None);
    }
    let hashes = |side: Side<'_>| {
        let blocks = (0..side.package.block_count()).map(|index| {
            let block = side.package.block(BlockIndex(index))?;
            Ok((block.hash, u64::from(block.stored_size)))
        });
        let blocks: Result<HashMap<Sha256, u64>, epk_format::Error> = blocks.collect();
        blocks.map_err(|error| side.failed(&error))
    };
    let (a, b) = (hashes(left)?, hashes(right)?);
    let shared = || b.iter().filter(|(hash, _)| a.contains_key(*hash)).map(|(_, bytes)| *bytes);
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(Some(Blocks {
        left: count(a.len()),
        right: count(b.len()),
        shared: count(shared().count()),
        shared_bytes: shared().sum(),
        right_bytes: b.values().sum(),
    }))
}
