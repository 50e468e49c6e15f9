//! Reading a tar archive: ustar, GNU and pax, each entry into a [`Tree`], contents into a [`Spool`].
//!
//! The crate `tar` knows the fields. Entries are read here, because its own reader cuts extended
//! headers at line ends, which values of attributes may have, and knows no sparse files in them.

use std::io::{self, Read};

use epk_format::path::display;
use epk_format::time::Timestamp;
use tar::{EntryType, Header};

use super::pax::Records;
use super::problem::Problem;
use super::sparse::{self, Sparse};
use super::spool::Spool;
use super::tree::{Entry, Meta, Tree};

/// Bytes of a block.
const BLOCK: usize = 512;
/// Most bytes of an extended header or long name: they are held in memory.
const HEADER_BYTES: u64 = 1 << 24;
/// What stands before the name of something that an upper layer takes away (OCI image-spec,
/// layer.md).
const WHITEOUT: &[u8] = b".wh.";
/// What an upper layer takes away everything in a folder by.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Whether these may be the first bytes of an archive: a header with its checksum, or the end of
/// an empty archive.
pub(crate) fn looks_like_one(first: &[u8]) -> bool {
    first.get(..BLOCK).is_some_and(|block| is_zero(block) || checksum_is_right(block))
}

/// Reads an archive to its end.
pub(crate) fn read(
    input: &mut dyn Read,
    tree: &mut Tree,
    spool: &mut Spool,
) -> Result<(), Problem> {
    let mut archive = Archive { input: Counted { input, read: 0 }, global: Records::default() };
    while let Some(next) = archive.next()? {
        let end = next.end;
        let at = next.at;
        archive.take(next, tree, spool).map_err(|problem| match problem {
            Problem::Damaged(what) => {
                Problem::Damaged(format!("{what}, in the entry at byte {at}"))
            }
            other => other,
        })?;
        archive.skip_to(end)?;
    }
    archive.finish()
}

struct Counted<'a> {
    input: &'a mut dyn Read,
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

struct Archive<'a> {
    input: Counted<'a>,
    /// What holds for all entries that follow.
    global: Records,
}

/// An entry of which the headers are read.
struct Next {
    /// Where its first header begins.
    at: u64,
    header: Header,
    path: Vec<u8>,
    target: Vec<u8>,
    records: Records,
    /// Bytes stored for it.
    size: u64,
    /// Where what follows it begins.
    end: u64,
}

