//! The table of contents of format 1.0: an 8-byte header, then entries back to back
//! (`spec/epk-1.0.md` §3).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The head of the table of contents.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TocHeader {
    /// Number of entries that follow.
    pub entry_count: U32,
    /// Zero.
    pub reserved: U32,
}

/// NodeType of a regular file.
pub const NODE_FILE: u32 = 1;
/// NodeType of a folder.
pub const NODE_FOLDER: u32 = 2;
/// NodeType of a folder alias.
pub const NODE_ALIAS: u32 = 3;

bitflags::bitflags! {
    /// An entry's EntryFlags field.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct EntryFlags: u32 {
        /// The content lies in the file as it is, at InlineDataOffset.
        const HAS_INLINE_DATA = 1;
        /// The content is a run of blocks.
        const HAS_BLOCKS = 1 << 1;
        /// A target follows the path.
        const HAS_ALIAS_TARGET = 1 << 2;
    }
}

/// The fixed part of an entry; the path and the alias target follow it.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Entry {
    /// 96 + `path_length` + `alias_target_length`.
    pub entry_size: U32,
    /// [`NODE_FILE`], [`NODE_FOLDER`] or [`NODE_ALIAS`].
    pub node_type: U32,
    /// [`EntryFlags`].
    pub flags: U32,
    /// Bytes of the path, at least 1.
    pub path_length: U32,
    /// Bytes of the alias target.
    pub alias_target_length: U32,
    /// Permission bits as in `st_mode & 0777`.
    pub permissions: U32,
    /// [`crate::time::PackedTime`].
    pub modified: U64,
    /// Size of the content in bytes.
    pub file_size: U64,
    /// Where inline content lies, from the start of the file.
    pub inline_offset: U64,
    /// Bytes of inline content.
    pub inline_size: U32,
    /// First block of the content, an index into the block table.
    pub block_start: U32,
    /// Number of blocks of the content.
    pub block_count: U32,
    /// SHA-256 of the content; 32 zero bytes for an empty file, a folder, an alias.
    pub file_hash: [u8; 32],
    /// Zero.
    pub reserved: U32,
}

/// Size of an entry's fixed part in bytes.
pub const ENTRY_SIZE: usize = 96;
/// Size of [`TocHeader`] in bytes.
pub const HEADER_SIZE: usize = 8;

const _: () = assert!(size_of::<Entry>() == ENTRY_SIZE);
const _: () = assert!(size_of::<TocHeader>() == HEADER_SIZE);
