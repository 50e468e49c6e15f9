//! Readers of the formats for tests of the writer, written from the tables of the spec alone, and
//! contents in memory.
#![allow(dead_code, unreachable_pub)]

use std::collections::HashMap;
use std::io::Read;

use epk_format::digest::Sha256;
use epk_format::write::{ContentId, Contents, PlanEntry};

pub mod v2;
pub mod v2_parts;

pub const MANIFEST: &[u8] = b"name = \"org.example.vec\"\nversion = \"1.2.3\"\narch = \"x86-64\"\n\
kernel_api = \"0.5\"\nentry = \"/bin/app\"\n";

/// Bytes that don't compress, the same for one seed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Files in memory.
#[derive(Default, Debug)]
pub struct Files {
    contents: Vec<Vec<u8>>,
    ids: HashMap<String, usize>,
}

impl Files {
    pub fn add(&mut self, path: &str, permissions: u32, bytes: Vec<u8>) -> PlanEntry {
        let id = self.contents.len();
        self.ids.insert(path.to_owned(), id);
        let size = bytes.len() as u64;
        self.contents.push(bytes);
        PlanEntry::file(path, permissions, ContentId(id), size)
    }

    /// A second name of a file.
    pub fn link(&mut self, path: &str, original: &str) {
        self.ids.insert(path.to_owned(), self.ids[original]);
    }

    pub fn bytes(&self, path: &str) -> &[u8] {
        &self.contents[self.ids[path]]
    }
}

impl Contents for Files {
    fn open(&self, id: ContentId, path: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
        assert_eq!(self.ids[std::str::from_utf8(path).expect("text")], id.0);
        Ok(Box::new(self.contents[id.0].as_slice()))
    }
}

pub struct Entry {
    pub node_type: u32,
    pub flags: u32,
    pub permissions: u32,
    pub modified: u64,
    pub size: u64,
    pub inline_offset: u64,
    pub inline_size: u32,
    pub block_start: u32,
    pub block_count: u32,
    pub hash: [u8; 32],
    pub reserved: u32,
    pub path: String,
    pub target: String,
}

pub struct Row {
    pub offset: u64,
    pub stored_size: u32,
    pub plain_size: u32,
    pub method: u8,
    pub hash: [u8; 32],
}

/// An image taken apart. Whatever holds for every image of the packer is asserted on the way.
pub struct Decoded<'a> {
    pub bytes: &'a [u8],
    pub flags: u32,
    pub toc: (u64, u64),
    pub block_table: (u64, u64),
    pub manifest: (u64, u64),
    pub signature: (u64, u64),
    pub package_hash: [u8; 32],
    pub entries: Vec<Entry>,
    pub blocks: Vec<Row>,
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

pub fn hash_at(bytes: &[u8], at: usize) -> [u8; 32] {
    bytes[at..at + 32].try_into().expect("32 bytes")
}

