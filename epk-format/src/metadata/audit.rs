//! Reading all metadata at once: every row is judged, and then the tables as wholes, so that
//! nothing is in them that no file shows (`spec/epk-2.0.md` §5.3). Time and memory are linear in
//! the size of the metadata, whatever they say.

use std::collections::HashSet;
use std::ops::Range;

use super::{Checked, View, reject};
use crate::error::{Error, Location, Reject, RejectCode};
use crate::layout::metadata::{KIND_ALIAS, KIND_FILE, KIND_FOLDER, KIND_SYMLINK, ZERO_CHUNK};
use crate::limits;
use crate::package::{BlockIndex, NodeId};
use crate::source::Source;

/// Most findings that are worth telling.
const MOST_FINDINGS: usize = 1000;

/// Reads everything but the data. Findings come in the order in which they are met.
pub(crate) fn audit<S: Source>(view: View<'_, S>) -> Vec<Error> {
    let (source, pages) = (view.source, &view.metadata.pages);
    let mut audit = Audit::new(view);
    if let Err(error) = pages.check_all(source) {
        audit.find(error);
    }
    audit.nodes();
    audit.names_of_nodes();
    audit.contents();
    audit.blocks();
    audit.strings();
    audit.findings
}

/// What one node is called in the tables.
#[derive(Debug, Clone, Copy, Default)]
struct Named {
    /// Entries that name it.
    names: u32,
    /// Folders in it.
    folders: u32,
    /// Bytes of its path, if it is a folder.
    path: u32,
}

struct Audit<'p, S> {
    view: View<'p, S>,
    findings: Vec<Error>,
    told: HashSet<String>,
    named: Vec<Named>,
    /// Where contents lie: first chunk, offset in it, bytes.
    contents: Vec<(u32, u32, u64)>,
    hashes: Used,
    blocks: Used,
    strings: Vec<Range<u64>>,
    /// Where the next run of entries, and of attributes, begins.
    entry: u64,
    xattr: u64,
}

impl<'p, S: Source> Audit<'p, S> {
    fn new(view: View<'p, S>) -> Self {
        let tables = view.tables();
        Self {
            view,
            findings: Vec::new(),
            told: HashSet::new(),
            named: vec![Named::default(); size(tables.nodes)],
            contents: Vec::new(),
            hashes: Used::new(tables.hashes),
            blocks: Used::new(tables.blocks),
            strings: Vec::new(),
            entry: 0,
            xattr: 0,
        }
    }

    /// Notes what is wrong, once: a damaged page is met for each row on it.
    fn find(&mut self, error: Error) {
        if self.findings.len() < MOST_FINDINGS && self.told.insert(error.to_string()) {
            self.findings.push(error);
        }
    }

    fn unreferenced(&mut self, detail: String) {
        self.find(reject(RejectCode::Unreferenced, detail));
    }

    fn nodes(&mut self) {
        for number in 0..self.named.len() {
            let checked = NodeId::from_index(number)
                .map(|id| self.view.checked(id).and_then(|node| self.node(id, &node)));
            if let Some(Err(error)) = checked {
                self.find(error);
            }
            if self.findings.len() >= MOST_FINDINGS {
                return;
            }
        }
        let tables = self.view.tables();
        if self.entry != tables.entries {
            self.unreferenced(format!(
                "the folders have {} entries, the table has {}",
                self.entry, tables.entries
            ));
        }
        if self.xattr != tables.xattrs {
            self.unreferenced(format!(
                "the nodes have {} extended attributes, the table has {}",
                self.xattr, tables.xattrs
            ));
        }
    }

    fn node(&mut self, id: NodeId, node: &Checked) -> Result<(), Error> {
        self.xattrs_of(id, node)?;
        match node.kind {
            KIND_FILE if node.row.size != 0 => {
                self.view.file_hash(id)?;
                self.hashes.mark(node.row.own.get());
                let (first, offset) = (node.row.first.get(), node.row.offset.get());
                self.contents.push((first, offset, node.row.size.get()));
            }
            KIND_FOLDER => self.folder(node)?,
            KIND_SYMLINK => {
                self.view.link_target(id)?;
                self.string(node.row.first.get(), node.row.size.get());
            }
            KIND_ALIAS => drop(self.view.alias_target(node)?),
            _ => {}
        }
        Ok(())
    }