impl Archive<'_> {
    /// Reads headers up to the next entry; `None` at the end.
    fn next(&mut self) -> Result<Option<Next>, Problem> {
        let at = self.input.read;
        let (mut long_path, mut long_target, mut records) = (None, None, self.global.clone());
        let mut extended = false;
        loop {
            let Some(header) = self.header()? else {
                if extended {
                    let message = format!("ends after an extended header, at byte {at}");
                    return Err(Problem::Damaged(message));
                }
                return Ok(None);
            };
            let kind = header.entry_type();
            match kind {
                EntryType::XHeader => records.read(&self.text(&header)?)?,
                EntryType::XGlobalHeader => {
                    let text = self.text(&header)?;
                    self.global.read(&text)?;
                    records.read(&text)?;
                    continue;
                }
                EntryType::GNULongName => long_path = Some(without_end(self.text(&header)?)),
                EntryType::GNULongLink => long_target = Some(without_end(self.text(&header)?)),
                _ => {
                    let from = |key: &str| records.get(key).map(<[u8]>::to_vec);
                    let path = from("GNU.sparse.name").or_else(|| from("path")).or(long_path);
                    let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
                    let target = from("linkpath").or(long_target);
                    let target = target.or_else(|| Some(header.link_name_bytes()?.into_owned()));
                    let target = target.unwrap_or_default();
                    let size = match records.number("size")? {
                        // Some archives tell the size of what they lead to.
                        _ if has_no_content(kind) => 0,
                        Some(size) => size,
                        None => header.entry_size().map_err(|_| self.bad_field("size"))?,
                    };
                    let end = self.end_of(size)?;
                    return Ok(Some(Next { at, header, path, target, records, size, end }));
                }
            }
            extended = true;
        }
    }

    /// Where the entry ends that has `size` bytes from here on.
    fn end_of(&self, size: u64) -> Result<u64, Problem> {
        let block = u64::try_from(BLOCK).unwrap_or(u64::MAX);
        let padded = size.checked_next_multiple_of(block);
        let end = padded.and_then(|padded| self.input.read.checked_add(padded));
        end.ok_or_else(|| self.bad_field("size"))
    }

    fn header(&mut self) -> Result<Option<Header>, Problem> {
        let at = self.input.read;
        let mut header = Header::new_old();
        match self.block(header.as_mut_bytes())? {
            0 if at == 0 => return Err(Problem::Damaged("is empty".into())),
            0 => {
                let message = format!("is cut off: ends at byte {at} without an end of archive");
                return Err(Problem::Damaged(message));
            }
            BLOCK => {}
            _ => {
                let message = format!("is cut off: ends in the header at byte {at}");
                return Err(Problem::Damaged(message));
            }
        }
        if is_zero(header.as_bytes()) {
            return Ok(None);
        }
        if !checksum_is_right(header.as_bytes()) {
            return Err(Problem::Damaged(format!("has no tar header at byte {at}")));
        }
        Ok(Some(header))
    }

    /// Reads a block, or what there is.
    fn block(&mut self, block: &mut [u8]) -> Result<usize, Problem> {
        let mut filled = 0;
        while filled < block.len() {
            match self.input.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Problem::read(error)),
            }
        }
        Ok(filled)
    }

    /// The content of a header that describes the next entry.
    fn text(&mut self, header: &Header) -> Result<Vec<u8>, Problem> {
        let size = header.entry_size().map_err(|_| self.bad_field("size"))?;
        if size > HEADER_BYTES {
            let message = format!("has an extended header of {size} bytes, above {HEADER_BYTES}");
            return Err(Problem::Refused(message));
        }
        let end = self.end_of(size)?;
        let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
        self.input.read_exact(&mut text).map_err(Problem::read)?;
        self.skip_to(end)?;
        Ok(text)
    }

    fn take(&mut self, next: Next, tree: &mut Tree, spool: &mut Spool) -> Result<(), Problem> {
        if tree.is_layered() && self.white_out(&next, tree)? {
            return Ok(());
        }
        let mut kind = next.header.entry_type();
        // Before ustar, a slash at the end made a folder.
        if kind == EntryType::Regular && next.path.ends_with(b"/") {
            kind = EntryType::Directory;
        }
        let entry = self.entry(&next)?;
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(next, entry, tree, spool)
            }
            EntryType::Directory => tree.folder(entry),
            EntryType::Symlink => tree.symlink(entry, next.target),
            EntryType::Link => tree.hard_link(&entry, &next.target),
            EntryType::Char => tree.special(entry, "character device"),
            EntryType::Block => tree.special(entry, "block device"),
            EntryType::Fifo => tree.special(entry, "pipe"),
            other => {
                let (path, letter) =
                    (display(&next.path), display(&[other.as_byte()]).into_owned());
                let message = format!("`{path}` is an entry of the unknown type `{letter}`");
                Err(Problem::Refused(message))
            }
        }
    }

    fn file(
        &mut self,
        mut next: Next,
        entry: Entry,
        tree: &mut Tree,
        spool: &mut Spool,
    ) -> Result<(), Problem> {
        let sparse = if next.header.entry_type() == EntryType::GNUSparse {
            let before = self.input.read;
            let sparse = sparse::of_header(&next.header, &mut self.input)?;
            // More of the map lies between the header and the data, and no size counts it.
            next.end = next.end.saturating_add(self.input.read - before);
            Some(sparse)
        } else {
            sparse::of_records(&next.records, &mut self.input, &mut next.size)?
        };
        let Sparse { size, data } = match sparse {
            Some(sparse) => sparse.check(next.size)?,
            None if next.size == 0 => Sparse { size: 0, data: Vec::new() },
            None => Sparse { size: next.size, data: vec![(0, next.size)] },
        };
        let content = spool.add(&mut self.input, size, &data, &mut tree.limits)?;
        tree.file(entry, content, size)?;
        self.skip_to(next.end)
    }

    /// Deals with an entry that only takes away what lower layers have.
    fn white_out(&self, next: &Next, tree: &mut Tree) -> Result<bool, Problem> {
        let path = next.path.strip_suffix(b"/").unwrap_or(&next.path);
        let (folder, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        let Some(gone) = name.strip_prefix(WHITEOUT) else { return Ok(false) };
        if name == OPAQUE {
            tree.make_opaque(folder)?;
        } else if !gone.starts_with(WHITEOUT) {
            if matches!(gone, b"" | b"." | b"..") {
                let path = display(path);
                return Err(Problem::Refused(format!("has a whiteout `{path}` of no name")));
            }
            tree.white_out(&[folder, gone].join(&b'/')[usize::from(folder.is_empty())..])?;
        }
        // Others belong to the filesystem that made the layer.
        Ok(true)
    }

    fn entry(&self, next: &Next) -> Result<Entry, Problem> {
        let Next { header, records, .. } = next;
        let field = |name: &'static str| move |_| Problem::Damaged(format!("has a bad {name}"));
        let owner = |key: &str, field: io::Result<u64>| match records.number(key)? {
            Some(id) => Ok(id),
            None => field.map_err(|_| Problem::Damaged(format!("has a bad {key}"))),
        };
        let modified = match records.time("mtime")? {
            Some(time) => time,
            None => Timestamp { seconds: seconds(header)?, nanoseconds: 0 },
        };
        let meta = Meta {
            mode: header.mode().map_err(field("mode"))? & 0o7777,
            owner: (owner("uid", header.uid())?, owner("gid", header.gid())?),
            modified,
            xattrs: records.xattrs(),
        };
        Ok(Entry { path: next.path.clone(), meta })
    }

    fn skip_to(&mut self, end: u64) -> Result<(), Problem> {
        self.skip(end.saturating_sub(self.input.read))
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Problem> {
        let copied = io::copy(&mut (&mut self.input).take(bytes), &mut io::sink());
        if copied.map_err(Problem::read)? < bytes {
            let at = self.input.read;
            let message = format!("is cut off: ends in the middle of an entry, at byte {at}");
            return Err(Problem::Damaged(message));
        }
        Ok(())
    }

    /// Reads what follows the end of the archive, which must be zeros: only so do decompressors
    /// judge their checksums.
    fn finish(&mut self) -> Result<(), Problem> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let at = self.input.read;
            let read = self.block(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            if !is_zero(&buffer[..read]) {
                let message = format!("has more after the end of the archive, from byte {at} on");
                return Err(Problem::Damaged(message));
            }
        }
    }

    fn bad_field(&self, name: &str) -> Problem {
        Problem::Damaged(format!("has a bad {name} in the header before byte {}", self.input.read))
    }
}

