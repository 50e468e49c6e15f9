//! Where everything lies in format 1.0, and the hash over it (`spec/epk-1.0.md` §1 to §5).
//!
//! ```text
//! header (128) | table of contents | block table | data | manifest | signature
//! ```
//!
//! The sizes of both tables follow from the plan, so the data is written first and once; the
//! tables and the header are written when their content is known.

use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::chunks::{Chunks, Tag};
use super::error::{Limit, WriteError};
use super::pipeline::{self, Block, Setup};
use super::plan::{Kind, Plan, PlanEntry};
use super::{Contents, Options, Progress, Signer, Written};
use crate::digest::{Hasher, Sha256};
use crate::layout::block::{self, BlockEntry};
use crate::layout::header::{self, Flags, Header};
use crate::layout::toc::{self, EntryFlags, TocHeader};
use crate::limits;

/// The highest end of a section or block: EXOS computes with 32 bits.
const MAX_END: u64 = u32::MAX as u64;
/// Permissions of every folder.
const FOLDER_PERMISSIONS: u32 = 0o777;
/// How often a signer is asked until its blob's size settles.
const SIGNER_RUNS: usize = 4;
/// Bytes written or read at once.
const BUFFER: usize = 1 << 20;

/// A package about to be written.
pub(super) struct Image<'a> {
    plan: &'a Plan,
    manifest: &'a [u8],
    options: &'a Options,
    toc_size: u64,
    table_offset: u64,
    table_size: u64,
    data_offset: u64,
}

/// What the data region turned out to be.
struct Data {
    rows: Vec<BlockEntry>,
    /// One for each file of the plan, in order.
    file_hashes: Vec<Sha256>,
    end: u64,
    plain_bytes: u64,
    compressed: u64,
}

/// The parts of the front but the header.
struct Tables {
    toc: Vec<u8>,
    blocks: Vec<BlockEntry>,
}

impl<'a> Image<'a> {
    /// Lays out what is known before a byte of content is read.
    pub(super) fn new(
        plan: &'a Plan,
        manifest: &'a [u8],
        options: &'a Options,
    ) -> Result<Self, WriteError> {
        let entries = plan.entries();
        // Readers add the root and the manifest. EXOS's limit is five times as high.
        let nodes = entries.len().saturating_add(plan.implicit_folders().len()).saturating_add(2);
        limit(Limit::Nodes, length(nodes), length(limits::NODES))?;
        limit(Limit::ManifestSize, length(manifest.len()), limits::MANIFEST_BYTES)?;
        let mut toc_size = length(toc::HEADER_SIZE);
        let mut blocks = 0u64;
        let mut plain = 0u64;
        for entry in entries {
            let variable = entry.path.len().saturating_add(alias_target(entry).len());
            toc_size = toc_size.saturating_add(length(toc::ENTRY_SIZE.saturating_add(variable)));
            if let Kind::File { size, .. } = entry.kind {
                blocks = blocks.saturating_add(size.div_ceil(u64::from(options.chunk_size)));
                plain = plain.saturating_add(size);
            }
        }
        let table_size = blocks.saturating_mul(length(block::SIZE));
        limit(Limit::TocSize, toc_size, limits::TABLE_BYTES)?;
        limit(Limit::BlockTableSize, table_size, limits::TABLE_BYTES)?;
        let table_offset = length(header::SIZE).saturating_add(toc_size);
        let data_offset = table_offset.saturating_add(table_size);
        if options.compression == super::Compression::None {
            // Nothing will shrink: better said now than after writing 4 GiB.
            end(Limit::DataEnd, data_offset, plain)?;
        }
        end(Limit::ManifestEnd, data_offset, length(manifest.len()))?;
        Ok(Self { plan, manifest, options, toc_size, table_offset, table_size, data_offset })
    }

