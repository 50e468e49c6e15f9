//! Writing a package's tree as a pax archive (POSIX.1-2024), the same bytes every time: in the order
//! of paths, everything owned by root, and extended headers only where plain ones have no room.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use epk_format::Package;
use epk_format::package::{Kind, Node, NodeId, Scratch};
use epk_format::path::display;
use epk_format::time::Timestamp;
use tar::{EntryType, Header};

use crate::commands::cat::Broken;
use crate::exit::{Failure, exit_of, standard_output};
use crate::select::Visit;
use crate::signals::Deferred;

/// Bytes of a block.
const BLOCK: usize = 512;
/// Bytes that an archive is a multiple of, as tar writes it.
const RECORD: u64 = 10240;
/// Most bytes of a name in a header.
const NAME: usize = 100;
/// The largest number of eleven octal digits.
const OCTAL: u64 = (1 << 33) - 1;
/// The name of extended headers, which are no files.
const PAX_NAME: &[u8] = b"././@PaxHeader";

/// An archive under way.
pub(crate) struct Writer<'p, W> {
    package: &'p Package<File>,
    file: &'p Path,
    out: W,
    written: u64,
    /// The first path of each file with several.
    linked: HashMap<NodeId, Vec<u8>>,
    scratch: Scratch,
    signals: &'p Deferred,
}

impl<'p, W: Write> Writer<'p, W> {
    pub(crate) fn new(
        package: &'p Package<File>,
        file: &'p Path,
        out: W,
        signals: &'p Deferred,
    ) -> Self {
        let (linked, scratch) = (HashMap::new(), Scratch::default());
        Self { package, file, out, written: 0, linked, scratch, signals }
    }

    /// Writes the root folder, by the name `./`.
    pub(crate) fn root(&mut self) -> Result<(), Failure> {
        let node = self.package.node(NodeId::ROOT).map_err(|error| self.failed(b"", &error))?;
        self.write(&Visit { path: b".", node })
    }

    /// Writes what a walk brings.
    pub(crate) fn write(&mut self, visit: &Visit<'_>) -> Result<(), Failure> {
        self.entry(visit).map_err(|broken| match broken {
            Broken::Package(error) => self.failed(visit.path, &error),
            Broken::Output(error) => output_failed(&error),
        })
    }

    /// Writes the end.
    pub(crate) fn finish(mut self) -> Result<W, Failure> {
        let end = u64::try_from(2 * BLOCK).unwrap_or(0);
        let padded = (self.written + end).next_multiple_of(RECORD) - self.written;
        let ended = self.zeros(padded).and_then(|()| self.out.flush());
        ended.map_err(|error| output_failed(&error))?;
        Ok(self.out)
    }

    fn entry(&mut self, visit: &Visit<'_>) -> Result<(), Broken> {
        let (path, node) = (visit.path, &visit.node);
        let mut name = path.to_vec();
        if node.kind == Kind::File && node.links > 1 {
            if let Some(first) = self.linked.get(&node.id) {
                let first = first.clone();
                return Ok(self.header(&name, &first, EntryType::Link, node, 0, &[])?);
            }
            self.linked.insert(node.id, name.clone());
        }
        let xattrs = self.package.xattrs(node.id)?;
        match node.kind {
            Kind::Folder => {
                name.push(b'/');
                self.header(&name, b"", EntryType::Directory, node, 0, &xattrs)?;
            }
            Kind::Link => {
                let target = self.package.link_target(node.id)?;
                self.header(&name, &target, EntryType::Symlink, node, 0, &xattrs)?;
            }
            Kind::File => {
                self.header(&name, b"", EntryType::Regular, node, node.size, &xattrs)?;
                self.content(node)?;
            }
        }
        Ok(())
    }

    fn content(&mut self, node: &Node) -> Result<(), Broken> {
        let Self { package, out, scratch, signals, .. } = self;
        package.read(node.id, 0..u64::MAX, scratch, |bytes| {
            signals.check()?;
            Ok::<(), Broken>(out.write_all(bytes)?)
        })?;
        self.written += node.size;
        let block = u64::try_from(BLOCK).unwrap_or(1);
        Ok(self.zeros(node.size.next_multiple_of(block) - node.size)?)
    }

