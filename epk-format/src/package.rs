//! A package that passed every rule, as a tree of nodes with content.

use std::fmt;
use std::ops::{ControlFlow, Range};

use zerocopy::FromBytes as _;

use crate::content::Inflater;
use crate::digest::Sha256;
use crate::error::{Error, Location, Reject, RejectCode};
use crate::layout::block::{BlockEntry, METHOD_NONE, SIZE};
use crate::layout::header::Header;
use crate::layout::toc::{Entry, EntryFlags};
use crate::manifest::{Manifest, ManifestError, ManifestStatus};
use crate::signature::{Policy, SignatureState, TrustedKeys};
use crate::source::Source;
use crate::time::{PackedTime, Timestamp};
use crate::tree::{Origin, Record, Tree};
use crate::validate::inline::Inline;
use crate::validate::toc::Entries;
use crate::{path, validate};

/// The number of a node. The root is 0; the others follow without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// The root folder.
    pub const ROOT: Self = Self(0);

    /// The node of a number, which [`Package::node`] may not know.
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        u32::try_from(index).ok().filter(|&index| index < u32::MAX).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The number of a block, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockIndex(pub u32);

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link. In format 1.0 a folder alias, which leads to a folder of the package.
    Link,
}

/// What `stat` tells of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 0 to 0o777. Format 1.0 knows none for folders (its packer writes 0777
    /// always) and links: these show 0755 and 0777.
    pub mode: u32,
    /// Bytes of content, of a link's text; 0 for folders.
    pub size: u64,
    /// When its content last changed; the epoch when the package doesn't say.
    pub modified: Timestamp,
    /// Number of names, as `st_nlink` counts.
    pub links: u32,
}

/// A name in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child<'p> {
    /// Where to go on reading the folder after this one.
    pub next: u64,
    /// The name: bytes without `/`.
    pub name: &'p [u8],
    /// The node.
    pub id: NodeId,
    /// What it is.
    pub kind: Kind,
}

/// A stretch of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Piece<'p> {
    /// Bytes that are in memory and verified.
    Bytes(&'p [u8]),
    /// A part of a block's plain bytes.
    Block {
        /// The block.
        index: BlockIndex,
        /// First byte of the part in the plain block.
        start: u32,
        /// Bytes of the part, at least 1.
        length: u32,
    },
}

/// A row of the block table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Where the stored bytes lie in the image.
    pub offset: u64,
    /// Number of stored bytes.
    pub stored_size: u32,
    /// Number of plain bytes.
    pub plain_size: u32,
    /// Whether the stored bytes are a zlib stream, or else the plain bytes.
    pub compressed: bool,
    /// SHA-256 of the plain bytes (format 1.0).
    pub hash: Sha256,
}

/// Under what conditions a package may be opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Whether PackageHash is compared with the whole file. Without it nothing vouches for the
    /// table of contents, the manifest and inline data.
    pub verify_hash: bool,
    /// What its signature must be.
    pub signature: Policy,
    /// Whose signatures count under [`Policy::Required`].
    pub trust: TrustedKeys,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { verify_hash: true, signature: Policy::Optional, trust: TrustedKeys::default() }
    }
}

/// The parts of an image that are held in memory.
pub(crate) struct Sections {
    pub(crate) header: Header,
    pub(crate) toc: Vec<u8>,
    pub(crate) entries: Entries,
    pub(crate) block_table: Vec<u8>,
    /// `None` when it is above the limit, which no opened package's is.
    pub(crate) manifest: Option<Vec<u8>>,
    pub(crate) inline: Inline,
    pub(crate) size: u64,
}

/// What a thread needs to read blocks again and again without allocating.
#[derive(Debug, Default)]
pub struct Scratch {
    stored: Vec<u8>,
    inflater: Inflater,
}

