//! Where everything lies in format 2.0, and the hashes over it (`spec/epk-2.0.md`).
//!
//! ```text
//! header (128) | hash tree | manifest | signature | metadata | data
//! ```
//!
//! The data is written first, to the spool: only then it is known how many blocks there are. Then
//! the metadata is compressed and hashed in memory, and all goes to the output from front to back.

mod content;
mod order;
mod pages;
mod strings;
mod tree;

use std::collections::HashMap;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use zerocopy::IntoBytes;
use zerocopy::little_endian::{I64, U16, U32, U64};

use self::content::{Packed, Packer, Tag, key};
use self::pages::{HashTree, Pages};
use self::tree::{Node, Tree};
use super::super::compress::Encoder;
use super::super::entry::Kind;
use super::super::error::{Limit, WriteError};
use super::super::pipeline::{self, Block, Hashed, Setup};
use super::super::{Job, MAX_LEVEL, Written};
use super::{BUFFER, at, check_empty, length, limit, sign};
use crate::digest::{Hasher, Sha256};
use crate::layout::block::{self, BlockEntry};
use crate::layout::header::{self, Flags, Header};
use crate::layout::metadata::{
    EntryRow, KIND_ALIAS, KIND_FILE, KIND_FOLDER, KIND_SHIFT, KIND_SYMLINK, NodeRow, Superblock,
    XattrRow, ZERO_CHUNK,
};
use crate::limits;

/// The most rows a table may have: the two numbers above it have a meaning of their own.
const MAX_COUNT: u64 = (1 << 32) - 2;
/// The level for what small files share, and for metadata: a step more. In a Python installation
/// with numpy, pandas and scipy (11,843 files, 407 MB) at level 7 this saves 0.24 MB of 123.8 and
/// costs a twentieth more CPU time; level 8 for everything saves 0.47 MB and costs two fifths.
fn partial_level(level: u32) -> u32 {
    if level == 0 { 0 } else { (level + 1).min(MAX_LEVEL) }
}

/// Permissions of folders that have no entry.
const FOLDER_PERMISSIONS: u16 = 0o755;
/// Permissions of links and aliases.
const LINK_PERMISSIONS: u16 = 0o777;

/// Writes a package. Both outputs must be empty.
pub(in crate::write) fn write<W, S>(
    job: &Job<'_>,
    output: &mut W,
    spool: &mut S,
) -> Result<Written, WriteError>
where
    W: Read + Write + Seek,
    S: Read + Write + Seek,
{
    limit(Limit::ManifestSize, length(job.manifest.len()), limits::MANIFEST_BYTES)?;
    check_empty(output)?;
    match spool.seek(SeekFrom::End(0)).map_err(WriteError::Spool)? {
        0 => {}
        found => return Err(WriteError::OutputNotEmpty { found }),
    }
    let primary = order::primaries(job.plan);
    let tree = Tree::new(job.plan, &primary)?;
    let (data, packed) = write_data(job, &primary, spool)?;
    let files = job.plan.entries().iter().filter(|e| matches!(e.kind, Kind::File { .. })).count();
    let below_root = job.plan.entries().iter().filter(|entry| !entry.path.is_empty()).count();
    let image = Image { job, tree, data, packed };
    let (header, size) = image.write(output, spool)?;
    let Image { data, packed, .. } = image;
    Ok(Written {
        package_hash: Sha256(header.package_hash),
        size,
        entries: length(below_root),
        files: length(files),
        blocks: length(data.blocks.len()),
        compressed_blocks: data.compressed,
        plain_bytes: packed.plain_bytes,
        stored_bytes: data.size,
        shared_files: packed.shared_files,
        shared_bytes: packed.shared_bytes.saturating_add(data.shared_bytes),
        signature_offset: header.signature_offset.get(),
        signature_size: header.signature_size.get(),
    })
}

/// A row of the block table; its offset is the sum of the sizes before it.
struct StoredBlock {
    stored: u32,
    plain: u32,
    method: u8,
    hash: Sha256,
}