    fn xattrs_of(&mut self, id: NodeId, node: &Checked) -> Result<(), Error> {
        let Some(first) = node.row.xattrs.get().checked_sub(1) else { return Ok(()) };
        if u64::from(first) != self.xattr {
            return Err(reject(
                RejectCode::Unreferenced,
                format!(
                    "node {}: attributes from {first} on, those before end at {}",
                    node.id, self.xattr
                ),
            ));
        }
        for _ in self.view.xattrs(id)? {
            let row: crate::layout::metadata::XattrRow = self.view.row(self.xattr)?;
            self.string(row.name.get(), row.name_length.get().into());
            self.string(row.value.get(), row.value_length.get().into());
            self.xattr += 1;
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Checked) -> Result<(), Error> {
        let range = self.view.entries(folder)?;
        // A run that another folder has too is not walked again.
        if range.start != self.entry {
            return Err(reject(
                RejectCode::Unreferenced,
                format!(
                    "node {}: entries from {} on, those before end at {}",
                    folder.id, range.start, self.entry
                ),
            ));
        }
        self.entry = range.end;
        let path = self.named.get(size(u64::from(folder.id))).map_or(0, |named| named.path);
        let mut previous: Option<Vec<u8>> = None;
        for number in range {
            let (row, name) = self.view.entry(number)?;
            self.string(row.name.get(), row.name_length.get().into());
            let id = self.view.target(folder.id, number, &row)?;
            if previous.as_ref().is_some_and(|previous| *previous >= name) {
                return Err(super::out_of_order(folder.id, number));
            }
            let length = path + u32::from(path != 0) + u32::from(row.name_length.get());
            if size(length.into()) > limits::PATH_BYTES_2 {
                return Err(reject(
                    RejectCode::PathTooLong,
                    format!(
                        "entry {number}: path of {length} bytes, at most {} are allowed",
                        limits::PATH_BYTES_2
                    ),
                ));
            }
            if let Some(named) = self.named.get_mut(id.index()) {
                named.names = named.names.saturating_add(1);
                named.path = length;
            }
            if row.kind.get() == KIND_FOLDER
                && let Some(named) = self.named.get_mut(size(u64::from(folder.id)))
            {
                named.folders = named.folders.saturating_add(1);
            }
            previous = Some(name);
        }
        Ok(())
    }

    /// Link counts, when every entry was seen.
    fn names_of_nodes(&mut self) {
        if !self.findings.is_empty() {
            return;
        }
        for (number, named) in std::mem::take(&mut self.named).into_iter().enumerate() {
            let Some(Ok(node)) = NodeId::from_index(number).map(|id| self.view.checked(id)) else {
                continue;
            };
            let links = match node.kind {
                KIND_FOLDER => named.folders.saturating_add(2),
                _ => named.names,
            };
            if number != 0 && named.names == 0 {
                self.unreferenced(format!("node {number}: no entry names it"));
            } else if node.row.links.get() != links {
                self.unreferenced(format!(
                    "node {number}: {} links, the entries make {links}",
                    node.row.links
                ));
            }
        }
        if let Some(hash) = self.hashes.unused() {
            self.unreferenced(format!("file hash {hash}: no file has it"));
        }
    }

    /// Contents lie one after another: in the chunk table, and in the plain bytes of blocks.
    /// Files of equal content share theirs; within zeros they may overlap.
    fn contents(&mut self) {
        let mut contents = std::mem::take(&mut self.contents);
        contents.sort_unstable();
        contents.dedup();
        let tables = self.view.tables();
        let chunk_size = u64::from(tables.chunk_size);
        // The row that is being filled: its number, how far it is, and how far it must come.
        // `None` bytes: zeros, which have no end.
        let mut at = Filled { row: 0, bytes: 0, full: 0, zeros: false };
        let mut begun = false;
        for (first, offset, bytes) in contents {
            let result = self.content(&mut at, &mut begun, (first, offset, bytes), chunk_size);
            if let Err(error) = result {
                self.find(error);
                return;
            }
        }
        let rows = if begun { at.row + 1 } else { 0 };
        if let Err(error) = at.close() {
            self.find(error);
        } else if rows != tables.chunks {
            self.unreferenced(format!(
                "the files have {rows} chunks, the table has {}",
                tables.chunks
            ));
        }
    }

    fn content(
        &mut self,
        at: &mut Filled,
        begun: &mut bool,
        (first, offset, bytes): (u32, u32, u64),
        chunk_size: u64,
    ) -> Result<(), Error> {
        let (first, offset) = (u64::from(first), u64::from(offset));
        let end = offset.saturating_add(bytes);
        if offset != 0 && end > chunk_size {
            return Err(range(format!(
                "{bytes} bytes from byte {offset} of chunk {first}, a chunk has {chunk_size}"
            )));
        }
        if !*begun || first != at.row {
            at.close()?;
            let next = if *begun { at.row + 1 } else { 0 };
            if first != next {
                return Err(range(format!(
                    "a file begins in chunk {first}, the files before it end with chunk {next}"
                )));
            }
            *begun = true;
            *at = self.fill(first)?;
        }
        if offset != at.bytes && !(at.zeros && offset < at.bytes) {
            return Err(range(format!(
                "a file begins at byte {offset} of chunk {first}, the one before it ends at {}",
                at.bytes
            )));
        }
        // All rows but the last one are full.
        let rows = end.div_ceil(chunk_size);
        for row in 1..rows {
            at.bytes = chunk_size;
            at.close()?;
            *at = self.fill(first.saturating_add(row))?;
        }
        let within = end.saturating_sub(rows.saturating_sub(1).saturating_mul(chunk_size));
        if within > at.full {
            return Err(range(format!(
                "chunk {} has {} plain bytes, {within} are needed",
                at.row, at.full
            )));
        }
        at.bytes = at.bytes.max(within);
        Ok(())
    }

    fn fill(&mut self, row: u64) -> Result<Filled, Error> {
        let chunk = self.view.chunk(row)?;
        if chunk == ZERO_CHUNK {
            let full = self.view.tables().chunk_size.into();
            return Ok(Filled { row, bytes: 0, full, zeros: true });
        }
        self.blocks.mark(chunk);
        let full = self.view.block(BlockIndex(chunk))?.plain_size.into();
        Ok(Filled { row, bytes: 0, full, zeros: false })
    }

    /// Blocks tile the data, and each is some chunk's.
    fn blocks(&mut self) {
        let mut end = self.view.metadata.data.start;
        let clean = self.findings.is_empty();
        for index in (0..self.view.block_count()).map(BlockIndex) {
            match self.view.block(index) {
                Ok(block) if block.offset == end => end += u64::from(block.stored_size),
                Ok(block) => {
                    let detail = format!(
                        "begins at {:#x}, the block before it ends at {end:#x}",
                        block.offset
                    );
                    let at = Location::Block(index.0);
                    self.find(Reject::new(RejectCode::BlockFormat, at, detail).into());
                    return;
                }
                Err(error) => {
                    self.find(error);
                    if self.findings.len() >= MOST_FINDINGS {
                        return;
                    }
                }
            }
        }
        if !clean {
            return;
        }
        if end != self.view.metadata.data.end {
            let detail = format!(
                "the last block ends at {end:#x}, the data at {:#x}",
                self.view.metadata.data.end
            );
            self.find(Reject::new(RejectCode::SectionGap, Location::Image, detail).into());
        }
        if let Some(block) = self.blocks.unused() {
            self.unreferenced(format!("block {block}: no chunk has it"));
        }
    }

    fn string(&mut self, place: u32, length: u64) {
        if length != 0 {
            let place = u64::from(place);
            self.strings.push(place..place.saturating_add(length));
        }
    }

    /// Every byte of the string area is some string's.
    fn strings(&mut self) {
        if !self.findings.is_empty() {
            return;
        }
        self.strings.sort_unstable_by_key(|string| (string.start, string.end));
        let mut end = 0;
        for string in &self.strings {
            if string.start > end {
                break;
            }
            end = end.max(string.end);
        }
        let bytes = self.view.tables().string_bytes();
        if end < bytes {
            self.unreferenced(format!("byte {end} of the {bytes} of strings is no string's"));
        }
    }
}

/// A chunk row on its way to being full.
struct Filled {
    row: u64,
    bytes: u64,
    full: u64,
    zeros: bool,
}

impl Filled {
    fn close(&self) -> Result<(), Error> {
        if self.bytes == self.full || self.zeros {
            return Ok(());
        }
        Err(reject(
            RejectCode::Unreferenced,
            format!(
                "chunk {}: {} of its {} plain bytes are some file's",
                self.row, self.bytes, self.full
            ),
        ))
    }
}

/// Which rows of a table are in use.
struct Used(Vec<bool>);

impl Used {
    fn new(rows: u64) -> Self {
        Self(vec![false; size(rows)])
    }

    fn mark(&mut self, row: u32) {
        if let Some(used) = self.0.get_mut(size(row.into())) {
            *used = true;
        }
    }

    fn unused(&self) -> Option<usize> {
        self.0.iter().position(|used| !used)
    }
}

fn range(detail: String) -> Error {
    reject(RejectCode::ContentRange, detail)
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
