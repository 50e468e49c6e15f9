//! Our own rules on what EXOS accepts, but for those that need the tree (see [`crate::tree`]).

use zerocopy::FromBytes as _;

use crate::error::{Location, Reject, RejectCode};
use crate::layout::block::{BlockEntry, METHOD_NONE, SIZE};
use crate::layout::header::Flags;
use crate::layout::toc::{EntryFlags, NODE_FILE};
use crate::limits;
use crate::package::Sections;

/// Gives for each block the plain bytes before it, and at the end their sum.
pub(crate) fn check(sections: &Sections, blocks: u32) -> Result<Vec<u64>, Reject> {
    let header = &sections.header;
    if header.flags.get() & Flags::ENCRYPTED_CONTENT.bits() != 0 {
        return Err(Reject::new(
            RejectCode::Encrypted,
            Location::Offset(8),
            "flag ENCRYPTED_CONTENT is set, and no encryption is defined",
        ));
    }
    if sections.manifest.is_none() {
        return Err(Reject::new(
            RejectCode::ManifestTooLarge,
            Location::Offset(header.manifest_offset.get()),
            format!(
                "manifest of {} bytes, at most {} are read",
                header.manifest_size,
                limits::MANIFEST_BYTES
            ),
        ));
    }
    if let Some(total) = sections.inline.too_large {
        return Err(Reject::new(
            RejectCode::InlineTooLarge,
            Location::Image,
            format!("{total} bytes of inline data, at most {} are held", limits::INLINE_BYTES),
        ));
    }
    let sums = block_sizes(sections, blocks)?;
    file_sizes(sections, &sums)?;
    Ok(sums)
}

/// Checks each block's sizes and sums them.
fn block_sizes(sections: &Sections, blocks: u32) -> Result<Vec<u64>, Reject> {
    let mut sums = Vec::with_capacity(sections.block_table.len() / SIZE + 1);
    let mut sum = 0_u64;
    sums.push(sum);
    for (index, row) in (0..blocks).zip(sections.block_table.chunks_exact(SIZE)) {
        let Ok(block) = BlockEntry::ref_from_bytes(row) else { continue };
        let (stored, plain) = (block.stored_size.get(), block.plain_size.get());
        if plain > limits::BLOCK_BYTES {
            return Err(Reject::new(
                RejectCode::BlockTooLarge,
                Location::Block(index),
                format!("block of {plain} plain bytes, at most {} are held", limits::BLOCK_BYTES),
            ));
        }
        if stored > limits::STORED_BLOCK_BYTES {
            return Err(Reject::new(
                RejectCode::BlockTooLarge,
                Location::Block(index),
                format!(
                    "block of {stored} stored bytes, at most {} are held",
                    limits::STORED_BLOCK_BYTES
                ),
            ));
        }
        if block.method == METHOD_NONE && stored != plain {
            return Err(Reject::new(
                RejectCode::BlockSizeMismatch,
                Location::Block(index),
                format!("block without compression of {stored} stored and {plain} plain bytes"),
            ));
        }
        // At most 2^26 bytes for each of 2^32 blocks.
        sum += u64::from(plain);
        sums.push(sum);
    }
    Ok(sums)
}

/// A file's size is the size of its content.
fn file_sizes(sections: &Sections, sums: &[u64]) -> Result<(), Reject> {
    let before = |block: u32| usize::try_from(block).ok().and_then(|b| sums.get(b)).copied();
    for (_, entry, path, _) in sections.entries.iter(&sections.toc) {
        if entry.node_type != NODE_FILE {
            continue;
        }
        let content = if entry.flags.get() & EntryFlags::HAS_BLOCKS.bits() == 0 {
            Some(u64::from(entry.inline_size.get()))
        } else {
            let first = entry.block_start.get();
            let end = first.checked_add(entry.block_count.get());
            before(first).zip(end.and_then(before)).map(|(from, to)| to - from)
        };
        if content != Some(entry.file_size.get()) {
            return Err(Reject::new(
                RejectCode::FileSizeMismatch,
                Location::Path(path.to_vec()),
                format!(
                    "file size {}, but its content has {} bytes",
                    entry.file_size,
                    content.unwrap_or(0)
                ),
            ));
        }
    }
    Ok(())
}
