//! Verified pages: the hash tree of format 2.0 and the metadata below it (`spec/epk-2.0.md` §3).
//!
//! A page is read into private memory, compared with the list above it, inflated if it is one of
//! metadata, and then kept for a while. What was verified is never read from the image again
//! while it is kept.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use zerocopy::{FromZeros as _, IntoBytes as _};

use crate::content::{self, Inflater};
use crate::digest::Sha256;
use crate::error::{Error, Location, Reject, RejectCode};
use crate::layout::metadata::{
    HASH_SIZE, HASHES_PER_PAGE, PAGE_ROW_SIZE, PAGE_SIZE, PageRow, ROWS_PER_PAGE,
};
use crate::source::Source;

/// Most pages that are kept: 4 MiB.
const MOST_KEPT: NonZeroUsize = NonZeroUsize::new(256).unwrap();

type Page = Arc<[u8]>;

/// Pages by level and number: level 0 is the metadata, 1 their list, and so on.
type Kept = LruCache<(usize, u64), Page>;

/// The pages of metadata that one question has come across: asking for them again takes no lock.
/// A page's place is its number's remainder.
#[derive(Debug, Default)]
pub(crate) struct Memo(RefCell<[Option<(u64, Page)>; 8]>);

impl Memo {
    fn get(&self, number: u64, load: impl FnOnce() -> Result<Page, Error>) -> Result<Page, Error> {
        let mut places = self.0.borrow_mut();
        let place = usize::try_from(number % places.len() as u64).unwrap_or(0);
        let Some(place) = places.get_mut(place) else { return load() };
        match place {
            Some((kept, page)) if *kept == number => Ok(Arc::clone(page)),
            _ => {
                let page = load()?;
                *place = Some((number, Arc::clone(&page)));
                Ok(page)
            }
        }
    }
}

/// The lists of the hash tree below the top one, and the metadata below those.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Where the stored pages lie in the image.
    metadata: Range<u64>,
    /// Bytes of the metadata.
    plain_size: u64,
    /// Where each list lies in the image: that of the metadata pages first, then the list of its
    /// pages' hashes, and so on. The last one is `top`.
    lists: Vec<Range<u64>>,
    top: Vec<u8>,
    /// Whether pages are compared with their hashes.
    verify: bool,
    kept: Mutex<Kept>,
}

