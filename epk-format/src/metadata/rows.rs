//! Where the rows of each table lie in the metadata.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Location, Reject, RejectCode};
use crate::layout::block::BlockEntry;
use crate::layout::metadata::{EntryRow, NodeRow, SUPERBLOCK_SIZE, Superblock, XattrRow};

/// A row of four bytes: a block's number.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ChunkRow(pub(crate) U32);

/// A row of 32 bytes: a file's hash.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct HashRow(pub(crate) [u8; 32]);

/// A structure that a table has rows of.
pub(crate) trait Row: FromBytes + FromZeros + IntoBytes + Sized {
    /// What a row is called.
    const NAME: &'static str;

    fn table(tables: &Tables) -> Table;
}

/// A table: where it begins in the metadata, and how many rows it has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    start: u64,
    count: u64,
}

/// The tables of a package.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) chunk_size: u32,
    pub(crate) nodes: u64,
    pub(crate) entries: u64,
    pub(crate) chunks: u64,
    pub(crate) blocks: u64,
    pub(crate) hashes: u64,
    pub(crate) xattrs: u64,
    starts: [u64; 7],
    end: u64,
}

macro_rules! rows {
    ($($row:ty, $name:literal, $index:literal, $count:ident;)*) => {$(
        impl Row for $row {
            const NAME: &'static str = $name;

            fn table(tables: &Tables) -> Table {
                Table { start: tables.starts[$index], count: tables.$count }
            }
        }
    )*};
}

rows! {
    NodeRow, "node", 0, nodes;
    EntryRow, "entry", 1, entries;
    ChunkRow, "chunk", 2, chunks;
    BlockEntry, "block", 3, blocks;
    HashRow, "file hash", 4, hashes;
    XattrRow, "attribute", 5, xattrs;
}

impl Tables {
    /// Lays the tables one after another, as the superblock counts them. They must fit the
    /// metadata; what is left of it is the string area.
    pub(crate) fn new(superblock: &Superblock, size: u64) -> Option<Self> {
        let counts_and_sizes = [
            (superblock.node_count.get(), size_of::<NodeRow>()),
            (superblock.entry_count.get(), size_of::<EntryRow>()),
            (superblock.chunk_count.get(), size_of::<ChunkRow>()),
            (superblock.block_count.get(), size_of::<BlockEntry>()),
            (superblock.file_hash_count.get(), size_of::<HashRow>()),
            (superblock.xattr_count.get(), size_of::<XattrRow>()),
        ];
        let mut starts = [SUPERBLOCK_SIZE as u64; 7];
        let mut at = SUPERBLOCK_SIZE as u64;
        for ((count, row), next) in counts_and_sizes.into_iter().zip(starts.iter_mut().skip(1)) {
            if count > u64::from(u32::MAX - 1) {
                return None;
            }
            at = at.checked_add(count.checked_mul(row as u64)?)?;
            *next = at;
        }
        // Places in the string area have 32 bits.
        let strings = size.checked_sub(at)?;
        if strings > u64::from(u32::MAX) {
            return None;
        }
        Some(Self {
            chunk_size: superblock.chunk_size.get(),
            nodes: superblock.node_count.get(),
            entries: superblock.entry_count.get(),
            chunks: superblock.chunk_count.get(),
            blocks: superblock.block_count.get(),
            hashes: superblock.file_hash_count.get(),
            xattrs: superblock.xattr_count.get(),
            starts,
            end: size,
        })
    }

    /// Where a row lies in the metadata.
    pub(crate) fn place<R: Row>(&self, number: u64) -> Result<u64, Error> {
        let table = R::table(self);
        if number >= table.count {
            return Err(Reject::new(
                RejectCode::InvalidArgument,
                Location::Image,
                format!("no {} {number}, there are {}", R::NAME, table.count),
            )
            .into());
        }
        Ok(table.start.saturating_add(number.saturating_mul(size_of::<R>() as u64)))
    }

    /// Bytes of the string area.
    pub(crate) fn string_bytes(&self) -> u64 {
        let [.., strings] = self.starts;
        self.end.saturating_sub(strings)
    }

    /// Where a string lies in the metadata.
    pub(crate) fn string(&self, place: u64, length: u64) -> Result<u64, Error> {
        let [.., strings] = self.starts;
        let start = strings.saturating_add(place);
        if start.saturating_add(length) > self.end {
            return Err(Reject::new(
                RejectCode::MetadataLayout,
                Location::Image,
                format!(
                    "string of {length} bytes at {place}, the string area has {}",
                    self.end - strings
                ),
            )
            .into());
        }
        Ok(start)
    }
}
