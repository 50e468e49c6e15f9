//! Inodes: fourteen kinds, seven of them without and seven with room for more.

use super::super::problem::Problem;
use super::content::Content;
use super::metadata::{Metadata, Place};
use super::{Fields, damaged};

/// No attributes, and no fragment.
const NONE: u32 = u32::MAX;
/// Most bytes of a link's target, as in Linux.
const TARGET: u32 = 4095;

/// What an inode says.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) mode: u16,
    /// Numbers in the table of ids.
    pub(super) user: u16,
    pub(super) group: u16,
    pub(super) modified: u32,
    /// A number in the table of attributes.
    pub(super) xattrs: Option<u32>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Folder {
        /// From the beginning of the table of directories.
        start: u64,
        offset: u16,
        /// Bytes of its list.
        size: u32,
    },
    File {
        content: Content,
        links: u32,
    },
    Symlink {
        target: Vec<u8>,
    },
    Special(&'static str),
}

pub(super) fn read(
    metadata: &Metadata,
    mut place: Place,
    block_size: u32,
) -> Result<Inode, Problem> {
    let at = place;
    let head: [u8; 16] = metadata.take(&mut place)?;
    let mut head = Fields(&head);
    let (kind, mode) = (head.u16(), head.u16() & 0o7777);
    let (user, group, modified) = (head.u16(), head.u16(), head.u32());
    let mut xattrs = NONE;
    let what = match kind {
        1 => {
            let body: [u8; 16] = metadata.take(&mut place)?;
            let mut body = Fields(&body);
            let (start, _links) = (body.u32().into(), body.u32());
            let (size, offset) = (body.u16().into(), body.u16());
            What::Folder { start, offset, size }
        }
        8 => {
            let body: [u8; 24] = metadata.take(&mut place)?;
            let mut body = Fields(&body);
            let (_links, size, start) = (body.u32(), body.u32(), body.u32().into());
            let (_parent, _index) = (body.u32(), body.u16());
            let offset = body.u16();
            xattrs = body.u32();
            What::Folder { start, offset, size }
        }
        2 => {
            let body: [u8; 16] = metadata.take(&mut place)?;
            let mut body = Fields(&body);
            let (start, fragment, offset) = (body.u32().into(), body.u32(), body.u32());
            let size = body.u32().into();
            let content = Content::new(start, size, (fragment, offset), place, block_size);
            What::File { content, links: 1 }
        }
        9 => {
            let body: [u8; 40] = metadata.take(&mut place)?;
            let mut body = Fields(&body);
            let (start, size, _sparse) = (body.u64(), body.u64(), body.u64());
            let (links, fragment, offset) = (body.u32(), body.u32(), body.u32());
            xattrs = body.u32();
            let content = Content::new(start, size, (fragment, offset), place, block_size);
            What::File { content, links }
        }
        3 | 10 => {
            let body: [u8; 8] = metadata.take(&mut place)?;
            let mut body = Fields(&body);
            let (_links, size) = (body.u32(), body.u32());
            if !(1..=TARGET).contains(&size) {
                return Err(damaged(format!("a link of {size} bytes")));
            }
            let mut target = vec![0; usize::try_from(size).unwrap_or(0)];
            metadata.read(&mut place, &mut target)?;
            if kind == 10 {
                xattrs = u32::from_le_bytes(metadata.take(&mut place)?);
            }
            What::Symlink { target }
        }
        4 | 5 | 11 | 12 => {
            let _links_and_device: [u8; 8] = metadata.take(&mut place)?;
            if kind > 7 {
                xattrs = u32::from_le_bytes(metadata.take(&mut place)?);
            }
            let block = matches!(kind, 4 | 11);
            What::Special(if block { "block device" } else { "character device" })
        }
        6 | 7 | 13 | 14 => {
            let _links: [u8; 4] = metadata.take(&mut place)?;
            if kind > 7 {
                xattrs = u32::from_le_bytes(metadata.take(&mut place)?);
            }
            What::Special(if matches!(kind, 6 | 13) { "pipe" } else { "socket" })
        }
        other => {
            let Place { block, offset } = at;
            return Err(damaged(format!("an inode of kind {other} at {block}+{offset}")));
        }
    };
    let xattrs = Some(xattrs).filter(|&number| number != NONE);
    Ok(Inode { mode, user, group, modified, xattrs, what })
}
