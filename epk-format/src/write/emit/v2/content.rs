//! Where the content of every file goes: which chunks, and where in them.
//!
//! Runs on the reading thread, in the order of the data, so nothing here depends on timing. Files
//! smaller than a chunk lie one after another in shared chunks; larger ones begin a chunk, and
//! what is left of their last one is room for small files. One chunk is open at a time: of two, the
//! fuller one is closed.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::vec;

use super::super::super::Contents;
use super::super::super::chunks::File;
use super::super::super::entry::{ContentId, Kind, PlanEntry};
use super::super::super::error::{Limit, WriteError};
use super::super::super::plan::Plan;
use super::super::{length, limit};
use super::MAX_COUNT;
use crate::digest::{Hasher, Sha256};

/// What a chunk says about itself on its way.
pub(super) struct Tag {
    /// Its row in the chunk table.
    pub(super) row: u32,
    /// Bytes of files that have been dealt with since the last chunk.
    pub(super) progress: u64,
}

/// A content that is in the package, once however many files have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    pub(super) first: u32,
    pub(super) offset: u32,
    pub(super) hash: Sha256,
}

/// What the packing came to.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) contents: Vec<Content>,
    /// For each entry of the plan that was packed the number of its content.
    content_of: Vec<u32>,
    /// Rows of the chunk table.
    pub(super) rows: u32,
    pub(super) plain_bytes: u64,
    pub(super) shared_files: u64,
    pub(super) shared_bytes: u64,
    /// Bytes of files after the last chunk.
    pub(super) progress: u64,
}

/// No content.
const NONE: u32 = u32::MAX;

impl Packed {
    /// The content of a packed entry and its number; `None` when the file is empty.
    pub(super) fn content(&self, entry: usize) -> Option<(u32, Content)> {
        let number = *self.content_of.get(entry)?;
        let content = self.contents.get(usize::try_from(number).ok()?)?;
        Some((number, *content))
    }
}

/// The files on their way into chunks.
pub(super) struct Packer<'a> {
    source: &'a dyn Contents,
    plan: &'a Plan,
    order: vec::IntoIter<u32>,
    chunk_size: u64,
    large: Option<Large<'a>>,
    open: Option<Open>,
    /// A small file, or a piece of a large one that is only hashed.
    scratch: Vec<u8>,
    /// Contents by the first bytes of their hashes.
    known: HashMap<u64, u32>,
    /// Sizes of the large files so far.
    sizes: HashSet<u64>,
    /// A row for all small files of zeros.
    zeros: Option<u32>,
    packed: Packed,
}

/// A large file of which a part is read.
struct Large<'a> {
    entry: u32,
    file: File<'a>,
    hasher: Hasher,
    first: u32,
    next: u32,
}

/// A chunk with room for more.
struct Open {
    row: u32,
    bytes: Vec<u8>,
}

impl<'a> Packer<'a> {
    /// A packer of the plan's files of these numbers, in this order.
    pub(super) fn new(
        source: &'a dyn Contents,
        plan: &'a Plan,
        order: Vec<u32>,
        chunk_size: u32,
    ) -> Self {
        let content_of = vec![NONE; plan.entries().len()];
        Self {
            source,
            plan,
            order: order.into_iter(),
            chunk_size: chunk_size.into(),
            large: None,
            open: None,
            scratch: Vec::new(),
            known: HashMap::new(),
            sizes: HashSet::new(),
            zeros: None,
            packed: Packed { content_of, ..Packed::default() },
        }
    }

    /// What it came to, when [`Packer::next`] has said that there are no more chunks.
    pub(super) fn finish(self) -> Packed {
        self.packed
    }

