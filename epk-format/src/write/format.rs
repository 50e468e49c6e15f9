//! The versions of the format that can be written, and what each can hold.

use std::fmt;
use std::ops::RangeInclusive;

use crate::limits;

/// A version of the package format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// 1.0, as EXOS reads and packs it (`spec/epk-1.0.md`).
    V1,
    /// 2.0 (`spec/epk-2.0.md`).
    V2,
}

/// Most bytes of the target of a symbolic link.
pub(super) const LINK_BYTES: usize = 4095;
/// Most bytes of the name of an extended attribute.
pub(super) const XATTR_NAME_BYTES: usize = 255;
/// Most bytes of the value of an extended attribute.
pub(super) const XATTR_VALUE_BYTES: usize = 1 << 16;

impl Format {
    /// The chunk sizes that may be asked for, in bytes. Format 2.0 allows the powers of two among
    /// them only; 1.0 has no limit of its own, but a reader must hold one chunk.
    #[must_use]
    pub fn chunk_sizes(self) -> RangeInclusive<u32> {
        match self {
            Self::V1 => 1..=limits::BLOCK_BYTES,
            Self::V2 => limits::MIN_CHUNK_BYTES..=limits::MAX_CHUNK_BYTES,
        }
    }

    /// Whether chunks may have this size.
    #[must_use]
    pub fn allows_chunk_size(self, size: u32) -> bool {
        self.chunk_sizes().contains(&size) && (self == Self::V1 || size.is_power_of_two())
    }

    /// Most bytes of a path.
    #[must_use]
    pub fn path_bytes(self) -> usize {
        match self {
            Self::V1 => limits::PATH_BYTES,
            Self::V2 => limits::PATH_BYTES_2,
        }
    }
}

/// The number of the version, like `2.0`.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        })
    }
}