/// The time of a header: octal digits, or a number with a sign in base 256.
fn seconds(header: &Header) -> Result<i64, Problem> {
    let field = header.as_old().mtime;
    if field[0] & 0x80 == 0 {
        let bad = || Problem::Damaged("has a bad mtime".into());
        return i64::try_from(header.mtime().map_err(|_| bad())?).map_err(|_| bad());
    }
    // 12 bytes; the first bit says how they are meant, the second is the sign.
    let mut value = if field[0] & 0x40 == 0 { 0 } else { -1_i128 << 6 };
    value |= i128::from(field[0] & 0x3f);
    for &byte in &field[1..] {
        value = value << 8 | i128::from(byte);
    }
    i64::try_from(value).map_err(|_| Problem::Damaged("has a bad mtime".into()))
}

/// The sum of the bytes with the checksum itself as spaces. Some old programs took them for signed.
fn checksum_is_right(block: &[u8]) -> bool {
    let header = Header::from_byte_slice(block);
    let Ok(told) = header.cksum() else { return false };
    let place = 148..156;
    let bytes = block.iter().enumerate();
    let bytes = bytes.map(|(at, &byte)| if place.contains(&at) { b' ' } else { byte });
    let (unsigned, signed) = bytes.fold((0_i64, 0_i64), |(unsigned, signed), byte| {
        (unsigned + i64::from(byte), signed + i64::from(byte.cast_signed()))
    });
    [unsigned, signed].contains(&i64::from(told))
}

/// Entries that are headers only, whatever size they tell (POSIX.1-2024, ustar).
fn has_no_content(kind: EntryType) -> bool {
    use EntryType::{Block, Char, Directory, Fifo, Link, Symlink};
    matches!(kind, Link | Symlink | Char | Block | Directory | Fifo)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// A name up to its NUL.
fn without_end(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_of_both_spellings() {
        let mut header = Header::new_gnu();
        header.set_mtime(1_600_000_000);
        assert_eq!(seconds(&header).expect("a time"), 1_600_000_000);
        let mut field = [0xff; 12];
        field[11] = 0xfe;
        header.as_old_mut().mtime = field;
        assert_eq!(seconds(&header).expect("a time"), -2);
        header.as_old_mut().mtime = [0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(seconds(&header).expect("a time"), 1 << 32);
        header.as_old_mut().mtime = [0x80, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        assert!(seconds(&header).is_err());
    }

    #[test]
    fn knows_headers_by_their_checksums() {
        let mut header = Header::new_gnu();
        header.set_size(0);
        header.set_cksum();
        assert!(looks_like_one(header.as_bytes()));
        assert!(looks_like_one(&[0; 1024]));
        let mut other = *header.as_bytes();
        other[0] = 1;
        assert!(!looks_like_one(&other));
        assert!(!looks_like_one(&[0; 511]));
    }
}
