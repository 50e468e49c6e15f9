//! Zstandard (RFC 8878) as the outer compression of indexes and artifacts, in memory.
//!
//! Neither what a frame announces nor what it holds can make more memory be used than the
//! caller allows: a few bytes can stand for gigabytes.

use std::io::Read as _;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// Why something cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZstdError {
    /// No Zstandard, or damaged.
    #[error("it is not Zstandard, or damaged: {0}")]
    Damaged(String),
    /// More comes out than is allowed.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// Something comes behind the frame.
    #[error("{0} bytes follow the frame")]
    Trailing(usize),
}

/// Packs. The same bytes give the same bytes, as long as the version of the packer is the same.
#[must_use]
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// Unpacks exactly one frame to at most `limit` bytes.
///
/// # Errors
/// [`ZstdError`]
pub fn decompress(mut packed: &[u8], limit: u64) -> Result<Vec<u8>, ZstdError> {
    let damaged = |error: &dyn std::fmt::Display| ZstdError::Damaged(error.to_string());
    let mut decoder = StreamingDecoder::new(&mut packed).map_err(|error| damaged(&error))?;
    if decoder.decoder.content_size() > limit {
        return Err(ZstdError::TooLarge(limit));
    }
    let mut bytes = Vec::new();
    let most = limit.saturating_add(1);
    decoder.by_ref().take(most).read_to_end(&mut bytes).map_err(|error| damaged(&error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(ZstdError::TooLarge(limit));
    }
    drop(decoder);
    if packed.is_empty() { Ok(bytes) } else { Err(ZstdError::Trailing(packed.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_out() {
        for bytes in [&b""[..], b"x", &[7; 100_000], b"abcabcabcabcabc"] {
            let packed = compress(bytes);
            let length = u64::try_from(bytes.len()).unwrap();
            assert_eq!(decompress(&packed, length).as_deref(), Ok(bytes));
        }
    }

    #[test]
    fn bombs_do_not_go_off() {
        let packed = compress(&vec![0; 50_000_000]);
        assert!(packed.len() < 50_000, "{}", packed.len());
        assert_eq!(decompress(&packed, 1_000_000), Err(ZstdError::TooLarge(1_000_000)));
        // A window of gigabytes in the header, and nothing behind it.
        let header = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0, 0, 0];
        assert!(matches!(decompress(&header, 1000), Err(ZstdError::Damaged(_))));
    }

    #[test]
    fn damage_is_noticed() {
        let mut packed = compress(b"some text, some text, some text");
        assert!(matches!(decompress(b"plain", 100), Err(ZstdError::Damaged(_))));
        assert!(decompress(&packed[..packed.len() - 2], 100).is_err());
        packed.push(0);
        assert_eq!(decompress(&packed, 100), Err(ZstdError::Trailing(1)));
    }
}
