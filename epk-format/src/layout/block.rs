//! The block table: 52 bytes a block (`spec/epk-1.0.md` §4).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// CompressionMethod: the stored bytes are the plain bytes.
pub const METHOD_NONE: u8 = 0;
/// CompressionMethod: the stored bytes are one zlib stream (RFC 1950).
pub const METHOD_ZLIB: u8 = 1;

/// One row of the block table.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BlockEntry {
    /// Where the stored bytes lie, from the start of the file.
    pub offset: U64,
    /// Number of stored bytes, at least 1.
    pub stored_size: U32,
    /// Number of plain bytes, at least 1.
    pub plain_size: U32,
    /// [`METHOD_NONE`] or [`METHOD_ZLIB`].
    pub method: u8,
    /// Zero.
    pub reserved0: u8,
    /// Zero.
    pub reserved1: U16,
    /// SHA-256 of the plain bytes.
    pub chunk_hash: [u8; 32],
}

/// Size of a row in bytes.
pub const SIZE: usize = 52;

const _: () = assert!(size_of::<BlockEntry>() == SIZE);
