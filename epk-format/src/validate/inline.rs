//! Inline data, held in memory: nothing but PackageHash vouches for it, so it is never read
//! again after that was checked.

use std::ops::Range;

use crate::error::Error;
use crate::limits;
use crate::source::Source;

/// The parts of the file that hold inline data: disjoint, sorted, none touching another.
#[derive(Debug, Default)]
pub(crate) struct Inline {
    segments: Vec<(u64, Vec<u8>)>,
    /// All of it is more than the limit, and nothing was read.
    pub(crate) too_large: Option<u64>,
}

impl Inline {
    pub(crate) fn read(source: &impl Source, ranges: Vec<Range<u64>>) -> Result<Self, Error> {
        let merged = merge(ranges);
        let total = merged.iter().map(|range| range.end - range.start).sum();
        if total > limits::INLINE_BYTES {
            return Ok(Self { segments: Vec::new(), too_large: Some(total) });
        }
        let segments = merged
            .iter()
            .map(|range| Ok((range.start, super::read(source, range)?)))
            .collect::<Result<_, Error>>()?;
        Ok(Self { segments, too_large: None })
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.segments.iter().map(|(start, bytes)| (*start, bytes.as_slice()))
    }

    /// The bytes of a range that was given to [`Self::read`].
    pub(crate) fn get(&self, offset: u64, length: u32) -> Option<&[u8]> {
        let after = self.segments.partition_point(|(start, _)| *start <= offset);
        let (start, bytes) = self.segments.get(after.checked_sub(1)?)?;
        let from = usize::try_from(offset - start).ok()?;
        bytes.get(from..from.checked_add(usize::try_from(length).ok()?)?)
    }
}

fn merge(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_and_finds() {
        let file: Vec<u8> = (0..100).collect();
        let ranges = vec![40..50, 10..20, 15..30, 30..31, 60..61];
        let inline = Inline::read(&file, ranges).expect("in memory");
        let segments: Vec<_> = inline.segments().map(|(at, b)| (at, b.len())).collect();
        assert_eq!(segments, [(10, 21), (40, 10), (60, 1)]);
        assert_eq!(inline.get(15, 15), Some(&file[15..30]));
        assert_eq!(inline.get(60, 1), Some(&file[60..61]));
        assert_eq!(inline.get(60, 2), None);
        assert_eq!(inline.get(5, 1), None);
    }
}
