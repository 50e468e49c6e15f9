//! The contents of an archive's files, in one file without a name: archives are read once from
//! front to back, and files are packed in another order.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;

use epk_format::write::{ContentId, Contents};

use super::limits::Limits;
use super::problem::Problem;

/// Bytes copied at once.
const BUFFER: usize = 256 << 10;

/// Bytes of a file that lie in the spool. What no extent has is zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    /// Where they begin in the file.
    at: u64,
    /// Where they begin in the spool.
    place: u64,
    length: u64,
}

#[derive(Debug)]
struct Content {
    size: u64,
    extents: Vec<Extent>,
}

/// The spool.
pub(crate) struct Spool {
    file: File,
    end: u64,
    contents: Vec<Content>,
    buffer: Vec<u8>,
}

impl Spool {
    /// A spool in an empty file.
    pub(crate) fn new(file: File) -> Self {
        Self { file, end: 0, contents: Vec::new(), buffer: vec![0; BUFFER] }
    }

    /// Takes a file of `size` bytes, whose stretches `data` (offset and length, in order, inside
    /// of the file) come from `input` one after another. The rest is holes.
    pub(crate) fn add(
        &mut self,
        input: &mut dyn Read,
        size: u64,
        data: &[(u64, u64)],
        limits: &mut Limits,
    ) -> Result<ContentId, Problem> {
        limits.content(size)?;
        let mut extents = Vec::with_capacity(data.len());
        for &(at, length) in data {
            extents.push(Extent { at, place: self.end, length });
            self.copy(input, length)?;
        }
        self.contents.push(Content { size, extents });
        Ok(ContentId(self.contents.len() - 1))
    }

    fn copy(&mut self, input: &mut dyn Read, length: u64) -> Result<(), Problem> {
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let part = &mut self.buffer[..most];
            input.read_exact(part).map_err(Problem::read)?;
            self.file
                .write_all_at(part, self.end)
                .map_err(|error| Problem::System("cannot keep its content".into(), error))?;
            let copied = u64::try_from(most).unwrap_or(u64::MAX);
            left -= copied;
            self.end += copied;
        }
        Ok(())
    }
}

impl Contents for Spool {
    fn open(&self, id: ContentId, _path: &[u8]) -> io::Result<Box<dyn Read + Send + '_>> {
        let content = self.contents.get(id.0).ok_or(io::ErrorKind::NotFound)?;
        let reader = Reader { file: &self.file, content, at: 0, next: 0 };
        let buffer = usize::try_from(content.size).unwrap_or(BUFFER).clamp(1, BUFFER);
        Ok(Box::new(BufReader::with_capacity(buffer, reader)))
    }
}

/// A file in the spool, from front to back.
struct Reader<'a> {
    file: &'a File,
    content: &'a Content,
    at: u64,
    /// The first extent that doesn't end before `at`.
    next: usize,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let extents = &self.content.extents;
        while extents.get(self.next).is_some_and(|e| e.at + e.length <= self.at) {
            self.next += 1;
        }
        let extent = extents.get(self.next);
        let data = extent.filter(|extent| extent.at <= self.at);
        let end = match (data, extent) {
            (Some(extent), _) => extent.at + extent.length,
            (None, Some(extent)) => extent.at,
            (None, None) => self.content.size,
        };
        let most = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let part = &mut buffer[..most];
        match data {
            Some(extent) => {
                self.file.read_exact_at(part, extent.place + (self.at - extent.at))?;
            }
            None => part.fill(0),
        }
        self.at += u64::try_from(most).unwrap_or(u64::MAX);
        Ok(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_zeros() {
        let mut spool = Spool::new(tempfile::tempfile().expect("a file"));
        let mut limits = Limits::new(30);
        type Row = (u64, &'static [(u64, u64)], &'static [u8]);
        let files: [Row; 4] = [
            (8, &[(2, 3), (7, 1)], b"\0\0abc\0\0d"),
            (3, &[(0, 3)], b"abc"),
            (4, &[], b"\0\0\0\0"),
            (6, &[(0, 1), (1, 0), (1, 2)], b"abc\0\0\0"),
        ];
        let mut ids = Vec::new();
        for (size, data, _) in files {
            ids.push(spool.add(&mut &b"abcdef"[..], size, data, &mut limits).expect("kept"));
        }
        for (id, (.., expected)) in ids.into_iter().zip(files) {
            let mut found = Vec::new();
            spool.open(id, b"").expect("open").read_to_end(&mut found).expect("read");
            assert_eq!(found, expected);
        }
        let short = spool.add(&mut &b"ab"[..], 3, &[(0, 3)], &mut limits);
        assert!(matches!(short, Err(Problem::Damaged(_))), "{short:?}");
        let large = spool.add(&mut io::empty(), 10, &[], &mut limits);
        assert!(matches!(large, Err(Problem::Refused(_))), "{large:?}");
    }
}
