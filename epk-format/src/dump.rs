//! What the bytes of an image say, field by field: for people as an annotated hexdump, for
//! programs as JSON (every type here serialises).
//!
//! Nothing is judged, and no rule needs to hold: a dump of a broken image shows how it is
//! broken, as far as its bytes reach.

use std::fmt::{self, Write as _};
use std::ops::Range;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use zerocopy::{FromBytes, FromZeros as _, IntoBytes as _};

use crate::content::Inflater;
use crate::error::Error;
use crate::layout::block::{self, BlockEntry};
use crate::layout::header::{self, Flags, Header, VERSION_2_0};
use crate::layout::metadata::{self, PageRow, Superblock};
use crate::layout::signature::{self as blob, BlobHeader};
use crate::layout::toc::{self, Entry, EntryFlags, TocHeader};
use crate::limits;
use crate::metadata::pages;
use crate::path;
use crate::source::Source;
use crate::time::PackedTime;

/// An image taken apart.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Dump {
    /// Bytes of the image.
    pub size: u64,
    /// The parts that the header names, in the order of the format.
    pub sections: Vec<Section>,
}

/// A part of the image.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Section {
    /// What it is.
    pub name: &'static str,
    /// First byte.
    pub offset: u64,
    /// Number of bytes, as the header declares it; not all of them need to exist.
    pub length: u64,
    /// What it holds.
    pub records: Vec<Record>,
}

/// A structure.
#[derive(Debug, Clone)]
pub struct Record {
    /// What it is, with its number if there are many.
    pub name: String,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Its fields, in the order of their bytes.
    pub fields: Vec<Field>,
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len() + 3))?;
        map.serialize_entry("record", &self.name)?;
        map.serialize_entry("offset", &self.offset)?;
        map.serialize_entry("length", &self.length)?;
        for field in &self.fields {
            map.serialize_entry(field.name, &field.value)?;
        }
        map.end()
    }
}

/// A field of a structure.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name in the specification.
    pub name: &'static str,
    /// First byte.
    pub offset: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its meaning.
    pub value: Value,
}

