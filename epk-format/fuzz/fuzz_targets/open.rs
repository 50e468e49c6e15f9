//! Any bytes as an image, PackageHash unchecked so that the fuzzer gets past it.
//!
//! Invariants: no panic; a package that opens can be walked completely: each node has a parent
//! that lists it, every name resolves, a file's pieces add up to its size, and reading any
//! block ends with its declared length or an error. A dump never fails.
#![no_main]

use std::ops::ControlFlow;

use epk_format::dump::Dump;
use epk_format::package::{BlockIndex, Kind, NodeId, Piece, Scratch};
use epk_format::resolve::Resolved;
use epk_format::{OpenOptions, Package};
use libfuzzer_sys::fuzz_target;

/// More than this a hostile package may well declare, but one run need not read.
const READ: u32 = 1 << 22;

fuzz_target!(|image: Vec<u8>| {
    let mut text = String::new();
    Dump::of(&image).expect("bytes in memory").hexdump(&mut text).expect("to a string");

    let options = OpenOptions { verify_hash: false, ..OpenOptions::default() };
    let Ok(package) = Package::open(image, &options) else { return };
    let _ = package.parse_manifest();
    for id in (0..package.node_count()).filter_map(NodeId::from_index) {
        let node = package.node(id).expect("a node of the package");
        let path = package.path(id).expect("a node of the package");
        let resolved = package.resolve(&path, false).expect("a tree in memory");
        assert_eq!(resolved, Resolved::Found(id));
        if id != NodeId::ROOT {
            let parent = package.parent(id).expect("a node of the package");
            let mut listed = false;
            package
                .read_folder(parent, 0, |child| {
                    listed |= child.id == id;
                    if listed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
                .expect("a folder");
            assert!(listed, "a parent doesn't list its child");
        }
        match node.kind {
            Kind::Link => {
                let at = package.resolve(&path, true).expect("a tree in memory");
                assert!(matches!(at, Resolved::Found(_)), "an alias leads nowhere");
            }
            Kind::Folder | Kind::File => {
                let pieces = package.pieces(id, 0..u64::MAX).expect("a node of the package");
                let sum: u64 = pieces
                    .map(|piece| match piece {
                        Piece::Bytes(bytes) => bytes.len() as u64,
                        Piece::Block { length, .. } => u64::from(length),
                    })
                    .sum();
                assert_eq!(sum, node.size, "pieces don't add up");
            }
        }
    }
    let (mut scratch, mut plain) = (Scratch::default(), Vec::new());
    for index in (0..package.block_count()).map(BlockIndex) {
        let block = package.block(index).expect("a block of the package");
        if block.plain_size <= READ && package.read_block(index, &mut scratch, &mut plain).is_ok() {
            assert_eq!(plain.len() as u64, u64::from(block.plain_size));
        }
    }
});
