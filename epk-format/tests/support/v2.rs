//! A reader of format 2.0 for tests of the writer, written from `spec/epk-2.0.md` alone. It walks
//! the whole image and asserts every rule on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use epk_format::digest::Sha256;

use super::{hash_at, u32_at, u64_at};

const PAGE: usize = 16_384;
const ZERO_CHUNK: u32 = 0xFFFF_FFFF;

/// What the image shows at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub node: u32,
    pub mode: u32,
    pub links: u32,
    pub time: (i64, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    File(Vec<u8>),
    Folder,
    Symlink(Vec<u8>),
    /// The path of the folder.
    Alias(String),
}

pub struct Node {
    pub kind: u16,
    pub mode: u32,
    pub links: u32,
    pub size: u64,
    pub seconds: i64,
    pub nanoseconds: u32,
    pub xattrs: u32,
    pub first: u32,
    pub offset: u32,
    pub own: u32,
}

pub struct Entry {
    pub node: u32,
    pub name: Vec<u8>,
    pub kind: u16,
}

pub struct Block {
    pub offset: u64,
    pub stored: u32,
    pub plain: u32,
    pub method: u8,
    pub hash: [u8; 32],
}

/// An image taken apart.
pub struct Image<'a> {
    pub bytes: &'a [u8],
    pub package_hash: [u8; 32],
    pub manifest: &'a [u8],
    pub signature: &'a [u8],
    pub metadata: Vec<u8>,
    pub chunk_size: u64,
    pub nodes: Vec<Node>,
    pub entries: Vec<Entry>,
    pub chunks: Vec<u32>,
    pub blocks: Vec<Block>,
    pub hashes: Vec<[u8; 32]>,
    /// Where the rows of attributes begin in the metadata, and how many there are.
    xattrs: (usize, usize),
    strings: Vec<u8>,
    plain: Vec<Vec<u8>>,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

/// Inflates exactly one stream.
fn inflate(stored: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = flate2::read::ZlibDecoder::new(stored);
    decoder.read_to_end(&mut plain).expect("a zlib stream");
    assert_eq!(decoder.total_in(), stored.len() as u64);
    plain
}

