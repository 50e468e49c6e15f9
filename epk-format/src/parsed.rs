//! A package of format 1.0, parsed as a whole: its tables in memory, its paths as a tree.

use std::ops::ControlFlow;

use zerocopy::FromBytes as _;

use crate::digest::Sha256;
use crate::error::{Error, Location, Reject, RejectCode};
use crate::layout::block::{BlockEntry, METHOD_NONE, SIZE};
use crate::layout::toc::{Entry, EntryFlags};
use crate::package::{Block, BlockIndex, Child, Kind, Node, NodeId, Piece, part, usize_of};
use crate::path;
use crate::time::PackedTime;
use crate::tree::{MANIFEST_NAME, Origin, Record, Tree};
use crate::validate::inline::Inline;
use crate::validate::toc::Entries;

/// What is held of a package of format 1.0.
pub(crate) struct Parsed {
    pub(crate) toc: Vec<u8>,
    pub(crate) entries: Entries,
    pub(crate) block_table: Vec<u8>,
    pub(crate) inline: Inline,
    /// For each block the plain bytes before it, and at the end their sum.
    pub(crate) plain_starts: Vec<u64>,
    pub(crate) tree: Tree,
}

impl Parsed {
    pub(crate) fn node_count(&self) -> usize {
        self.tree.len()
    }

