//! Any bytes as an image, of either format, hashes unchecked so that the fuzzer gets past them.
//!
//! Invariants: no panic; a package of format 1.0 that opens can be walked completely, one of 2.0
//! until a rule breaks; a child's path resolves to it; a file's pieces add up to its size; reading
//! any block ends with its declared length or an error. A dump never fails.
#![no_main]

use epk_format::dump::Dump;
use epk_format::package::{BlockIndex, Kind, NodeId, Scratch};
use epk_format::resolve::Resolved;
use epk_format::{Error, Format, OpenOptions, Package};
use libfuzzer_sys::fuzz_target;

/// More than this a hostile package may well declare, but one run need not read.
const READ: u32 = 1 << 22;

// Bytes as they are: a vector would be made of them by a code of the fuzzer's own.
fuzz_target!(|image: &[u8]| {
    let mut text = String::new();
    Dump::of(&image).expect("bytes in memory").hexdump(&mut text).expect("to a string");

    let options = OpenOptions { verify_hash: false, ..OpenOptions::default() };
    let Ok(package) = Package::open(image, &options) else { return };
    let _ = package.parse_manifest();
    let walked = walk(&package);
    let audited = package.audit();
    assert!(walked.is_ok() || !audited.is_empty(), "an audit sees what a reader meets");
    if package.format() == Format::V1 {
        walked.expect("what opens is whole");
    }
    let (mut scratch, mut plain) = (Scratch::default(), Vec::new());
    for index in (0..package.block_count()).map(BlockIndex) {
        let Ok(block) = package.block(index) else { continue };
        if block.plain_size <= READ && package.read_block(index, &mut scratch, &mut plain).is_ok() {
            assert_eq!(plain.len() as u64, u64::from(block.plain_size));
        }
    }
});

fn walk(package: &Package<&[u8]>) -> Result<(), Error> {
    let mut folders = vec![(Vec::new(), NodeId::ROOT)];
    while let Some((prefix, folder)) = folders.pop() {
        for (name, id, kind) in package.children(folder)? {
            let path = if prefix.is_empty() { name } else { [&*prefix, &*name].join(&b'/') };
            let node = package.node(id)?;
            assert_eq!(node.kind, kind);
            assert_eq!(package.resolve(&path, false)?, Resolved::Found(id));
            package.xattrs(id)?;
            match kind {
                Kind::Link if package.format() == Format::V1 => {
                    let at = package.resolve(&path, true)?;
                    assert!(matches!(at, Resolved::Found(_)), "an alias leads nowhere");
                }
                Kind::Link => drop(package.link_target(id)?),
                Kind::Folder => folders.push((path, id)),
                Kind::File => {
                    let mut sum = 0;
                    for piece in package.pieces(id, 0..u64::MAX)? {
                        sum += piece?.length();
                    }
                    assert_eq!(sum, node.size, "pieces don't add up");
                }
            }
        }
    }
    Ok(())
}
