//! Opening an image: every rule of format 1.0, in the order in which EXOS applies them, then
//! ours (`spec/epk-1.0.md` §7 numbers them). The proof that all held is a [`Package`].
//!
//! [`Package`]: crate::package::Package

pub(crate) mod block;
pub(crate) mod hash;
pub(crate) mod header;
pub(crate) mod inline;
pub(crate) mod signature;
pub(crate) mod strict;
pub(crate) mod toc;

use std::ops::Range;

use crate::digest::Sha256;
use crate::error::{Error, Location, Reject, RejectCode};
use crate::limits;
use crate::metadata;
use crate::package::{Common, OpenOptions, Sections, Stamp, View};
use crate::parsed::Parsed;
use crate::source::Source;
use crate::tree::Tree;
use crate::write::Format;

/// Opens `source` under all the rules. Reads it once as a whole when the hash is asked for and no
/// stamp fits, else only the sections.
pub(crate) fn open<S: Source>(source: &S, options: &OpenOptions) -> Result<(Common, View), Error> {
    let size = source.size().map_err(|source| Error::Io { offset: 0, length: 0, source })?;
    let header = header::read(source, size)?;
    if header::version(&header)? == Format::V2 {
        return metadata::open(source, size, header, options);
    }
    let ranges = header::check(&header, size)?;

    // Heads and sizes first: a table that is malformed and too large is malformed.
    toc::check_head(&read(source, &toc::head(&ranges.toc))?, ranges.toc.start)?;
    let toc = table(source, &ranges.toc, "table of contents")?;
    let entries = toc::check(&toc, ranges.toc.start)?;
    block::check_size(&ranges.block_table)?;
    let block_table = table(source, &ranges.block_table, "block table")?;
    let blocks = block::check(&block_table, size)?;
    toc::check_block_ranges(&toc, &entries, ranges.toc.start, blocks)?;
    let inline_ranges = toc::check_inline_ranges(&toc, &entries, ranges.toc.start, size)?;

    // What is beyond our limits stays in the file and is refused below, after EXOS's rules.
    let manifest = small(source, &ranges.manifest, limits::MANIFEST_BYTES)?;
    let signature = small(source, &ranges.signature, limits::SIGNATURE_BYTES)?;
    let inline = inline::Inline::read(source, inline_ranges)?;

    let mut stamp = None;
    if options.verify_hash {
        let mut held = vec![
            (0, zerocopy::IntoBytes::as_bytes(&header)),
            (ranges.toc.start, toc.as_slice()),
            (ranges.block_table.start, block_table.as_slice()),
            (ranges.manifest.start, manifest.as_deref().unwrap_or_default()),
        ];
        held.extend(inline.segments());
        let package_hash = Sha256(header.package_hash);
        stamp = Some(Stamp { package_hash, held_hash: hash::of_held(size, &held) });
        if options.stamp != stamp {
            // The signature vouches for itself.
            held.push((ranges.signature.start, signature.as_deref().unwrap_or_default()));
            hash::check(source, size, &header, &ranges.signature, &held)?;
        }
    }
    let state = signature::check(
        &header,
        &ranges.signature,
        signature.as_deref(),
        manifest.as_deref().unwrap_or_default(),
        options,
    )?;

    let sections = Sections { header, toc, entries, block_table, manifest, inline, size };
    let plain_starts = strict::check(&sections, blocks)?;
    let tree = Tree::build(&sections)?;
    let Sections { header, toc, entries, block_table, manifest, inline, size } = sections;
    let manifest = manifest.unwrap_or_default();
    let common = Common { header, size, manifest, signature: state, stamp };
    let parsed = Parsed { toc, entries, block_table, inline, plain_starts, tree };
    Ok((common, View::Tree(Box::new(parsed))))
}

/// Reads a table into memory; one that is too large is refused as EXOS does when its heap is.
fn table(source: &impl Source, range: &Range<u64>, what: &str) -> Result<Vec<u8>, Error> {
    let length = range.end - range.start;
    if length > limits::TABLE_BYTES {
        return Err(Reject::new(
            RejectCode::OutOfMemory,
            Location::Offset(range.start),
            format!("{what} of {length} bytes, at most {} are read", limits::TABLE_BYTES),
        )
        .into());
    }
    read(source, range)
}

/// Reads a section if it is within `limit`.
fn small(source: &impl Source, range: &Range<u64>, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    if range.end - range.start > limit { Ok(None) } else { read(source, range).map(Some) }
}

/// Reads a range that is known to lie in the file and to be within some limit.
pub(crate) fn read(source: &impl Source, range: &Range<u64>) -> Result<Vec<u8>, Error> {
    let length = usize::try_from(range.end - range.start).map_err(|_| {
        Reject::new(
            RejectCode::OutOfMemory,
            Location::Offset(range.start),
            "section larger than the address space",
        )
    })?;
    let mut bytes = vec![0; length];
    source.read_exact_at(&mut bytes, range.start).map_err(|source| Error::Io {
        offset: range.start,
        length,
        source,
    })?;
    Ok(bytes)
}

/// EXOS's range rule (contract: R): both numbers fit 32 bits, their sum does, and the range
/// lies in the file.
pub(crate) fn range_in_file(offset: u64, length: u64, size: u64) -> Option<Range<u64>> {
    let start = u32::try_from(offset).ok()?;
    let end = u64::from(start.checked_add(u32::try_from(length).ok()?)?);
    (end <= size).then_some(offset..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_at_the_edges() {
        let limit = 1 << 32;
        let cases = [
            (0, 0, 0, true),
            (10, 0, 10, true),
            (11, 0, 10, false),
            (4, 6, 10, true),
            (4, 7, 10, false),
            (limit, 0, limit * 2, false),
            (0, limit, limit * 2, false),
            (limit - 1, 1, limit * 2, false),
            (limit - 1, 0, limit * 2, true),
            (u64::MAX, u64::MAX, u64::MAX, false),
        ];
        for (offset, length, size, good) in cases {
            assert_eq!(range_in_file(offset, length, size).is_some(), good, "{offset}+{length}");
        }
    }
}
