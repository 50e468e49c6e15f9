//! The codec: one chunk in, its stored form out.
//!
//! Everything that knows which library compresses is in this file. Its bytes are part of what
//! makes packages reproducible, so the golden tests pin them. There are two: libdeflate, and with
//! that feature off zlib-rs.

use super::error::WriteError;
use crate::layout::block;

/// Which blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// None: every block is stored as it is.
    None,
    /// All, even those that grow.
    Zlib,
    /// Those that become smaller by a thirty-second or more (and by one byte at least): less is
    /// not worth the inflating on every read.
    #[default]
    Auto,
}

/// How one block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    None,
    Zlib,
}

impl Method {
    /// The method's number in the block table.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::None => block::METHOD_NONE,
            Self::Zlib => block::METHOD_ZLIB,
        }
    }
}

/// Compresses chunks one after another; one per thread.
pub(super) struct Encoder {
    compression: Compression,
    zlib: Option<Zlib>,
}

impl Encoder {
    pub(super) fn new(compression: Compression, level: u32) -> Self {
        let zlib = match compression {
            Compression::None => None,
            Compression::Zlib | Compression::Auto => Some(Zlib::new(level)),
        };
        Self { compression, zlib }
    }

    /// Compresses `plain` into the front of `packed`, growing it as needed, and says how many
    /// bytes that took. With [`Method::None`] the plain bytes are what is stored.
    pub(super) fn encode(
        &mut self,
        plain: &[u8],
        packed: &mut Vec<u8>,
    ) -> Result<(Method, usize), WriteError> {
        let raw = (Method::None, plain.len());
        let Some(zlib) = &mut self.zlib else { return Ok(raw) };
        let room = match self.compression {
            Compression::Auto => worthwhile(plain.len()),
            _ => bound(plain.len()),
        };
        if packed.len() < room {
            packed.resize(room, 0);
        }
        // Exactly `room` bytes, whatever the buffer's size: zlib's output may depend on the space
        // it is given, and the buffer's history depends on the threads.
        let Some(space) = packed.get_mut(..room) else { return Ok(raw) };
        let failed = |reason| WriteError::Compressor { chunk: plain.len(), reason };
        match zlib.compress(plain, space).map_err(failed)? {
            Some(size) => Ok((Method::Zlib, size)),
            None if self.compression == Compression::Auto => Ok(raw),
            None => Err(failed(format!("{room} bytes of room are too few"))),
        }
    }
}

#[cfg(feature = "libdeflate")]
struct Zlib(libdeflater::Compressor);

#[cfg(feature = "libdeflate")]
impl Zlib {
    fn new(level: u32) -> Self {
        // The options have checked the level.
        let level =
            i32::try_from(level).ok().and_then(|n| libdeflater::CompressionLvl::new(n).ok());
        Self(libdeflater::Compressor::new(level.unwrap_or_default()))
    }

    /// The length of the stream; `None` when it doesn't fit.
    fn compress(&mut self, plain: &[u8], space: &mut [u8]) -> Result<Option<usize>, String> {
        match self.0.zlib_compress(plain, space) {
            Ok(size) => Ok(Some(size)),
            Err(libdeflater::CompressionError::InsufficientSpace) => Ok(None),
        }
    }
}

#[cfg(not(feature = "libdeflate"))]
struct Zlib(flate2::Compress);

#[cfg(not(feature = "libdeflate"))]
impl Zlib {
    fn new(level: u32) -> Self {
        // What libdeflate has above 9 is unknown here.
        let level = flate2::Compression::new(level.min(9));
        Self(flate2::Compress::new(level, true))
    }

    /// The length of the stream; `None` when it doesn't fit.
    fn compress(&mut self, plain: &[u8], space: &mut [u8]) -> Result<Option<usize>, String> {
        self.0.reset();
        let status = self.0.compress(plain, space, flate2::FlushCompress::Finish);
        match status.map_err(|error| error.to_string())? {
            flate2::Status::StreamEnd => {
                let size = usize::try_from(self.0.total_out());
                size.map(Some).map_err(|error| error.to_string())
            }
            _ => Ok(None),
        }
    }
}

