//! A block's way from stored to plain bytes.
//!
//! Two decoders for one job. [`Inflater`] is for delivering bytes: libdeflate, which needs about
//! half the time of any other (`scripts/bench/results`), or with that feature off zlib-rs. It is
//! given what the plain bytes must come to, and can't say how many stored ones it took.
//! [`stream_length`] can, for verification: it is always zlib-rs.

use flate2::{Decompress, FlushDecompress, Status};

/// Inflates one zlib stream (RFC 1950) at a time, keeping its state between calls.
#[derive(Default)]
pub struct Inflater(decoder::Decoder);

impl Inflater {
    /// Inflates the stream that `stored` begins with into `plain`, which it must fill exactly;
    /// the Adler-32 is checked.
    ///
    /// # Errors
    /// What is wrong with the stream, as a phrase. `plain` then holds nothing of use.
    pub fn inflate(&mut self, stored: &[u8], plain: &mut [u8]) -> Result<(), String> {
        match self.0.inflate(stored, plain)? {
            length if length == plain.len() => Ok(()),
            length => {
                let declared = plain.len();
                Err(format!("zlib stream of {length} bytes where {declared} are declared"))
            }
        }
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

#[cfg(feature = "libdeflate")]
mod decoder {
    use libdeflater::{DecompressionError, Decompressor};

    pub(super) struct Decoder(Decompressor);

    impl Default for Decoder {
        fn default() -> Self {
            Self(Decompressor::new())
        }
    }

    impl Decoder {
        pub(super) fn inflate(&mut self, stored: &[u8], plain: &mut [u8]) -> Result<usize, String> {
            self.0.zlib_decompress(stored, plain).map_err(|error| match error {
                DecompressionError::BadData => "no valid zlib stream".into(),
                DecompressionError::InsufficientSpace => {
                    format!("zlib stream of more than the declared {} bytes", plain.len())
                }
            })
        }
    }
}

#[cfg(not(feature = "libdeflate"))]
mod decoder {
    use flate2::Decompress;

    pub(super) struct Decoder(Decompress);

    impl Default for Decoder {
        fn default() -> Self {
            Self(Decompress::new(true))
        }
    }

    impl Decoder {
        pub(super) fn inflate(&mut self, stored: &[u8], plain: &mut [u8]) -> Result<usize, String> {
            super::whole_stream(&mut self.0, stored, plain)?;
            usize::try_from(self.0.total_out()).map_err(|error| error.to_string())
        }
    }
}

/// Bytes of the stream that `stored` begins with, which must inflate to no more than `plain` has
/// room for.
///
/// # Errors
/// As [`Inflater::inflate`].
pub fn stream_length(stored: &[u8], plain: &mut [u8]) -> Result<usize, String> {
    let mut decoder = Decompress::new(true);
    whole_stream(&mut decoder, stored, plain)?;
    usize::try_from(decoder.total_in()).map_err(|error| error.to_string())
}

/// Inflates a whole stream.
fn whole_stream(decoder: &mut Decompress, stored: &[u8], plain: &mut [u8]) -> Result<(), String> {
    decoder.reset(true);
    match decoder.decompress(stored, plain, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) => Ok(()),
        Ok(Status::Ok | Status::BufError) => {
            let full = decoder.total_out() >= plain.len() as u64;
            Err(if full {
                format!("zlib stream of more than the declared {} bytes", plain.len())
            } else {
                format!("zlib stream that ends after {} bytes", decoder.total_out())
            })
        }
        Err(_) => Err("no valid zlib stream".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "hello" as zlib -9 writes it.
    const HELLO: &[u8] = b"\x78\xda\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15";

    #[test]
    fn fills_the_buffer_exactly() {
        let mut inflater = Inflater::default();
        let mut plain = [0; 5];
        for _ in 0..2 {
            assert_eq!(inflater.inflate(HELLO, &mut plain), Ok(()));
            assert_eq!(&plain, b"hello");
        }
        let longer = [HELLO, b"tail"].concat();
        assert_eq!(inflater.inflate(&longer, &mut plain), Ok(()));
        assert_eq!(stream_length(&longer, &mut plain), Ok(HELLO.len()));
    }

    #[test]
    fn refuses_every_other_length_and_every_damage() {
        let mut inflater = Inflater::default();
        for size in (0..20).filter(|&size| size != 5) {
            assert!(inflater.inflate(HELLO, &mut vec![0; size]).is_err(), "{size}");
        }
        for cut in 0..HELLO.len() {
            assert!(inflater.inflate(&HELLO[..cut], &mut [0; 5]).is_err(), "{cut}");
        }
        // Not the window size and level bits of the head: they carry no data.
        for bit in 16..HELLO.len() * 8 {
            let mut bad = HELLO.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut plain = [0; 5];
            let accepted = inflater.inflate(&bad, &mut plain).is_ok();
            assert!(!accepted || &plain == b"hello", "bit {bit}");
        }
    }
}