    pub(super) fn write<W: Read + Write + Seek>(
        &self,
        contents: &dyn Contents,
        signer: Option<&dyn Signer>,
        progress: &dyn Progress,
        output: &mut W,
    ) -> Result<Written, WriteError> {
        let found = output.seek(SeekFrom::End(0)).map_err(at(0))?;
        if found != 0 {
            return Err(WriteError::OutputNotEmpty { found });
        }
        output.seek(SeekFrom::Start(self.data_offset)).map_err(at(self.data_offset))?;
        let mut writer = BufWriter::with_capacity(BUFFER, &mut *output);
        let data = self.write_data(contents, progress, &mut writer)?;
        let manifest_end = end(Limit::ManifestEnd, data.end, length(self.manifest.len()))?;
        writer.write_all(self.manifest).and_then(|()| writer.flush()).map_err(at(data.end))?;
        drop(writer);

        let toc = self.toc(&data)?;
        let mut header = self.header(&data);
        let compressed_blocks = data.compressed;
        let (data_end, plain_bytes) = (data.end, data.plain_bytes);
        let tables = Tables { toc, blocks: data.rows };
        let signature = match signer {
            None => {
                let hash = self.hash(&header, &tables, data_end, progress, output)?;
                header.package_hash = hash.0;
                Vec::new()
            }
            Some(signer) => {
                let mut hash =
                    |header: &Header| self.hash(header, &tables, data_end, progress, &mut *output);
                sign(signer, manifest_end, &mut header, &mut hash)?
            }
        };
        // The head goes last: a file that begins with the magic number is whole.
        let pieces: [(u64, &[u8]); 4] = [
            (manifest_end, &signature),
            (self.table_offset, tables.blocks.as_bytes()),
            (length(header::SIZE), &tables.toc),
            (0, header.as_bytes()),
        ];
        for (offset, bytes) in pieces {
            let put = output.seek(SeekFrom::Start(offset)).and_then(|_| output.write_all(bytes));
            put.map_err(at(offset))?;
        }
        output.flush().map_err(at(0))?;

        let entries = self.plan.entries();
        let signature_size = length(signature.len());
        Ok(Written {
            package_hash: Sha256(header.package_hash),
            size: manifest_end.saturating_add(signature_size),
            entries: length(entries.len()),
            files: length(data.file_hashes.len()),
            blocks: length(tables.blocks.len()),
            compressed_blocks,
            plain_bytes,
            stored_bytes: data_end - self.data_offset,
            signature_size,
        })
    }

    fn write_data(
        &self,
        contents: &dyn Contents,
        progress: &dyn Progress,
        writer: &mut impl Write,
    ) -> Result<Data, WriteError> {
        let options = self.options;
        let mut chunks = Chunks::new(contents, self.plan.entries(), options.chunk_size);
        let setup = Setup {
            compression: options.compression,
            level: options.level,
            threads: options.threads,
            chunk_size: usize::try_from(options.chunk_size).unwrap_or(usize::MAX),
        };
        let mut data = Data {
            rows: Vec::new(),
            file_hashes: Vec::new(),
            end: self.data_offset,
            plain_bytes: 0,
            compressed: 0,
        };
        let mut files = self.plan.entries().iter().filter_map(|entry| match entry.kind {
            Kind::File { size, .. } => Some(size),
            _ => None,
        });
        let mut left = 0;
        pipeline::run(
            &setup,
            |buffer| chunks.next(buffer),
            |block| {
                if left == 0 {
                    // A new file begins; the empty ones before it have no block to wait for.
                    left = next_with_content(&mut files, &mut data.file_hashes);
                }
                left = left.saturating_sub(length(block.plain_size));
                if left == 0 {
                    data.file_hashes.push(block.tag.file_hash.unwrap_or(block.plain_hash));
                }
                progress.content(length(block.plain_size));
                data.put(&block, writer)
            },
        )?;
        next_with_content(&mut files, &mut data.file_hashes);
        Ok(data)
    }