/// The most bytes a compressed chunk may take to be stored so with [`Compression::Auto`].
fn worthwhile(plain: usize) -> usize {
    plain - (plain / 32).max(1).min(plain)
}

/// Room for any zlib stream of `plain` bytes: 9 bits a literal is the worst case of the fixed
/// code, which the fast levels use without looking.
fn bound(plain: usize) -> usize {
    plain + plain / 8 + 64
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }

    fn inflate(stream: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        flate2::read::ZlibDecoder::new(stream).read_to_end(&mut plain).expect("a zlib stream");
        plain
    }

    #[test]
    fn zlib_compresses_everything_at_every_level() {
        let chunks =
            [vec![0u8; 1], vec![7; 100_000], noise(1), noise(10), noise(65_536), noise(1 << 20)];
        for level in 0..=12 {
            let mut encoder = Encoder::new(Compression::Zlib, level);
            let mut packed = Vec::new();
            for plain in &chunks {
                let (method, size) = encoder.encode(plain, &mut packed).expect("compressed");
                assert_eq!(method, Method::Zlib);
                assert_eq!(&inflate(&packed[..size]), plain, "level {level}");
            }
        }
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_buffer() {
        for level in 0..=12 {
            let plain = noise(30_000);
            let mut encoder = Encoder::new(Compression::Zlib, level);
            let (mut fresh, mut used) = (Vec::new(), vec![0xaa; 1 << 20]);
            let (_, first) = encoder.encode(&plain, &mut fresh).expect("compressed");
            let (_, second) = encoder.encode(&plain, &mut used).expect("compressed");
            assert_eq!(fresh[..first], used[..second], "level {level}");
        }
    }

    #[test]
    fn the_bytes_do_not_depend_on_what_came_before() {
        // An encoder is used again and again, and which chunks it saw depends on the threads.
        for level in 0..=12 {
            let mut used = Encoder::new(Compression::Zlib, level);
            let (mut scratch, mut packed) = (Vec::new(), Vec::new());
            for length in (1..400).chain([4096, 32_767, 40_000, 70_000]) {
                let words = noise(length.min(97)).into_iter().cycle();
                let plain: Vec<u8> = words.take(length).collect();
                used.encode(&noise(length * 3), &mut scratch).expect("compressed");
                let (_, second) = used.encode(&plain, &mut scratch).expect("compressed");
                let mut fresh = Encoder::new(Compression::Zlib, level);
                let (_, first) = fresh.encode(&plain, &mut packed).expect("compressed");
                assert_eq!(packed[..first], scratch[..second], "level {level}, {length} bytes");
            }
        }
    }

    #[test]
    fn auto_keeps_what_does_not_gain() {
        let mut encoder = Encoder::new(Compression::Auto, 6);
        let mut packed = Vec::new();
        for plain in [vec![1u8], b"ab".to_vec(), noise(5000), noise(65_536)] {
            let result = encoder.encode(&plain, &mut packed).expect("stored");
            assert_eq!(result, (Method::None, plain.len()));
        }
        // A refusal leaves nothing behind in the encoder.
        let plain = b"the same words, ".repeat(100);
        let (method, size) = encoder.encode(&plain, &mut packed).expect("compressed");
        assert_eq!(method, Method::Zlib);
        assert_eq!(inflate(&packed[..size]), plain);
    }

    #[test]
    fn auto_wants_a_thirty_second() {
        assert_eq!([1, 2, 31, 32, 64, 65_536].map(worthwhile), [0, 1, 30, 31, 62, 63_488]);
        assert_eq!(worthwhile(0), 0);
    }

    #[test]
    fn none_touches_nothing() {
        let mut packed = Vec::new();
        let mut encoder = Encoder::new(Compression::None, 6);
        assert_eq!(encoder.encode(&[0; 4096], &mut packed).expect("kept"), (Method::None, 4096));
        assert!(packed.is_empty());
    }
}