/// What the data section turned out to be.
#[derive(Default)]
struct Data {
    /// The block of each chunk.
    chunks: Vec<u32>,
    blocks: Vec<StoredBlock>,
    /// Blocks by the first bytes of their hashes.
    known: HashMap<u64, u32>,
    size: u64,
    compressed: u64,
    /// Bytes of chunks that another chunk's block is for.
    shared_bytes: u64,
}

fn write_data<S: Write>(
    job: &Job<'_>,
    primary: &[u32],
    spool: &mut S,
) -> Result<(Data, Packed), WriteError> {
    let options = job.options;
    let order = order::order(job.plan, primary, job.profile);
    let mut packer = Packer::new(job.contents, job.plan, order, options.chunk_size);
    let mut data = Data::default();
    let setup = Setup {
        compression: options.compression,
        level: options.level,
        partial_level: partial_level(options.level),
        threads: options.threads,
        chunk_size: usize::try_from(options.chunk_size).unwrap_or(usize::MAX),
        hashed: Hashed::Stored,
    };
    let mut writer = BufWriter::with_capacity(BUFFER, spool);
    pipeline::run(
        &setup,
        |buffer| packer.next(buffer),
        |block| {
            job.progress.content(block.tag.progress);
            data.put(&block, &mut writer)
        },
    )?;
    writer.flush().map_err(WriteError::Spool)?;
    let packed = packer.finish();
    job.progress.content(packed.progress);
    data.chunks.resize(usize::try_from(packed.rows).unwrap_or(usize::MAX), ZERO_CHUNK);
    data.known = HashMap::new();
    Ok((data, packed))
}

impl Data {
    /// Writes one block, unless its bytes are there already, and notes which it is.
    fn put(&mut self, block: &Block<'_, Tag>, out: &mut impl Write) -> Result<(), WriteError> {
        let number = match self.find(block) {
            Some(number) => {
                self.shared_bytes += length(block.plain_size);
                number
            }
            None => self.add(block, out)?,
        };
        let row = usize::try_from(block.tag.row).unwrap_or(usize::MAX);
        if self.chunks.len() <= row {
            // Rows come out of order by a few; those that never come are zeros.
            self.chunks.resize(row.saturating_add(1), ZERO_CHUNK);
        }
        if let Some(chunk) = self.chunks.get_mut(row) {
            *chunk = number;
        }
        Ok(())
    }

    /// A block of the same stored bytes. Compression is deterministic: chunks that are alike have
    /// such blocks, and hashing them tells without a hash of the plain bytes.
    fn find(&self, block: &Block<'_, Tag>) -> Option<u32> {
        let number = *self.known.get(&key(&block.hash))?;
        let found = self.blocks.get(usize::try_from(number).ok()?)?;
        let alike = found.hash == block.hash
            && found.method == block.method.number()
            && length(block.plain_size) == u64::from(found.plain);
        alike.then_some(number)
    }

    fn add(&mut self, block: &Block<'_, Tag>, out: &mut impl Write) -> Result<u32, WriteError> {
        let count = length(self.blocks.len());
        limit(Limit::Blocks, count.saturating_add(1), MAX_COUNT)?;
        let number = u32::try_from(count).unwrap_or(u32::MAX);
        out.write_all(block.stored).map_err(WriteError::Spool)?;
        let method = block.method.number();
        self.size = self.size.saturating_add(length(block.stored.len()));
        self.compressed += u64::from(method != block::METHOD_NONE);
        self.known.entry(key(&block.hash)).or_insert(number);
        self.blocks.push(StoredBlock {
            // A chunk is at most 1 MiB, and its stored form little more.
            stored: u32::try_from(block.stored.len()).unwrap_or(u32::MAX),
            plain: u32::try_from(block.plain_size).unwrap_or(u32::MAX),
            method,
            hash: block.hash,
        });
        Ok(number)
    }
}

/// A package whose data is in the spool.
struct Image<'a> {
    job: &'a Job<'a>,
    tree: Tree<'a>,
    data: Data,
    packed: Packed,
}

