//! The metadata of format 2.0: rows read on demand from verified pages, each judged when it is
//! read (`spec/epk-2.0.md` §4). Nothing is parsed beforehand, and nothing but pages is kept.

mod audit;
mod open;
pub(crate) mod pages;
mod rows;

use std::cmp::Ordering;
use std::ops::ControlFlow;

pub(crate) use self::audit::audit;
pub(crate) use self::open::open;
use self::pages::{Memo, Pages};
use self::rows::{Row, Tables};
use crate::digest::Sha256;
use crate::error::{Error, Location, Reject, RejectCode};
use crate::layout::block::{BlockEntry, METHOD_NONE, METHOD_ZLIB};
use crate::layout::metadata::{
    EntryRow, KIND_ALIAS, KIND_FILE, KIND_FOLDER, KIND_SHIFT, KIND_SYMLINK, NodeRow, XattrRow,
    ZERO_CHUNK,
};
use crate::limits;
use crate::package::{Block, BlockIndex, Child, Kind, Node, NodeId, Piece, Xattr};
use crate::path;
use crate::source::Source;
use crate::time::Timestamp;
use crate::tree::MANIFEST_NAME;

/// The metadata of an open package.
#[derive(Debug)]
pub(crate) struct Metadata {
    pages: Pages,
    tables: Tables,
    /// Where the data section lies.
    data: std::ops::Range<u64>,
    /// The manifest's length if it shows at the root under its own name.
    shown_manifest: Option<u64>,
}

impl Metadata {
    pub(crate) fn has_xattrs(&self) -> bool {
        self.tables.xattrs != 0
    }
}

/// A node's row, with its kind.
pub(crate) struct Checked {
    id: u32,
    kind: u16,
    row: NodeRow,
}

impl Checked {
    fn public_kind(&self) -> Kind {
        kind(self.kind)
    }

    /// Bytes of content, which only files have.
    pub(crate) fn content_size(&self) -> u64 {
        if self.kind == KIND_FILE { self.row.size.get() } else { 0 }
    }
}

fn kind(number: u16) -> Kind {
    match number {
        KIND_FILE => Kind::File,
        KIND_FOLDER => Kind::Folder,
        _ => Kind::Link,
    }
}

fn reject(code: RejectCode, detail: String) -> Error {
    Reject::new(code, Location::Image, detail).into()
}

/// What one question to the metadata needs: the package's source, its metadata, and the pages that
/// it has come across, most of which it needs again and again.
pub(crate) struct View<'p, S> {
    source: &'p S,
    metadata: &'p Metadata,
    memo: Memo,
}

impl<'p, S> View<'p, S> {
    pub(crate) fn new(source: &'p S, metadata: &'p Metadata) -> Self {
        Self { source, metadata, memo: Memo::default() }
    }
}

impl<'p, S: Source> View<'p, S> {
    /// Nodes of the package, the manifest's included.
    pub(crate) fn node_count(&self) -> u64 {
        self.tables().nodes.saturating_add(u64::from(self.metadata.shown_manifest.is_some()))
    }

    pub(crate) fn block_count(&self) -> u32 {
        u32::try_from(self.tables().blocks).unwrap_or(u32::MAX)
    }

