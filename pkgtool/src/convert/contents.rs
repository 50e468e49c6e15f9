//! The bytes of a package's files, verified as they are read.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use epk_format::package::{BlockIndex, NodeId, Piece, Scratch};
use epk_format::write::{ContentId, Contents};
use epk_format::{Error, Package};

/// The files of a package, by [`ContentId`].
pub(crate) struct Files<'p> {
    package: &'p Package<File>,
    nodes: Vec<NodeId>,
    block: Mutex<Held>,
    /// The first error, whole: on its way through the writer it becomes one of I/O.
    error: Mutex<Option<Error>>,
}

/// The block that was read last. Small files that share one follow each other.
#[derive(Default)]
struct Held {
    index: Option<BlockIndex>,
    plain: Vec<u8>,
    scratch: Scratch,
}

impl<'p> Files<'p> {
    pub(crate) fn new(package: &'p Package<File>, nodes: Vec<NodeId>) -> Self {
        Self { package, nodes, block: Mutex::default(), error: Mutex::default() }
    }

    /// Why the package could not be read, if that was it.
    pub(crate) fn into_error(self) -> Option<Error> {
        self.error.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: Error) -> io::Error {
        let shown = io::Error::other(error.to_string());
        lock(&self.error).get_or_insert(error);
        shown
    }

    /// Copies the first bytes from `at` on that lie together, as many as fit; none at the end.
    pub(crate) fn copy(&self, id: NodeId, at: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let end = at.saturating_add(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
        let Some(piece) = self.package.pieces(id, at..end)?.next() else { return Ok(0) };
        let held;
        let bytes = match piece? {
            Piece::Bytes(bytes) => bytes,
            Piece::Zeros { length } => {
                let part = start_of(buffer, length);
                part.fill(0);
                return Ok(part.len());
            }
            Piece::Block { index, start, length, .. } => {
                held = self.read(index)?;
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let bytes = held.plain.get(start..).unwrap_or_default();
                bytes.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default()
            }
        };
        let part = start_of(buffer, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        part.copy_from_slice(bytes.get(..part.len()).unwrap_or_default());
        Ok(part.len())
    }

    fn read(&self, index: BlockIndex) -> Result<MutexGuard<'_, Held>, Error> {
        let mut held = lock(&self.block);
        if held.index != Some(index) {
            let Held { index: known, plain, scratch } = &mut *held;
            *known = None;
            self.package.read_block(index, scratch, plain)?;
            *known = Some(index);
        }
        Ok(held)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start_of(buffer: &mut [u8], length: u32) -> &mut [u8] {
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
    buffer.get_mut(..length).unwrap_or_default()
}

impl Contents for Files<'_> {
    fn open(&self, id: ContentId, _: &[u8]) -> io::Result<Box<dyn Read + Send + '_>> {
        let node = *self.nodes.get(id.0).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Content { files: self, node, at: 0 }))
    }
}

/// A file that is being read.
struct Content<'f, 'p> {
    files: &'f Files<'p>,
    node: NodeId,
    at: u64,
}

impl Read for Content<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let copied = self.files.copy(self.node, self.at, buffer);
        let copied = copied.map_err(|error| self.files.failed(error))?;
        self.at = self.at.saturating_add(u64::try_from(copied).unwrap_or(u64::MAX));
        Ok(copied)
    }
}
