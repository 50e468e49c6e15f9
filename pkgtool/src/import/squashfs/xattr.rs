//! Extended attributes.

use epk_format::write::Xattr;

use super::super::problem::Problem;
use super::metadata::{Metadata, Place};
use super::{Fields, damaged};

/// The bit of a name's kind that says that the value lies elsewhere.
const ELSEWHERE: u16 = 0x100;
/// Most attributes of a file, and most bytes of a value.
const COUNT: u32 = 1 << 10;
const VALUE: u32 = 1 << 16;

/// The table of attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Where names and values are.
    start: u64,
    /// Where the list of blocks of its rows is.
    rows: u64,
    count: u32,
}

impl Table {
    pub(super) fn open(metadata: &Metadata, at: u64) -> Result<Self, Problem> {
        let mut head = [0; 16];
        metadata.raw(&mut head, at)?;
        let mut head = Fields(&head);
        Ok(Self { start: head.u64(), count: head.u32(), rows: at.saturating_add(16) })
    }

    /// Names and values of a row.
    pub(super) fn read(&self, metadata: &Metadata, number: u32) -> Result<Vec<Xattr>, Problem> {
        if number >= self.count {
            return Err(damaged(format!("attributes {number} of {}", self.count)));
        }
        let mut row = metadata.row(self.rows, number.into(), 16)?;
        let row: [u8; 16] = metadata.take(&mut row)?;
        let mut row = Fields(&row);
        let mut place = Place::of(self.start, row.u64());
        let count = row.u32();
        if count > COUNT {
            return Err(damaged(format!("{count} attributes of a file")));
        }
        (0..count).map(|_| self.one(metadata, &mut place)).collect()
    }

    fn one(&self, metadata: &Metadata, place: &mut Place) -> Result<Xattr, Problem> {
        let head: [u8; 4] = metadata.take(place)?;
        let mut head = Fields(&head);
        let (kind, length) = (head.u16(), head.u16());
        let prefix: &[u8] = match kind & !ELSEWHERE {
            0 => b"user.",
            1 => b"trusted.",
            2 => b"security.",
            other => return Err(damaged(format!("an attribute of kind {other}"))),
        };
        let mut name = prefix.to_vec();
        name.resize(prefix.len() + usize::from(length), 0);
        metadata.read(place, &mut name[prefix.len()..])?;
        let value = value(metadata, place)?;
        if kind & ELSEWHERE == 0 {
            return Ok(Xattr { name, value });
        }
        let reference: [u8; 8] = value.try_into().map_err(|_| damaged("half a reference"))?;
        let mut elsewhere = Place::of(self.start, u64::from_le_bytes(reference));
        Ok(Xattr { name, value: self::value(metadata, &mut elsewhere)? })
    }
}

fn value(metadata: &Metadata, place: &mut Place) -> Result<Vec<u8>, Problem> {
    let length = u32::from_le_bytes(metadata.take(place)?);
    if length > VALUE {
        return Err(damaged(format!("an attribute of {length} bytes")));
    }
    let mut value = vec![0; usize::try_from(length).unwrap_or(0)];
    metadata.read(place, &mut value)?;
    Ok(value)
}
