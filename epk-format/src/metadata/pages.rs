//! Verified pages: the hash tree of format 2.0 and the metadata below it (`spec/epk-2.0.md` §3).
//!
//! A page is read into private memory, compared with the list above it, and then kept for a
//! while. What was verified is never read from the image again while it is kept.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::digest::Sha256;
use crate::error::{Error, Location, Reject, RejectCode};
use crate::layout::metadata::{HASH_SIZE, HASHES_PER_PAGE, PAGE_SIZE};
use crate::source::Source;

/// Most pages that are kept: 4 MiB.
const MOST_KEPT: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Pages by level and number.
type Kept = LruCache<(usize, u64), Arc<[u8]>>;

/// The lists of the hash tree below the top one, and the metadata below those.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Where each level lies in the image: the metadata itself first, then the list of its
    /// pages' hashes, and so on up to the list below the top one.
    levels: Vec<Range<u64>>,
    /// The hashes of the pages of the last level.
    top: Vec<u8>,
    /// Whether pages are compared with their hashes.
    verify: bool,
    kept: Mutex<Kept>,
}

/// How the tree over `metadata_size` bytes lies in its section: the ranges of its lists,
/// relative to the section's start, the list of the metadata pages' hashes first, the top list
/// last. The section holds them the other way round.
pub(crate) fn lists(metadata_size: u64) -> Option<Vec<Range<u64>>> {
    let page = u64::try_from(PAGE_SIZE).ok()?;
    let hash = u64::try_from(HASH_SIZE).ok()?;
    let mut sizes = Vec::new();
    let mut pages = metadata_size.div_ceil(page);
    loop {
        sizes.push(pages.checked_mul(hash)?);
        if pages <= u64::try_from(HASHES_PER_PAGE).ok()? {
            break;
        }
        pages = pages.checked_mul(hash)?.div_ceil(page);
    }
    let mut ranges = Vec::with_capacity(sizes.len());
    let mut start = 0_u64;
    for size in sizes.into_iter().rev() {
        let end = start.checked_add(size)?;
        ranges.push(start..end);
        start = end;
    }
    ranges.reverse();
    Some(ranges)
}

impl Pages {
    /// Pages of the metadata at `metadata`, under lists at `lists` in the image, whose last is
    /// the top one, read into `top`.
    pub(crate) fn new(
        metadata: Range<u64>,
        lists: &[Range<u64>],
        top: Vec<u8>,
        verify: bool,
    ) -> Self {
        let below_top = lists.len().saturating_sub(1);
        let mut levels = vec![metadata];
        levels.extend(lists.iter().take(below_top).cloned());
        Self { levels, top, verify, kept: Mutex::new(LruCache::new(MOST_KEPT)) }
    }

    /// Fills `buffer` with the metadata's bytes from `offset` on.
    pub(crate) fn read(
        &self,
        source: &impl Source,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        self.read_level(source, 0, offset, buffer)
    }

    fn read_level(
        &self,
        source: &impl Source,
        level: usize,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let mut rest = buffer;
        let mut at = offset;
        while !rest.is_empty() {
            let number = at / PAGE_SIZE as u64;
            let within = usize::try_from(at % PAGE_SIZE as u64).unwrap_or(0);
            let page = self.page(source, level, number)?;
            let bytes = page.get(within..).unwrap_or_default();
            let length = bytes.len().min(rest.len());
            let (Some((part, tail)), Some(bytes)) =
                (rest.split_at_mut_checked(length), bytes.get(..length))
            else {
                break;
            };
            if length == 0 {
                return Err(Reject::new(
                    RejectCode::MetadataLayout,
                    Location::Image,
                    format!("metadata ends at {at:#x}, where more is expected"),
                )
                .into());
            }
            part.copy_from_slice(bytes);
            rest = tail;
            at = at.saturating_add(length as u64);
        }
        Ok(())
    }

    fn page(&self, source: &impl Source, level: usize, number: u64) -> Result<Arc<[u8]>, Error> {
        if let Some(page) = self.kept().get(&(level, number)) {
            return Ok(Arc::clone(page));
        }
        let range = self.levels.get(level).cloned().unwrap_or_default();
        let start = range.start.saturating_add(number.saturating_mul(PAGE_SIZE as u64));
        let length = range.end.saturating_sub(start).min(PAGE_SIZE as u64);
        let page: Arc<[u8]> =
            crate::validate::read(source, &(start..start.saturating_add(length)))?.into();
        if self.verify {
            let found = Sha256::of(&page);
            let declared = self.hash(source, level, number)?;
            if found != declared {
                return Err(Reject::new(
                    RejectCode::PageHashMismatch,
                    Location::Offset(start),
                    format!("the page's SHA-256 is {found}, the hash tree says {declared}"),
                )
                .into());
            }
        }
        self.kept().put((level, number), Arc::clone(&page));
        Ok(page)
    }

    /// What the level above says about a page. As deep as the tree: four levels at 2^32 nodes.
    fn hash(&self, source: &impl Source, level: usize, number: u64) -> Result<Sha256, Error> {
        let mut hash = Sha256::default();
        let offset = number.saturating_mul(HASH_SIZE as u64);
        if level + 1 < self.levels.len() {
            self.read_level(source, level + 1, offset, &mut hash.0)?;
        } else if let Some(bytes) =
            usize::try_from(offset).ok().and_then(|at| self.top.get(at..at.checked_add(HASH_SIZE)?))
        {
            hash.0.copy_from_slice(bytes);
        }
        Ok(hash)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_depth() {
        let page = PAGE_SIZE as u64;
        let cases: [(u64, &[(u64, u64)]); 5] = [
            (1, &[(0, 32)]),
            (page, &[(0, 32)]),
            (page + 1, &[(0, 64)]),
            (512 * page, &[(0, 16_384)]),
            (513 * page, &[(64, 64 + 513 * 32), (0, 64)]),
        ];
        for (size, expected) in cases {
            let found = lists(size).expect("it fits");
            let found: Vec<_> = found.iter().map(|list| (list.start, list.end)).collect();
            assert_eq!(found, expected, "{size}");
        }
        assert_eq!(lists(512 * 512 * page + 1).map(|lists| lists.len()), Some(3));
        assert_eq!(lists(u64::MAX).map(|lists| lists.len()), Some(6));
    }
}
