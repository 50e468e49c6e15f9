//! Cuts the contents of a plan's files into chunks, in path order.

use std::io::{self, Read};
use std::slice;

use super::Contents;
use super::entry::{ContentId, Kind, PlanEntry};
use super::error::{WriteError, shown};
use crate::digest::{Hasher, Sha256};

/// A chunk's place.
pub(super) struct Tag {
    /// The file's hash, with the last of several chunks. A single chunk's hash is the file's.
    pub(super) file_hash: Option<Sha256>,
}

/// The chunks of all files, one after another.
pub(super) struct Chunks<'a> {
    contents: &'a dyn Contents,
    entries: slice::Iter<'a, PlanEntry>,
    chunk_size: u64,
    file: Option<File<'a>>,
}

/// A file being read.
pub(super) struct File<'a> {
    path: &'a [u8],
    reader: Box<dyn Read + Send + 'a>,
    size: u64,
    left: u64,
    /// Absent when one chunk holds all.
    hasher: Option<Hasher>,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(
        contents: &'a dyn Contents,
        entries: &'a [PlanEntry],
        chunk_size: u32,
    ) -> Self {
        let chunk_size = u64::from(chunk_size);
        Self { contents, entries: entries.iter(), chunk_size, file: None }
    }

    /// Appends the next chunk to `buffer`; `None` when there is none.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Tag>, WriteError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => match self.open_next()? {
                Some(file) => file,
                None => return Ok(None),
            },
        };
        file.read(self.chunk_size, buffer)?;
        if let Some(hasher) = &mut file.hasher {
            hasher.update(buffer);
        }
        if file.left > 0 {
            self.file = Some(file);
            return Ok(Some(Tag { file_hash: None }));
        }
        file.expect_end()?;
        Ok(Some(Tag { file_hash: file.hasher.map(Hasher::finish) }))
    }

    /// The next file that has bytes. Empty ones are opened too: they may have grown.
    fn open_next(&mut self) -> Result<Option<File<'a>>, WriteError> {
        for entry in self.entries.by_ref() {
            let Kind::File { content, size } = entry.kind else { continue };
            let mut file = File::open(self.contents, &entry.path, content, size)?;
            file.hasher = (size > self.chunk_size).then(Hasher::new);
            if size > 0 {
                return Ok(Some(file));
            }
            file.expect_end()?;
        }
        Ok(None)
    }
}

impl<'a> File<'a> {
    /// Opens a file of `size` bytes. Nobody hashes it.
    pub(super) fn open(
        contents: &'a dyn Contents,
        path: &'a [u8],
        id: ContentId,
        size: u64,
    ) -> Result<Self, WriteError> {
        let reader = contents
            .open(id, path)
            .map_err(|source| WriteError::Open { path: shown(path), source })?;
        Ok(File { path, reader, size, left: size, hasher: None })
    }

    /// Bytes that are still to be read.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Appends the next `chunk_size` bytes, or what is left, to `buffer`.
    pub(super) fn read(&mut self, chunk_size: u64, buffer: &mut Vec<u8>) -> Result<(), WriteError> {
        let wanted = self.left.min(chunk_size);
        let read = (&mut self.reader)
            .take(wanted)
            .read_to_end(buffer)
            .map_err(|source| self.failed(source))?;
        let read = u64::try_from(read).map_err(|error| self.failed(io::Error::other(error)))?;
        self.left -= read;
        if read < wanted {
            return Err(self.length(self.size - self.left, false));
        }
        Ok(())
    }

    /// The file must end here. Reading on also lets the reader check what it knows.
    pub(super) fn expect_end(&mut self) -> Result<(), WriteError> {
        let mut probe = [0];
        loop {
            match self.reader.read(&mut probe) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(self.length(self.size, true)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed(source)),
            }
        }
    }

    fn length(&self, found: u64, more: bool) -> WriteError {
        WriteError::Length { path: shown(self.path), planned: self.size, found, more }
    }

    fn failed(&self, source: io::Error) -> WriteError {
        WriteError::Read { path: shown(self.path), source }
    }
}
