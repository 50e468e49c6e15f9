//! The hash tree over the metadata (`spec/epk-2.0.md` §3).

use std::io::{self, Write};

use super::super::length;
use crate::digest::{Hasher, Sha256};
use crate::layout::metadata::{HASH_SIZE, HASHES_PER_PAGE, PAGE_SIZE};

/// Hashes what passes through it page by page.
pub(super) struct Pages<W> {
    out: W,
    hasher: Hasher,
    filled: usize,
    hashes: Vec<Sha256>,
}

impl<W: Write> Pages<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, hasher: Hasher::new(), filled: 0, hashes: Vec::new() }
    }

    /// The hashes of all pages.
    pub(super) fn finish(mut self) -> Vec<Sha256> {
        if self.filled > 0 {
            self.hashes.push(self.hasher.finish());
        }
        self.hashes
    }
}

impl<W: Write> Write for Pages<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PAGE_SIZE - self.filled;
        let written = self.out.write(bytes.get(..room).unwrap_or(bytes))?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.filled += written;
        if self.filled == PAGE_SIZE {
            self.filled = 0;
            self.hashes.push(std::mem::take(&mut self.hasher).finish());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The levels of a hash tree, the top list first.
pub(super) struct HashTree {
    levels: Vec<Vec<u8>>,
}

impl HashTree {
    pub(super) fn new(pages: &[Sha256]) -> Self {
        let mut levels = vec![concatenated(pages)];
        while let Some(list) = levels.last().filter(|list| list.len() > PAGE_SIZE) {
            let above: Vec<_> = list.chunks(PAGE_SIZE).map(Sha256::of).collect();
            levels.push(concatenated(&above));
        }
        levels.reverse();
        Self { levels }
    }

    /// The hash of the top list.
    pub(super) fn root(&self) -> Sha256 {
        Sha256::of(self.levels.first().map(Vec::as_slice).unwrap_or_default())
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.levels.iter().try_for_each(|level| out.write_all(level))
    }
}

fn concatenated(hashes: &[Sha256]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Bytes of the hash tree over metadata of `size` bytes.
pub(super) fn tree_size(size: u64) -> u64 {
    let mut count = size.div_ceil(length(PAGE_SIZE));
    let mut total = 0;
    loop {
        total += count * length(HASH_SIZE);
        if count <= length(HASHES_PER_PAGE) {
            return total;
        }
        count = count.div_ceil(length(HASHES_PER_PAGE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_as_large_as_predicted() {
        for pages in [1, 2, 511, 512, 513, 1024, 1025, 512 * 512, 512 * 512 + 1] {
            let tree = HashTree::new(&vec![Sha256::default(); pages]);
            let mut bytes = Vec::new();
            tree.write(&mut bytes).expect("memory");
            for size in [pages * PAGE_SIZE, (pages - 1) * PAGE_SIZE + 1] {
                assert_eq!(tree_size(size as u64), bytes.len() as u64, "{pages} pages");
            }
            assert!(tree.levels[0].len() <= PAGE_SIZE);
        }
    }

    #[test]
    fn pages_do_not_depend_on_how_they_are_written() {
        let bytes: Vec<u8> = (0..40_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected: Vec<_> = bytes.chunks(PAGE_SIZE).map(Sha256::of).collect();
        for piece in [1, 7, 16_384, 16_385, 40_000] {
            let mut out = Vec::new();
            let mut pages = Pages::new(&mut out);
            for piece in bytes.chunks(piece) {
                pages.write_all(piece).expect("memory");
            }
            assert_eq!(pages.finish(), expected);
            assert!(out == bytes);
        }
        assert!(Pages::new(io::sink()).finish().is_empty());
    }
}
