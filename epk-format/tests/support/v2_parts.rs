//! An image of format 2.0 in its parts, to be changed and put together again with every hash right.

use std::io::Cursor;

use epk_format::digest::Sha256;
use epk_format::write::{self, Compression, Format, Options, Plan, PlanEntry, Xattr};

use super::{Files, MANIFEST, noise};

pub const PAGE: usize = 16_384;
pub const CHUNK: usize = 4096;
/// Bytes of a row of each table, and their numbers.
pub const ROWS: [usize; 6] = [48, 12, 4, 52, 32, 16];
pub const NODES: usize = 0;
pub const ENTRIES: usize = 1;
pub const CHUNKS: usize = 2;
pub const BLOCKS: usize = 3;
pub const HASHES: usize = 4;
pub const XATTRS: usize = 5;

/// An image in its parts, to be changed and put together again.
#[derive(Clone)]
pub struct Image {
    pub header: Vec<u8>,
    pub manifest: Vec<u8>,
    pub blob: Vec<u8>,
    pub metadata: Vec<u8>,
    pub data: Vec<u8>,
    /// How a page of metadata is stored, given its number.
    pub page: fn(Vec<u8>, usize) -> Vec<u8>,
    /// What is changed in the list of pages.
    pub row: fn(&mut [u8]),
    /// Bytes of metadata before the first page, and after the last.
    pub before: usize,
    pub behind: usize,
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[allow(clippy::new_without_default)]
impl Image {
    /// Every kind of node; contents in shared and own chunks, plain, compressed and of zeros.
    pub fn new() -> Self {
        let mut files = Files::default();
        let mut entries = vec![
            files.add("bin/app", 0o755, b"a small file\n".to_vec()),
            files.add("bin/other", 0o755, b"another one\n".to_vec()),
            files.add("empty", 0o644, Vec::new()),
            files.add("large", 0o644, noise(CHUNK * 2 + 100, 1)),
            files.add("text", 0o644, b"all work and no play\n".repeat(150)),
            files.add("zeros", 0o644, vec![0; CHUNK * 3]),
            PlanEntry::symlink("link", "bin/app"),
            PlanEntry::alias("lib64", "/bin"),
        ];
        let xattr = |name: &str, value: &[u8]| Xattr { name: name.into(), value: value.to_vec() };
        entries[0].xattrs = vec![xattr("user.a", b"1"), xattr("user.b", b"value")];
        // A value that lies on the second page of the metadata.
        entries[3].xattrs = vec![xattr("user.c", &[b'c'; PAGE])];
        let plan = Plan::new(Format::V2, entries).expect("a plan");
        let options =
            Options { chunk_size: 4096, compression: Compression::Auto, ..Options::default() };
        let mut out = Cursor::new(Vec::new());
        write::write(&plan, &files, MANIFEST, &options, None, &(), &mut out).expect("written");
        let bytes = out.into_inner();
        let end = (u64_at(&bytes, 0x10) + u64_at(&bytes, 0x18)) as usize;
        Self {
            header: bytes[..128].to_vec(),
            manifest: MANIFEST.to_vec(),
            blob: Vec::new(),
            metadata: super::v2::Image::new(&bytes).metadata,
            data: bytes[end..].to_vec(),
            page: |page, _| page,
            row: |_| {},
            before: 0,
            behind: 0,
        }
    }

    pub fn count(&self, table: usize) -> usize {
        u64_at(&self.metadata, 0x10 + 8 * table) as usize
    }

    pub fn start(&self, table: usize) -> usize {
        let rows = |table| self.count(table).wrapping_mul(ROWS[table]);
        (0..table).map(rows).fold(64, usize::wrapping_add)
    }

    pub fn row(&mut self, table: usize, number: usize) -> &mut [u8] {
        assert!(number < self.count(table), "no row {number} in table {table}");
        let at = self.start(table) + number * ROWS[table];
        &mut self.metadata[at..at + ROWS[table]]
    }

    /// Appends a row to a table.
    pub fn push(&mut self, table: usize, row: &[u8]) {
        assert_eq!(row.len(), ROWS[table]);
        let end = self.start(table + 1);
        self.metadata.splice(end..end, row.iter().copied());
        let count = self.count(table) as u64 + 1;
        put(&mut self.metadata, 0x10 + 8 * table, &count.to_le_bytes());
    }

