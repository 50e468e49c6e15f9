//! The metadata of format 2.0: a superblock, then tables of fixed-size rows, then strings
//! (`spec/epk-2.0.md` §4).

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Plain bytes of a page of metadata, and most bytes of a page of the hash tree.
pub const PAGE_SIZE: usize = 1 << 14;
/// Bytes of a hash in the tree.
pub const HASH_SIZE: usize = 32;
/// Hashes in a page of the tree.
pub const HASHES_PER_PAGE: usize = PAGE_SIZE / HASH_SIZE;
/// Bytes of a [`PageRow`].
pub const PAGE_ROW_SIZE: usize = 40;
/// Rows in a page of the list of metadata pages.
pub const ROWS_PER_PAGE: usize = PAGE_SIZE / PAGE_ROW_SIZE;

/// A page of metadata, in the list at the bottom of the hash tree.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PageRow {
    /// SHA-256 of the stored bytes.
    pub hash: [u8; HASH_SIZE],
    /// Where they lie in the metadata section: bits 0 to 31.
    pub offset_low: U32,
    /// Bits 32 to 47.
    pub offset_high: U16,
    /// Their number: that of the plain bytes if they are stored as they are, else a zlib stream's.
    pub stored_size: U16,
}

impl PageRow {
    /// Where the stored bytes lie in the metadata section.
    #[must_use]
    pub fn offset(&self) -> u64 {
        u64::from(self.offset_low.get()) | u64::from(self.offset_high.get()) << 32
    }
}

const _: () = assert!(size_of::<PageRow>() == PAGE_ROW_SIZE);

/// The head of the metadata: how many rows each table has.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Superblock {
    /// Plain bytes of a full chunk, a power of two.
    pub chunk_size: U32,
    /// Zero.
    pub reserved: U32,
    /// Bytes of the data section.
    pub data_size: U64,
    /// Rows of [`NodeRow`].
    pub node_count: U64,
    /// Rows of [`EntryRow`].
    pub entry_count: U64,
    /// Rows of four bytes: block numbers, or [`ZERO_CHUNK`].
    pub chunk_count: U64,
    /// Rows of [`crate::layout::block::BlockEntry`].
    pub block_count: U64,
    /// Rows of 32 bytes.
    pub file_hash_count: U64,
    /// Rows of [`XattrRow`].
    pub xattr_count: U64,
}

/// A chunk of nothing but zeros, which is stored nowhere.
pub const ZERO_CHUNK: u32 = u32::MAX;

/// Node kind: a regular file.
pub const KIND_FILE: u16 = 1;
/// Node kind: a folder.
pub const KIND_FOLDER: u16 = 2;
/// Node kind: a symbolic link.
pub const KIND_SYMLINK: u16 = 3;
/// Node kind: a folder alias.
pub const KIND_ALIAS: u16 = 4;
/// Where the kind lies in [`NodeRow::kind_mode`].
pub const KIND_SHIFT: u32 = 12;

/// A file, folder, link or alias.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NodeRow {
    /// The kind in bits 12 to 15, permissions in bits 0 to 8.
    pub kind_mode: U16,
    /// Zero.
    pub reserved0: U16,
    /// As `st_nlink` counts.
    pub links: U32,
    /// File: bytes of content. Folder: number of entries. Symbolic link: bytes of its target.
    pub size: U64,
    /// Time of the last change, since 1970.
    pub seconds: I64,
    /// Its fraction, below 10⁹.
    pub nanoseconds: U32,
    /// 0, or the number of the first extended attribute plus one.
    pub xattrs: U32,
    /// File: first chunk. Folder: first entry. Symbolic link: place of its target in the string
    /// area. Alias: the folder's node.
    pub first: U32,
    /// File: where its content begins in the first chunk. Folder: the parent's node.
    pub offset: U32,
    /// File: row of its hash. Folder and alias: the entry that names it.
    pub own: U32,
    /// Zero.
    pub reserved1: U32,
}

/// A name in a folder.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EntryRow {
    /// The node that it names.
    pub node: U32,
    /// Place of the name in the string area.
    pub name: U32,
    /// Bytes of the name.
    pub name_length: U16,
    /// The node's kind.
    pub kind: U16,
}

/// An extended attribute.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct XattrRow {
    /// Place of the name in the string area.
    pub name: U32,
    /// Bytes of the name.
    pub name_length: U16,
    /// 1 in a node's last row, else 0.
    pub last: U16,
    /// Place of the value in the string area.
    pub value: U32,
    /// Bytes of the value.
    pub value_length: U32,
}

/// Bytes of the superblock.
pub const SUPERBLOCK_SIZE: usize = 64;
/// Bytes of a node.
pub const NODE_SIZE: usize = 48;
/// Bytes of an entry.
pub const ENTRY_SIZE: usize = 12;
/// Bytes of a chunk row.
pub const CHUNK_SIZE: usize = 4;
/// Bytes of an extended attribute's row.
pub const XATTR_SIZE: usize = 16;

const _: () = assert!(size_of::<Superblock>() == SUPERBLOCK_SIZE);
const _: () = assert!(size_of::<NodeRow>() == NODE_SIZE);
const _: () = assert!(size_of::<EntryRow>() == ENTRY_SIZE);
const _: () = assert!(size_of::<XattrRow>() == XATTR_SIZE);
