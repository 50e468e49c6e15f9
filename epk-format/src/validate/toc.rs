//! Rules 15 to 27, 32 and 33: the table of contents and what its entries point to.

use std::ops::Range;

use zerocopy::FromBytes as _;

use super::range_in_file;
use crate::error::{Location, Reject, RejectCode};
use crate::layout::toc::{
    ENTRY_SIZE, Entry, EntryFlags, HEADER_SIZE, NODE_ALIAS, NODE_FILE, NODE_FOLDER, TocHeader,
};

/// Where each entry begins in the table of contents.
#[derive(Debug, Default)]
pub(crate) struct Entries(Vec<u32>);

impl Entries {
    /// The entries with their numbers and positions, parsed again from bytes known to be good.
    pub(crate) fn iter<'t>(
        &'t self,
        toc: &'t [u8],
    ) -> impl Iterator<Item = (u32, &'t Entry, &'t [u8], &'t [u8])> {
        (0..).zip(&self.0).filter_map(move |(index, &start)| {
            let (entry, path, target) = parts(toc, start)?;
            Some((index, entry, path, target))
        })
    }

    /// One entry: its fixed part, path and alias target.
    pub(crate) fn get<'t>(
        &self,
        toc: &'t [u8],
        index: u32,
    ) -> Option<(&'t Entry, &'t [u8], &'t [u8])> {
        parts(toc, *self.0.get(usize::try_from(index).ok()?)?)
    }

    fn location(&self, index: u32, toc_start: u64) -> Location {
        let start = usize::try_from(index).ok().and_then(|i| self.0.get(i)).copied();
        Location::Entry { index, offset: toc_start + u64::from(start.unwrap_or(0)) }
    }
}

fn parts(toc: &[u8], start: u32) -> Option<(&Entry, &[u8], &[u8])> {
    let (entry, rest) = Entry::ref_from_prefix(toc.get(usize::try_from(start).ok()?..)?).ok()?;
    let (path, rest) = rest.split_at_checked(usize::try_from(entry.path_length.get()).ok()?)?;
    let target = rest.get(..usize::try_from(entry.alias_target_length.get()).ok()?)?;
    Some((entry, path, target))
}

/// Where the head of a table of contents lies, as far as the table reaches.
pub(crate) fn head(table: &Range<u64>) -> Range<u64> {
    table.start..table.end.min(table.start.saturating_add(HEADER_SIZE as u64))
}

/// Rules 15 to 17, for which the first bytes are enough. Gives the number of entries.
pub(crate) fn check_head(toc: &[u8], start: u64) -> Result<u32, Reject> {
    let table = |detail: String| {
        Reject::new(RejectCode::InvalidTableFormat, Location::Offset(start), detail)
    };
    let Ok((head, _)) = TocHeader::read_from_prefix(toc) else {
        return Err(table(format!(
            "table of contents of {} bytes, its head alone has {HEADER_SIZE}",
            toc.len()
        )));
    };
    if head.reserved != 0 {
        return Err(table(format!("reserved field of the head is {}, not 0", head.reserved)));
    }
    // Rule 17. EXOS holds 104 bytes an entry in memory (x86-64) and wants their sum in 32 bits.
    let count = head.entry_count.get();
    if count.checked_mul(104).is_none() {
        return Err(table(format!("{count} entries, at most {} are allowed", u32::MAX / 104)));
    }
    Ok(count)
}

/// Rules 15 to 27. `start` is where `toc` lies in the file.
pub(crate) fn check(toc: &[u8], start: u64) -> Result<Entries, Reject> {
    let count = check_head(toc, start)?;
    let mut entries = Entries::default();
    let mut cursor = HEADER_SIZE;
    for index in 0..count {
        let at = Location::Entry { index, offset: start + cursor as u64 };
        let rest = toc.get(cursor..).unwrap_or_default();
        let length = entry(rest).map_err(|(code, detail)| Reject::new(code, at, detail))?;
        // The table is below 2^32 bytes: rule 8.
        entries.0.extend(u32::try_from(cursor));
        cursor += length;
    }
    if cursor != toc.len() {
        return Err(Reject::new(
            RejectCode::InvalidEntryFormat,
            Location::Offset(start + cursor as u64),
            format!("{} bytes after the last of {count} entries", toc.len() - cursor),
        ));
    }
    Ok(entries)
}

