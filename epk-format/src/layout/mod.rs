//! The on-disk structures: fields, offsets, constants and flags. No logic.
//!
//! Every structure is a `#[repr(C)]` mirror of the bytes, unaligned and little-endian, so that
//! a reference into a buffer *is* the parsed structure (`zerocopy`).

pub mod block;
pub mod header;
pub mod metadata;
pub mod signature;
pub mod toc;
