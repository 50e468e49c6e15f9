//! How blocks are compressed.

use std::io::Read as _;

use flate2::{Decompress, FlushDecompress, Status};
use lzma_rust2::XzReader;
use ruzstd::decoding::FrameDecoder;

use super::super::problem::Problem;

/// Most memory for a block of xz in KiB: its dictionary is no larger than a block.
const XZ_KIB: u32 = 8 << 10;

/// The compression of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Zlib,
    Xz,
    Zstd,
}

impl Codec {
    /// By its number in the superblock.
    pub(super) fn of(number: u16) -> Result<Self, Problem> {
        let name = match number {
            1 => return Ok(Self::Zlib),
            4 => return Ok(Self::Xz),
            6 => return Ok(Self::Zstd),
            2 => "lzma",
            3 => "lzo",
            5 => "lz4",
            _ => "an unknown method",
        };
        let message =
            format!("is a SquashFS image compressed by {name}; gzip, xz and zstd can be read");
        Err(Problem::Refused(message))
    }

    /// The plain bytes of a block, at most `most`. What is wrong is told as a phrase.
    pub(super) fn plain(self, stored: &[u8], most: usize) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        match self {
            Self::Zlib => {
                plain.resize(most, 0);
                let mut inflate = Decompress::new(true);
                let status = inflate.decompress(stored, &mut plain, FlushDecompress::Finish);
                match status {
                    Ok(Status::StreamEnd) => {}
                    Ok(_) => return Err(format!("no zlib stream of at most {most} bytes")),
                    Err(error) => return Err(format!("no zlib stream: {error}")),
                }
                plain.truncate(usize::try_from(inflate.total_out()).unwrap_or(most));
            }
            Self::Xz => {
                let reader = XzReader::new_mem_limit(stored, false, XZ_KIB);
                let one_more = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
                let read = reader.take(one_more).read_to_end(&mut plain);
                read.map_err(|error| format!("no xz stream: {error}"))?;
                if plain.len() > most {
                    return Err(format!("an xz stream of more than {most} bytes"));
                }
            }
            Self::Zstd => {
                plain.resize(most, 0);
                let mut decoder = FrameDecoder::new();
                let size = decoder.decode_all(stored, &mut plain);
                let size = size.map_err(|error| format!("no zstd frame: {error}"))?;
                plain.truncate(size);
            }
        }
        Ok(plain)
    }
}
