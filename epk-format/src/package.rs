//! A package that passed every rule, as a tree of nodes with content.

use std::fmt;
use std::ops::{ControlFlow, Range};

use crate::content::{self, Inflater};
use crate::digest::Sha256;
use crate::error::{Error, Location, Reject, RejectCode};
use crate::layout::header::Header;
use crate::manifest::{Manifest, ManifestError, ManifestStatus};
use crate::metadata::{Checked, Metadata};
use crate::parsed::Parsed;
use crate::signature::{Policy, SignatureState};
use crate::source::Source;
use crate::time::Timestamp;
use crate::trust::TrustedKeys;
use crate::validate;
use crate::validate::inline::Inline;
use crate::validate::toc::Entries;
use crate::write::Format;

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

/// An extended attribute: its name with the prefix `user.`, and its value.
pub type Xattr = (Vec<u8>, Vec<u8>);

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
    /// Bytes that are all zero, and stored nowhere.
    Zeros {
        /// Their number, at least 1.
        length: u32,
    },
    /// A part of a block's plain bytes.
    Block {
        /// The block.
        index: BlockIndex,
        /// First byte of the part in the plain block.
        start: u32,
        /// Bytes of the part, at least 1.
        length: u32,
        /// [`Block::plain_size`].
        plain_size: u32,
    },
}

impl Piece<'_> {
    /// Bytes of the piece.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros { length } | Self::Block { length, .. } => u64::from(*length),
        }
    }
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
    /// Its SHA-256.
    pub hash: Sha256,
    /// Whether the hash is that of the stored bytes (format 2.0), or else of the plain ones.
    pub hash_of_stored: bool,
}

/// A step of reading a block that is done, [`Package::read_block_watched`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The stored bytes came out of the image.
    Fetched,
    /// Their SHA-256, or that of the plain ones, was compared.
    Verified,
    /// They were inflated.
    Inflated,
}

/// Under what conditions a package may be opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Whether PackageHash is compared with the whole file. Without it nothing vouches for the
    /// table of contents, the manifest and inline data.
    pub verify_hash: bool,
    /// What its signature must be.
    pub signature: Policy,
    /// Whose signatures count under [`Policy::Required`], and whose are refused under every policy.
    pub trust: TrustedKeys,
    /// What an earlier opening found out. An image of format 1.0 that it fits is not hashed as a
    /// whole again; one that it doesn't fit is opened as if it were not here.
    pub stamp: Option<Stamp>,
}

/// What the hash over a whole image of format 1.0 vouched for: an opening with it hashes only
/// what is held in memory. Blocks have their own hashes.
///
/// Whoever can forge a stamp can forge a package: it must come from a safe place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The PackageHash that was compared.
    pub package_hash: Sha256,
    /// The hash of header, table of contents, block table, manifest and inline content, and of
    /// where they lie.
    pub held_hash: Sha256,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            verify_hash: true,
            signature: Policy::Optional,
            trust: TrustedKeys::default(),
            stamp: None,
        }
    }
}

/// What is held of every package, whatever its format.
pub(crate) struct Common {
    pub(crate) header: Header,
    pub(crate) size: u64,
    pub(crate) manifest: Vec<u8>,
    pub(crate) signature: SignatureState,
    pub(crate) stamp: Option<Stamp>,
}

/// How the tree is found: the one thing in which the formats differ.
pub(crate) enum View {
    /// Format 1.0: parsed as a whole.
    Tree(Box<Parsed>),
    /// Format 2.0: read on demand.
    Pages(Box<Metadata>),
}

/// The parts of an image of format 1.0 that are held in memory.
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

/// An image that kept all the rules of its format.
///
/// Blocks, and in format 2.0 pages of metadata, are verified when they are read. Any number of
/// threads may read at once.
#[must_use]
pub struct Package<S> {
    source: S,
    common: Common,
    view: View,
}

impl<S: Source> Package<S> {
    /// Checks every rule that can be checked beforehand, and opens the package.
    ///
    /// # Errors
    /// The first rule that the image breaks, or what the storage says.
    pub fn open(source: S, options: &OpenOptions) -> Result<Self, Error> {
        let (common, view) = validate::open(&source, options)?;
        Ok(Self { source, common, view })
    }

    /// Where the image's bytes come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// What later openings of this image may be told, [`OpenOptions::stamp`]. Format 2.0 needs
    /// none, and an image whose hash was not compared has none.
    pub fn stamp(&self) -> Option<Stamp> {
        self.common.stamp
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.common.header
    }