/// An image that kept all the rules of `spec/epk-1.0.md`.
///
/// Blocks are verified when they are read. Any number of threads may read at once.
#[must_use]
pub struct Package<S> {
    source: S,
    sections: Sections,
    /// For each block the plain bytes before it, and at the end their sum.
    plain_starts: Vec<u64>,
    tree: Tree,
    signature: SignatureState,
}

impl<S: Source> Package<S> {
    /// Checks every rule and opens the package.
    ///
    /// # Errors
    /// The first rule that the image breaks, or what the storage says.
    pub fn open(source: S, options: &OpenOptions) -> Result<Self, Error> {
        validate::open(source, options)
    }

    pub(crate) fn new(
        source: S,
        sections: Sections,
        plain_starts: Vec<u64>,
        tree: Tree,
        signature: SignatureState,
    ) -> Self {
        Self { source, sections, plain_starts, tree, signature }
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.sections.header
    }

    /// The version of the format, as people write it.
    pub fn format(&self) -> &'static str {
        "1.0"
    }

    /// The hash that names the package.
    pub fn package_hash(&self) -> Sha256 {
        Sha256(self.sections.header.package_hash)
    }

    /// Bytes of the image.
    pub fn image_size(&self) -> u64 {
        self.sections.size
    }

    /// What was found out about the signature.
    pub fn signature(&self) -> &SignatureState {
        &self.signature
    }

    /// The manifest's text.
    pub fn manifest(&self) -> &[u8] {
        self.sections.manifest.as_deref().unwrap_or_default()
    }

    /// The manifest, parsed.
    ///
    /// # Errors
    /// What is wrong with it; an absent or empty one has a status of its own.
    pub fn parse_manifest(&self) -> Result<Manifest, ManifestError> {
        match self.manifest() {
            [] => {
                Err(ManifestError::new(ManifestStatus::InvalidManifestBlob, "the package has none"))
            }
            text => Manifest::parse(text),
        }
    }

    /// Number of nodes; their ids are below it.
    pub fn node_count(&self) -> usize {
        self.tree.len()
    }

    /// Number of blocks.
    pub fn block_count(&self) -> u32 {
        u32::try_from(self.plain_starts.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// A node.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the package has no such node.
    pub fn node(&self, id: NodeId) -> Result<Node, Error> {
        let record = self.record(id)?;
        let entry = self.entry(record);
        let permissions = entry.map_or(0o644, |entry| entry.permissions.get() & 0o777);
        let (mode, size, links) = match record.kind {
            Kind::File => {
                let manifest = self.manifest().len() as u64;
                (permissions, entry.map_or(manifest, |entry| entry.file_size.get()), 1)
            }
            Kind::Folder => (0o755, 0, record.folders.saturating_add(2)),
            Kind::Link => (0o777, self.link_target(id)?.len() as u64, 1),
        };
        let modified = entry.and_then(|entry| PackedTime(entry.modified.get()).to_timestamp());
        let modified = modified.unwrap_or_default();
        Ok(Node { id, kind: record.kind, mode, size, modified, links })
    }

    /// The child of a folder by its name, `None` when it has none of that name or isn't a
    /// folder.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the package has no such node.
    pub fn lookup(&self, folder: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        let record = self.record(folder)?;
        Ok(self.tree.child(record, name, &self.sections.toc))
    }

    /// The folder that holds a node; the root's is the root.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the package has no such node.
    pub fn parent(&self, id: NodeId) -> Result<NodeId, Error> {
        Ok(self.record(id)?.parent)
    }

    /// Shows `visit` the children of a folder in the order of their names' bytes, from the
    /// position `from` on: 0, or what [`Child::next`] of an earlier one says.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the package has no such node.
    pub fn read_folder(
        &self,
        folder: NodeId,
        from: u64,
        mut visit: impl FnMut(Child<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let children = self.tree.children(self.record(folder)?);
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        for (position, &id) in (from..).zip(children.get(start..).unwrap_or_default()) {
            let record = self.record(id)?;
            let name = self.tree.name(record, &self.sections.toc);
            let child = Child { next: position + 1, name, id, kind: record.kind };
            if visit(child).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The children of a folder, all at once.
    ///
    /// # Errors
    /// As [`Self::read_folder`].
    pub fn children(&self, folder: NodeId) -> Result<Vec<(Vec<u8>, NodeId, Kind)>, Error> {
        let mut children = Vec::new();
        self.read_folder(folder, 0, |child| {
            children.push((child.name.to_vec(), child.id, child.kind));
            ControlFlow::Continue(())
        })?;
        Ok(children)
    }

    /// The path of a node from the root, without a leading `/`.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the package has no such node.
    pub fn path(&self, id: NodeId) -> Result<Vec<u8>, Error> {
        self.record(id)?;
        Ok(self.tree.path(id, &self.sections.toc).join(&b'/'))
    }

    /// The text of a symbolic link. A folder alias's is made so that it leads, from the alias's
    /// own folder, to the folder where the alias's chain ends.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the package has no such node. The text of anything but a link
    /// is empty.
    pub fn link_target(&self, id: NodeId) -> Result<Vec<u8>, Error> {
        let record = self.record(id)?;
        if record.kind != Kind::Link {
            return Ok(Vec::new());
        }
        let toc = &self.sections.toc;
        let from = self.tree.path(record.parent, toc);
        Ok(path::relative(&from, &self.tree.path(record.target, toc)))
    }

    /// The SHA-256 of a file's content as its entry declares it; `None` when it declares none:
    /// the format has 32 zero bytes for empty files.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the package has no such node.
    pub fn file_hash(&self, id: NodeId) -> Result<Option<Sha256>, Error> {
        let entry = self.entry(self.record(id)?);
        Ok(entry.map(|entry| Sha256(entry.file_hash)).filter(|hash| *hash != Sha256::default()))
    }

    /// The pieces that make up the bytes `range` of a file, cut to its size.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the package has no such node. Anything but a file has none.
    pub fn pieces(
        &self,
        id: NodeId,
        range: Range<u64>,
    ) -> Result<impl Iterator<Item = Piece<'_>>, Error> {
        let record = self.record(id)?;
        let (bytes, blocks) = match (record.kind, record.origin, self.entry(record)) {
            (Kind::File, Origin::Manifest, _) => (self.manifest(), None),
            (Kind::File, _, Some(entry)) if has_blocks(entry) => (&[][..], Some(entry)),
            (Kind::File, _, Some(entry)) => {
                let (at, size) = (entry.inline_offset.get(), entry.inline_size.get());
                (self.sections.inline.get(at, size).unwrap_or_default(), None)
            }
            _ => (&[][..], None),
        };
        let end = range.end.min(bytes.len() as u64);
        let inline = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(end).ok())
            .and_then(|(start, end)| bytes.get(start..end))
            .filter(|bytes| !bytes.is_empty());
        let blocks = blocks.map(|entry| self.block_pieces(entry, range.clone()));
        Ok(inline.map(Piece::Bytes).into_iter().chain(blocks.into_iter().flatten()))
    }

    fn block_pieces<'p>(
        &'p self,
        entry: &Entry,
        range: Range<u64>,
    ) -> impl Iterator<Item = Piece<'p>> + use<'p, S> {
        let first = usize::try_from(entry.block_start.get()).unwrap_or(usize::MAX);
        let starts = self.plain_starts.get(first..).unwrap_or_default();
        // Where the file's content lies in the plain bytes of all blocks laid end to end.
        let base = starts.first().copied().unwrap_or(0);
        let end = base.saturating_add(range.end.min(entry.file_size.get()));
        let mut at = base.saturating_add(range.start);
        let mut index = starts.partition_point(|&start| start <= at).saturating_sub(1);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (from, to) = (*starts.get(index)?, *starts.get(index + 1)?);
            let piece = Piece::Block {
                index: BlockIndex(u32::try_from(first + index).ok()?),
                start: u32::try_from(at - from).ok()?,
                length: u32::try_from(to.min(end) - at).ok()?,
            };
            at = to.min(end);
            index += 1;
            Some(piece)
        })
    }

    /// A row of the block table.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the table has no such row.
    pub fn block(&self, index: BlockIndex) -> Result<Block, Error> {
        let row = usize::try_from(index.0)
            .ok()
            .and_then(|at| self.sections.block_table.get(at.checked_mul(SIZE)?..))
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
        })
    }

    /// Reads a block, verifies it, and leaves its plain bytes in `plain`, whose length becomes
    /// [`Block::plain_size`].
    ///
    /// # Errors
    /// [`Error::Io`] when the image can't be read; [`Error::Rejected`] with
    /// [`RejectCode::BlockDamaged`] or [`RejectCode::ChunkHashMismatch`] when the bytes aren't
    /// those that were packed. `plain` then holds nothing of use.
    pub fn read_block(
        &self,
        index: BlockIndex,
        scratch: &mut Scratch,
        plain: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let block = self.block(index)?;
        let damaged = |detail: String| {
            Reject::new(RejectCode::BlockDamaged, Location::Block(index.0), detail)
        };
        plain.resize(usize_of(block.plain_size), 0);
        if block.compressed {
            scratch.stored.resize(usize_of(block.stored_size), 0);
            self.read_stored(&block, &mut scratch.stored)?;
            scratch.inflater.inflate(&scratch.stored, plain).map_err(damaged)?;
        } else {
            self.read_stored(&block, plain)?;
        }
        let found = Sha256::of(plain);
        if found != block.hash {
            return Err(Reject::new(
                RejectCode::ChunkHashMismatch,
                Location::Block(index.0),
                format!("the block's SHA-256 is {found}, its ChunkHash says {}", block.hash),
            )
            .into());
        }
        Ok(())
    }

    fn read_stored(&self, block: &Block, buffer: &mut [u8]) -> Result<(), Error> {
        let length = buffer.len();
        self.source.read_exact_at(buffer, block.offset).map_err(|source| Error::Io {
            offset: block.offset,
            length,
            source,
        })
    }

    /// Shows `sink` the bytes `range` of a file piece by piece, each verified. No cache: for
    /// readers that go through a file once.
    ///
    /// # Errors
    /// As [`Self::read_block`]; and what `sink` says.
    pub fn read<E: From<Error>>(
        &self,
        id: NodeId,
        range: Range<u64>,
        scratch: &mut Scratch,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut plain = Vec::new();
        for piece in self.pieces(id, range)? {
            match piece {
                Piece::Bytes(bytes) => sink(bytes)?,
                Piece::Block { index, start, length } => {
                    self.read_block(index, scratch, &mut plain)?;
                    let start = usize_of(start);
                    sink(plain.get(start..start + usize_of(length)).unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }

    fn record(&self, id: NodeId) -> Result<&Record, Error> {
        self.tree.get(id).ok_or_else(|| {
            Reject::new(
                RejectCode::InvalidArgument,
                Location::Image,
                format!("no node {}, the package has {}", id.0, self.tree.len()),
            )
            .into()
        })
    }

    fn entry(&self, record: &Record) -> Option<&Entry> {
        match record.origin {
            Origin::Entry(index) => Some(self.sections.entries.get(&self.sections.toc, index)?.0),
            Origin::Implied | Origin::Manifest => None,
        }
    }
}

impl<S> fmt::Debug for Package<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Package")
            .field("hash", &Sha256(self.sections.header.package_hash))
            .field("nodes", &self.tree.len())
            .finish_non_exhaustive()
    }
}

fn has_blocks(entry: &Entry) -> bool {
    entry.flags.get() & EntryFlags::HAS_BLOCKS.bits() != 0
}

fn usize_of(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