/// What a field says.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(u64),
    /// Text, or bytes in hexadecimal.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) if *number < 10 => write!(f, "{number}"),
            Self::Number(number) => write!(f, "{number} ({number:#x})"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Dump {
    /// Takes an image apart.
    ///
    /// # Errors
    /// What the storage says. No image is too broken.
    pub fn of(source: &impl Source) -> Result<Self, Error> {
        let size = source.size().map_err(|source| Error::Io { offset: 0, length: 0, source })?;
        let mut header = Header::new_zeroed();
        let bytes = read(source, size, 0, header::SIZE as u64)?;
        if let Some(part) = header.as_mut_bytes().get_mut(..bytes.len()) {
            part.copy_from_slice(&bytes);
        }
        let version_2 =
            header.version == VERSION_2_0 && header.block_table_offset == header::SIZE as u64;
        let mut sections = vec![Section {
            name: "header",
            offset: 0,
            length: header::SIZE as u64,
            records: vec![header_record(&bytes, version_2)],
        }];
        let mut add = |name, offset: u64, length: u64, records: &dyn Fn(&[u8]) -> Vec<Record>| {
            let bytes = read(source, size, offset, length)?;
            sections.push(Section { name, offset, length, records: records(&bytes) });
            Ok::<(), Error>(())
        };
        // Format 2.0 has its metadata and its hash tree in these two pairs of fields. Positions of
        // the metadata's records are those in the inflated metadata.
        let (at, length) = (header.block_table_offset.get(), header.block_table_size.get());
        if version_2 {
            let [plain_size, _] = header.reserved;
            let lists = pages::lists(plain_size.get()).unwrap_or_default();
            add("hash tree", at, length, &|bytes| tree_records(bytes, at, &lists))?;
        } else {
            let (at, length) = (header.toc_offset.get(), header.toc_size.get());
            add("table of contents", at, length, &|bytes| toc_records(bytes, at))?;
        }
        if version_2 {
            let (at, length) = (header.toc_offset.get(), header.toc_size.get());
            let tree =
                read(source, size, header.block_table_offset.get(), header.block_table_size.get())?;
            let [plain_size, _] = header.reserved;
            let lists = pages::lists(plain_size.get()).unwrap_or_default();
            add("metadata", at, length, &|bytes| {
                metadata_records(&inflated(bytes, &tree, &lists, plain_size.get()), 0)
            })?;
        } else {
            add("block table", at, length, &|bytes| block_records(bytes, at))?;
        }
        let (at, length) = (header.manifest_offset.get(), header.manifest_size.get());
        add("manifest", at, length, &|bytes| text_record(bytes, at))?;
        let (at, length) = (header.signature_offset.get(), header.signature_size.get());
        if length > 0 {
            add("signature", at, length, &|bytes| blob_records(bytes, at))?;
        }
        Ok(Self { size, sections })
    }

    /// Writes the annotated hexdump: a line a field with offset, bytes, name and value. Long
    /// fields show their first bytes.
    ///
    /// # Errors
    /// What `out` says.
    pub fn hexdump(&self, out: &mut impl fmt::Write) -> fmt::Result {
        for section in &self.sections {
            writeln!(out, "{} at {:#x}, {} bytes", section.name, section.offset, section.length)?;
            for record in &section.records {
                writeln!(out, "  {}", record.name)?;
                for field in &record.fields {
                    write_field(out, field)?;
                }
            }
        }
        Ok(())
    }
}

fn write_field(out: &mut impl fmt::Write, field: &Field) -> fmt::Result {
    const SHOWN: usize = 8;
    let mut hex = String::new();
    for byte in field.bytes.iter().take(SHOWN) {
        write!(hex, "{byte:02x} ")?;
    }
    if field.bytes.len() > SHOWN {
        hex.push('…');
    }
    writeln!(out, "    {:08x}  {hex:<26}{:<22}{}", field.offset, field.name, field.value)
}

/// The bytes of a range, as far as they exist and the limit goes.
fn read(source: &impl Source, size: u64, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
    let length = length.min(size.saturating_sub(offset)).min(limits::TABLE_BYTES);
    crate::validate::read(source, &(offset.min(size)..offset.min(size).saturating_add(length)))
}

/// Cuts fields off the front of a structure's bytes. Bytes that don't exist make no field.
struct Fields<'b> {
    bytes: &'b [u8],
    offset: u64,
    fields: Vec<Field>,
}

impl<'b> Fields<'b> {
    fn new(bytes: &'b [u8], offset: u64) -> Self {
        Self { bytes, offset, fields: Vec::new() }
    }

    fn take(&mut self, name: &'static str, length: usize, value: impl FnOnce(&[u8]) -> Value) {
        let Some((field, rest)) = self.bytes.split_at_checked(length) else {
            self.bytes = &[];
            return;
        };
        if !field.is_empty() {
            let value = value(field);
            self.fields.push(Field { name, offset: self.offset, bytes: field.to_vec(), value });
        }
        self.bytes = rest;
        self.offset = self.offset.saturating_add(length as u64);
    }

    fn number(&mut self, name: &'static str, length: usize) {
        self.take(name, length, |bytes| Value::Number(little_endian(bytes)));
    }

    fn hex(&mut self, name: &'static str, length: usize) {
        self.take(name, length, |bytes| Value::Text(hex(bytes)));
    }

    fn text(&mut self, name: &'static str, length: usize) {
        self.take(name, length, |bytes| Value::Text(path::display(bytes).into_owned()));
    }

    fn flags(&mut self, name: &'static str, names: impl FnOnce(u32) -> String) {
        self.take(name, 4, |bytes| {
            let bits = u32::try_from(little_endian(bytes)).unwrap_or(0);
            Value::Text(format!("{bits:#x} {}", names(bits)).trim_end().to_owned())
        });
    }

