//! Files with holes in archives: GNU tar's old form, and its three forms in extended headers.

use std::io::Read;

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::pax::{self, Records};
use super::problem::Problem;

/// Bytes of a block of an archive.
const BLOCK: u64 = 512;
/// Most stretches of data of a file.
const MOST: usize = 1 << 20;

/// The stretches of data in a file: offset and length.
pub(crate) type Stretches = Vec<(u64, u64)>;

/// A file with holes.
#[derive(Debug)]
pub(crate) struct Sparse {
    /// Bytes of the file.
    pub(crate) size: u64,
    pub(crate) data: Stretches,
}

impl Sparse {
    /// Checks that the stretches come in order, lie in the file, and are `stored` bytes.
    pub(crate) fn check(mut self, stored: u64) -> Result<Self, Problem> {
        let mut end = 0;
        let mut sum = 0_u64;
        for &(at, length) in &self.data {
            let next = at.checked_add(length).filter(|&next| at >= end && next <= self.size);
            end = next.ok_or_else(damaged)?;
            sum = sum.checked_add(length).ok_or_else(damaged)?;
        }
        if sum != stored {
            return Err(damaged());
        }
        self.data.retain(|&(_, length)| length > 0);
        Ok(self)
    }
}

fn damaged() -> Problem {
    Problem::Damaged("has a sparse file whose map makes no sense".into())
}

/// The old form: a few stretches in the header, more in blocks after it.
pub(crate) fn of_header(header: &Header, input: &mut dyn Read) -> Result<Sparse, Problem> {
    let gnu = header.as_gnu().ok_or_else(damaged)?;
    let size = gnu.real_size().map_err(|_| damaged())?;
    let mut data = Vec::new();
    add(&mut data, &gnu.sparse)?;
    let mut extended = gnu.is_extended();
    while extended {
        let mut more = GnuExtSparseHeader::new();
        input.read_exact(more.as_mut_bytes()).map_err(Problem::read)?;
        add(&mut data, more.sparse())?;
        extended = more.is_extended();
    }
    Ok(Sparse { size, data })
}

fn add(data: &mut Stretches, rows: &[GnuSparseHeader]) -> Result<(), Problem> {
    for row in rows.iter().filter(|row| !row.is_empty()) {
        let offset = row.offset().map_err(|_| damaged())?;
        push(data, offset, row.length().map_err(|_| damaged())?)?;
    }
    Ok(())
}

fn push(data: &mut Stretches, offset: u64, length: u64) -> Result<(), Problem> {
    if data.len() >= MOST {
        let message = format!("has a sparse file of more than {MOST} stretches");
        return Err(Problem::Refused(message));
    }
    data.push((offset, length));
    Ok(())
}

/// What extended headers say; `None` when the file has no holes. Of form 1.0 the map comes before
/// the data: it is read from `input`, and taken from `stored`.
pub(crate) fn of_records(
    records: &Records,
    input: &mut dyn Read,
    stored: &mut u64,
) -> Result<Option<Sparse>, Problem> {
    let version = (records.number("GNU.sparse.major")?, records.number("GNU.sparse.minor")?);
    match version {
        (None, None) | (Some(0), _) => {}
        (Some(1), Some(0)) => {
            let size = records.number("GNU.sparse.realsize")?.ok_or_else(damaged)?;
            let data = map_before_data(input, stored)?;
            return Ok(Some(Sparse { size, data }));
        }
        (major, minor) => {
            let (major, minor) = (major.unwrap_or(0), minor.unwrap_or(0));
            let message = format!("has a sparse file in the unknown form {major}.{minor}");
            return Err(Problem::Refused(message));
        }
    }
    let Some(size) = records.number("GNU.sparse.size")? else { return Ok(None) };
    let numbers = match records.get("GNU.sparse.map") {
        Some(map) => {
            let numbers = map.split(|&byte| byte == b',').map(pax::number);
            numbers.collect::<Option<Vec<u64>>>().ok_or_else(damaged)?
        }
        None => records.sparse.clone(),
    };
    let mut data = Vec::new();
    for pair in numbers.chunks(2) {
        let &[offset, length] = pair else { return Err(damaged()) };
        push(&mut data, offset, length)?;
    }
    Ok(Some(Sparse { size, data }))
}

/// Decimal numbers, a line each: how many stretches, then their offsets and lengths.
fn map_before_data(input: &mut dyn Read, stored: &mut u64) -> Result<Stretches, Problem> {
    let mut lines = Lines { input, block: [0; 512], at: 512, stored };
    let count = lines.next()?;
    let mut data = Vec::new();
    for _ in 0..count {
        let offset = lines.next()?;
        push(&mut data, offset, lines.next()?)?;
    }
    Ok(data)
}

struct Lines<'a> {
    input: &'a mut dyn Read,
    block: [u8; 512],
    at: usize,
    stored: &'a mut u64,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<u64, Problem> {
        let mut digits = Vec::new();
        loop {
            if self.at == self.block.len() {
                *self.stored = self.stored.checked_sub(BLOCK).ok_or_else(damaged)?;
                self.input.read_exact(&mut self.block).map_err(Problem::read)?;
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            if byte == b'\n' {
                return pax::number(&digits).ok_or_else(damaged);
            }
            // No number that fits has more digits.
            if digits.len() == 20 {
                return Err(damaged());
            }
            digits.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_must_make_sense() {
        type Row = (u64, &'static [(u64, u64)], u64, bool);
        let table: [Row; 7] = [
            (10, &[(0, 2), (4, 6)], 8, true),
            (10, &[(0, 2), (10, 0)], 2, true),
            (10, &[], 0, true),
            (10, &[(0, 2)], 3, false),
            (10, &[(4, 2), (0, 2)], 4, false),
            (10, &[(4, 7)], 7, false),
            (10, &[(u64::MAX, 2)], 2, false),
        ];
        for (size, data, stored, good) in table {
            let sparse = Sparse { size, data: data.to_vec() };
            assert_eq!(sparse.check(stored).is_ok(), good, "{data:?}");
        }
    }

    #[test]
    fn reads_the_map_before_the_data() {
        let mut text = b"2\n0\n3\n1000\n4\n".to_vec();
        text.resize(512, 0);
        let mut stored = 519;
        let data = map_before_data(&mut &text[..], &mut stored).expect("good");
        assert_eq!((data, stored), (vec![(0, 3), (1000, 4)], 7));
        for bad in ["", "x\n", "1\n2\n", "99999999999999999999999\n"] {
            let mut text = bad.as_bytes().to_vec();
            text.resize(512, 0);
            assert!(map_before_data(&mut &text[..], &mut 512).is_err(), "{bad:?}");
        }
    }
}