impl<'a> Decoded<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        assert_eq!(u32_at(bytes, 0), 0x314B_5045);
        assert_eq!(u32_at(bytes, 4), 0x0001_0000);
        assert_eq!(u32_at(bytes, 12), 128);
        assert_eq!(bytes[112..128], [0; 16]);
        let pair = |at| (u64_at(bytes, at), u64_at(bytes, at + 8));
        let mut decoded = Self {
            bytes,
            flags: u32_at(bytes, 8),
            toc: pair(16),
            block_table: pair(32),
            manifest: pair(48),
            signature: pair(64),
            package_hash: hash_at(bytes, 80),
            entries: Vec::new(),
            blocks: Vec::new(),
        };
        decoded.read_toc();
        decoded.read_blocks();
        decoded.check_layout();
        decoded.check_hash();
        decoded
    }

    fn read_toc(&mut self) {
        let toc = self.section(self.toc);
        let count = u32_at(toc, 0);
        assert_eq!(u32_at(toc, 4), 0);
        let mut at = 8;
        for _ in 0..count {
            let size = u32_at(toc, at) as usize;
            let entry = &toc[at..at + size];
            let (path, target) = (u32_at(entry, 12) as usize, u32_at(entry, 16) as usize);
            assert_eq!(size, 96 + path + target);
            let text = |from: usize, length: usize| {
                String::from_utf8(entry[from..from + length].to_vec()).expect("text")
            };
            self.entries.push(Entry {
                node_type: u32_at(entry, 4),
                flags: u32_at(entry, 8),
                permissions: u32_at(entry, 20),
                modified: u64_at(entry, 24),
                size: u64_at(entry, 32),
                inline_offset: u64_at(entry, 40),
                inline_size: u32_at(entry, 48),
                block_start: u32_at(entry, 52),
                block_count: u32_at(entry, 56),
                hash: hash_at(entry, 60),
                reserved: u32_at(entry, 92),
                path: text(96, path),
                target: text(96 + path, target),
            });
            at += size;
        }
        assert_eq!(at, toc.len());
        assert!(self.entries.is_sorted_by(|left, right| left.path < right.path));
    }

    fn read_blocks(&mut self) {
        let table = self.section(self.block_table);
        assert_eq!(table.len() % 52, 0);
        for row in table.chunks(52) {
            assert_eq!(row[17..20], [0; 3]);
            self.blocks.push(Row {
                offset: u64_at(row, 0),
                stored_size: u32_at(row, 8),
                plain_size: u32_at(row, 12),
                method: row[16],
                hash: hash_at(row, 20),
            });
        }
    }

    /// Everything lies back to back, and the file ends with the last section.
    fn check_layout(&self) {
        assert_eq!(self.toc.0, 128);
        assert_eq!(self.block_table.0, self.toc.0 + self.toc.1);
        let mut at = self.block_table.0 + self.block_table.1;
        for block in &self.blocks {
            assert_eq!(block.offset, at);
            at += u64::from(block.stored_size);
        }
        assert_eq!(self.manifest.0, at);
        let signed = self.flags & 2 != 0;
        assert_eq!(signed, self.signature.1 != 0);
        let end = self.manifest.0 + self.manifest.1;
        assert_eq!(self.signature.0, if signed { end } else { 0 });
        assert_eq!(self.bytes.len() as u64, end + self.signature.1);
        let compressed = self.blocks.iter().any(|block| block.method == 1);
        assert_eq!(self.flags & 1 != 0, compressed);
        assert_eq!(self.flags & !3, 0);
    }

    fn check_hash(&self) {
        let mut plain = self.bytes.to_vec();
        plain[80..112].fill(0);
        plain.truncate(plain.len() - self.signature.1 as usize);
        assert_eq!(Sha256::of(&plain).0, self.package_hash);
    }

    fn section(&self, (offset, size): (u64, u64)) -> &'a [u8] {
        &self.bytes[offset as usize..(offset + size) as usize]
    }

    pub fn blocks_of(&self, entry: &Entry) -> &[Row] {
        &self.blocks[entry.block_start as usize..(entry.block_start + entry.block_count) as usize]
    }

    /// A file's bytes, each block's hash checked.
    pub fn content(&self, entry: &Entry) -> Vec<u8> {
        let mut content = Vec::new();
        for block in self.blocks_of(entry) {
            let stored = self.section((block.offset, u64::from(block.stored_size)));
            let plain = match block.method {
                0 => stored.to_vec(),
                1 => {
                    let mut plain = Vec::new();
                    let mut decoder = flate2::read::ZlibDecoder::new(stored);
                    decoder.read_to_end(&mut plain).expect("a zlib stream");
                    assert_eq!(decoder.total_in(), u64::from(block.stored_size));
                    plain
                }
                other => panic!("method {other}"),
            };
            assert_eq!(plain.len(), block.plain_size as usize);
            assert_eq!(Sha256::of(&plain).0, block.hash);
            content.extend(plain);
        }
        content
    }
}