/// How the tree over metadata of `plain_size` bytes lies in its section: the ranges of its lists,
/// relative to the section's start, that of the metadata pages first, the top list last. The
/// section holds them the other way round.
pub(crate) fn lists(plain_size: u64) -> Option<Vec<Range<u64>>> {
    let number = |number: usize| u64::try_from(number).ok();
    let mut sizes = Vec::new();
    let (mut rows, mut row, mut most) =
        (plain_size.div_ceil(number(PAGE_SIZE)?), number(PAGE_ROW_SIZE)?, number(ROWS_PER_PAGE)?);
    loop {
        sizes.push(rows.checked_mul(row)?);
        if rows <= most {
            break;
        }
        rows = rows.div_ceil(most);
        (row, most) = (number(HASH_SIZE)?, number(HASHES_PER_PAGE)?);
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

/// Bytes of a page of a list: whole rows.
fn list_page_size(list: usize) -> u64 {
    let bytes = if list == 0 { ROWS_PER_PAGE * PAGE_ROW_SIZE } else { HASHES_PER_PAGE * HASH_SIZE };
    bytes as u64
}

impl Pages {
    /// Pages of the metadata at `metadata`, of `plain_size` bytes, under lists at `lists` in the
    /// image, whose last is the top one, read into `top`.
    pub(crate) fn new(
        metadata: Range<u64>,
        plain_size: u64,
        lists: Vec<Range<u64>>,
        top: Vec<u8>,
        verify: bool,
    ) -> Self {
        let kept = Mutex::new(LruCache::new(MOST_KEPT));
        Self { metadata, plain_size, lists, top, verify, kept }
    }

    /// Fills `buffer` with the metadata's bytes from `offset` on.
    pub(crate) fn read(
        &self,
        source: &impl Source,
        memo: &Memo,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let page_size = PAGE_SIZE as u64;
        copy(offset, page_size, buffer, |number| {
            memo.get(number, || self.metadata_page(source, number))
        })
    }

    /// Whether the stored pages lie one after another without gaps, each with nothing after its
    /// stream. Reads them all.
    pub(crate) fn check_all(&self, source: &impl Source) -> Result<(), Error> {
        let mut end = 0;
        let mut plain = Vec::new();
        for number in 0..self.plain_size.div_ceil(PAGE_SIZE as u64) {
            let row = self.row(source, number)?;
            if row.offset() != end {
                return Err(layout(format!(
                    "page {number} lies at {:#x} of the metadata, the one before it ends at {end:#x}",
                    row.offset()
                )));
            }
            let stored = self.stored(source, number, &row)?;
            end += stored.len() as u64;
            plain.resize(self.length_of(number), 0);
            if stored.len() == plain.len() {
                continue;
            }
            match content::stream_length(&stored, &mut plain) {
                Ok(used) if used == stored.len() => {}
                Ok(used) => {
                    let detail =
                        format!("page {number}: stream of {used} bytes in {}", stored.len());
                    return Err(layout(detail));
                }
                Err(problem) => return Err(layout(format!("page {number}: {problem}"))),
            }
        }
        let size = self.metadata.end - self.metadata.start;
        if end == size {
            return Ok(());
        }
        Err(layout(format!("the last page ends at {end:#x}, the metadata at {size:#x}")))
    }

    /// Plain bytes of a page of metadata: only the last one is shorter.
    fn length_of(&self, number: u64) -> usize {
        let start = number.saturating_mul(PAGE_SIZE as u64);
        let length = self.plain_size.saturating_sub(start).min(PAGE_SIZE as u64);
        usize::try_from(length).unwrap_or(0)
    }

    fn metadata_page(&self, source: &impl Source, number: u64) -> Result<Page, Error> {
        if let Some(page) = self.kept().get(&(0, number)) {
            return Ok(Arc::clone(page));
        }
        let row = self.row(source, number)?;
        let stored = self.stored(source, number, &row)?;
        let length = self.length_of(number);
        let page: Page = if stored.len() == length {
            stored.into()
        } else {
            let mut plain = vec![0; length];
            Inflater::default()
                .inflate(&stored, &mut plain)
                .map_err(|problem| layout(format!("page {number} of the metadata: {problem}")))?;
            plain.into()
        };
        self.kept().put((0, number), Arc::clone(&page));
        Ok(page)
    }

    /// The verified stored bytes of a page of metadata.
    fn stored(&self, source: &impl Source, number: u64, row: &PageRow) -> Result<Vec<u8>, Error> {
        let start = self.metadata.start.saturating_add(row.offset());
        let end = start.saturating_add(row.stored_size.get().into());
        let length = self.length_of(number);
        if row.stored_size == 0 || usize::from(row.stored_size.get()) > length {
            return Err(layout(format!(
                "page {number} of the metadata: {} stored bytes, 1 to {length} are allowed",
                row.stored_size
            )));
        }
        if end > self.metadata.end {
            return Err(layout(format!(
                "page {number} of the metadata: {} bytes at {:#x}, the section has {:#x}",
                row.stored_size,
                row.offset(),
                self.metadata.end - self.metadata.start
            )));
        }
        let stored = crate::validate::read(source, &(start..end))?;
        self.check(&stored, start, Sha256(row.hash))?;
        Ok(stored)
    }

    /// The row of a page of metadata.
    fn row(&self, source: &impl Source, number: u64) -> Result<PageRow, Error> {
        let mut row = PageRow::new_zeroed();
        self.list(source, 0, number.saturating_mul(PAGE_ROW_SIZE as u64), row.as_mut_bytes())?;
        Ok(row)
    }

    /// Fills `buffer` with a list's bytes from `offset` on. As deep as the tree.
    fn list(
        &self,
        source: &impl Source,
        list: usize,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        if list + 1 < self.lists.len() {
            let page_size = list_page_size(list);
            return copy(offset, page_size, buffer, |number| self.list_page(source, list, number));
        }
        let part = usize::try_from(offset)
            .ok()
            .and_then(|at| self.top.get(at..at.checked_add(buffer.len())?))
            .ok_or_else(|| layout(format!("hash tree ends before {offset:#x}")))?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn list_page(&self, source: &impl Source, list: usize, number: u64) -> Result<Page, Error> {
        if let Some(page) = self.kept().get(&(list + 1, number)) {
            return Ok(Arc::clone(page));
        }
        let range = self.lists.get(list).cloned().unwrap_or_default();
        let start = range.start.saturating_add(number.saturating_mul(list_page_size(list)));
        let end = range.end.min(start.saturating_add(list_page_size(list)));
        let page: Page = crate::validate::read(source, &(start..end.max(start)))?.into();
        let mut hash = Sha256::default();
        self.list(source, list + 1, number.saturating_mul(HASH_SIZE as u64), &mut hash.0)?;
        self.check(&page, start, hash)?;
        self.kept().put((list + 1, number), Arc::clone(&page));
        Ok(page)
    }

    fn check(&self, bytes: &[u8], offset: u64, declared: Sha256) -> Result<(), Error> {
        if !self.verify {
            return Ok(());
        }
        let found = Sha256::of(bytes);
        if found == declared {
            return Ok(());
        }
        Err(Reject::new(
            RejectCode::PageHashMismatch,
            Location::Offset(offset),
            format!("the page's SHA-256 is {found}, the hash tree says {declared}"),
        )
        .into())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills `buffer` with what pages of `page_size` bytes hold from `offset` on.
fn copy(
    offset: u64,
    page_size: u64,
    buffer: &mut [u8],
    page: impl Fn(u64) -> Result<Page, Error>,
) -> Result<(), Error> {
    let mut rest = buffer;
    let mut at = offset;
    while !rest.is_empty() {
        let page = page(at / page_size)?;
        let within = usize::try_from(at % page_size).unwrap_or(usize::MAX);
        let bytes = page.get(within..).unwrap_or_default();
        let length = bytes.len().min(rest.len());
        if length == 0 {
            return Err(layout(format!("metadata ends at {at:#x}, where more is expected")));
        }
        let (Some((part, tail)), Some(bytes)) =
            (rest.split_at_mut_checked(length), bytes.get(..length))
        else {
            break;
        };
        part.copy_from_slice(bytes);
        rest = tail;
        at = at.saturating_add(length as u64);
    }
    Ok(())
}

fn layout(detail: String) -> Error {
    Reject::new(RejectCode::MetadataLayout, Location::Image, detail).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_depth() {
        let page = PAGE_SIZE as u64;
        let cases: [(u64, &[(u64, u64)]); 5] = [
            (1, &[(0, 40)]),
            (page, &[(0, 40)]),
            (page + 1, &[(0, 80)]),
            (409 * page, &[(0, 16_360)]),
            (410 * page, &[(64, 64 + 410 * 40), (0, 64)]),
        ];
        for (size, expected) in cases {
            let found = lists(size).expect("it fits");
            let found: Vec<_> = found.iter().map(|list| (list.start, list.end)).collect();
            assert_eq!(found, expected, "{size}");
        }
        assert_eq!(lists(512 * 409 * page).map(|lists| lists.len()), Some(2));
        assert_eq!(lists(512 * 409 * page + 1).map(|lists| lists.len()), Some(3));
        assert_eq!(lists(u64::MAX).map(|lists| lists.len()), Some(6));
    }
}
