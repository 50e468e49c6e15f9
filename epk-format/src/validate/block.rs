//! Rules 28 to 31: the block table.

use std::ops::Range;

use zerocopy::FromBytes as _;

use super::range_in_file;
use crate::error::{Location, Reject, RejectCode};
use crate::layout::block::{BlockEntry, METHOD_NONE, METHOD_ZLIB, SIZE};

/// Rule 28, which needs no byte of the table.
pub(crate) fn check_size(range: &Range<u64>) -> Result<(), Reject> {
    let length = range.end - range.start;
    if length.is_multiple_of(SIZE as u64) {
        return Ok(());
    }
    Err(Reject::new(
        RejectCode::InvalidTableFormat,
        Location::Offset(range.start),
        format!("block table of {length} bytes, not a multiple of {SIZE}"),
    ))
}

/// Rules 30 and 31. Gives the number of blocks.
pub(crate) fn check(table: &[u8], size: u64) -> Result<u32, Reject> {
    let mut count = 0;
    for row in table.chunks_exact(SIZE) {
        let at = Location::Block(count);
        let block = BlockEntry::ref_from_bytes(row).map_err(|_| {
            Reject::new(RejectCode::InvalidTableFormat, at.clone(), "incomplete row")
        })?;
        check_row(block, size).map_err(|(code, detail)| Reject::new(code, at, detail))?;
        count += 1;
    }
    Ok(count)
}

fn check_row(block: &BlockEntry, size: u64) -> Result<(), (RejectCode, String)> {
    let format = |detail: String| Err((RejectCode::InvalidEntryFormat, detail));
    if block.reserved0 != 0 || block.reserved1 != 0 {
        return format("reserved field is not 0".into());
    }
    if block.method != METHOD_NONE && block.method != METHOD_ZLIB {
        return format(format!(
            "compression method {}, known are 0 (none) and 1 (zlib)",
            block.method
        ));
    }
    if block.plain_size == 0 || block.stored_size == 0 {
        return format(format!(
            "{} stored and {} plain bytes, neither may be 0",
            block.stored_size, block.plain_size
        ));
    }
    let (offset, length) = (block.offset.get(), u64::from(block.stored_size.get()));
    if range_in_file(offset, length, size).is_none() {
        return Err((
            RejectCode::InvalidBounds,
            format!("{length} bytes at {offset:#x} leave the file of {size} bytes"),
        ));
    }
    Ok(())
}
