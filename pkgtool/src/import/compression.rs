//! Compressed streams, known by their first bytes.

use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::problem::Problem;

/// Most memory of a decompressor in KiB: `xz -9` and `zstd --ultra -22` need as much.
const MEMORY_KIB: u32 = 160 << 10;
/// The largest window of zstd in bytes.
const WINDOW: u64 = 128 << 20;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
}

impl Compression {
    /// Of a stream with these first bytes. What is known and can't be read is refused by name.
    pub(crate) fn of(first: &[u8]) -> Result<Self, Problem> {
        let other = |name: &str| {
            let message = format!("is compressed by {name}; gzip, zstd and xz can be read");
            Err(Problem::Refused(message))
        };
        match first {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => other("bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] => other("lz4"),
            [0x5d, 0, 0, _, ..] => other("lzma"),
            [b'L', b'Z', b'I', b'P', ..] => other("lzip"),
            _ => Ok(Self::None),
        }
    }

    /// The plain stream.
    pub(crate) fn reader<'r>(self, input: impl BufRead + 'r) -> Box<dyn Read + 'r> {
        match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(MultiGzDecoder::new(input)),
            Self::Zstd => Box::new(Zstd::new(input)),
            // What is read of the dictionary's size comes from the input.
            Self::Xz => Box::new(XzReader::new_mem_limit(input, true, MEMORY_KIB)),
        }
    }
}

/// A zstd stream: frames one after another, with checksums.
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    /// Whether a frame is open.
    open: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        Self { input, decoder, open: false }
    }

    /// Begins the next frame; `false` at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.input).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(error)),
            }
        }
        Ok(false)
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.open {
                if !self.begin()? {
                    return Ok(0);
                }
                self.open = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let strategy = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.input, strategy).map_err(invalid)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.open = false;
            let told = self.decoder.get_checksum_from_data();
            if told.is_some() && told != self.decoder.get_calculated_checksum() {
                let message = "the checksum of a zstd frame is wrong";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
    }
}

/// The plain stream of a compressed one, and its first bytes: as many as there are up to
/// [`FIRST`].
pub(crate) fn open<'r>(input: impl Read + 'r) -> Result<(Vec<u8>, Box<dyn Read + 'r>), Problem> {
    let mut input = BufReader::with_capacity(FIRST.max(64 << 10), input);
    let first = input.fill_buf().map_err(Problem::read)?;
    let compression = Compression::of(first)?;
    let mut plain = compression.reader(input);
    let mut first = Vec::new();
    let most = u64::try_from(FIRST).unwrap_or(u64::MAX);
    (&mut plain).take(most).read_to_end(&mut first).map_err(Problem::read)?;
    let plain = io::Cursor::new(first.clone()).chain(plain);
    Ok((first, Box::new(plain)))
}

/// Bytes that formats are known by.
pub(crate) const FIRST: usize = 512;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn gzip_is_read_to_its_end() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&[7; 5000]).expect("written");
        let packed = encoder.finish().expect("written");
        let twice = [&packed[..], &packed].concat();
        let (first, mut plain) = open(&twice[..]).expect("gzip");
        let mut all = Vec::new();
        plain.read_to_end(&mut all).expect("whole");
        assert_eq!((first, all), (vec![7; 512], vec![7; 10000]));
        for cut in 20..packed.len() {
            let read =
                open(&packed[..cut]).map(|(_, mut plain)| plain.read_to_end(&mut Vec::new()));
            assert!(!matches!(read, Ok(Ok(_))), "{cut}");
        }
    }

    #[test]
    fn others_are_named() {
        for (first, name) in [(&b"BZh91AY"[..], "bzip2"), (b"\x04\x22\x4d\x18", "lz4")] {
            let refused = open(first).err().expect("refused").to_string();
            assert!(refused.contains(name), "{refused}");
        }
    }
}