    fn record(self, name: String, offset: u64, length: usize) -> Record {
        Record { name, offset, length: length as u64, fields: self.fields }
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| (number << 8) | u64::from(byte))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn header_record(bytes: &[u8], version_2: bool) -> Record {
    let mut fields = Fields::new(bytes, 0);
    fields.text("Magic", 4);
    fields.take("Version", 4, |bytes| {
        let version = little_endian(bytes);
        Value::Text(format!("{}.{}", version >> 16, version & 0xFFFF))
    });
    fields.flags("Flags", flag_names::<Flags>);
    fields.number("HeaderSize", 4);
    let tables = if version_2 {
        ["MetadataOffset", "MetadataSize", "HashTreeOffset", "HashTreeSize"]
    } else {
        ["TocOffset", "TocSize", "BlockTableOffset", "BlockTableSize"]
    };
    let others = ["ManifestOffset", "ManifestSize", "SignatureOffset", "SignatureSize"];
    for name in tables.into_iter().chain(others) {
        fields.number(name, 8);
    }
    fields.hex("PackageHash", 32);
    if version_2 {
        fields.number("MetadataPlainSize", 8);
        fields.hex("Reserved", 8);
    } else {
        fields.hex("Reserved", 16);
    }
    fields.record("header".into(), 0, header::SIZE)
}

fn toc_records(bytes: &[u8], start: u64) -> Vec<Record> {
    let mut head = Fields::new(bytes, start);
    head.number("EntryCount", 4);
    head.number("Reserved", 4);
    let mut records = vec![head.record("head".into(), start, toc::HEADER_SIZE)];
    let count = TocHeader::read_from_prefix(bytes).map_or(0, |(head, _)| head.entry_count.get());
    let mut rest = bytes.get(toc::HEADER_SIZE..).unwrap_or_default();
    let mut offset = start.saturating_add(toc::HEADER_SIZE as u64);
    for index in 0..count {
        let Ok((entry, _)) = Entry::ref_from_prefix(rest) else { break };
        let size = usize::try_from(entry.entry_size.get()).unwrap_or(usize::MAX);
        let size = size.clamp(toc::ENTRY_SIZE, rest.len());
        let Some((bytes, tail)) = rest.split_at_checked(size) else { break };
        records.push(entry_record(index, entry, bytes, offset));
        rest = tail;
        offset = offset.saturating_add(size as u64);
    }
    records
}

fn entry_record(index: u32, entry: &Entry, bytes: &[u8], offset: u64) -> Record {
    let mut fields = Fields::new(bytes, offset);
    fields.number("EntrySize", 4);
    fields.take("NodeType", 4, |bytes| {
        Value::Text(match little_endian(bytes) {
            1 => "file".into(),
            2 => "folder".into(),
            3 => "folder alias".into(),
            other => format!("{other} (unknown)"),
        })
    });
    fields.flags("EntryFlags", flag_names::<EntryFlags>);
    fields.number("PathLength", 4);
    fields.number("AliasTargetLength", 4);
    fields.take("Permissions", 4, |bytes| Value::Text(format!("{:04o}", little_endian(bytes))));
    fields.take("ModifiedTime", 8, |bytes| {
        let packed = PackedTime(little_endian(bytes));
        let [year, month, day, hour, minute, second, millisecond] = packed.fields();
        Value::Text(if packed == PackedTime::NONE {
            "none".into()
        } else {
            format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"
            )
        })
    });
    fields.number("FileSize", 8);
    fields.number("InlineDataOffset", 8);
    fields.number("InlineDataSize", 4);
    fields.number("BlockIndexStart", 4);
    fields.number("BlockCount", 4);
    fields.hex("FileHash", 32);
    fields.number("Reserved", 4);
    fields.text("Path", usize::try_from(entry.path_length.get()).unwrap_or(usize::MAX));
    fields.text("AliasTarget", usize::try_from(entry.alias_target_length.get()).unwrap_or(0));
    fields.record(format!("entry {index}"), offset, bytes.len())
}

fn block_records(bytes: &[u8], start: u64) -> Vec<Record> {
    let offsets = (start..).step_by(block::SIZE);
    let rows = bytes.chunks_exact(block::SIZE).zip(offsets).enumerate();
    rows.map(|(index, (row, offset))| {
        let mut fields = Fields::new(row, offset);
        fields.number("CompressedOffset", 8);
        fields.number("CompressedSize", 4);
        fields.number("UncompressedSize", 4);
        fields.take("CompressionMethod", 1, |bytes| {
            Value::Text(match little_endian(bytes) {
                0 => "none".into(),
                1 => "zlib".into(),
                other => format!("{other} (unknown)"),
            })
        });
        fields.number("Reserved0", 1);
        fields.number("Reserved1", 2);
        fields.hex("ChunkHash", 32);
        fields.record(format!("block {index}"), offset, size_of::<BlockEntry>())
    })
    .collect()
}