    fn header(&self, data: &Data) -> Header {
        let mut flags = Flags::empty();
        flags.set(Flags::COMPRESSED_BLOCKS, data.compressed > 0);
        Header {
            magic: U32::new(header::MAGIC),
            version: U32::new(header::VERSION_1_0),
            flags: U32::new(flags.bits()),
            header_size: U32::new(u32::try_from(header::SIZE).unwrap_or(u32::MAX)),
            toc_offset: U64::new(length(header::SIZE)),
            toc_size: U64::new(self.toc_size),
            block_table_offset: U64::new(self.table_offset),
            block_table_size: U64::new(self.table_size),
            manifest_offset: U64::new(data.end),
            manifest_size: U64::new(length(self.manifest.len())),
            signature_offset: U64::new(0),
            signature_size: U64::new(0),
            package_hash: [0; 32],
            reserved: [0; 16],
        }
    }

    fn toc(&self, data: &Data) -> Result<Vec<u8>, WriteError> {
        let entries = self.plan.entries();
        let mut toc = Vec::new();
        let entry_count = narrow(Limit::Nodes, length(entries.len()))?;
        toc.extend(TocHeader { entry_count, reserved: U32::new(0) }.as_bytes());
        let mut next_block = 0u64;
        let mut hashes = data.file_hashes.iter();
        for entry in entries {
            let target = alias_target(entry);
            let variable = length(entry.path.len().saturating_add(target.len()));
            let mut row = toc::Entry {
                entry_size: narrow(Limit::TocSize, variable + length(toc::ENTRY_SIZE))?,
                node_type: U32::new(toc::NODE_FOLDER),
                flags: U32::new(0),
                path_length: narrow(Limit::TocSize, length(entry.path.len()))?,
                alias_target_length: narrow(Limit::TocSize, length(target.len()))?,
                permissions: U32::new(entry.permissions),
                modified: U64::new(entry.modified.0),
                file_size: U64::new(0),
                inline_offset: U64::new(0),
                inline_size: U32::new(0),
                block_start: U32::new(0),
                block_count: U32::new(0),
                file_hash: [0; 32],
                reserved: U32::new(0),
            };
            match entry.kind {
                Kind::Folder => row.permissions = U32::new(FOLDER_PERMISSIONS),
                Kind::Alias { .. } => {
                    row.node_type = U32::new(toc::NODE_ALIAS);
                    row.flags = U32::new(EntryFlags::HAS_ALIAS_TARGET.bits());
                }
                Kind::File { size, .. } => {
                    let hash = hashes.next().copied().unwrap_or_default();
                    row.node_type = U32::new(toc::NODE_FILE);
                    if size == 0 {
                        // No blocks, and zeros for a hash, as EXOS's packer writes it.
                        row.flags = U32::new(EntryFlags::HAS_INLINE_DATA.bits());
                    } else {
                        let blocks = size.div_ceil(u64::from(self.options.chunk_size));
                        row.flags = U32::new(EntryFlags::HAS_BLOCKS.bits());
                        row.file_size = U64::new(size);
                        row.block_start = narrow(Limit::BlockTableSize, next_block)?;
                        row.block_count = narrow(Limit::BlockTableSize, blocks)?;
                        row.file_hash = hash.0;
                        next_block += blocks;
                    }
                }
            }
            toc.extend(row.as_bytes());
            toc.extend(&entry.path);
            toc.extend(target);
        }
        Ok(toc)
    }

    /// SHA-256 over everything but the signature, with the header as given (its own hash zero).
    fn hash<W: Read + Seek>(
        &self,
        header: &Header,
        tables: &Tables,
        data_end: u64,
        progress: &dyn Progress,
        output: &mut W,
    ) -> Result<Sha256, WriteError> {
        let mut hasher = Hasher::new();
        hasher.update(header.as_bytes());
        hasher.update(&tables.toc);
        hasher.update(tables.blocks.as_bytes());
        let mut offset = self.data_offset;
        output.seek(SeekFrom::Start(offset)).map_err(at(offset))?;
        let mut buffer = vec![0; BUFFER];
        while offset < data_end {
            let size = usize::try_from(data_end - offset).unwrap_or(BUFFER).min(BUFFER);
            let piece = buffer.get_mut(..size).unwrap_or_default();
            output.read_exact(piece).map_err(at(offset))?;
            hasher.update(piece);
            offset += length(size);
            progress.hashed(length(size));
        }
        hasher.update(self.manifest);
        Ok(hasher.finish())
    }
}

