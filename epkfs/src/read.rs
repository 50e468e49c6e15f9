//! From a request for bytes of a file to the bytes.

use std::cell::RefCell;

use epk_format::package::{BlockIndex, NodeId, Piece, Scratch};
use epk_format::source::Source;
use epk_format::{Error, Package};
use fuser::Errno;

use crate::cache::{BlockCache, Failure, Plain};
use crate::errno::DamageLog;
use crate::stats::Counters;
use crate::timing::Timing;

/// Plain bytes of a block that is so large that a thread doesn't keep memory for the next one.
const LARGE_BLOCK: u32 = 1 << 20;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// Memory that a thread uses again for each request.
#[derive(Default)]
struct Worker {
    scratch: Scratch,
    /// As long as the longest answer so far.
    reply: Vec<u8>,
}

/// What is looked for in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Bytes that are stored somewhere.
    Data,
    /// Bytes that are not, or the end.
    Hole,
}

/// A package with what it takes to read it block by block.
pub(crate) struct Reader<S> {
    package: Package<S>,
    cache: BlockCache,
    damage: DamageLog,
    timing: Timing,
}

impl<S: Source> Reader<S> {
    pub(crate) fn new(package: Package<S>, cache: BlockCache, damage: DamageLog) -> Self {
        Self { package, cache, damage, timing: Timing::default() }
    }

    pub(crate) fn package(&self) -> &Package<S> {
        &self.package
    }

    pub(crate) fn damage(&self) -> &DamageLog {
        &self.damage
    }

    pub(crate) fn cache(&self) -> &BlockCache {
        &self.cache
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Shows `deliver` the bytes from `offset` on, `size` of them or as many as the file has.
    ///
    /// All or nothing: a short answer would tell the kernel that the file ends there.
    pub(crate) fn read<T>(
        &self,
        id: NodeId,
        offset: u64,
        size: u32,
        counters: &Counters,
        deliver: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Errno> {
        WORKER.with_borrow_mut(|worker| self.answer(id, offset, size, worker, counters, deliver))
    }

    /// The first byte from `offset` on that is data, or that lies in a hole; lseek(2) says what
    /// that means at the end of a file. Zeros that are stored nowhere are holes.
    pub(crate) fn seek(&self, id: NodeId, offset: i64, wanted: Wanted) -> Result<i64, Errno> {
        let to_errno = |error| self.damage.metadata(&error);
        let size = self.package.node(id).map_err(to_errno)?.size;
        let mut at = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        if at >= size {
            return Err(Errno::ENXIO);
        }
        for piece in self.package.pieces(id, at..size).map_err(to_errno)? {
            let piece = piece.map_err(to_errno)?;
            if matches!(piece, Piece::Zeros { .. }) == (wanted == Wanted::Hole) {
                return i64::try_from(at).map_err(|_| Errno::EOVERFLOW);
            }
            at = at.saturating_add(piece.length());
        }
        match wanted {
            Wanted::Data => Err(Errno::ENXIO),
            Wanted::Hole => i64::try_from(size).map_err(|_| Errno::EOVERFLOW),
        }
    }

    /// What `deliver` made of the bytes.
    fn answer<T>(
        &self,
        id: NodeId,
        offset: u64,
        size: u32,
        Worker { scratch, reply }: &mut Worker,
        counters: &Counters,
        deliver: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Errno> {
        let metadata = |error: Error| self.damage.metadata(&error);
        let range = offset..offset.saturating_add(u64::from(size));
        let pieces = self.package.pieces(id, range).map_err(metadata)?;
        let expected = usize::try_from(pieces.remaining()).map_err(|_| Errno::EINVAL)?;
        let deliver = |bytes: &[u8]| {
            counters.bytes_read.add(bytes.len() as u64);
            deliver(bytes)
        };
        if reply.len() < expected {
            reply.resize(expected, 0);
        }
        let mut rest = reply.get_mut(..expected).ok_or(Errno::EIO)?;
        for piece in pieces {
            let piece = piece.map_err(metadata)?;
            let length = usize::try_from(piece.length()).map_err(|_| Errno::EIO)?;
            let (room, tail) = rest.split_at_mut_checked(length).ok_or(Errno::EIO)?;
            rest = tail;
            match piece {
                // What is in memory as a whole is not copied.
                Piece::Bytes(bytes) if length == expected => {
                    return Ok(deliver(bytes));
                }
                Piece::Bytes(bytes) => room.copy_from_slice(bytes),
                Piece::Zeros { .. } => room.fill(0),
                Piece::Block { index, start, plain_size, .. } => {
                    let plain_size = usize_of(plain_size);
                    if start == 0 && length == plain_size {
                        self.cache
                            .copy(index, room, counters, |plain| {
                                self.load(index, scratch, counters, plain)
                            })
                            .map_err(|Failure| Errno::EIO)?;
                        continue;
                    }
                    let block = self
                        .block(index, plain_size, scratch, counters)
                        .map_err(|Failure| Errno::EIO)?;
                    let bytes = part(&block, start, length).ok_or(Errno::EIO)?;
                    if length == expected {
                        return Ok(deliver(bytes));
                    }
                    room.copy_from_slice(bytes);
                }
            }
        }
        if !rest.is_empty() {
            return Err(Errno::EIO);
        }
        let bytes = reply.get(..expected).ok_or(Errno::EIO)?;
        Ok(deliver(bytes))
    }

    /// A block that is kept in the cache.
    fn block(
        &self,
        index: BlockIndex,
        plain_size: usize,
        scratch: &mut Scratch,
        counters: &Counters,
    ) -> Result<Plain, Failure> {
        self.cache.get(index, counters, |plain| {
            plain.truncate(plain_size);
            plain.reserve_exact(plain_size - plain.len());
            plain.resize(plain_size, 0);
            self.load(index, scratch, counters, plain)
        })
    }

    /// Reads a block from the image.
    fn load(
        &self,
        index: BlockIndex,
        scratch: &mut Scratch,
        counters: &Counters,
        plain: &mut [u8],
    ) -> Result<(), Failure> {
        counters.blocks_loaded.one();
        counters.bytes_loaded.add(plain.len() as u64);
        let mut watch = self.timing.load();
        let result =
            self.package.read_block_watched(index, scratch, plain, |step| watch.done(step));
        drop(watch);
        if plain.len() > usize_of(LARGE_BLOCK) {
            *scratch = Scratch::default();
        }
        result.map_err(|error| self.damage.block(index, &error, &counters.damaged_blocks))
    }
}

fn usize_of(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn part(block: &[u8], start: u32, length: usize) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    block.get(start..start.checked_add(length)?)
}
