//! A range and any bytes as an image: `[start, 4 bytes][length, 4 bytes][image]`, read from every
//! file and block.
//!
//! Invariants: no panic; a part of a file is that part of the whole, or an error; a block read
//! into memory that held another one is the same as one read into fresh memory; a block that
//! `verify_block` accepts is read.
#![no_main]

use std::ops::Range;

use epk_format::package::{BlockIndex, Kind, NodeId, Scratch};
use epk_format::{Error, OpenOptions, Package};
use libfuzzer_sys::fuzz_target;

/// More than this a hostile package may well declare, but one run need not read.
const READ: u64 = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((start, rest)) = input.split_first_chunk::<4>() else { return };
    let Some((length, image)) = rest.split_first_chunk::<4>() else { return };
    let start = u64::from(u32::from_le_bytes(*start));
    let range = start..start + u64::from(u32::from_le_bytes(*length));

    let options = OpenOptions { verify_hash: false, ..OpenOptions::default() };
    let Ok(package) = Package::open(image, &options) else { return };
    // One for all: what a block leaves behind must not reach the next one.
    let mut scratch = Scratch::default();
    let mut used = Vec::new();
    for index in (0..package.block_count()).map(BlockIndex) {
        let Ok(block) = package.block(index) else { continue };
        if u64::from(block.plain_size) > READ {
            continue;
        }
        let mut fresh = Vec::new();
        let alone = package.read_block(index, &mut Scratch::default(), &mut fresh);
        let again = package.read_block(index, &mut scratch, &mut used);
        assert_eq!(alone.is_ok(), again.is_ok());
        if alone.is_ok() {
            assert_eq!(fresh, used);
        }
        if package.verify_block(index, &mut scratch, &mut used).is_ok() {
            assert!(alone.is_ok(), "verified, and cannot be read: {alone:?}");
        }
    }
    for id in (0..package.node_count()).filter_map(NodeId::from_index) {
        let Ok(node) = package.node(id) else { continue };
        if node.kind != Kind::File || node.size > READ {
            continue;
        }
        let part = read(&package, id, range.clone(), &mut scratch);
        if let Ok(whole) = read(&package, id, 0..u64::MAX, &mut scratch) {
            let at = |offset: u64| usize::try_from(offset.min(node.size)).expect("bounded");
            assert_eq!(part.expect("the whole was read"), whole[at(range.start)..at(range.end)]);
        }
    }
});

fn read(
    package: &Package<&[u8]>,
    id: NodeId,
    range: Range<u64>,
    scratch: &mut Scratch,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    package.read::<Error>(id, range, scratch, |part| {
        bytes.extend_from_slice(part);
        Ok(())
    })?;
    Ok(bytes)
}