    fn tables(&self) -> &'p Tables {
        &self.metadata.tables
    }

    /// Fills `buffer` with the metadata's bytes from `offset` on.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.metadata.pages.read(self.source, &self.memo, offset, buffer)
    }

    fn row<R: Row>(&self, number: u64) -> Result<R, Error> {
        let mut row = R::new_zeroed();
        let offset = self.tables().place::<R>(number)?;
        self.read(offset, row.as_mut_bytes())?;
        Ok(row)
    }

    fn string(&self, place: u32, length: usize) -> Result<Vec<u8>, Error> {
        let offset = self.tables().string(u64::from(place), length as u64)?;
        let mut bytes = vec![0; length];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// The manifest's node, if it shows at the root.
    pub(crate) fn manifest_id(&self) -> Option<NodeId> {
        self.metadata.shown_manifest?;
        NodeId::from_index(usize::try_from(self.tables().nodes).ok()?)
    }

    pub(crate) fn checked(&self, id: NodeId) -> Result<Checked, Error> {
        let row: NodeRow = self.row(u64::from(id.number()))?;
        let bad =
            |what: String| reject(RejectCode::NodeFormat, format!("node {}: {what}", id.number()));
        let kind = row.kind_mode.get() >> KIND_SHIFT;
        if !(KIND_FILE..=KIND_ALIAS).contains(&kind) {
            return Err(bad(format!("kind {kind}, known are 1 to 4")));
        }
        if row.kind_mode.get() & 0x0E00 != 0 || row.reserved0 != 0 || row.reserved1 != 0 {
            return Err(bad("reserved bits are not 0".into()));
        }
        if row.nanoseconds.get() > 999_999_999 {
            return Err(bad(format!("{} nanoseconds, at most 999999999", row.nanoseconds)));
        }
        if kind == KIND_SYMLINK && !(1..=limits::LINK_BYTES).contains(&row.size.get()) {
            return Err(bad(format!(
                "link target of {} bytes, 1 to {} are allowed",
                row.size,
                limits::LINK_BYTES
            )));
        }
        let unused = match kind {
            KIND_FILE if row.size == 0 => row.first != 0 || row.offset != 0 || row.own != 0,
            KIND_SYMLINK => row.offset != 0 || row.own != 0,
            KIND_ALIAS => row.size != 0,
            _ => false,
        };
        if unused {
            return Err(bad("a field that its kind has no use for is not 0".into()));
        }
        if matches!(kind, KIND_SYMLINK | KIND_ALIAS) && row.kind_mode.get() & 0o777 != 0o777 {
            return Err(bad("mode of a link other than 0777".into()));
        }
        if id == NodeId::ROOT && (kind != KIND_FOLDER || row.offset != 0 || row.own != 0) {
            return Err(bad("the root is not a folder that is its own parent".into()));
        }
        Ok(Checked { id: id.number(), kind, row })
    }

    pub(crate) fn node(&self, id: NodeId) -> Result<Node, Error> {
        if Some(id) == self.manifest_id() {
            let size = self.metadata.shown_manifest.unwrap_or(0);
            let modified = Timestamp::default();
            return Ok(Node { id, kind: Kind::File, mode: 0o644, size, modified, links: 1 });
        }
        let node = self.checked(id)?;
        let row = &node.row;
        let size = match node.kind {
            KIND_FOLDER => 0,
            KIND_ALIAS => self.link_target(id)?.len() as u64,
            _ => row.size.get(),
        };
        Ok(Node {
            id,
            kind: node.public_kind(),
            mode: u32::from(row.kind_mode.get() & 0o777),
            size,
            modified: Timestamp { seconds: row.seconds.get(), nanoseconds: row.nanoseconds.get() },
            links: row.links.get(),
        })
    }

    /// The range of a folder's entries.
    fn entries(&self, folder: &Checked) -> Result<std::ops::Range<u64>, Error> {
        let first = u64::from(folder.row.first.get());
        let end = first.checked_add(folder.row.size.get());
        match end.filter(|&end| end <= self.tables().entries) {
            Some(end) => Ok(first..end),
            None => Err(reject(
                RejectCode::NodeFormat,
                format!(
                    "node {}: {} entries from {first} on, the table has {}",
                    folder.id,
                    folder.row.size,
                    self.tables().entries
                ),
            )),
        }
    }

    fn entry(&self, number: u64) -> Result<(EntryRow, Vec<u8>), Error> {
        let row: EntryRow = self.row(number)?;
        let bad = |what: String| reject(RejectCode::EntryFormat, format!("entry {number}: {what}"));
        let length = usize::from(row.name_length.get());
        if !(1..=limits::COMPONENT_BYTES).contains(&length) {
            return Err(bad(format!("name of {length} bytes, 1 to 255 are allowed")));
        }
        let name = self.string(row.name.get(), length)?;
        if name.iter().any(|byte| matches!(byte, 0 | b'/'))
            || matches!(&*name, b"." | b"..")
            || std::str::from_utf8(&name).is_err()
        {
            return Err(bad(format!("`{}` cannot be a name", path::display(&name))));
        }
        if !(KIND_FILE..=KIND_ALIAS).contains(&row.kind.get()) {
            return Err(bad(format!("kind {}, known are 1 to 4", row.kind)));
        }
        Ok((row, name))
    }

    /// The node that an entry of `folder` names, if it fits: of the entry's kind, and if it is a
    /// folder or an alias, one that lies here and nowhere else.
    fn target(&self, folder: u32, number: u64, entry: &EntryRow) -> Result<NodeId, Error> {
        let id = usize::try_from(entry.node.get()).ok().and_then(NodeId::from_index);
        let Some(id) = id.filter(|_| u64::from(entry.node.get()) < self.tables().nodes) else {
            return Err(reject(
                RejectCode::EntryFormat,
                format!("entry {number}: node {}, there are {}", entry.node, self.tables().nodes),
            ));
        };
        let node = self.checked(id)?;
        if node.kind != entry.kind.get() {
            return Err(reject(
                RejectCode::EntryFormat,
                format!("entry {number}: kind {}, its node's is {}", entry.kind, node.kind),
            ));
        }
        let own = u64::from(node.row.own.get()) == number;
        let linked = match node.kind {
            KIND_FOLDER => own && node.row.offset.get() == folder && node.id > folder,
            KIND_ALIAS => own && node.row.offset.get() == folder,
            _ => true,
        };
        if !linked {
            return Err(reject(
                RejectCode::FolderLinkage,
                format!(
                    "entry {number} of folder {folder} names node {}, which lies elsewhere",
                    node.id
                ),
            ));
        }
        Ok(id)
    }

    pub(crate) fn lookup(&self, folder: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        if Some(folder) == self.manifest_id() {
            return Ok(None);
        }
        let checked = self.checked(folder)?;
        if checked.kind != KIND_FOLDER {
            return Ok(None);
        }
        if let Some(number) = self.search(&checked, name)? {
            let (row, _) = self.entry(number)?;
            return self.target(folder.number(), number, &row).map(Some);
        }
        let manifest = folder == NodeId::ROOT && name == MANIFEST_NAME;
        Ok(self.manifest_id().filter(|_| manifest))
    }

    /// Binary search. The neighbours of what is found must not have its name, nor stand in the
    /// wrong order.
    fn search(&self, folder: &Checked, name: &[u8]) -> Result<Option<u64>, Error> {
        let range = self.entries(folder)?;
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle)?.1.as_slice().cmp(name) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => {
                    let before =
                        middle > range.start && self.entry(middle - 1)?.1.as_slice() >= name;
                    let after =
                        middle + 1 < range.end && self.entry(middle + 1)?.1.as_slice() <= name;
                    if before || after {
                        return Err(out_of_order(folder.id, middle));
                    }
                    return Ok(Some(middle));
                }
            }
        }
        Ok(None)
    }

    pub(crate) fn parent(&self, id: NodeId) -> Result<NodeId, Error> {
        if Some(id) == self.manifest_id() {
            return Ok(NodeId::ROOT);
        }
        let node = self.checked(id)?;
        let parent = match node.kind {
            KIND_FOLDER | KIND_ALIAS => node.row.offset.get(),
            _ => 0,
        };
        if node.kind == KIND_FOLDER && parent >= node.id && node.id != 0 {
            return Err(reject(
                RejectCode::FolderLinkage,
                format!("folder {} has the parent {parent}, which must come before it", node.id),
            ));
        }
        Ok(usize::try_from(parent).ok().and_then(NodeId::from_index).unwrap_or(NodeId::ROOT))
    }

    pub(crate) fn read_folder(
        &self,
        folder: NodeId,
        from: u64,
        mut visit: impl FnMut(Child<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if Some(folder) == self.manifest_id() {
            return Ok(());
        }
        let checked = self.checked(folder)?;
        if checked.kind != KIND_FOLDER {
            return Ok(());
        }
        let range = self.entries(&checked)?;
        let count = range.end - range.start;
        let mut previous: Option<Vec<u8>> = None;
        for position in from..count {
            let number = range.start.saturating_add(position);
            let (row, name) = self.entry(number)?;
            if previous.as_ref().is_some_and(|previous| *previous >= name) {
                return Err(out_of_order(checked.id, number));
            }
            let id = self.target(checked.id, number, &row)?;
            let child = Child { next: position + 1, name: &name, id, kind: kind(row.kind.get()) };
            if visit(child).is_break() {
                return Ok(());
            }
            previous = Some(name);
        }
        // The manifest comes last: a folder's order on Linux is nobody's promise.
        if let Some(id) = self.manifest_id().filter(|_| folder == NodeId::ROOT && from <= count) {
            let _last = visit(Child { next: count + 1, name: MANIFEST_NAME, id, kind: Kind::File });
        }
        Ok(())
    }

    /// The names from the root to a folder or an alias.
    pub(crate) fn path(&self, id: NodeId) -> Result<Vec<Vec<u8>>, Error> {
        let mut names = Vec::new();
        let mut at = id;
        let mut length = 0;
        while at != NodeId::ROOT {
            let node = self.checked(at)?;
            if names.len() > limits::PATH_BYTES_2 / 2 || length > limits::PATH_BYTES_2 {
                return Err(reject(
                    RejectCode::PathTooLong,
                    format!("node {}: path above {} bytes", id.number(), limits::PATH_BYTES_2),
                ));
            }
            let number = u64::from(node.row.own.get());
            if number >= self.tables().entries {
                return Err(reject(
                    RejectCode::FolderLinkage,
                    format!(
                        "node {}: entry {number}, there are {}",
                        node.id,
                        self.tables().entries
                    ),
                ));
            }
            let (row, name) = self.entry(number)?;
            if row.node.get() != node.id {
                return Err(reject(
                    RejectCode::FolderLinkage,
                    format!("node {} says that entry {number} names it", node.id),
                ));
            }
            length += name.len() + 1;
            names.push(name);
            at = self.parent(at)?;
        }
        names.reverse();
        Ok(names)
    }

    pub(crate) fn alias_path(&self, id: NodeId) -> Result<Option<Vec<u8>>, Error> {
        if Some(id) == self.manifest_id() {
            return Ok(None);
        }
        let node = self.checked(id)?;
        if node.kind != KIND_ALIAS {
            return Ok(None);
        }
        Ok(Some(self.path(self.alias_target(&node)?)?.join(&b'/')))
    }

    pub(crate) fn link_target(&self, id: NodeId) -> Result<Vec<u8>, Error> {
        if Some(id) == self.manifest_id() {
            return Ok(Vec::new());
        }
        let node = self.checked(id)?;
        match node.kind {
            KIND_SYMLINK => {
                let length = usize::try_from(node.row.size.get()).unwrap_or(usize::MAX);
                let target = self.string(node.row.first.get(), length)?;
                if target.contains(&0) {
                    return Err(reject(
                        RejectCode::NodeFormat,
                        format!("node {}: link target with a NUL byte", node.id),
                    ));
                }
                Ok(target)
            }
            KIND_ALIAS => {
                let target = self.alias_target(&node)?;
                let (from, to) = (self.path(self.parent(id)?)?, self.path(target)?);
                let from: Vec<&[u8]> = from.iter().map(Vec::as_slice).collect();
                let to: Vec<&[u8]> = to.iter().map(Vec::as_slice).collect();
                Ok(path::relative(&from, &to))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The folder that an alias leads to.
    fn alias_target(&self, alias: &Checked) -> Result<NodeId, Error> {
        let number = alias.row.first.get();
        let target = usize::try_from(number).ok().and_then(NodeId::from_index);
        match target.filter(|_| u64::from(number) < self.tables().nodes) {
            Some(target) if self.checked(target)?.kind == KIND_FOLDER => Ok(target),
            _ => Err(reject(
                RejectCode::InvalidAlias,
                format!("node {}: alias of node {number}, no folder", alias.id),
            )),
        }
    }

    pub(crate) fn file_hash(&self, id: NodeId) -> Result<Option<Sha256>, Error> {
        if Some(id) == self.manifest_id() {
            return Ok(None);
        }
        let node = self.checked(id)?;
        if node.kind != KIND_FILE || node.row.size == 0 {
            return Ok(None);
        }
        let number = u64::from(node.row.own.get());
        if number >= self.tables().hashes {
            return Err(reject(
                RejectCode::NodeFormat,
                format!("node {}: file hash {number}, there are {}", node.id, self.tables().hashes),
            ));
        }
        self.row::<rows::HashRow>(number).map(|row| Some(Sha256(row.0)))
    }

    /// The extended attributes of a node, in the order of the table.
    pub(crate) fn xattrs(&self, id: NodeId) -> Result<Vec<Xattr>, Error> {
        let mut attributes = Vec::new();
        if Some(id) == self.manifest_id() {
            return Ok(attributes);
        }
        let Some(mut number) = self.checked(id)?.row.xattrs.get().checked_sub(1) else {
            return Ok(attributes);
        };
        loop {
            let bad = |what: String| {
                reject(RejectCode::XattrFormat, format!("attribute {number}: {what}"))
            };
            if u64::from(number) >= self.tables().xattrs {
                return Err(bad(format!("there are {}", self.tables().xattrs)));
            }
            let row: XattrRow = self.row(u64::from(number))?;
            if attributes.len() >= limits::XATTRS {
                return Err(bad(format!("a node has at most {}", limits::XATTRS)));
            }
            let (name_length, value_length) =
                (usize::from(row.name_length.get()), row.value_length.get());
            if value_length > limits::XATTR_VALUE_BYTES {
                return Err(bad(format!(
                    "value of {value_length} bytes, at most {}",
                    limits::XATTR_VALUE_BYTES
                )));
            }
            let name = self.string(row.name.get(), name_length)?;
            let text = name.strip_prefix(b"user.").filter(|rest| !rest.is_empty());
            if text.is_none() || name_length > limits::COMPONENT_BYTES || name.contains(&0) {
                return Err(bad(format!("name `{}`", path::display(&name))));
            }
            if row.last.get() > 1 {
                return Err(bad(format!("flag {}, 0 or 1 is allowed", row.last)));
            }
            if attributes.last().is_some_and(|(previous, _): &Xattr| *previous >= name) {
                return Err(
                    bad("the one before it has its name or one that sorts after it".into()),
                );
            }
            let value = usize::try_from(value_length).unwrap_or(usize::MAX);
            attributes.push((name, self.string(row.value.get(), value)?));
            if row.last == 1 {
                return Ok(attributes);
            }
            number = number.checked_add(1).ok_or_else(|| bad("no last one".into()))?;
        }
    }

    /// The piece of a file's content that holds the byte at `at`, up to `end`, which is at most
    /// the file's size.
    pub(crate) fn piece(&self, node: &Checked, at: u64, end: u64) -> Result<Piece<'p>, Error> {
        let chunk_size = u64::from(self.tables().chunk_size);
        let (size, offset) = (node.row.size.get(), u64::from(node.row.offset.get()));
        let bad =
            |what: String| reject(RejectCode::ContentRange, format!("node {}: {what}", node.id));
        if offset != 0 && offset.saturating_add(size) > chunk_size {
            return Err(bad(format!("{size} bytes from byte {offset} of a chunk of {chunk_size}")));
        }
        let position = offset.saturating_add(at);
        let chunk = u64::from(node.row.first.get()).saturating_add(position / chunk_size);
        let within = position % chunk_size;
        // Where this chunk's part of the file ends, in the chunk.
        let last = offset.saturating_add(size).div_ceil(chunk_size).saturating_sub(1);
        let needed = if position / chunk_size < last {
            chunk_size
        } else {
            offset.saturating_add(size).saturating_sub(last.saturating_mul(chunk_size))
        };
        let length = needed.min(within.saturating_add(end.saturating_sub(at))) - within;
        let block = self.chunk(chunk)?;
        let (start, length) = (u32::try_from(within), u32::try_from(length));
        let (Ok(start), Ok(length)) = (start, length) else {
            return Err(bad("chunk above 4 GiB".into()));
        };
        if block == ZERO_CHUNK {
            return Ok(Piece::Zeros { length });
        }
        let index = BlockIndex(block);
        let plain_size = self.block(index)?.plain_size;
        let plain = u64::from(plain_size);
        let whole = position / chunk_size < last || offset == 0 && size > chunk_size;
        if plain < needed || (whole && needed == chunk_size && plain != chunk_size) {
            return Err(bad(format!(
                "block {} has {plain} plain bytes, {needed} are needed",
                index.0
            )));
        }
        Ok(Piece::Block { index, start, length, plain_size })
    }

    /// The block of a chunk, or [`ZERO_CHUNK`].
    fn chunk(&self, number: u64) -> Result<u32, Error> {
        let tables = self.tables();
        if number >= tables.chunks {
            return Err(reject(
                RejectCode::ContentRange,
                format!("no chunk {number}, there are {}", tables.chunks),
            ));
        }
        let block = self.row::<rows::ChunkRow>(number)?.0.get();
        if block != ZERO_CHUNK && u64::from(block) >= tables.blocks {
            return Err(reject(
                RejectCode::ContentRange,
                format!("chunk {number}: block {block}, there are {}", tables.blocks),
            ));
        }
        Ok(block)
    }

    pub(crate) fn block(&self, index: BlockIndex) -> Result<Block, Error> {
        let row: BlockEntry = self.row(u64::from(index.0))?;
        let bad = |detail: String| -> Error {
            Reject::new(RejectCode::BlockFormat, Location::Block(index.0), detail).into()
        };
        let (stored, plain) = (row.stored_size.get(), row.plain_size.get());
        if row.reserved0 != 0 || row.reserved1 != 0 {
            return Err(bad("reserved field is not 0".into()));
        }
        if plain == 0 || plain > self.tables().chunk_size {
            return Err(bad(format!(
                "{plain} plain bytes, 1 to {} are allowed",
                self.tables().chunk_size
            )));
        }
        match row.method {
            METHOD_NONE if stored == plain => {}
            METHOD_ZLIB if stored != 0 && stored <= limits::STORED_CHUNK_BYTES => {}
            METHOD_NONE | METHOD_ZLIB => {
                return Err(bad(format!("{stored} stored bytes for {plain} plain ones")));
            }
            other => {
                return Err(bad(format!("method {other}, known are 0 (none) and 1 (zlib)")));
            }
        }
        let data = &self.metadata.data;
        let size = data.end - data.start;
        let end = row.offset.get().checked_add(u64::from(stored));
        if end.is_none_or(|end| end > size) {
            return Err(bad(format!(
                "{stored} bytes at {:#x} of the data, which have {size:#x}",
                row.offset
            )));
        }
        Ok(Block {
            offset: data.start.saturating_add(row.offset.get()),
            stored_size: stored,
            plain_size: plain,
            compressed: row.method == METHOD_ZLIB,
            hash: Sha256(row.chunk_hash),
            hash_of_stored: true,
        })
    }
}

fn out_of_order(folder: u32, entry: u64) -> Error {
    reject(
        RejectCode::EntryOrder,
        format!("folder {folder}: entry {entry} has its neighbour's name or is out of order"),
    )
}
