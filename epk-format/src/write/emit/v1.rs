//! Where everything lies in format 1.0, and the hash over it (`spec/epk-1.0.md` §1 to §5).
//!
//! ```text
//! header (128) | table of contents | block table | data | manifest | signature
//! ```
//!
//! The sizes of both tables follow from the plan, so the data is written first and once; the
//! tables and the header are written when their content is known.

use std::io::{BufWriter, Read, Seek, SeekFrom, Write};

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::super::chunks::{Chunks, Tag};
use super::super::entry::{Kind, PlanEntry};
use super::super::error::{Limit, WriteError};
use super::super::pipeline::{self, Block, Hashed, Setup};
use super::super::plan::Plan;
use super::super::{Compression, Job, Options, Progress, Written};
use super::{BUFFER, at, check_empty, end, length, limit, narrow, sign};
use crate::digest::{Hasher, Sha256};
use crate::layout::block::{self, BlockEntry};
use crate::layout::header::{self, Flags, Header};
use crate::layout::toc::{self, EntryFlags, TocHeader};
use crate::limits;
use crate::time::PackedTime;

/// Permissions of every folder.
const FOLDER_PERMISSIONS: u32 = 0o777;

/// A package about to be written.
pub(in crate::write) struct Image<'a> {
    job: &'a Job<'a>,
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
    pub(in crate::write) fn new(job: &'a Job<'a>) -> Result<Self, WriteError> {
        let Job { plan, manifest, options, .. } = *job;
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
        if options.compression == Compression::None {
            // Nothing will shrink: better said now than after writing 4 GiB.
            end(Limit::DataEnd, data_offset, plain)?;
        }
        end(Limit::ManifestEnd, data_offset, length(manifest.len()))?;
        Ok(Self { job, plan, manifest, options, toc_size, table_offset, table_size, data_offset })
    }

    pub(in crate::write) fn write<W: Read + Write + Seek>(
        &self,
        output: &mut W,
    ) -> Result<Written, WriteError> {
        let (signer, progress) = (self.job.signer, self.job.progress);
        check_empty(output)?;
        output.seek(SeekFrom::Start(self.data_offset)).map_err(at(self.data_offset))?;
        let mut writer = BufWriter::with_capacity(BUFFER, &mut *output);
        let data = self.write_data(&mut writer)?;
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
                let mut hash = |header: &mut Header| {
                    self.hash(header, &tables, data_end, progress, &mut *output)
                };
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
            shared_files: 0,
            shared_bytes: 0,
            signature_offset: header.signature_offset.get(),
            signature_size,
        })
    }

    fn write_data(&self, writer: &mut impl Write) -> Result<Data, WriteError> {
        let options = self.options;
        let mut chunks = Chunks::new(self.job.contents, self.plan.entries(), options.chunk_size);
        let setup = Setup {
            compression: options.compression,
            level: options.level,
            partial_level: options.level,
            threads: options.threads,
            chunk_size: usize::try_from(options.chunk_size).unwrap_or(usize::MAX),
            hashed: Hashed::Plain,
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
                    data.file_hashes.push(block.tag.file_hash.unwrap_or(block.hash));
                }
                self.job.progress.content(length(block.plain_size));
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
            reserved: [U64::new(0); 2],
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
                modified: U64::new(packed_time(entry)),
                file_size: U64::new(0),
                inline_offset: U64::new(0),
                inline_size: U32::new(0),
                block_start: U32::new(0),
                block_count: U32::new(0),
                file_hash: [0; 32],
                reserved: U32::new(0),
            };
            match entry.kind {
                Kind::Folder | Kind::Symlink { .. } => {
                    row.permissions = U32::new(FOLDER_PERMISSIONS);
                }
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
            chunk_hash: block.hash.0,
        });
        Ok(())
    }
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

/// The plan holds no times that can't be packed.
fn packed_time(entry: &PlanEntry) -> u64 {
    entry.modified.and_then(PackedTime::from_timestamp).unwrap_or(PackedTime::NONE).0
}

fn alias_target(entry: &PlanEntry) -> &[u8] {
    match &entry.kind {
        Kind::Alias { target } => target,
        _ => &[],
    }
}