/// Lists of hashes, and at the end the list of metadata pages.
fn tree_records(bytes: &[u8], start: u64, lists: &[Range<u64>]) -> Vec<Record> {
    let bottom = lists.first().map_or(u64::MAX, |list| list.start);
    let (hashes, rows) =
        bytes.split_at(usize::try_from(bottom).map_or(0, |at| at.min(bytes.len())));
    let offsets = (start..).step_by(metadata::HASH_SIZE);
    let hashes = hashes.chunks_exact(metadata::HASH_SIZE).zip(offsets).enumerate();
    let mut records: Vec<_> = hashes
        .map(|(index, (hash, offset))| {
            let mut fields = Fields::new(hash, offset);
            fields.hex("Hash", hash.len());
            fields.record(format!("hash {index}"), offset, hash.len())
        })
        .collect();
    let offsets = (start.saturating_add(bottom)..).step_by(metadata::PAGE_ROW_SIZE);
    let rows = rows.chunks_exact(metadata::PAGE_ROW_SIZE).zip(offsets).enumerate();
    records.extend(rows.map(|(index, (row, offset))| {
        let mut fields = Fields::new(row, offset);
        fields.hex("Hash", metadata::HASH_SIZE);
        fields.number("Offset", 6);
        fields.number("StoredSize", 2);
        fields.record(format!("page {index}"), offset, row.len())
    }));
    records
}

/// The metadata's plain bytes, as far as the pages can be found and inflated.
fn inflated(stored: &[u8], tree: &[u8], lists: &[Range<u64>], plain_size: u64) -> Vec<u8> {
    let mut plain = Vec::new();
    let bottom = lists.first().and_then(|list| usize::try_from(list.start).ok());
    let rows = bottom.and_then(|at| tree.get(at..)).unwrap_or_default();
    for row in rows.chunks_exact(metadata::PAGE_ROW_SIZE) {
        let Ok(row) = PageRow::read_from_bytes(row) else { break };
        let length = plain_size.saturating_sub(plain.len() as u64).min(metadata::PAGE_SIZE as u64);
        let length = usize::try_from(length).unwrap_or(0);
        let size = usize::from(row.stored_size.get());
        let page =
            usize::try_from(row.offset()).ok().and_then(|at| stored.get(at..at.checked_add(size)?));
        let Some(page) = page else { break };
        if size == length {
            plain.extend_from_slice(page);
            continue;
        }
        let mut bytes = vec![0; length];
        if Inflater::default().inflate(page, &mut bytes).is_err() {
            break;
        }
        plain.append(&mut bytes);
    }
    plain
}

/// The superblock, and the rows of the tables as far as it counts them and they exist.
fn metadata_records(bytes: &[u8], start: u64) -> Vec<Record> {
    let mut head = Fields::new(bytes, start);
    head.number("ChunkSize", 4);
    head.number("Reserved", 4);
    for name in [
        "DataSize",
        "NodeCount",
        "EntryCount",
        "ChunkCount",
        "BlockCount",
        "FileHashCount",
        "XattrCount",
    ] {
        head.number(name, 8);
    }
    let mut records = vec![head.record("superblock".into(), start, metadata::SUPERBLOCK_SIZE)];
    let Ok((superblock, _)) = Superblock::read_from_prefix(bytes) else { return records };
    let node: &[_] = &[
        ("KindMode", 2),
        ("Reserved", 2),
        ("Links", 4),
        ("Size", 8),
        ("Seconds", 8),
        ("Nanoseconds", 4),
        ("Xattrs", 4),
        ("First", 4),
        ("Offset", 4),
        ("Own", 4),
        ("Reserved", 4),
    ];
    let entry: &[_] = &[("Node", 4), ("Name", 4), ("NameLength", 2), ("Kind", 2)];
    let block: &[_] = &[
        ("CompressedOffset", 8),
        ("CompressedSize", 4),
        ("UncompressedSize", 4),
        ("CompressionMethod", 1),
        ("Reserved0", 1),
        ("Reserved1", 2),
        ("ChunkHash", 32),
    ];
    let xattr: &[_] =
        &[("Name", 4), ("NameLength", 2), ("Last", 2), ("Value", 4), ("ValueLength", 4)];
    let tables = [
        ("node", superblock.node_count.get(), node),
        ("entry", superblock.entry_count.get(), entry),
        ("chunk", superblock.chunk_count.get(), &[("Block", 4)][..]),
        ("block", superblock.block_count.get(), block),
        ("file hash", superblock.file_hash_count.get(), &[("FileHash", 32)][..]),
        ("attribute", superblock.xattr_count.get(), xattr),
    ];
    let mut rest = bytes.get(metadata::SUPERBLOCK_SIZE..).unwrap_or_default();
    let mut offset = start.saturating_add(metadata::SUPERBLOCK_SIZE as u64);
    for (name, count, layout) in tables {
        let size: usize = layout.iter().map(|(_, length)| length).sum();
        for index in 0..count {
            let Some((row, tail)) = rest.split_at_checked(size) else { return records };
            let mut fields = Fields::new(row, offset);
            for &(name, length) in layout {
                if length > 8 { fields.hex(name, length) } else { fields.number(name, length) }
            }
            records.push(fields.record(format!("{name} {index}"), offset, size));
            rest = tail;
            offset = offset.saturating_add(size as u64);
        }
    }
    let mut strings = Fields::new(rest, offset);
    strings.text("Text", rest.len());
    records.push(strings.record("strings".into(), offset, rest.len()));
    records
}

