//! Pages of metadata, and the hash tree over them (`spec/epk-2.0.md` §3).

use std::io::{self, Write};

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::super::super::compress::{Encoder, Method};
use super::super::length;
use crate::digest::Sha256;
use crate::layout::metadata::{HASH_SIZE, PAGE_SIZE, PageRow, ROWS_PER_PAGE};

/// Compresses what is written to it page by page.
pub(super) struct Pages {
    encoder: Encoder,
    page: Vec<u8>,
    packed: Vec<u8>,
    /// The stored pages, one after another.
    pub(super) stored: Vec<u8>,
    pub(super) rows: Vec<PageRow>,
    /// Bytes that were written.
    pub(super) plain_size: u64,
}

impl Pages {
    pub(super) fn new(encoder: Encoder) -> Self {
        Self {
            encoder,
            page: Vec::with_capacity(PAGE_SIZE),
            packed: Vec::new(),
            stored: Vec::new(),
            rows: Vec::new(),
            plain_size: 0,
        }
    }

    /// Stores the last page.
    pub(super) fn finish(mut self) -> io::Result<Self> {
        self.store()?;
        Ok(self)
    }

    fn store(&mut self) -> io::Result<()> {
        if self.page.is_empty() {
            return Ok(());
        }
        let encoded = self.encoder.encode(&self.page, &mut self.packed);
        let (method, size) = encoded.map_err(io::Error::other)?;
        let stored = match method {
            Method::Zlib if size < self.page.len() => self.packed.get(..size).unwrap_or_default(),
            _ => &self.page,
        };
        let offset = length(self.stored.len());
        let [low, high] = [offset & 0xFFFF_FFFF, offset >> 32];
        let (Ok(low), Ok(high)) = (u32::try_from(low), u16::try_from(high)) else {
            return Err(io::Error::other("metadata above 256 TiB"));
        };
        self.rows.push(PageRow {
            hash: Sha256::of(stored).0,
            offset_low: U32::new(low),
            offset_high: U16::new(high),
            // At most a page.
            stored_size: U16::new(u16::try_from(stored.len()).unwrap_or(u16::MAX)),
        });
        self.stored.extend_from_slice(stored);
        self.page.clear();
        Ok(())
    }
}

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PAGE_SIZE - self.page.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.page.extend_from_slice(taken);
        self.plain_size += length(taken.len());
        if self.page.len() == PAGE_SIZE {
            self.store()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The levels of a hash tree, the top list first.
pub(super) struct HashTree {
    levels: Vec<Vec<u8>>,
}

impl HashTree {
    pub(super) fn new(pages: &[PageRow]) -> Self {
        let mut levels: Vec<Vec<u8>> = vec![pages.as_bytes().to_vec()];
        let mut page = ROWS_PER_PAGE * size_of::<PageRow>();
        while let Some(list) = levels.last().filter(|list| list.len() > page) {
            let above = list.chunks(page).flat_map(|page| Sha256::of(page).0).collect();
            levels.push(above);
            page = PAGE_SIZE / HASH_SIZE * HASH_SIZE;
        }
        levels.reverse();
        Self { levels }
    }

    /// Bytes of all levels.
    pub(super) fn size(&self) -> u64 {
        self.levels.iter().map(|level| length(level.len())).sum()
    }

    /// The hash of the top list.
    pub(super) fn root(&self) -> Sha256 {
        Sha256::of(self.levels.first().map(Vec::as_slice).unwrap_or_default())
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.levels.iter().try_for_each(|level| out.write_all(level))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::compress::Compression;
    use super::*;

    fn row() -> PageRow {
        let (offset_low, offset_high) = (U32::new(0), U16::new(0));
        PageRow { hash: [7; 32], offset_low, offset_high, stored_size: U16::new(1) }
    }

    #[test]
    fn trees_are_as_large_as_readers_expect() {
        for pages in [1, 2, 408, 409, 410, 818, 819, 409 * 512, 409 * 512 + 1] {
            let tree = HashTree::new(&vec![row(); pages]);
            let mut bytes = Vec::new();
            tree.write(&mut bytes).expect("memory");
            assert_eq!(tree.size(), bytes.len() as u64);
            for size in [pages * PAGE_SIZE, (pages - 1) * PAGE_SIZE + 1] {
                let lists = crate::metadata::pages::lists(size as u64).expect("it fits");
                assert_eq!(lists[0].end, bytes.len() as u64, "{pages} pages");
            }
            assert!(tree.levels[0].len() <= PAGE_SIZE);
        }
    }

    #[test]
    fn pages_do_not_depend_on_how_they_are_written() {
        let bytes: Vec<u8> = (0..40_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let pages = |piece: usize, compression| {
            let mut pages = Pages::new(Encoder::new(compression, 7));
            bytes.chunks(piece).for_each(|piece| pages.write_all(piece).expect("memory"));
            pages.finish().expect("memory")
        };
        let plain = pages(40_000, Compression::None);
        assert!(plain.stored == bytes);
        let hashes: Vec<_> = bytes.chunks(PAGE_SIZE).map(|page| Sha256::of(page).0).collect();
        assert_eq!(plain.rows.iter().map(|row| row.hash).collect::<Vec<_>>(), hashes);
        let offsets: Vec<_> = plain.rows.iter().map(PageRow::offset).collect();
        assert_eq!((offsets, plain.plain_size), (vec![0, 16_384, 32_768], 40_000));
        let whole = pages(40_000, Compression::Auto);
        assert!(whole.stored.len() < 4000);
        for piece in [1, 7, 16_384, 16_385] {
            assert!(pages(piece, Compression::Auto).stored == whole.stored);
        }
        assert!(
            Pages::new(Encoder::new(Compression::Auto, 7)).finish().expect("none").rows.is_empty()
        );
    }
}
