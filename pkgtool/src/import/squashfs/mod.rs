//! Reading SquashFS 4.0 images (the kernel's `fs/squashfs/squashfs_fs.h`), as mksquashfs makes
//! them, compressed by zlib, xz or zstd.
//!
//! The crate `backhand` reads them too, but drops hard links and extended attributes, keeps all
//! fragments in memory, and does not come back from folders that lie in each other. So the format
//! is read here: nothing is held but names, and blocks for a moment.

mod codec;
mod content;
mod directory;
mod inode;
mod metadata;
mod xattr;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use epk_format::path::display;
use epk_format::time::Timestamp;
use epk_format::write::ContentId;

use self::codec::Codec;
use self::content::Content;
use self::inode::{Inode, What};
use self::metadata::{Metadata, Place};
use super::limits::Limits;
use super::problem::Problem;
use super::tree::{Entry, Meta, Tree};
use crate::pack::contents::Identity;

/// How an image begins.
pub(crate) const MAGIC: &[u8; 4] = b"hsqs";
/// Bytes of the superblock.
const SUPERBLOCK: usize = 96;
/// No table, and no attributes.
const NONE: u64 = u64::MAX;
/// The sizes that a data block may have.
const BLOCK_SIZES: std::ops::RangeInclusive<u32> = 4096..=1 << 20;

/// An image in a file.
pub(crate) struct SquashFs {
    metadata: Metadata,
    identity: Identity,
    block_size: u32,
    root: u64,
    inodes: u64,
    directories: u64,
    ids: (u64, u16),
    fragments: (u64, u32),
    xattrs: Option<xattr::Table>,
    contents: Vec<Content>,
    cache: content::Fragments,
}

/// Little-endian fields, one after another.
struct Fields<'b>(&'b [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        let field = *field;
        self.0 = rest;
        field
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

fn damaged(what: impl Into<String>) -> Problem {
    Problem::Damaged(format!("is a damaged SquashFS image: {}", what.into()))
}

impl SquashFs {
    /// Opens the image that begins at `offset` of a file.
    pub(crate) fn open(file: File, offset: u64) -> Result<Self, Problem> {
        let system = |error| Problem::System("cannot look at it".into(), error);
        let status = file.metadata().map_err(system)?;
        let length = status.len().saturating_sub(offset);
        let mut superblock = [0; SUPERBLOCK];
        file.read_exact_at(&mut superblock, offset).map_err(Problem::read)?;
        let mut fields = Fields(&superblock);
        if fields.take() != *MAGIC {
            return Err(damaged("no magic number"));
        }
        let (_inode_count, _made) = (fields.u32(), fields.u32());
        let (block_size, fragment_count) = (fields.u32(), fields.u32());
        let (compression, block_log) = (fields.u16(), fields.u16());
        let (_flags, id_count) = (fields.u16(), fields.u16());
        let version = (fields.u16(), fields.u16());
        if version != (4, 0) {
            let message = format!("is SquashFS {}.{}; 4.0 can be read", version.0, version.1);
            return Err(Problem::Refused(message));
        }
        let (root, used) = (fields.u64(), fields.u64());
        let (ids, xattrs, inodes) = (fields.u64(), fields.u64(), fields.u64());
        let (directories, fragments) = (fields.u64(), fields.u64());
        let good = BLOCK_SIZES.contains(&block_size)
            && 1_u32.checked_shl(block_log.into()) == Some(block_size);
        if !good {
            return Err(damaged(format!("blocks of {block_size} bytes")));
        }
        if used > length {
            let message = format!("is cut off: {length} bytes of a SquashFS image of {used}");
            return Err(Problem::Damaged(message));
        }
        let identity = Identity::of(&status);
        let codec = Codec::of(compression)?;
        let metadata = Metadata::new(file, offset, used, codec);
        let xattrs = match xattrs {
            NONE => None,
            table => Some(xattr::Table::open(&metadata, table)?),
        };
        Ok(Self {
            metadata,
            identity,
            block_size,
            root,
            inodes,
            directories,
            ids: (ids, id_count),
            fragments: (fragments, fragment_count),
            xattrs,
            contents: Vec::new(),
            cache: content::Fragments::default(),
        })
    }

    /// Puts everything into a tree.
    pub(crate) fn read(&mut self, tree: &mut Tree) -> Result<(), Problem> {
        let mut seen = HashSet::new();
        // Files with several names, by where their inodes are.
        let mut named = HashMap::new();
        let root = self.inode(self.root)?;
        if !matches!(root.what, What::Folder { .. }) {
            return Err(damaged("the root is not a folder"));
        }
        let mut left = vec![(Vec::new(), self.root)];
        // Of what is listed and not in the tree yet.
        let mut listed = Limits::new(0);
        while let Some((path, reference)) = left.pop() {
            let inode = self.inode(reference)?;
            let entry = self.entry(&path, &inode)?;
            match inode.what {
                What::Folder { start, offset, size } => {
                    if !seen.insert(reference) {
                        let path = display(&path);
                        return Err(damaged(format!("the folder `{path}` lies in two places")));
                    }
                    tree.folder(entry)?;
                    let at = Place { block: self.directories.saturating_add(start), offset };
                    let names = directory::list(&self.metadata, at, size, path.len(), &mut listed)?;
                    for (name, child) in names {
                        let path =
                            if path.is_empty() { name } else { [&*path, &*name].join(&b'/') };
                        left.push((path, child));
                    }
                }
                What::File { content, links } => {
                    let first = if links > 1 { named.get(&reference) } else { None };
                    if let Some(&number) = first {
                        tree.name(&entry, number)?;
                        continue;
                    }
                    tree.limits.content(content.size)?;
                    let (id, size) = (ContentId(self.contents.len()), content.size);
                    self.contents.push(content);
                    let number = tree.file(entry, id, size)?;
                    named.insert(reference, number);
                }
                What::Symlink { target } => tree.symlink(entry, target)?,
                What::Special(kind) => tree.special(entry, kind)?,
            }
        }
        Ok(())
    }

    fn inode(&self, reference: u64) -> Result<Inode, Problem> {
        let at = Place::of(self.inodes, reference);
        inode::read(&self.metadata, at, self.block_size)
    }

    fn entry(&self, path: &[u8], inode: &Inode) -> Result<Entry, Problem> {
        let xattrs = match (&self.xattrs, inode.xattrs) {
            (_, None) => Vec::new(),
            (Some(table), Some(number)) => table.read(&self.metadata, number)?,
            (None, Some(_)) => return Err(damaged("attributes without a table")),
        };
        let meta = Meta {
            mode: inode.mode.into(),
            owner: (self.id(inode.user)?, self.id(inode.group)?),
            modified: Timestamp { seconds: inode.modified.into(), nanoseconds: 0 },
            xattrs,
        };
        Ok(Entry { path: path.to_vec(), meta })
    }

    fn id(&self, number: u16) -> Result<u64, Problem> {
        let (table, count) = self.ids;
        if number >= count {
            return Err(damaged(format!("owner {number} of {count}")));
        }
        let mut row = self.metadata.row(table, number.into(), 4)?;
        Ok(u32::from_le_bytes(self.metadata.take(&mut row)?).into())
    }
}
