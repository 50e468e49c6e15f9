//! A block's way from stored to plain bytes.

use flate2::{Decompress, FlushDecompress, Status};

/// Inflates one zlib stream (RFC 1950) at a time, keeping its state between calls.
#[derive(Debug)]
pub struct Inflater(Decompress);

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Inflater {
    /// Inflates `stored` into `plain`, which it must fill exactly; the Adler-32 is checked.
    /// Gives the number of stored bytes that the stream took.
    ///
    /// # Errors
    /// What is wrong with the stream, as a phrase. `plain` then holds nothing of use.
    pub fn inflate(&mut self, stored: &[u8], plain: &mut [u8]) -> Result<usize, String> {
        self.0.reset(true);
        match self.0.decompress(stored, plain, FlushDecompress::Finish) {
            Ok(Status::StreamEnd) => {}
            Ok(Status::Ok | Status::BufError) => {
                let full = self.0.total_out() >= plain.len() as u64;
                return Err(if full {
                    format!("zlib stream of more than the declared {} bytes", plain.len())
                } else {
                    format!("zlib stream that ends after {} bytes", self.0.total_out())
                });
            }
            Err(error) => return Err(format!("no valid zlib stream: {error}")),
        }
        if self.0.total_out() != plain.len() as u64 {
            return Err(format!(
                "zlib stream of {} bytes where {} are declared",
                self.0.total_out(),
                plain.len()
            ));
        }
        usize::try_from(self.0.total_in()).map_err(|error| error.to_string())
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
            assert_eq!(inflater.inflate(HELLO, &mut plain), Ok(HELLO.len()));
            assert_eq!(&plain, b"hello");
        }
        assert_eq!(inflater.inflate(&[HELLO, b"tail"].concat(), &mut plain), Ok(HELLO.len()));
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