    /// Appends the next chunk to `buffer`, which is empty; `None` when there is none.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Tag>, WriteError> {
        loop {
            let row = match self.large.take() {
                Some(large) => self.go_on(large, buffer)?,
                None => match self.order.next() {
                    Some(entry) => self.begin(entry, buffer)?,
                    None => match self.open.take() {
                        Some(open) => {
                            *buffer = open.bytes;
                            Some(open.row)
                        }
                        None => return Ok(None),
                    },
                },
            };
            if let Some(row) = row {
                let progress = mem::take(&mut self.packed.progress);
                return Ok(Some(Tag { row, progress }));
            }
        }
    }

    /// Takes up a file. Gives a row when that fills `buffer`.
    fn begin(&mut self, number: u32, buffer: &mut Vec<u8>) -> Result<Option<u32>, WriteError> {
        let plan = self.plan;
        let entry = usize::try_from(number).ok().and_then(|number| plan.entries().get(number));
        let Some((entry, content, size)) = entry.and_then(file_of) else { return Ok(None) };
        self.packed.plain_bytes = self.packed.plain_bytes.saturating_add(size);
        if size >= self.chunk_size {
            return self.begin_large(number, entry, content, size);
        }
        self.scratch.clear();
        let mut file = File::open(self.source, &entry.path, content, size)?;
        file.read(size, &mut self.scratch)?;
        file.expect_end()?;
        if size == 0 {
            return Ok(None);
        }
        self.packed.progress += size;
        let hash = Sha256::of(&self.scratch);
        if self.share(number, hash, size) {
            return Ok(None);
        }
        if is_zero(&self.scratch) {
            let row = match self.zeros {
                Some(row) => row,
                None => *self.zeros.insert(take_rows(&mut self.packed.rows, 1)?),
            };
            self.packed.shared_bytes += size;
            self.add(number, row, 0, hash);
            return Ok(None);
        }
        let full = |open: &Open| length(open.bytes.len()).saturating_add(size) > self.chunk_size;
        let mut filled = None;
        if self.open.as_ref().is_some_and(full)
            && let Some(open) = self.open.take()
        {
            *buffer = open.bytes;
            filled = Some(open.row);
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let row = take_rows(&mut self.packed.rows, 1)?;
                self.open.insert(Open { row, bytes: Vec::new() })
            }
        };
        let offset = u32::try_from(open.bytes.len()).unwrap_or(u32::MAX);
        open.bytes.extend_from_slice(&self.scratch);
        let row = open.row;
        self.add(number, row, offset, hash);
        Ok(filled)
    }

    fn begin_large(
        &mut self,
        number: u32,
        entry: &'a PlanEntry,
        content: ContentId,
        size: u64,
    ) -> Result<Option<u32>, WriteError> {
        if !self.sizes.insert(size) {
            // It may be one that is packed already. Reading it twice costs less than compressing
            // it, and files of equal size are few.
            let mut file = File::open(self.source, &entry.path, content, size)?;
            let mut hasher = Hasher::new();
            while file.left() > 0 {
                self.scratch.clear();
                file.read(self.chunk_size, &mut self.scratch)?;
                hasher.update(&self.scratch);
            }
            file.expect_end()?;
            if self.share(number, hasher.finish(), size) {
                self.packed.progress += size;
                return Ok(None);
            }
        }
        let file = File::open(self.source, &entry.path, content, size)?;
        let first = take_rows(&mut self.packed.rows, size.div_ceil(self.chunk_size))?;
        let hasher = Hasher::new();
        self.large = Some(Large { entry: number, file, hasher, first, next: first });
        Ok(None)
    }

    /// Reads the next chunk of a large file. Gives a row when that fills `buffer`.
    fn go_on(
        &mut self,
        mut large: Large<'a>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<u32>, WriteError> {
        large.file.read(self.chunk_size, buffer)?;
        large.hasher.update(buffer);
        let size = length(buffer.len());
        self.packed.progress += size;
        let row = large.next;
        if large.file.left() > 0 {
            large.next += 1;
            self.large = Some(large);
        } else {
            large.file.expect_end()?;
            self.add(large.entry, large.first, 0, large.hasher.finish());
        }
        if is_zero(buffer) {
            // A row that no block is for is one of zeros.
            self.packed.shared_bytes += size;
            buffer.clear();
            return Ok(None);
        }
        if size == self.chunk_size {
            return Ok(Some(row));
        }
        Ok(self.close_fuller(row, buffer))
    }

    /// Keeps one chunk open: the one in `buffer` or the one that was, whichever has more room.
    /// The other is in `buffer` afterwards.
    fn close_fuller(&mut self, row: u32, buffer: &mut Vec<u8>) -> Option<u32> {
        match &mut self.open {
            Some(open) if open.bytes.len() <= buffer.len() => Some(row),
            Some(open) => {
                mem::swap(&mut open.bytes, buffer);
                Some(mem::replace(&mut open.row, row))
            }
            None => {
                self.open = Some(Open { row, bytes: mem::take(buffer) });
                None
            }
        }
    }

    /// Gives a file the content with this hash, if there is one.
    fn share(&mut self, entry: u32, hash: Sha256, size: u64) -> bool {
        let Some(&number) = self.known.get(&key(&hash)) else { return false };
        let content = usize::try_from(number).ok().and_then(|at| self.packed.contents.get(at));
        if content.is_none_or(|content| content.hash != hash) {
            return false;
        }
        self.packed.shared_files += 1;
        self.packed.shared_bytes = self.packed.shared_bytes.saturating_add(size);
        self.set(entry, number);
        true
    }

    fn add(&mut self, entry: u32, first: u32, offset: u32, hash: Sha256) {
        // There are no more contents than entries, which are counted before.
        let number = u32::try_from(self.packed.contents.len()).unwrap_or(NONE);
        self.packed.contents.push(Content { first, offset, hash });
        self.known.entry(key(&hash)).or_insert(number);
        self.set(entry, number);
    }

    fn set(&mut self, entry: u32, content: u32) {
        let place = usize::try_from(entry).ok().and_then(|at| self.packed.content_of.get_mut(at));
        if let Some(place) = place {
            *place = content;
        }
    }
}

/// The next `count` rows of the chunk table.
fn take_rows(rows: &mut u32, count: u64) -> Result<u32, WriteError> {
    let first = *rows;
    let end = limit(Limit::Chunks, u64::from(first).saturating_add(count), MAX_COUNT)?;
    *rows = u32::try_from(end).unwrap_or(u32::MAX);
    Ok(first)
}

fn file_of(entry: &PlanEntry) -> Option<(&PlanEntry, ContentId, u64)> {
    match entry.kind {
        Kind::File { content, size } => Some((entry, content, size)),
        _ => None,
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// The first bytes of a hash: few enough to keep for every file, and the rest is compared.
pub(super) fn key(hash: &Sha256) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