    /// The version of the format.
    pub fn format(&self) -> Format {
        match self.view {
            View::Tree(_) => Format::V1,
            View::Pages(_) => Format::V2,
        }
    }

    /// The hash that names the package.
    pub fn package_hash(&self) -> Sha256 {
        Sha256(self.common.header.package_hash)
    }

    /// Bytes of the image.
    pub fn image_size(&self) -> u64 {
        self.common.size
    }

    /// How many bytes at the image's beginning name all blocks, and are authenticated without
    /// them: whoever has these bytes can open the package and get its blocks from anywhere. `None`
    /// in format 1.0, where PackageHash covers everything.
    pub fn head_size(&self) -> Option<u64> {
        let header = self.header();
        match self.format() {
            Format::V1 => None,
            Format::V2 => header.toc_offset.get().checked_add(header.toc_size.get()),
        }
    }

    /// What was found out about the signature.
    pub fn signature(&self) -> &SignatureState {
        &self.common.signature
    }

    /// The manifest's text.
    pub fn manifest(&self) -> &[u8] {
        &self.common.manifest
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
        match &self.view {
            View::Tree(parsed) => parsed.node_count(),
            View::Pages(metadata) => {
                usize::try_from(self.pages(metadata).node_count()).unwrap_or(usize::MAX)
            }
        }
    }

    /// Number of blocks.
    pub fn block_count(&self) -> u32 {
        match &self.view {
            View::Tree(parsed) => parsed.block_count(),
            View::Pages(metadata) => self.pages(metadata).block_count(),
        }
    }

    /// A node.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the package has no such node, or one that breaks a rule.
    pub fn node(&self, id: NodeId) -> Result<Node, Error> {
        match &self.view {
            View::Tree(parsed) => parsed.node(id, self.manifest()),
            View::Pages(metadata) => self.pages(metadata).node(id),
        }
    }

