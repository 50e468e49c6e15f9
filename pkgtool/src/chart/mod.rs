//! A package as a picture: a page that shows where its bytes are, how well they compress, what is
//! shared, and what a start reads.

mod page;
mod treemap;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use epk_format::Package;
use epk_format::package::{BlockIndex, Kind, NodeId, Piece};

use crate::exit::Failure;
use crate::select;

pub(crate) use page::to_html;

/// A package's tree, with what each part of it takes.
pub(crate) struct Contents {
    /// The root first, each folder before what is in it.
    entries: Vec<Entry>,
    /// Places of what is in each folder.
    children: Vec<Vec<usize>>,
    /// Places of the files that a start reads, in the order of their first reads.
    start: Vec<usize>,
    /// Lines of the profile that name no file, or one again.
    strangers: usize,
    /// Bytes that more than one file has, and which files have them.
    shared: Vec<Shared>,
    /// Bytes of blocks, as they are stored.
    blocks_stored: u64,
}

/// A file or folder.
pub(crate) struct Entry {
    /// From the root, without a slash before it. Of a file with several names one.
    path: Vec<u8>,
    folder: Option<usize>,
    is_folder: bool,
    /// Number of names.
    names: u32,
    /// Bytes of content; of folders all in them.
    size: u64,
    /// What that takes in the image: of each block as much as the file has of it.
    stored: u64,
    /// Bytes of content that other files have, too.
    shared: u64,
    /// Where in the image its first block lies.
    offset: Option<u64>,
    /// Which of the files that a start reads it is, from 0.
    touched: Option<usize>,
}

/// Bytes that several files have.
struct Shared {
    bytes: u64,
    files: Vec<usize>,
}

/// A part of a block: its first byte and its length.
type Part = (BlockIndex, u32, u32);

impl Contents {
    /// Reads all of a package's metadata.
    pub(crate) fn of(
        package: &Package<File>,
        file: &Path,
        profile: &[Vec<u8>],
    ) -> Result<Self, Failure> {
        let failed = |error: epk_format::Error| Failure::package(file, &error);
        let root = Entry { is_folder: true, names: 1, ..Entry::nameless() };
        let mut contents = Self {
            entries: vec![root],
            children: vec![Vec::new()],
            start: Vec::new(),
            strangers: 0,
            shared: Vec::new(),
            blocks_stored: 0,
        };
        let mut folders: HashMap<Vec<u8>, usize> = HashMap::from([(Vec::new(), 0)]);
        let mut by_path: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut by_node: HashMap<NodeId, usize> = HashMap::new();
        let mut parts: HashMap<Part, Vec<usize>> = HashMap::new();
        select::walk(package, file, &[], |visit| {
            let kind = visit.node.kind;
            if kind == Kind::Link {
                return Ok(());
            }
            if let Some(&known) = by_node.get(&visit.node.id) {
                by_path.insert(visit.path.to_vec(), known);
                return Ok(());
            }
            let place = contents.entries.len();
            let above = visit.path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            let folder = folders.get(visit.path.get(..above).unwrap_or_default()).copied();
            let mut entry = Entry {
                path: visit.path.to_vec(),
                folder,
                is_folder: kind == Kind::Folder,
                names: visit.node.links,
                size: if kind == Kind::File { visit.node.size } else { 0 },
                ..Entry::nameless()
            };
            if kind == Kind::File {
                by_node.insert(visit.node.id, place);
                by_path.insert(visit.path.to_vec(), place);
                for piece in package.pieces(visit.node.id, 0..u64::MAX).map_err(failed)? {
                    match piece.map_err(failed)? {
                        Piece::Bytes(bytes) => entry.stored += bytes.len() as u64,
                        Piece::Zeros { .. } => {}
                        Piece::Block { index, start, length, plain_size } => {
                            let block = package.block(index).map_err(failed)?;
                            entry.offset = entry.offset.or(Some(block.offset));
                            let part = u64::from(block.stored_size) * u64::from(length);
                            entry.stored += part.div_ceil(u64::from(plain_size.max(1)));
                            parts.entry((index, start, length)).or_default().push(place);
                        }
                    }
                }
            } else {
                folders.insert(visit.path.to_vec(), place);
            }
            if let Some(siblings) = folder.and_then(|folder| contents.children.get_mut(folder)) {
                siblings.push(place);
            }
            contents.entries.push(entry);
            contents.children.push(Vec::new());
            Ok(())
        })?;
        for index in (0..package.block_count()).map(BlockIndex) {
            let stored = package.block(index).map_err(failed)?.stored_size;
            contents.blocks_stored += u64::from(stored);
        }
        contents.share(parts);
        contents.touch(profile, &by_path);
        contents.add_up();
        Ok(contents)
    }

    /// Notes what several files have. The same bytes twice in one file are its own affair.
    fn share(&mut self, parts: HashMap<Part, Vec<usize>>) {
        let mut groups: HashMap<Vec<usize>, u64> = HashMap::new();
        for ((_, _, length), mut files) in parts {
            files.dedup();
            if files.len() < 2 {
                continue;
            }
            for file in &files {
                if let Some(entry) = self.entries.get_mut(*file) {
                    entry.shared += u64::from(length);
                }
            }
            *groups.entry(files).or_default() += u64::from(length);
        }
        let groups = groups.into_iter().map(|(files, bytes)| Shared { bytes, files });
        self.shared = groups.collect();
        // What saves most first, then the order of the files.
        self.shared.sort_by(|a, b| b.saved().cmp(&a.saved()).then_with(|| a.files.cmp(&b.files)));
    }

    fn touch(&mut self, profile: &[Vec<u8>], by_path: &HashMap<Vec<u8>, usize>) {
        for path in profile {
            let order = self.start.len();
            let place = by_path.get(path).copied();
            match place.and_then(|place| self.entries.get_mut(place)) {
                Some(entry) if entry.touched.is_none() => {
                    entry.touched = Some(order);
                    self.start.extend(place);
                }
                _ => self.strangers += 1,
            }
        }
    }

    /// Gives folders what is in them.
    fn add_up(&mut self) {
        for place in (1..self.entries.len()).rev() {
            let Some(entry) = self.entries.get(place) else { continue };
            let (size, stored, shared) = (entry.size, entry.stored, entry.shared);
            if let Some(folder) = entry.folder.and_then(|folder| self.entries.get_mut(folder)) {
                folder.size = folder.size.saturating_add(size);
                folder.stored = folder.stored.saturating_add(stored);
                folder.shared = folder.shared.saturating_add(shared);
            }
        }
    }

    fn files(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.is_folder)
    }
}

impl Shared {
    /// Bytes that would be there, were nothing shared.
    fn saved(&self) -> u64 {
        self.bytes.saturating_mul(self.files.len().saturating_sub(1) as u64)
    }
}

impl Entry {
    fn nameless() -> Self {
        Self {
            path: Vec::new(),
            folder: None,
            is_folder: false,
            names: 0,
            size: 0,
            stored: 0,
            shared: 0,
            offset: None,
            touched: None,
        }
    }

    /// How much of it is left once it is packed, in tenths, 0 to 10. `None` of what is empty.
    fn tenths(&self) -> Option<u64> {
        Some(self.stored.saturating_mul(10).checked_div(self.size)?.min(10))
    }
}
