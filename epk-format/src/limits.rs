//! What a reader is willing to accept, whatever an image declares.
//!
//! Everything that is held in memory is bounded by the image's length or by one of these.

/// Most bytes of a table of contents, and of a block table.
pub const TABLE_BYTES: u64 = 1 << 30;
/// Most files, folders and aliases of a package, those that no entry names included.
pub const NODES: usize = 1 << 23;
/// Most bytes of a manifest.
pub const MANIFEST_BYTES: u64 = 1 << 20;
/// Most bytes of a signature blob.
pub const SIGNATURE_BYTES: u64 = 1 << 16;
/// Most bytes of inline data, over all files of a package.
pub const INLINE_BYTES: u64 = 1 << 26;
/// Most plain bytes of a block.
pub const BLOCK_BYTES: u32 = 1 << 26;
/// Most stored bytes of a block: what grows under zlib grows by far less than an eighth.
pub const STORED_BLOCK_BYTES: u32 = BLOCK_BYTES + BLOCK_BYTES / 8;
/// Most bytes of a path (format 1.0).
pub const PATH_BYTES: usize = 1023;
/// Most bytes of a path component.
pub const COMPONENT_BYTES: usize = 255;
/// Longest chain of folder aliases.
pub const ALIAS_CHAIN: usize = 32;