    /// The child of a folder by its name, `None` when it has none of that name or isn't a
    /// folder.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub fn lookup(&self, folder: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        match &self.view {
            View::Tree(parsed) => parsed.lookup(folder, name),
            View::Pages(metadata) => self.pages(metadata).lookup(folder, name),
        }
    }

    /// The folder that holds a folder; the root's is the root.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub fn parent(&self, id: NodeId) -> Result<NodeId, Error> {
        match &self.view {
            View::Tree(parsed) => parsed.parent(id),
            View::Pages(metadata) => self.pages(metadata).parent(id),
        }
    }

    /// Shows `visit` the children of a folder in the order of their names' bytes (the manifest
    /// may come last), from the position `from` on: 0, or what [`Child::next`] of an earlier one
    /// says.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub fn read_folder(
        &self,
        folder: NodeId,
        from: u64,
        visit: impl FnMut(Child<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        match &self.view {
            View::Tree(parsed) => parsed.read_folder(folder, from, visit),
            View::Pages(metadata) => self.pages(metadata).read_folder(folder, from, visit),
        }
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

    /// The text of a symbolic link: in format 2.0 as it was packed. A folder alias's is made so
    /// that it leads, from the alias's own folder, to the folder where the alias's chain ends.
    ///
    /// # Errors
    /// As [`Self::node`]. The text of anything but a link is empty.
    pub fn link_target(&self, id: NodeId) -> Result<Vec<u8>, Error> {
        match &self.view {
            View::Tree(parsed) => parsed.link_target(id),
            View::Pages(metadata) => self.pages(metadata).link_target(id),
        }
    }

    /// The path, from the root and without a slash before it, of the folder that a folder alias
    /// leads to. `None` of anything else, symbolic links included.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub fn alias_path(&self, id: NodeId) -> Result<Option<Vec<u8>>, Error> {
        match &self.view {
            View::Tree(parsed) => parsed.alias_path(id),
            View::Pages(metadata) => self.pages(metadata).alias_path(id),
        }
    }

    /// The node at the root that shows the manifest, if no entry of that name does.
    pub fn shown_manifest(&self) -> Option<NodeId> {
        match &self.view {
            View::Tree(parsed) => parsed.shown_manifest(),
            View::Pages(metadata) => self.pages(metadata).manifest_id(),
        }
    }

    /// Whether any node has extended attributes.
    pub fn has_xattrs(&self) -> bool {
        match &self.view {
            View::Tree(_) => false,
            View::Pages(metadata) => metadata.has_xattrs(),
        }
    }

    /// The extended attributes of a node, names with their prefix `user.`.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub fn xattrs(&self, id: NodeId) -> Result<Vec<Xattr>, Error> {
        match &self.view {
            View::Tree(_) => Ok(Vec::new()),
            View::Pages(metadata) => self.pages(metadata).xattrs(id),
        }
    }

    /// The SHA-256 of a file's content as the package declares it; `None` when it declares none,
    /// as for empty files.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub fn file_hash(&self, id: NodeId) -> Result<Option<Sha256>, Error> {
        match &self.view {
            View::Tree(parsed) => parsed.file_hash(id),
            View::Pages(metadata) => self.pages(metadata).file_hash(id),
        }
    }

    /// The pieces that make up the bytes `range` of a file, cut to its size. Anything but a file
    /// has none.
    ///
    /// # Errors
    /// As [`Self::node`], at once or in place of a piece.
    pub fn pieces(&self, id: NodeId, range: Range<u64>) -> Result<Pieces<'_, S>, Error> {
        let (content, size) = match &self.view {
            View::Tree(parsed) => {
                let node = self.node(id)?;
                let size = if node.kind == Kind::File { node.size } else { 0 };
                (Content::Tree(parsed, id), size)
            }
            View::Pages(metadata) => {
                let view = self.pages(metadata);
                if view.manifest_id() == Some(id) {
                    (Content::Held, self.manifest().len() as u64)
                } else {
                    let node = view.checked(id)?;
                    let size = node.content_size();
                    (Content::Pages(Box::new((node, view))), size)
                }
            }
        };
        Ok(Pieces { content, package: self, at: range.start, end: range.end.min(size) })
    }

    /// A row of the block table.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the table has no such row, or one that breaks a rule.
    pub fn block(&self, index: BlockIndex) -> Result<Block, Error> {
        match &self.view {
            View::Tree(parsed) => parsed.block(index),
            View::Pages(metadata) => self.pages(metadata).block(index),
        }
    }

    /// Reads a block, verifies it, and leaves its plain bytes in `plain`, whose length becomes
    /// [`Block::plain_size`].
    ///
    /// # Errors
    /// As [`Self::read_block_into`].
    pub fn read_block(
        &self,
        index: BlockIndex,
        scratch: &mut Scratch,
        plain: &mut Vec<u8>,
    ) -> Result<(), Error> {
        plain.resize(usize_of(self.block(index)?.plain_size), 0);
        self.read_block_into(index, scratch, plain)
    }

    /// Reads a block, verifies it, and fills `plain` with its plain bytes.
    ///
    /// # Errors
    /// [`Error::Io`] when the image can't be read; [`Error::Rejected`] with
    /// [`RejectCode::BlockDamaged`] or [`RejectCode::ChunkHashMismatch`] when the bytes aren't
    /// those that were packed, with [`RejectCode::InvalidArgument`] when `plain` isn't
    /// [`Block::plain_size`] bytes long. `plain` then holds nothing of use.
    pub fn read_block_into(
        &self,
        index: BlockIndex,
        scratch: &mut Scratch,
        plain: &mut [u8],
    ) -> Result<(), Error> {
        self.read_block_watched(index, scratch, plain, |_| {})
    }

    /// The same, for callers that time it: `done` is told each step when it is done.
    ///
    /// # Errors
    /// As [`Self::read_block_into`]. The step that fails is not told.
    pub fn read_block_watched(
        &self,
        index: BlockIndex,
        scratch: &mut Scratch,
        plain: &mut [u8],
        mut done: impl FnMut(Step),
    ) -> Result<(), Error> {
        let block = self.block(index)?;
        let at = Location::Block(index.0);
        if plain.len() != usize_of(block.plain_size) {
            let detail = format!("room for {} bytes, it has {}", plain.len(), block.plain_size);
            return Err(Reject::new(RejectCode::InvalidArgument, at, detail).into());
        }
        let check = |bytes: &[u8]| {
            let found = Sha256::of(bytes);
            if found == block.hash {
                return Ok(());
            }
            let detail =
                format!("the block's SHA-256 is {found}, its ChunkHash says {}", block.hash);
            Err(Reject::new(RejectCode::ChunkHashMismatch, Location::Block(index.0), detail))
        };
        if !block.compressed {
            self.read_stored(&block, plain)?;
            done(Step::Fetched);
            check(plain)?;
            done(Step::Verified);
            return Ok(());
        }
        scratch.stored.resize(usize_of(block.stored_size), 0);
        self.read_stored(&block, &mut scratch.stored)?;
        done(Step::Fetched);
        let damaged = |detail: String| {
            Reject::new(RejectCode::BlockDamaged, Location::Block(index.0), detail)
        };
        if block.hash_of_stored {
            // Vouched for before the inflater sees them.
            check(&scratch.stored)?;
            done(Step::Verified);
            scratch.inflater.inflate(&scratch.stored, plain).map_err(damaged)?;
            done(Step::Inflated);
            return Ok(());
        }
        scratch.inflater.inflate(&scratch.stored, plain).map_err(damaged)?;
        done(Step::Inflated);
        check(plain)?;
        done(Step::Verified);
        Ok(())
    }

    /// Reads a block as [`Self::read_block`] does, and checks what that doesn't: that in format
    /// 2.0 no stored byte comes after the end of the block's zlib stream. Takes twice the time.
    ///
    /// # Errors
    /// As [`Self::read_block`].
    pub fn verify_block(
        &self,
        index: BlockIndex,
        scratch: &mut Scratch,
        plain: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.read_block(index, scratch, plain)?;
        let block = self.block(index)?;
        if !block.compressed || !block.hash_of_stored {
            return Ok(());
        }
        let stored = &scratch.stored;
        let problem = match content::stream_length(stored, plain) {
            Ok(used) if used == stored.len() => return Ok(()),
            Ok(used) => format!("zlib stream of {used} bytes in {} stored ones", stored.len()),
            Err(problem) => problem,
        };
        Err(Reject::new(RejectCode::BlockDamaged, Location::Block(index.0), problem).into())
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
        // A block that several small pieces lie in is read once.
        let mut held = None;
        for piece in self.pieces(id, range)? {
            match piece? {
                Piece::Bytes(bytes) => sink(bytes)?,
                Piece::Zeros { length } => {
                    held = None;
                    plain.clear();
                    plain.resize(usize_of(length), 0);
                    sink(&plain)?;
                }
                Piece::Block { index, start, length, .. } => {
                    if held != Some(index) {
                        self.read_block(index, scratch, &mut plain)?;
                        held = Some(index);
                    }
                    let start = usize_of(start);
                    sink(plain.get(start..start + usize_of(length)).unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }

    /// Reads all metadata, which opening a package of format 2.0 does not, and tells what is
    /// wrong with them: rows that break a rule, and tables with something in them that no file
    /// shows. Of a package of format 1.0 opening it has judged everything. Takes time and memory
    /// in proportion to the number of nodes.
    pub fn audit(&self) -> Vec<Error> {
        match &self.view {
            View::Tree(_) => Vec::new(),
            View::Pages(metadata) => crate::metadata::audit(self.pages(metadata)),
        }
    }

    fn pages<'p>(&'p self, metadata: &'p Metadata) -> crate::metadata::View<'p, S> {
        crate::metadata::View::new(&self.source, metadata)
    }
}

/// The pieces of a stretch of a file's content, in their order: [`Package::pieces`].
#[must_use]
pub struct Pieces<'p, S> {
    package: &'p Package<S>,
    content: Content<'p, S>,
    at: u64,
    end: u64,
}

/// Where the content of a file is looked up.
enum Content<'p, S> {
    /// Format 1.0.
    Tree(&'p Parsed, NodeId),
    /// The manifest of format 2.0, which is in memory.
    Held,
    /// Any other file of format 2.0.
    Pages(Box<(Checked, crate::metadata::View<'p, S>)>),
}

impl<S> Pieces<'_, S> {
    /// Bytes of the pieces that are to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }
}

impl<'p, S: Source> Iterator for Pieces<'p, S> {
    type Item = Result<Piece<'p>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (at, end) = (self.at, self.end);
        if at >= end {
            return None;
        }
        let piece = match &self.content {
            Content::Tree(parsed, id) => parsed.piece(*id, at, end, self.package.manifest()),
            Content::Held => part(self.package.manifest(), at, end).map(Piece::Bytes),
            Content::Pages(of) => of.1.piece(&of.0, at, end),
        };
        // After an error there is nothing to go on with.
        self.at = piece.as_ref().map_or(end, |piece| at.saturating_add(piece.length()));
        Some(piece)
    }
}

impl<S> fmt::Debug for Package<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Package")
            .field("hash", &Sha256(self.common.header.package_hash))
            .finish_non_exhaustive()
    }
}

/// The bytes `at` to `end` of some that are in memory.
pub(crate) fn part(bytes: &[u8], at: u64, end: u64) -> Result<&[u8], Error> {
    usize::try_from(at)
        .ok()
        .zip(usize::try_from(end).ok())
        .and_then(|(at, end)| bytes.get(at..end))
        .ok_or_else(|| {
            let detail = format!("bytes {at} to {end} of {}", bytes.len());
            Reject::new(RejectCode::InvalidArgument, Location::Image, detail).into()
        })
}

pub(crate) fn usize_of(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