impl Image<'_> {
    /// Gives the header and the image's size.
    fn write<W: Write + Seek, S: Read + Seek>(
        &self,
        output: &mut W,
        spool: &mut S,
    ) -> Result<(Header, u64), WriteError> {
        // Nothing in the metadata depends on where it lies.
        let pages = self.metadata().map_err(at(0))?;
        let tree = HashTree::new(&pages.rows);
        let manifest_size = length(self.job.manifest.len());
        let manifest_offset = length(header::SIZE).saturating_add(tree.size());
        let signature_offset = manifest_offset.saturating_add(manifest_size);
        let mut header = Header {
            magic: U32::new(header::MAGIC),
            version: U32::new(header::VERSION_2_0),
            flags: U32::new(Flags::empty().bits()),
            header_size: U32::new(u32::try_from(header::SIZE).unwrap_or(u32::MAX)),
            toc_offset: U64::new(signature_offset),
            toc_size: U64::new(length(pages.stored.len())),
            block_table_offset: U64::new(length(header::SIZE)),
            block_table_size: U64::new(tree.size()),
            manifest_offset: U64::new(manifest_offset),
            manifest_size: U64::new(manifest_size),
            signature_offset: U64::new(0),
            signature_size: U64::new(0),
            package_hash: [0; 32],
            reserved: [U64::new(pages.plain_size), U64::new(0)],
        };
        let manifest_hash = Sha256::of(self.job.manifest);
        let mut hash = |header: &mut Header| {
            let metadata_offset = signature_offset.saturating_add(header.signature_size.get());
            header.toc_offset = U64::new(metadata_offset);
            let mut hasher = Hasher::new();
            hasher.update(header.as_bytes());
            hasher.update(manifest_hash.as_bytes());
            hasher.update(tree.root().as_bytes());
            Ok(hasher.finish())
        };
        let signature = match self.job.signer {
            Some(signer) => sign(signer, signature_offset, &mut header, &mut hash)?,
            None => {
                header.package_hash = hash(&mut header)?.0;
                Vec::new()
            }
        };
        let mut front = vec![0; header::SIZE];
        tree.write(&mut front).map_err(at(0))?;
        front.extend_from_slice(self.job.manifest);
        front.extend_from_slice(&signature);
        let size = self.put(&header, &front, &pages.stored, output, spool)?;
        Ok((header, size))
    }

    /// Puts everything in its place. The header goes last: a file that begins with the magic
    /// number is whole.
    fn put<W: Write + Seek, S: Read + Seek>(
        &self,
        header: &Header,
        front: &[u8],
        metadata: &[u8],
        output: &mut W,
        spool: &mut S,
    ) -> Result<u64, WriteError> {
        let metadata_offset = header.toc_offset.get();
        let data_offset = metadata_offset.saturating_add(header.toc_size.get());
        let copied = (|| {
            output.seek(SeekFrom::Start(0))?;
            output.write_all(front)?;
            output.write_all(metadata)?;
            output.flush()
        })();
        copied.map_err(at(metadata_offset))?;
        spool.seek(SeekFrom::Start(0)).map_err(WriteError::Spool)?;
        let copied = io::copy(spool, output).map_err(at(data_offset))?;
        if copied != self.data.size {
            let text = format!("{copied} bytes came back of {}", self.data.size);
            return Err(WriteError::Spool(io::Error::other(text)));
        }
        let placed = output.seek(SeekFrom::Start(0));
        let placed = placed.and_then(|_| output.write_all(header.as_bytes()));
        placed.and_then(|()| output.flush()).map_err(at(0))?;
        Ok(data_offset.saturating_add(self.data.size))
    }

    /// The metadata in pages.
    fn metadata(&self) -> io::Result<Pages> {
        let options = self.job.options;
        let encoder = Encoder::new(options.compression, partial_level(options.level));
        let mut out = BufWriter::with_capacity(BUFFER, Pages::new(encoder));
        let superblock = Superblock {
            chunk_size: U32::new(self.job.options.chunk_size),
            reserved: U32::new(0),
            data_size: U64::new(self.data.size),
            node_count: U64::new(length(self.tree.nodes.len())),
            entry_count: U64::new(length(self.tree.entries.len())),
            chunk_count: U64::new(length(self.data.chunks.len())),
            block_count: U64::new(length(self.data.blocks.len())),
            file_hash_count: U64::new(length(self.packed.contents.len())),
            xattr_count: U64::new(self.tree.xattrs),
        };
        out.write_all(superblock.as_bytes())?;
        for node in &self.tree.nodes {
            out.write_all(self.node(node).as_bytes())?;
        }
        for entry in &self.tree.entries {
            let node = usize::try_from(entry.node).ok().and_then(|at| self.tree.nodes.get(at));
            let row = EntryRow {
                node: U32::new(entry.node),
                name: U32::new(entry.name),
                name_length: U16::new(entry.name_length),
                kind: U16::new(node.map_or(0, |node| self.kind(node))),
            };
            out.write_all(row.as_bytes())?;
        }
        for &chunk in &self.data.chunks {
            out.write_all(U32::new(chunk).as_bytes())?;
        }
        let mut offset = 0_u64;
        for block in &self.data.blocks {
            let row = BlockEntry {
                offset: U64::new(offset),
                stored_size: U32::new(block.stored),
                plain_size: U32::new(block.plain),
                method: block.method,
                reserved0: 0,
                reserved1: U16::new(0),
                chunk_hash: block.hash.0,
            };
            out.write_all(row.as_bytes())?;
            offset = offset.saturating_add(u64::from(block.stored));
        }
        for content in &self.packed.contents {
            out.write_all(content.hash.as_bytes())?;
        }
        self.xattrs(&mut out)?;
        self.tree.strings.write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()
    }

    fn xattrs(&self, out: &mut impl Write) -> io::Result<()> {
        for node in &self.tree.nodes {
            let mut xattrs = self.tree.xattrs(node).iter().peekable();
            while let Some(xattr) = xattrs.next() {
                // The plan's limits are below those of the fields.
                let row = XattrRow {
                    name: U32::new(self.tree.strings.find(&xattr.name)),
                    name_length: U16::new(u16::try_from(xattr.name.len()).unwrap_or(u16::MAX)),
                    last: U16::new(u16::from(xattrs.peek().is_none())),
                    value: U32::new(self.tree.strings.find(&xattr.value)),
                    value_length: U32::new(u32::try_from(xattr.value.len()).unwrap_or(u32::MAX)),
                };
                out.write_all(row.as_bytes())?;
            }
        }
        Ok(())
    }

    fn kind(&self, node: &Node) -> u16 {
        match self.tree.planned(node).map(|entry| &entry.kind) {
            Some(Kind::File { .. }) => KIND_FILE,
            Some(Kind::Symlink { .. }) => KIND_SYMLINK,
            Some(Kind::Alias { .. }) => KIND_ALIAS,
            Some(Kind::Folder) | None => KIND_FOLDER,
        }
    }

    fn node(&self, node: &Node) -> NodeRow {
        let planned = self.tree.planned(node);
        let modified = planned.and_then(|entry| entry.modified).unwrap_or_default();
        // The plan has checked that these are permission bits.
        let permissions = planned.and_then(|entry| u16::try_from(entry.permissions).ok());
        let mut permissions = permissions.unwrap_or(FOLDER_PERMISSIONS);
        let (mut size, mut first, mut offset, mut own) = (0, node.first, node.parent, node.own);
        match planned.map(|entry| &entry.kind) {
            Some(Kind::File { size: bytes, .. }) => {
                let at = node.planned.and_then(|at| usize::try_from(at).ok());
                let content = at.and_then(|at| self.packed.content(at));
                size = *bytes;
                (first, offset, own) =
                    content.map_or((0, 0, 0), |(row, c)| (c.first, c.offset, row));
            }
            Some(Kind::Symlink { target }) => {
                permissions = LINK_PERMISSIONS;
                size = length(target.len());
                (offset, own) = (0, 0);
            }
            Some(Kind::Alias { .. }) => permissions = LINK_PERMISSIONS,
            Some(Kind::Folder) | None => size = node.count.into(),
        }
        NodeRow {
            kind_mode: U16::new(self.kind(node) << KIND_SHIFT | permissions),
            reserved0: U16::new(0),
            links: U32::new(node.links),
            size: U64::new(size),
            seconds: I64::new(modified.seconds),
            nanoseconds: U32::new(modified.nanoseconds),
            xattrs: U32::new(node.xattrs),
            first: U32::new(first),
            offset: U32::new(offset),
            own: U32::new(own),
            reserved1: U32::new(0),
        }
    }
}