    pub(crate) fn block_count(&self) -> u32 {
        u32::try_from(self.plain_starts.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    pub(crate) fn node(&self, id: NodeId, manifest: &[u8]) -> Result<Node, Error> {
        let record = self.record(id)?;
        let entry = self.entry(record);
        let permissions = entry.map_or(0o644, |entry| entry.permissions.get() & 0o777);
        let (mode, size, links) = match record.kind {
            Kind::File => {
                let manifest = manifest.len() as u64;
                (permissions, entry.map_or(manifest, |entry| entry.file_size.get()), 1)
            }
            Kind::Folder => (0o755, 0, record.folders.saturating_add(2)),
            Kind::Link => (0o777, self.link_target(id)?.len() as u64, 1),
        };
        let modified = entry.and_then(|entry| PackedTime(entry.modified.get()).to_timestamp());
        let modified = modified.unwrap_or_default();
        Ok(Node { id, kind: record.kind, mode, size, modified, links })
    }

    pub(crate) fn lookup(&self, folder: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        Ok(self.tree.child(self.record(folder)?, name, &self.toc))
    }

    pub(crate) fn parent(&self, id: NodeId) -> Result<NodeId, Error> {
        Ok(self.record(id)?.parent)
    }

    pub(crate) fn read_folder(
        &self,
        folder: NodeId,
        from: u64,
        mut visit: impl FnMut(Child<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let children = self.tree.children(self.record(folder)?);
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        // In this order: `from` may be the last number that there is.
        for (&id, position) in children.get(start..).unwrap_or_default().iter().zip(from..) {
            let record = self.record(id)?;
            let name = self.tree.name(record, &self.toc);
            let child = Child { next: position + 1, name, id, kind: record.kind };
            if visit(child).is_break() {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn link_target(&self, id: NodeId) -> Result<Vec<u8>, Error> {
        let record = self.record(id)?;
        if record.kind != Kind::Link {
            return Ok(Vec::new());
        }
        let from = self.tree.path(record.parent, &self.toc);
        Ok(path::relative(&from, &self.tree.path(record.target, &self.toc)))
    }

    pub(crate) fn alias_path(&self, id: NodeId) -> Result<Option<Vec<u8>>, Error> {
        let record = self.record(id)?;
        let target = || self.tree.path(record.target, &self.toc).join(&b'/');
        Ok((record.kind == Kind::Link).then(target))
    }

    pub(crate) fn shown_manifest(&self) -> Option<NodeId> {
        let root = self.tree.get(NodeId::ROOT)?;
        let id = self.tree.child(root, MANIFEST_NAME, &self.toc)?;
        self.tree.get(id).filter(|record| record.origin == Origin::Manifest).map(|_| id)
    }

    pub(crate) fn file_hash(&self, id: NodeId) -> Result<Option<Sha256>, Error> {
        let entry = self.entry(self.record(id)?);
        Ok(entry.map(|entry| Sha256(entry.file_hash)).filter(|hash| *hash != Sha256::default()))
    }

    /// The piece of a file's content that holds the byte at `at`, up to `end`, which is at most
    /// the file's size.
    pub(crate) fn piece<'p>(
        &'p self,
        id: NodeId,
        at: u64,
        end: u64,
        manifest: &'p [u8],
    ) -> Result<Piece<'p>, Error> {
        let record = self.record(id)?;
        match self.entry(record) {
            None if record.origin == Origin::Manifest => part(manifest, at, end).map(Piece::Bytes),
            Some(entry) if entry.flags.get() & EntryFlags::HAS_BLOCKS.bits() != 0 => {
                self.block_piece(entry, at, end)
            }
            Some(entry) => {
                let (offset, size) = (entry.inline_offset.get(), entry.inline_size.get());
                part(self.inline.get(offset, size).unwrap_or_default(), at, end).map(Piece::Bytes)
            }
            None => part(&[], at, end).map(Piece::Bytes),
        }
    }

    fn block_piece(&self, entry: &Entry, at: u64, end: u64) -> Result<Piece<'_>, Error> {
        let first = usize_of(entry.block_start.get());
        let starts = self.plain_starts.get(first..).unwrap_or_default();
        // Where the file's content lies in the plain bytes of all blocks laid end to end.
        let base = starts.first().copied().unwrap_or(0);
        let (at, end) = (base.saturating_add(at), base.saturating_add(end));
        let index = starts.partition_point(|&start| start <= at).saturating_sub(1);
        let piece = starts.get(index).zip(starts.get(index + 1)).and_then(|(&from, &to)| {
            Some(Piece::Block {
                index: BlockIndex(u32::try_from(first + index).ok()?),
                start: u32::try_from(at.checked_sub(from)?).ok()?,
                length: u32::try_from(to.min(end).checked_sub(at)?).ok()?,
                plain_size: u32::try_from(to.checked_sub(from)?).ok()?,
            })
        });
        piece.ok_or_else(|| {
            let detail = format!("no block holds byte {at} of the blocks' content");
            Reject::new(RejectCode::InvalidArgument, Location::Image, detail).into()
        })
    }

    pub(crate) fn block(&self, index: BlockIndex) -> Result<Block, Error> {
        let row = usize_of(index.0)
            .checked_mul(SIZE)
            .and_then(|at| self.block_table.get(at..))
            .and_then(|rows| BlockEntry::ref_from_prefix(rows).ok());
        let Some((row, _)) = row else {
            return Err(Reject::new(
                RejectCode::InvalidArgument,
                Location::Block(index.0),
                format!("no such block, the package has {}", self.block_count()),
            )
            .into());
        };
        Ok(Block {
            offset: row.offset.get(),
            stored_size: row.stored_size.get(),
            plain_size: row.plain_size.get(),
            compressed: row.method != METHOD_NONE,
            hash: Sha256(row.chunk_hash),
            hash_of_stored: false,
        })
    }

    fn record(&self, id: NodeId) -> Result<&Record, Error> {
        self.tree.get(id).ok_or_else(|| {
            let detail = format!("no node {}, the package has {}", id.number(), self.tree.len());
            Reject::new(RejectCode::InvalidArgument, Location::Image, detail).into()
        })
    }

    fn entry(&self, record: &Record) -> Option<&Entry> {
        match record.origin {
            Origin::Entry(index) => Some(self.entries.get(&self.toc, index)?.0),
            Origin::Implied | Origin::Manifest => None,
        }
    }
}
