//! Rule 34: PackageHash.
//!
//! SHA-256 over the file with the hash's own 32 bytes taken as zero and the signature cut out.

use std::ops::Range;

use crate::digest::{Hasher, Sha256};
use crate::error::{Error, Location, Reject, RejectCode};
use crate::layout::header::{Header, PACKAGE_HASH_OFFSET};
use crate::source::Source;

const PIECE: usize = 1 << 18;

/// Reads the whole file once and compares. Each of the `held` parts, which were read before and
/// will be used later, must be what is read now, so that nobody can show us one file and have
/// another one hashed.
pub(crate) fn check(
    source: &impl Source,
    size: u64,
    header: &Header,
    signature: &Range<u64>,
    held: &[(u64, &[u8])],
) -> Result<(), Error> {
    let found = compute(source, size, signature, |offset, piece| compare(held, offset, piece))?;
    let declared = Sha256(header.package_hash);
    if found == declared {
        return Ok(());
    }
    Err(Reject::new(
        RejectCode::HashMismatch,
        Location::Offset(PACKAGE_HASH_OFFSET as u64),
        format!("the package's SHA-256 is {found}, its header says {declared}"),
    )
    .into())
}

/// The hash of parts of an image of `size` bytes, and of where they lie.
pub(crate) fn of_held(size: u64, held: &[(u64, &[u8])]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(&size.to_le_bytes());
    for (start, bytes) in held {
        hasher.update(&start.to_le_bytes());
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hasher.finish()
}

/// The hash of a file of `size` bytes whose signature lies at `signature`. `inspect` sees each
/// piece as it was read.
pub(crate) fn compute(
    source: &(impl Source + ?Sized),
    size: u64,
    signature: &Range<u64>,
    mut inspect: impl FnMut(u64, &[u8]) -> Result<(), Error>,
) -> Result<Sha256, Error> {
    let hash_field = PACKAGE_HASH_OFFSET as u64..PACKAGE_HASH_OFFSET as u64 + 32;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    while offset < size {
        let length = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        let piece = buffer.get_mut(..length).unwrap_or_default();
        source.read_exact_at(piece, offset).map_err(|source| Error::Io {
            offset,
            length,
            source,
        })?;
        inspect(offset, piece)?;
        if let Some(field) = overlap(&hash_field, offset, length) {
            piece.get_mut(field).unwrap_or_default().fill(0);
        }
        match overlap(signature, offset, length) {
            Some(cut) => {
                hasher.update(piece.get(..cut.start).unwrap_or_default());
                hasher.update(piece.get(cut.end..).unwrap_or_default());
            }
            None => hasher.update(piece),
        }
        offset += length as u64;
    }
    Ok(hasher.finish())
}

/// The part of `range` that lies in the `length` bytes from `offset` on, relative to them.
fn overlap(range: &Range<u64>, offset: u64, length: usize) -> Option<Range<usize>> {
    let start = range.start.max(offset);
    let end = range.end.min(offset.checked_add(length as u64)?);
    let relative = |at: u64| usize::try_from(at.checked_sub(offset)?).ok();
    (start < end).then(|| Some(relative(start)?..relative(end)?)).flatten()
}

fn compare(held: &[(u64, &[u8])], offset: u64, piece: &[u8]) -> Result<(), Error> {
    for &(start, bytes) in held {
        let range = start..start.saturating_add(bytes.len() as u64);
        let Some(here) = overlap(&range, offset, piece.len()) else { continue };
        let there = overlap(&(offset..offset + piece.len() as u64), start, bytes.len());
        if piece.get(here) != there.and_then(|there| bytes.get(there)) {
            return Err(Error::Changed { offset });
        }
    }
    Ok(())
}