fn text_record(bytes: &[u8], start: u64) -> Vec<Record> {
    let mut fields = Fields::new(bytes, start);
    fields.take("Text", bytes.len(), |bytes| {
        Value::Text(String::from_utf8_lossy(bytes).escape_debug().to_string())
    });
    vec![fields.record("manifest".into(), start, bytes.len())]
}

fn blob_records(bytes: &[u8], start: u64) -> Vec<Record> {
    let mut fields = Fields::new(bytes, start);
    fields.text("Magic", 4);
    fields.number("Version", 4);
    fields.take("Algorithm", 4, |bytes| {
        Value::Text(match little_endian(bytes) {
            0 => "none".into(),
            1 => "Ed25519".into(),
            2 => "RSA-PKCS1v15-SHA256 (not supported)".into(),
            other => format!("{other} (unknown)"),
        })
    });
    fields.number("Reserved", 4);
    for name in ["PublicKeyOffset", "PublicKeySize", "SignatureOffset", "SignatureSize"] {
        fields.number(name, 8);
    }
    let mut records = vec![fields.record("head".into(), start, blob::SIZE)];
    if let Ok((head, _)) = BlobHeader::read_from_prefix(bytes) {
        for (name, offset, length) in [
            ("PublicKey", head.public_key_offset.get(), head.public_key_size.get()),
            ("Signature", head.signature_offset.get(), head.signature_size.get()),
        ] {
            let part = usize::try_from(offset)
                .ok()
                .zip(usize::try_from(length).ok())
                .and_then(|(from, length)| bytes.get(from..from.checked_add(length)?));
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                let at = start.saturating_add(offset);
                let mut fields = Fields::new(part, at);
                fields.hex(name, part.len());
                records.push(fields.record(name.to_lowercase(), at, part.len()));
            }
        }
    }
    records
}

/// The names of flags, `A | B`; unknown bits in hexadecimal.
fn flag_names<F: bitflags::Flags<Bits = u32>>(bits: u32) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = bitflags::parser::to_writer(&F::from_bits_retain(bits), &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_whatever_there_is() {
        let whole = Dump::of(&b"EPK1".to_vec()).expect("in memory");
        assert_eq!(whole.sections[0].records[0].fields.len(), 1);
        let mut header = Header::new_zeroed();
        header.magic = header::MAGIC.into();
        header.flags = 9.into();
        header.toc_offset = 100.into();
        header.toc_size = u64::MAX.into();
        header.block_table_offset = u64::MAX.into();
        header.block_table_size = u64::MAX.into();
        let dump = Dump::of(&header.as_bytes().to_vec()).expect("in memory");
        let mut text = String::new();
        dump.hexdump(&mut text).expect("to a string");
        assert!(text.contains("0x9 COMPRESSED_BLOCKS | 0x8"), "{text}");
        assert!(text.contains("table of contents at 0x64"), "{text}");
    }
}