    pub fn strings(&mut self) -> &mut Vec<u8> {
        &mut self.metadata
    }

    /// The number of the node at a path of one or two names.
    pub fn node(&self, path: &str) -> usize {
        let mut node = 0;
        for name in path.split('/') {
            node = u32_at(&self.metadata, self.entry(node, name)) as usize;
        }
        node
    }

    /// Where the entry of this name in a folder lies.
    pub fn entry(&self, folder: usize, name: &str) -> usize {
        let row = self.start(NODES) + folder * 48;
        let first = u32_at(&self.metadata, row + 0x20) as usize;
        let count = u64_at(&self.metadata, row + 8) as usize;
        let strings = self.start(6);
        (first..first + count)
            .map(|number| self.start(ENTRIES) + 12 * number)
            .find(|&at| {
                let place = strings + u32_at(&self.metadata, at + 4) as usize;
                self.metadata[place..].starts_with(name.as_bytes())
                    && usize::from(self.metadata[at + 8]) == name.len()
            })
            .unwrap_or_else(|| panic!("no `{name}` in node {folder}"))
    }

    /// A field of the node at a path.
    pub fn set(&mut self, path: &str, field: usize, value: &[u8]) {
        let node = if path.is_empty() { 0 } else { self.node(path) };
        put(self.row(NODES, node), field, value);
    }

    /// A field of the entry at a path of one name.
    pub fn set_entry(&mut self, name: &str, field: usize, value: &[u8]) {
        let at = self.entry(0, name);
        put(&mut self.metadata, at + field, value);
    }

    /// Puts it together: sections one after another, and every hash right.
    pub fn bytes(&self) -> Vec<u8> {
        let (mut tree, mut stored) = (Vec::new(), vec![0; self.before]);
        for (number, page) in self.metadata.chunks(PAGE).enumerate() {
            let page = (self.page)(page.to_vec(), number);
            let place = stored.len() as u64 | (page.len() as u64) << 48;
            tree.extend(Sha256::of(&page).0);
            tree.extend(place.to_le_bytes());
            stored.extend(page);
        }
        stored.resize(stored.len() + self.behind, 0);
        assert!(tree.len() <= PAGE, "one level");
        (self.row)(&mut tree);
        let mut header = self.header.clone();
        let mut at = 128;
        let signature = if self.blob.is_empty() { (0, 0) } else { (1, self.blob.len()) };
        for (field, size) in [(0x20, tree.len()), (0x30, self.manifest.len())] {
            put(&mut header, field, &(at as u64).to_le_bytes());
            put(&mut header, field + 8, &(size as u64).to_le_bytes());
            at += size;
        }
        put(&mut header, 0x40, &(signature.0 * at as u64).to_le_bytes());
        put(&mut header, 0x48, &(signature.1 as u64).to_le_bytes());
        header[8] = if self.blob.is_empty() { 0 } else { 2 };
        at += self.blob.len();
        put(&mut header, 0x10, &(at as u64).to_le_bytes());
        put(&mut header, 0x18, &(stored.len() as u64).to_le_bytes());
        put(&mut header, 0x70, &(self.metadata.len() as u64).to_le_bytes());
        let parts: [&[u8]; 6] = [&header, &tree, &self.manifest, &self.blob, &stored, &self.data];
        let mut bytes = parts.concat();
        seal(&mut bytes);
        bytes
    }
}

/// Writes PackageHash as it should be.
pub fn seal(bytes: &mut [u8]) {
    let (tree, tree_size) = (128, u64_at(bytes, 0x28) as usize);
    let (manifest, size) = (u64_at(bytes, 0x30) as usize, u64_at(bytes, 0x38) as usize);
    bytes[0x50..0x70].fill(0);
    let mut hashed = bytes[..128].to_vec();
    hashed.extend(Sha256::of(&bytes[manifest..manifest + size]).0);
    hashed.extend(Sha256::of(&bytes[tree..tree + tree_size]).0);
    put(bytes, 0x50, &Sha256::of(&hashed).0);
}
