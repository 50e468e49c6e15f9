//! From a request for bytes of a file to the bytes.

use std::cell::RefCell;

use epk_format::package::{BlockIndex, NodeId, Piece, Scratch};
use epk_format::source::Source;
use epk_format::{Error, Package};
use fuser::Errno;

use crate::cache::{BlockCache, Failure, Plain};
use crate::errno::DamageLog;
use crate::stats::Counters;

/// Plain bytes of a block that is so large that a thread doesn't keep memory for the next one.
const LARGE_BLOCK: u32 = 1 << 20;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// What is looked for in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Bytes that are stored somewhere.
    Data,
    /// Bytes that are not, or the end.
    Hole,
}

/// Memory that a thread uses again for each request.
#[derive(Default)]
struct Worker {
    scratch: Scratch,
    reply: Vec<u8>,
}

/// A package with what it takes to read it block by block.
pub(crate) struct Reader<S> {
    package: Package<S>,
    cache: BlockCache,
    damage: DamageLog,
}

impl<S: Source> Reader<S> {
    pub(crate) fn new(package: Package<S>, cache: BlockCache, damage: DamageLog) -> Self {
        Self { package, cache, damage }
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
        WORKER.with_borrow_mut(|Worker { scratch, reply }| {
            let file_size =
                self.package.node(id).map_err(|error| self.damage.metadata(&error))?.size;
            let end = offset.saturating_add(u64::from(size)).min(file_size);
            let expected =
                usize::try_from(end.saturating_sub(offset)).map_err(|_| Errno::EINVAL)?;
            let pieces = self
                .package
                .pieces(id, offset..end)
                .map_err(|error| self.damage.metadata(&error))?;
            reply.clear();
            for piece in pieces {
                let block;
                let bytes = match piece.map_err(|error| self.damage.metadata(&error))? {
                    Piece::Bytes(bytes) => bytes,
                    Piece::Zeros { length } => {
                        let length = usize::try_from(length).map_err(|_| Errno::EIO)?;
                        reply.resize(reply.len().saturating_add(length), 0);
                        continue;
                    }
                    Piece::Block { index, start, length } => {
                        block = self
                            .block(index, (start, length), scratch, counters)
                            .map_err(|Failure| Errno::EIO)?;
                        part(&block, start, length).ok_or(Errno::EIO)?
                    }
                };
                if bytes.len() == expected {
                    counters.bytes_read.add(bytes.len() as u64);
                    return Ok(deliver(bytes));
                }
                reply.extend_from_slice(bytes);
            }
            if reply.len() != expected {
                return Err(Errno::EIO);
            }
            counters.bytes_read.add(reply.len() as u64);
            Ok(deliver(reply))
        })
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

    fn block(
        &self,
        index: BlockIndex,
        (start, length): (u32, u32),
        scratch: &mut Scratch,
        counters: &Counters,
    ) -> Result<Plain, Failure> {
        let report = |error: Error| self.damage.block(index, &error, &counters.damaged_blocks);
        let size = self.package.block(index).map_err(report)?.plain_size;
        let whole = start == 0 && length == size;
        self.cache.get(index, !whole, counters, |plain| {
            counters.blocks_loaded.one();
            counters.bytes_loaded.add(u64::from(size));
            let result = self.package.read_block(index, scratch, plain).map_err(report);
            if size > LARGE_BLOCK {
                *scratch = Scratch::default();
            }
            result
        })
    }
}

fn part(block: &[u8], start: u32, length: u32) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    block.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}
