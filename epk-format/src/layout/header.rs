//! The header: 128 bytes at offset 0 (`spec/epk-1.0.md` §2).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `EPK1` as a little-endian number.
pub const MAGIC: u32 = 0x314B_5045;
/// Format 1.0: major in the high 16 bits, minor in the low 16.
pub const VERSION_1_0: u32 = 0x0001_0000;
/// Format 2.0.
pub const VERSION_2_0: u32 = 0x0002_0000;
/// Size of the header in bytes, and the only value its own field may have.
pub const SIZE: usize = 128;
/// Where PackageHash lies in the header.
pub const PACKAGE_HASH_OFFSET: usize = 80;

bitflags::bitflags! {
    /// The header's Flags field.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// Some block is a zlib stream. Informational: readers look at each block's method.
        const COMPRESSED_BLOCKS = 1;
        /// A signature blob follows.
        const HAS_SIGNATURE = 1 << 1;
        /// The content is encrypted. No scheme is defined; such packages are refused.
        const ENCRYPTED_CONTENT = 1 << 2;
    }
}

/// The header as it lies in the file. Offsets and sizes in bytes from the start of the file.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: U32,
    /// [`VERSION_1_0`].
    pub version: U32,
    /// [`Flags`].
    pub flags: U32,
    /// [`SIZE`].
    pub header_size: U32,
    /// Start of the table of contents.
    pub toc_offset: U64,
    /// Length of the table of contents.
    pub toc_size: U64,
    /// Start of the block table.
    pub block_table_offset: U64,
    /// Length of the block table: 52 bytes a block.
    pub block_table_size: U64,
    /// Start of the manifest text.
    pub manifest_offset: U64,
    /// Length of the manifest text.
    pub manifest_size: U64,
    /// Start of the signature blob, 0 when there is none.
    pub signature_offset: U64,
    /// Length of the signature blob, 0 when there is none.
    pub signature_size: U64,
    /// SHA-256 of the file with these 32 bytes taken as zero and the signature cut out.
    pub package_hash: [u8; 32],
    /// In format 1.0 zero. In 2.0 bytes of the metadata when inflated, and zero.
    pub reserved: [U64; 2],
}

const _: () = assert!(size_of::<Header>() == SIZE);
const _: () = assert!(std::mem::offset_of!(Header, package_hash) == PACKAGE_HASH_OFFSET);