impl Data {
    /// Writes one block and its row.
    fn put(&mut self, block: &Block<'_, Tag>, writer: &mut impl Write) -> Result<(), WriteError> {
        let offset = self.end;
        let stored = length(block.stored.len());
        self.end = end(Limit::DataEnd, offset, stored)?;
        writer.write_all(block.stored).map_err(at(offset))?;
        self.plain_bytes += length(block.plain_size);
        self.compressed += u64::from(block.method.number() != block::METHOD_NONE);
        self.rows.push(BlockEntry {
            offset: U64::new(offset),
            stored_size: narrow(Limit::DataEnd, stored)?,
            plain_size: narrow(Limit::DataEnd, length(block.plain_size))?,
            method: block.method.number(),
            reserved0: 0,
            reserved1: U16::new(0),
            chunk_hash: block.plain_hash.0,
        });
        Ok(())
    }
}

/// Has the package signed, and fills in the header's signature fields and hash. The blob's size
/// is under the hash that it signs, so a wrong guess means another run.
fn sign(
    signer: &dyn Signer,
    offset: u64,
    header: &mut Header,
    hash: &mut dyn FnMut(&Header) -> Result<Sha256, WriteError>,
) -> Result<Vec<u8>, WriteError> {
    let mut flags = Flags::from_bits_retain(header.flags.get());
    flags.insert(Flags::HAS_SIGNATURE);
    header.flags = U32::new(flags.bits());
    header.signature_offset = U64::new(offset);
    let mut size = signer.expected_size();
    let mut sizes = Vec::new();
    for _ in 0..SIGNER_RUNS {
        limit(Limit::SignatureSize, size, limits::SIGNATURE_BYTES)?;
        end(Limit::SignatureEnd, offset, size)?;
        header.signature_size = U64::new(size);
        let package_hash = hash(header)?;
        let blob = signer.sign(&package_hash).map_err(WriteError::Signer)?;
        if blob.is_empty() {
            return Err(WriteError::EmptySignature);
        }
        if length(blob.len()) == size {
            header.package_hash = package_hash.0;
            return Ok(blob);
        }
        size = length(blob.len());
        sizes.push(size);
    }
    Err(WriteError::SignatureSize { runs: SIGNER_RUNS, sizes })
}

/// The size of the next file that has bytes (0 at the end); each empty one before it gets the
/// hash of nothing, which is never written.
fn next_with_content(files: &mut impl Iterator<Item = u64>, hashes: &mut Vec<Sha256>) -> u64 {
    for size in files {
        if size > 0 {
            return size;
        }
        hashes.push(Sha256::default());
    }
    0
}

fn alias_target(entry: &PlanEntry) -> &[u8] {
    match &entry.kind {
        Kind::Alias { target } => target,
        _ => &[],
    }
}

/// A length in memory as the format counts.
fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn limit(what: Limit, found: u64, allowed: u64) -> Result<u64, WriteError> {
    if found > allowed { Err(WriteError::Limit { what, found, allowed }) } else { Ok(found) }
}

fn end(what: Limit, offset: u64, size: u64) -> Result<u64, WriteError> {
    limit(what, offset.saturating_add(size), MAX_END)
}

fn narrow(what: Limit, value: u64) -> Result<U32, WriteError> {
    let error = |_| WriteError::Limit { what, found: value, allowed: MAX_END };
    u32::try_from(value).map(U32::new).map_err(error)
}

fn at(offset: u64) -> impl FnOnce(io::Error) -> WriteError {
    move |source| WriteError::Output { offset, source }
}
