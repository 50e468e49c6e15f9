//! The bytes of files: blocks, holes, and tails that lie together in fragments.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use epk_format::write::{ContentId, Contents};

use super::super::problem::Problem;
use super::metadata::Place;
use super::{Fields, SquashFs, damaged};
use crate::pack::contents::Identity;

/// The bit of a block's size that says that it is stored plainly.
const PLAIN: u32 = 1 << 24;
/// No fragment.
const NONE: u32 = u32::MAX;
/// Fragments that are kept. Files that share one mostly come one after another.
const KEPT: usize = 8;

/// Where a file's bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    pub(super) size: u64,
    /// Where its first block is.
    start: u64,
    /// Number of blocks, and where their sizes are listed.
    blocks: u64,
    list: Place,
    /// The fragment and the first byte there of what no block has.
    tail: (u32, u32),
}

impl Content {
    pub(super) fn new(
        start: u64,
        size: u64,
        tail: (u32, u32),
        list: Place,
        block_size: u32,
    ) -> Self {
        let block_size = u64::from(block_size);
        let blocks = if tail.0 == NONE { size.div_ceil(block_size) } else { size / block_size };
        Self { size, start, blocks, list, tail }
    }
}

/// Fragments that were read last, the latest at the end.
#[derive(Default)]
pub(super) struct Fragments(Mutex<Vec<(u32, Arc<Vec<u8>>)>>);

impl SquashFs {
    fn fragment(&self, number: u32) -> Result<Arc<Vec<u8>>, Problem> {
        let mut kept = self.cache.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(kept, _)| *kept == number) {
            let found = kept.remove(at);
            kept.push(found.clone());
            return Ok(found.1);
        }
        let (table, count) = self.fragments;
        if number >= count {
            return Err(damaged(format!("fragment {number} of {count}")));
        }
        let mut row = self.metadata.row(table, number.into(), 16)?;
        let row: [u8; 16] = self.metadata.take(&mut row)?;
        let mut row = Fields(&row);
        let (start, size) = (row.u64(), row.u32());
        let plain = Arc::new(self.block(start, size)?);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((number, Arc::clone(&plain)));
        Ok(plain)
    }

    /// The plain bytes of the block at `at`, whose size is told with [`PLAIN`].
    fn block(&self, at: u64, size: u32) -> Result<Vec<u8>, Problem> {
        let stored_size = size & !PLAIN;
        if stored_size > self.block_size {
            return Err(damaged(format!("a block of {stored_size} bytes at {at}")));
        }
        let mut stored = vec![0; usize::try_from(stored_size).unwrap_or(0)];
        self.metadata.raw(&mut stored, at)?;
        if size & PLAIN != 0 {
            return Ok(stored);
        }
        let most = usize::try_from(self.block_size).unwrap_or(0);
        let plain = self.metadata.codec.plain(&stored, most);
        plain.map_err(|what| damaged(format!("{what} at {at}")))
    }
}

impl Contents for SquashFs {
    fn open(&self, id: ContentId, _path: &[u8]) -> io::Result<Box<dyn Read + Send + '_>> {
        let content = *self.contents.get(id.0).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Reader {
            image: self,
            list: content.list,
            next: content.start,
            blocks: content.blocks,
            left: content.size,
            content,
            plain: Vec::new(),
            at: 0,
        }))
    }
}

struct Reader<'a> {
    image: &'a SquashFs,
    content: Content,
    /// Where the next block's size is listed.
    list: Place,
    /// Where the next block is.
    next: u64,
    /// Blocks that are left.
    blocks: u64,
    /// Bytes that are not in `plain` yet.
    left: u64,
    plain: Vec<u8>,
    /// Bytes of `plain` that were delivered.
    at: usize,
}

impl Reader<'_> {
    /// Reads on into `plain`.
    fn fill(&mut self) -> Result<(), Problem> {
        let block_size = u64::from(self.image.block_size);
        let expected = usize::try_from(self.left.min(block_size)).unwrap_or(0);
        self.at = 0;
        if self.blocks > 0 {
            self.blocks -= 1;
            let size = u32::from_le_bytes(self.image.metadata.take(&mut self.list)?);
            if size == 0 {
                self.plain.clear();
                self.plain.resize(expected, 0);
            } else {
                self.plain = self.image.block(self.next, size)?;
                self.next = self.next.saturating_add(u64::from(size & !PLAIN));
            }
        } else {
            let (number, offset) = self.content.tail;
            let fragment = self.image.fragment(number)?;
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            let tail = offset.checked_add(expected).and_then(|end| fragment.get(offset..end));
            let tail = tail.ok_or_else(|| damaged(format!("a file beyond fragment {number}")))?;
            self.plain = tail.to_vec();
        }
        if self.plain.len() != expected {
            let found = self.plain.len();
            return Err(damaged(format!("a block of {found} plain bytes, not {expected}")));
        }
        self.left -= u64::try_from(expected).unwrap_or(0);
        Ok(())
    }

    /// Nobody has changed the image since it was opened.
    fn check(&self) -> io::Result<()> {
        let metadata = self.image.metadata.file().metadata()?;
        if Identity::of(&metadata) == self.image.identity {
            return Ok(());
        }
        Err(io::Error::other("the image changed while the package was made"))
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.at == self.plain.len() {
            if self.left == 0 {
                self.check()?;
                return Ok(0);
            }
            self.fill().map_err(|problem| match problem {
                Problem::System(_, error) => error,
                other => io::Error::new(io::ErrorKind::InvalidData, other),
            })?;
        }
        let rest = &self.plain[self.at..];
        let part = rest.len().min(buffer.len());
        buffer[..part].copy_from_slice(&rest[..part]);
        self.at += part;
        Ok(part)
    }
}