    fn header(
        &mut self,
        name: &[u8],
        target: &[u8],
        kind: EntryType,
        node: &Node,
        size: u64,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> io::Result<()> {
        let mut records = Vec::new();
        if [name, target].iter().any(|text| std::str::from_utf8(text).is_err()) {
            record(&mut records, b"hdrcharset", b"BINARY");
        }
        for (key, text) in [(&b"path"[..], name), (b"linkpath", target)] {
            if text.len() > NAME || !text.is_ascii() {
                record(&mut records, key, text);
            }
        }
        let Timestamp { seconds, nanoseconds } = node.modified;
        let plain = u64::try_from(seconds).ok().filter(|&s| s <= OCTAL && nanoseconds == 0);
        if plain.is_none() {
            record(&mut records, b"mtime", decimal(node.modified).as_bytes());
        }
        if size > OCTAL {
            record(&mut records, b"size", size.to_string().as_bytes());
        }
        for (name, value) in xattrs {
            record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        let time = u64::try_from(seconds).unwrap_or(0).min(OCTAL);
        if !records.is_empty() {
            let length = u64::try_from(records.len()).unwrap_or(u64::MAX);
            self.block(PAX_NAME, b"", EntryType::XHeader, 0o644, (length, 0))?;
            self.out.write_all(&records)?;
            self.written += length;
            let block = u64::try_from(BLOCK).unwrap_or(1);
            self.zeros(length.next_multiple_of(block) - length)?;
        }
        self.block(name, target, kind, node.mode, (size.min(OCTAL), time))
    }

    fn block(
        &mut self,
        name: &[u8],
        target: &[u8],
        kind: EntryType,
        mode: u32,
        (size, time): (u64, u64),
    ) -> io::Result<()> {
        let mut header = Header::new_ustar();
        let fields = header.as_old_mut();
        fields.name[..name.len().min(NAME)].copy_from_slice(&name[..name.len().min(NAME)]);
        let length = target.len().min(NAME);
        fields.linkname[..length].copy_from_slice(&target[..length]);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header.set_mtime(time);
        header.set_device_major(0)?;
        header.set_device_minor(0)?;
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.written += u64::try_from(BLOCK).unwrap_or(0);
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        self.written += io::copy(&mut io::Read::take(io::repeat(0), count), &mut self.out)?;
        Ok(())
    }

    fn failed(&self, path: &[u8], error: &epk_format::Error) -> Failure {
        let (file, path) = (self.file.display(), display(path));
        Failure::new(exit_of(error), format!("`{file}`: `{path}`: {error}"))
    }
}

fn output_failed(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return standard_output(error);
    }
    Failure::environment(format!("cannot write the archive: {error}"))
}

/// A record: its length, counting itself, key and value.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    // One digit more makes at most one digit more.
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() > rest.to_string().len() {
        length += 1;
    }
    records.extend(length.to_string().as_bytes());
    records.push(b' ');
    records.extend(key);
    records.push(b'=');
    records.extend(value);
    records.push(b'\n');
}

/// Seconds with as many digits after the point as it takes.
fn decimal(time: Timestamp) -> String {
    let nanoseconds = time.nanoseconds;
    // Fractions count forward from the second; the text counts from zero.
    let (sign, seconds, fraction) = match time.seconds {
        seconds if seconds >= 0 => ("", seconds.unsigned_abs(), nanoseconds),
        seconds if nanoseconds == 0 => ("-", seconds.unsigned_abs(), 0),
        seconds => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
    };
    if fraction == 0 {
        return format!("{sign}{seconds}");
    }
    let digits = format!("{fraction:09}");
    format!("{sign}{seconds}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        let long = vec![b'x'; 89];
        for value in [&b""[..], b"1", b"1234", &long, &long[..88], &long[..87], &[b'y'; 985]] {
            let mut records = Vec::new();
            record(&mut records, b"path", value);
            let text: Vec<u8> = records.iter().copied().take_while(|&b| b != b' ').collect();
            assert_eq!(text, records.len().to_string().as_bytes());
        }
    }

    #[test]
    fn times_have_fractions() {
        let table = [
            ((12, 500_000_000), "12.5"),
            ((-5, 500_000_000), "-4.5"),
            ((-1, 1), "-0.999999999"),
            ((-4, 0), "-4"),
            ((1, 1), "1.000000001"),
        ];
        for ((seconds, nanoseconds), text) in table {
            assert_eq!(decimal(Timestamp { seconds, nanoseconds }), text);
        }
    }
}