/// Rules 19 to 26 for the entry at the start of `rest`. Gives its length.
fn entry(rest: &[u8]) -> Result<usize, (RejectCode, String)> {
    let format = |detail: String| (RejectCode::InvalidEntryFormat, detail);
    let Ok((entry, tail)) = Entry::ref_from_prefix(rest) else {
        return Err(format(format!(
            "{} bytes left in the table, an entry has at least {ENTRY_SIZE}",
            rest.len()
        )));
    };
    let size = entry.entry_size.get() as usize;
    if size < ENTRY_SIZE || size > rest.len() {
        return Err(format(format!(
            "entry size {size}, allowed is {ENTRY_SIZE} to the {} bytes left",
            rest.len()
        )));
    }
    let path = entry.path_length.get() as usize;
    let target = entry.alias_target_length.get() as usize;
    let variable = size - ENTRY_SIZE;
    if path > variable || path > tail.len() {
        return Err(format(format!("path of {path} bytes in an entry that has {variable}")));
    }
    if variable - path != target {
        return Err(format(format!(
            "entry size {size} is not {ENTRY_SIZE} + path {path} + alias target {target}"
        )));
    }
    if path == 0 {
        return Err(format("empty path".into()));
    }
    let Some(flags) = EntryFlags::from_bits(entry.flags.get()) else {
        return Err((
            RejectCode::UnsupportedFlags,
            format!("entry flags {:#x}, known are {:#x}", entry.flags, EntryFlags::all()),
        ));
    };
    if entry.reserved != 0 {
        return Err(format(format!("reserved field is {:#x}, not 0", entry.reserved)));
    }
    node(entry, flags).map_err(format)?;
    Ok(size)
}

/// Rule 26: what each kind of node may declare.
fn node(entry: &Entry, flags: EntryFlags) -> Result<(), String> {
    let must_be_zero = |fields: &[(&str, u64)]| {
        fields
            .iter()
            .find(|(_, value)| *value != 0)
            .map_or(Ok(()), |(name, value)| Err(format!("{name} is {value}, must be 0")))
    };
    let target = ("alias target length", u64::from(entry.alias_target_length.get()));
    let size = ("file size", entry.file_size.get());
    let inline = ("inline size", u64::from(entry.inline_size.get()));
    let blocks = ("block count", u64::from(entry.block_count.get()));
    match entry.node_type.get() {
        NODE_FOLDER => {
            must_be_zero(&[("folder's flags", u64::from(flags.bits()))])?;
            must_be_zero(&[size, inline, blocks, target])
        }
        NODE_FILE => {
            must_be_zero(&[target])?;
            if flags == EntryFlags::HAS_INLINE_DATA {
                must_be_zero(&[blocks])
            } else if flags == EntryFlags::HAS_BLOCKS {
                must_be_zero(&[inline])
            } else {
                Err(format!(
                    "a file's content is either inline or in blocks, its flags are {:#x}",
                    flags.bits()
                ))
            }
        }
        NODE_ALIAS => {
            if flags != EntryFlags::HAS_ALIAS_TARGET || target.1 == 0 {
                return Err(format!(
                    "an alias has a target and no content, its flags are {:#x} and its target \
                     has {} bytes",
                    flags.bits(),
                    target.1
                ));
            }
            must_be_zero(&[size, inline, blocks])
        }
        other => {
            Err(format!("node type {other}, known are 1 (file), 2 (folder) and 3 (folder alias)"))
        }
    }
}

/// Rule 32: a file's blocks exist.
pub(crate) fn check_block_ranges(
    toc: &[u8],
    entries: &Entries,
    start: u64,
    blocks: u32,
) -> Result<(), Reject> {
    for (index, entry, _, _) in entries.iter(toc) {
        if entry.flags.get() & EntryFlags::HAS_BLOCKS.bits() == 0 {
            continue;
        }
        let (first, count) = (entry.block_start.get(), entry.block_count.get());
        let end = first.checked_add(count);
        if count == 0 || end.is_none_or(|end| end > blocks) {
            return Err(Reject::new(
                RejectCode::InvalidEntryFormat,
                entries.location(index, start),
                format!("{count} blocks from block {first} on, the table has {blocks}"),
            ));
        }
    }
    Ok(())
}

/// Rule 33: inline data lies in the file. Gives the ranges of those that aren't empty.
pub(crate) fn check_inline_ranges(
    toc: &[u8],
    entries: &Entries,
    start: u64,
    size: u64,
) -> Result<Vec<Range<u64>>, Reject> {
    let mut ranges = Vec::new();
    for (index, entry, _, _) in entries.iter(toc) {
        if entry.inline_size == 0 {
            continue;
        }
        let (offset, length) = (entry.inline_offset.get(), u64::from(entry.inline_size.get()));
        ranges.push(range_in_file(offset, length, size).ok_or_else(|| {
            Reject::new(
                RejectCode::InvalidBounds,
                entries.location(index, start),
                format!(
                    "inline data of {length} bytes at {offset:#x} leaves the file of {size} bytes"
                ),
            )
        })?);
    }
    Ok(ranges)
}