impl<'a> Image<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        assert_eq!(&bytes[..8], b"EPK1\0\0\x02\0");
        let flags = u32_at(bytes, 8);
        assert_eq!(flags & !2, 0);
        assert_eq!(u32_at(bytes, 12), 128);
        assert_eq!(bytes[0x78..0x80], [0; 8]);
        let pair = |at| (u64_at(bytes, at) as usize, u64_at(bytes, at + 8) as usize);
        let (metadata, tree) = (pair(0x10), pair(0x20));
        let (manifest, signature) = (pair(0x30), pair(0x40));
        // Each section begins where the one before it ends.
        assert_eq!(tree.0, 128);
        assert_eq!(manifest.0, tree.0 + tree.1);
        assert_eq!(flags & 2 != 0, signature.1 != 0);
        let end = manifest.0 + manifest.1;
        assert_eq!(signature.0, if signature.1 == 0 { 0 } else { end });
        assert_eq!(metadata.0, end + signature.1);
        assert!(manifest.1 <= 1 << 20 && signature.1 <= 1 << 16);
        let section = |(offset, size): (usize, usize)| &bytes[offset..offset + size];
        let mut image = Self {
            bytes,
            package_hash: hash_at(bytes, 0x50),
            manifest: section(manifest),
            signature: section((signature.0.max(128), signature.1)),
            metadata: Vec::new(),
            chunk_size: 0,
            nodes: Vec::new(),
            entries: Vec::new(),
            chunks: Vec::new(),
            blocks: Vec::new(),
            hashes: Vec::new(),
            xattrs: (0, 0),
            strings: Vec::new(),
            plain: Vec::new(),
        };
        image.check_tree(section(tree), section(metadata));
        image.read_tables(metadata.0 + metadata.1);
        image.check_blocks(metadata.0 + metadata.1);
        image.check_chunks();
        image.check_entries();
        image
    }

    /// Pages of metadata lie one after another, under their rows; lists of rows and hashes under
    /// the hashes of the level above.
    fn check_tree(&mut self, tree: &[u8], stored: &[u8]) {
        let plain = u64_at(self.bytes, 0x70) as usize;
        let pages = plain.div_ceil(PAGE);
        let mut sizes = vec![(pages * 40, 409 * 40)];
        let mut count = pages.div_ceil(409);
        while count > 1 {
            sizes.insert(0, (count * 32, PAGE));
            count = count.div_ceil(512);
        }
        assert_eq!(sizes.iter().map(|(size, _)| size).sum::<usize>(), tree.len());
        let mut rest = tree;
        let mut levels = Vec::new();
        for &(size, page) in &sizes {
            let (level, tail) = rest.split_at(size);
            levels.push((level, page));
            rest = tail;
        }
        for pair in levels.windows(2) {
            let below = pair[1].0.chunks(pair[1].1).flat_map(|page| Sha256::of(page).0);
            assert!(below.eq(pair[0].0.iter().copied()));
        }
        let mut end = 0;
        for row in levels.last().expect("a level").0.chunks(40) {
            let offset = (u64_at(row, 32) & 0xFFFF_FFFF_FFFF) as usize;
            let size = usize::from(u16_at(row, 38));
            assert_eq!(offset, end);
            let page = &stored[offset..offset + size];
            assert_eq!(Sha256::of(page).0, hash_at(row, 0));
            let length = PAGE.min(plain - self.metadata.len());
            let whole = if size == length { page.to_vec() } else { inflate(page) };
            assert_eq!(whole.len(), length);
            self.metadata.extend(whole);
            end += size;
        }
        assert_eq!((end, self.metadata.len()), (stored.len(), plain));
        let mut header = self.bytes[..128].to_vec();
        header[0x50..0x70].fill(0);
        header.extend(Sha256::of(self.manifest).0);
        header.extend(Sha256::of(levels[0].0).0);
        assert_eq!(Sha256::of(&header).0, self.package_hash);
    }

    fn read_tables(&mut self, data: usize) {
        let held = self.metadata.clone();
        let metadata = held.as_slice();
        self.chunk_size = u32_at(metadata, 0).into();
        assert!(self.chunk_size.is_power_of_two());
        assert!((4096..=1 << 20).contains(&self.chunk_size));
        assert_eq!(u32_at(metadata, 4), 0);
        assert_eq!(u64_at(metadata, 8), (self.bytes.len() - data) as u64);
        let sizes = [48, 12, 4, 52, 32, 16];
        let mut starts = vec![64];
        let mut counts = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            let count = u64_at(metadata, 16 + number * 8) as usize;
            counts.push(count);
            starts.push(starts[number] + count * size);
        }
        assert!(counts[0] >= 1);
        let rows = |table: usize| metadata[starts[table]..starts[table + 1]].chunks(sizes[table]);
        self.strings = metadata[starts[6]..].to_vec();
        self.xattrs = (starts[5], counts[5]);
        for row in rows(0) {
            assert_eq!((u16_at(row, 2), u32_at(row, 0x2C)), (0, 0));
            let kind_mode = u16_at(row, 0);
            assert_eq!(kind_mode & 0o7000, 0);
            self.nodes.push(Node {
                kind: kind_mode >> 12,
                mode: (kind_mode & 0o777).into(),
                links: u32_at(row, 4),
                size: u64_at(row, 8),
                seconds: u64_at(row, 0x10).cast_signed(),
                nanoseconds: u32_at(row, 0x18),
                xattrs: u32_at(row, 0x1C),
                first: u32_at(row, 0x20),
                offset: u32_at(row, 0x24),
                own: u32_at(row, 0x28),
            });
        }
        for row in rows(1) {
            let name = self.string(u32_at(row, 4), u16_at(row, 8).into()).to_vec();
            self.entries.push(Entry { node: u32_at(row, 0), name, kind: u16_at(row, 10) });
        }
        self.chunks = rows(2).map(|row| u32_at(row, 0)).collect();
        for row in rows(3) {
            assert_eq!(row[17..20], [0; 3]);
            self.blocks.push(Block {
                offset: u64_at(row, 0),
                stored: u32_at(row, 8),
                plain: u32_at(row, 12),
                method: row[16],
                hash: hash_at(row, 20),
            });
        }
        self.hashes = rows(4).map(|row| hash_at(row, 0)).collect();
    }

    fn string(&self, place: u32, length: usize) -> &[u8] {
        &self.strings[place as usize..place as usize + length]
    }

    /// The blocks tile the data section, and each is what its row says.
    fn check_blocks(&mut self, data: usize) {
        let mut at = 0;
        for block in &self.blocks {
            assert_eq!(block.offset, at);
            assert!(block.stored > 0 && block.plain > 0);
            assert!(u64::from(block.plain) <= self.chunk_size);
            let start = data + at as usize;
            let stored = &self.bytes[start..start + block.stored as usize];
            assert_eq!(Sha256::of(stored).0, block.hash);
            let plain = match block.method {
                0 => stored.to_vec(),
                1 => inflate(stored),
                other => panic!("method {other}"),
            };
            assert_eq!(plain.len(), block.plain as usize);
            self.plain.push(plain);
            at += u64::from(block.stored);
        }
        assert_eq!(data as u64 + at, self.bytes.len() as u64);
    }

    /// Every block is some chunk's, no two are alike, every chunk some file's.
    fn check_chunks(&self) {
        let used: BTreeSet<_> = self.chunks.iter().filter(|&&c| c != ZERO_CHUNK).collect();
        assert!(used.iter().copied().copied().eq(0..self.blocks.len() as u32));
        let distinct: BTreeSet<_> = self.plain.iter().collect();
        assert_eq!(distinct.len(), self.plain.len());
        assert!(self.plain.iter().all(|plain| plain.iter().any(|&byte| byte != 0)));
        let mut seen = vec![false; self.chunks.len()];
        for node in self.nodes.iter().filter(|node| node.kind == 1 && node.size > 0) {
            let count = (u64::from(node.offset) + node.size).div_ceil(self.chunk_size) as usize;
            seen[node.first as usize..node.first as usize + count].fill(true);
        }
        assert!(seen.into_iter().all(|seen| seen));
    }

    /// The runs of entries tile the table; nodes and entries agree.
    fn check_entries(&self) {
        let (mut entry, mut xattr) = (0, 0);
        let mut names = vec![0; self.nodes.len()];
        let mut inside = vec![0; self.nodes.len()];
        for (number, node) in (0u32..).zip(&self.nodes) {
            assert!(node.nanoseconds < 1_000_000_000);
            if node.xattrs > 0 {
                assert_eq!(node.xattrs - 1, xattr);
                xattr += u32::try_from(self.xattrs(node).len()).expect("few");
            }
            if node.kind != 2 {
                continue;
            }
            assert_eq!(node.first, entry, "folder {number}");
            let run = &self.entries[entry as usize..entry as usize + node.size as usize];
            assert!(run.is_sorted_by(|a, b| a.name < b.name));
            for (own, row) in (entry..).zip(run) {
                assert!(std::str::from_utf8(&row.name).is_ok());
                let target = &self.nodes[row.node as usize];
                assert_eq!(row.kind, target.kind);
                names[row.node as usize] += 1;
                if target.kind == 2 {
                    assert!(row.node > number);
                    inside[number as usize] += 1;
                }
                if matches!(target.kind, 2 | 4) {
                    assert_eq!((target.own, target.offset), (own, number));
                }
            }
            entry += run.len() as u32;
        }
        assert_eq!(entry as usize, self.entries.len());
        assert_eq!(xattr as usize, self.xattrs.1);
        assert_eq!((self.nodes[0].kind, self.nodes[0].offset, self.nodes[0].own), (2, 0, 0));
        for (number, node) in self.nodes.iter().enumerate() {
            let (links, names) = match node.kind {
                1 | 3 => (names[number], names[number].max(1)),
                2 => (2 + inside[number], u32::from(number != 0)),
                4 => (1, 1),
                other => panic!("kind {other}"),
            };
            assert_eq!(node.links, links, "node {number}");
            assert_eq!(names, if node.kind == 2 { names } else { links });
            if node.kind == 3 {
                assert_eq!((node.mode, node.offset, node.own), (0o777, 0, 0));
            }
            if node.kind == 1 && node.size == 0 {
                assert_eq!((node.first, node.offset, node.own), (0, 0, 0));
            }
        }
    }

    fn xattrs(&self, node: &Node) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        if node.xattrs == 0 {
            return found;
        }
        for number in node.xattrs as usize - 1..self.xattrs.1 {
            let row = &self.metadata[self.xattrs.0 + 16 * number..][..16];
            let name = self.string(u32_at(row, 0), u16_at(row, 4).into());
            assert!(name.starts_with(b"user.") && (6..=255).contains(&name.len()));
            assert!(u32_at(row, 12) <= 65_536);
            let value = self.string(u32_at(row, 8), u32_at(row, 12) as usize);
            found.push((name.to_vec(), value.to_vec()));
            match u16_at(row, 6) {
                1 => break,
                last => assert_eq!(last, 0),
            }
        }
        assert!(found.is_sorted_by(|a, b| a.0 < b.0));
        found
    }

    /// A file's bytes, by the rule of §4.4, its hash checked.
    pub fn content(&self, node: &Node) -> Vec<u8> {
        let mut content = Vec::new();
        if node.size == 0 {
            return content;
        }
        if node.offset != 0 {
            assert!(u64::from(node.offset) + node.size <= self.chunk_size);
        }
        let rows = if node.offset == 0 { node.size.div_ceil(self.chunk_size) } else { 1 };
        for row in 0..rows as usize {
            let (start, left) = (node.offset as usize, node.size as usize - content.len());
            let wanted = left.min(self.chunk_size as usize);
            match self.chunks[node.first as usize + row] {
                ZERO_CHUNK => content.resize(content.len() + wanted, 0),
                block => {
                    let plain = &self.plain[block as usize];
                    if left > self.chunk_size as usize {
                        assert_eq!(plain.len() as u64, self.chunk_size);
                    }
                    content.extend(&plain[start..start + wanted]);
                }
            }
        }
        assert_eq!(Sha256::of(&content).0, self.hashes[node.own as usize]);
        content
    }

    /// Everything by its path; the root's is empty.
    pub fn shown(&self) -> BTreeMap<String, Shown> {
        let mut paths: BTreeMap<u32, String> = BTreeMap::from([(0, String::new())]);
        let mut found = BTreeMap::new();
        for (number, node) in (0u32..).zip(&self.nodes).filter(|(_, node)| node.kind == 2) {
            let path = paths[&number].clone();
            let run = &self.entries[node.first as usize..][..node.size as usize];
            for entry in run {
                let name = std::str::from_utf8(&entry.name).expect("text");
                let path = if path.is_empty() { name.into() } else { format!("{path}/{name}") };
                assert!(path.len() <= 4095);
                if entry.kind == 2 {
                    paths.insert(entry.node, path.clone());
                }
                found.insert(path, entry.node);
            }
        }
        found.insert(String::new(), 0);
        let show = |(path, number): (String, u32)| {
            let node = &self.nodes[number as usize];
            let what = match node.kind {
                1 => What::File(self.content(node)),
                2 => What::Folder,
                3 => What::Symlink(self.string(node.first, node.size as usize).to_vec()),
                _ => What::Alias(paths[&node.first].clone()),
            };
            let shown = Shown {
                node: number,
                mode: node.mode,
                links: node.links,
                time: (node.seconds, node.nanoseconds),
                xattrs: self.xattrs(node),
                what,
            };
            (path, shown)
        };
        found.into_iter().map(show).collect()
    }
}
