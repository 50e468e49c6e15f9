//! The signature blob's header, 48 bytes (`spec/signature.md` §1).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `SIGS` as a little-endian number.
pub const MAGIC: u32 = 0x5347_4953;
/// The only version.
pub const VERSION: u32 = 1;
/// Algorithm: no signature at all.
pub const ALGORITHM_NONE: u32 = 0;
/// Algorithm: Ed25519 (RFC 8032), key 32 bytes, signature 64.
pub const ALGORITHM_ED25519: u32 = 1;

/// The head of a signature blob. Offsets from the start of the blob.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BlobHeader {
    /// [`MAGIC`].
    pub magic: U32,
    /// [`VERSION`].
    pub version: U32,
    /// [`ALGORITHM_NONE`] or [`ALGORITHM_ED25519`].
    pub algorithm: U32,
    /// Zero.
    pub reserved: U32,
    /// Where the public key lies.
    pub public_key_offset: U64,
    /// Bytes of the public key.
    pub public_key_size: U64,
    /// Where the signature lies.
    pub signature_offset: U64,
    /// Bytes of the signature.
    pub signature_size: U64,
}

/// Size of the head in bytes.
pub const SIZE: usize = 48;

const _: () = assert!(size_of::<BlobHeader>() == SIZE);
