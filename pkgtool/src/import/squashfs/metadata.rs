//! Metadata: runs of compressed blocks of 8 KiB, read as streams that begin anywhere.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::problem::Problem;
use super::codec::Codec;
use super::damaged;

/// Most plain bytes of a block.
pub(super) const BLOCK: usize = 8192;
/// Blocks that are kept.
const KEPT: usize = 512;
/// The bit of a block's length that says that it is stored plainly.
const PLAIN: u16 = 1 << 15;

/// Where metadata is read on: the block's place in the image, and a byte of its plain form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) block: u64,
    pub(super) offset: u16,
}

impl Place {
    /// Of a reference as the format stores it: 16 bits of offset, above them the block, counted
    /// from a table's beginning.
    pub(super) fn of(table: u64, reference: u64) -> Self {
        let offset = u16::try_from(reference & 0xffff).unwrap_or(0);
        Self { block: table.saturating_add(reference >> 16), offset }
    }
}

/// A block's plain bytes, and where the next block begins.
type Block = (Arc<Vec<u8>>, u64);

/// The image's bytes.
pub(super) struct Metadata {
    file: File,
    /// Where the image begins in the file.
    start: u64,
    /// Bytes of the image.
    used: u64,
    pub(super) codec: Codec,
    blocks: Mutex<HashMap<u64, Block>>,
}

impl Metadata {
    pub(super) fn new(file: File, start: u64, used: u64, codec: Codec) -> Self {
        Self { file, start, used, codec, blocks: Mutex::default() }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Reads bytes of the image.
    pub(super) fn raw(&self, buffer: &mut [u8], at: u64) -> Result<(), Problem> {
        let length = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        let end = at.checked_add(length).filter(|&end| end <= self.used);
        let place = end.and_then(|_| self.start.checked_add(at));
        let place = place.ok_or_else(|| damaged(format!("{length} bytes at {at} lie outside")))?;
        self.file.read_exact_at(buffer, place).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                Problem::Damaged("became shorter".into())
            } else {
                Problem::System("cannot read".into(), error)
            }
        })
    }

    fn block(&self, at: u64) -> Result<Block, Problem> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = blocks.get(&at) {
            return Ok(block.clone());
        }
        let mut length = [0; 2];
        self.raw(&mut length, at)?;
        let length = u16::from_le_bytes(length);
        let size = usize::from(length & !PLAIN);
        if size > BLOCK {
            return Err(damaged(format!("a metadata block of {size} bytes at {at}")));
        }
        let mut stored = vec![0; size];
        let begin = at.saturating_add(2);
        self.raw(&mut stored, begin)?;
        let plain = if length & PLAIN != 0 {
            stored
        } else {
            let plain = self.codec.plain(&stored, BLOCK);
            plain.map_err(|what| damaged(format!("{what} in the metadata at {at}")))?
        };
        let next = begin.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        let block = (Arc::new(plain), next);
        if blocks.len() >= KEPT {
            blocks.clear();
        }
        blocks.insert(at, block.clone());
        Ok(block)
    }

    /// Reads bytes from a place, which moves on.
    pub(super) fn read(&self, place: &mut Place, buffer: &mut [u8]) -> Result<(), Problem> {
        let mut filled = 0;
        while filled < buffer.len() {
            let (plain, next) = self.block(place.block)?;
            let from = usize::from(place.offset);
            let rest = plain.get(from..).unwrap_or_default();
            if rest.is_empty() && (from > plain.len() || plain.len() < BLOCK) {
                return Err(damaged(format!("metadata ends at {next}")));
            }
            let part = rest.len().min(buffer.len() - filled);
            buffer[filled..filled + part].copy_from_slice(&rest[..part]);
            filled += part;
            place.offset = u16::try_from(from + part).unwrap_or(u16::MAX);
            if from + part == plain.len() && plain.len() == BLOCK {
                *place = Place { block: next, offset: 0 };
            }
        }
        Ok(())
    }

    /// Reads so many bytes.
    pub(super) fn take<const N: usize>(&self, place: &mut Place) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        self.read(place, &mut bytes)?;
        Ok(bytes)
    }

    /// Where row `number` of a table is: at `table` lies a list of its blocks.
    pub(super) fn row(&self, table: u64, number: u64, size: u64) -> Result<Place, Problem> {
        let block = u64::try_from(BLOCK).unwrap_or(u64::MAX);
        let byte = number.saturating_mul(size);
        let mut pointer = [0; 8];
        self.raw(&mut pointer, table.saturating_add((byte / block).saturating_mul(8)))?;
        let offset = u16::try_from(byte % block).unwrap_or(0);
        Ok(Place { block: u64::from_le_bytes(pointer), offset })
    }
}
