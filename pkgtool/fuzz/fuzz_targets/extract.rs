//! Any bytes as an image that is unpacked, hashes unchecked so that the fuzzer gets past them.
//!
//! Invariants: no panic; nothing appears, changes or vanishes beside the folder that was asked for;
//! the folder is there only when all of it was written; every path in it is one of the package's.
#![no_main]

use std::fs;
use std::io::Write;

use epk_format::package::{Kind, NodeId};
use epk_format::{OpenOptions, Package};
use libfuzzer_sys::fuzz_target;

/// More than this a hostile package may well declare, but one run need not write.
const WRITTEN: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let options = OpenOptions { verify_hash: false, ..OpenOptions::default() };
    {
        let Ok(package) = Package::open(bytes, &options) else { return };
        let ids = (0..package.node_count()).filter_map(NodeId::from_index);
        let sizes = ids.filter_map(|id| package.node(id).ok()).filter(|n| n.kind == Kind::File);
        if sizes.fold(0_u64, |sum, node| sum.saturating_add(node.size)) > WRITTEN {
            return;
        }
    }
    let around = tempfile::tempdir_in("/dev/shm").expect("memory");
    fs::write(around.path().join("neighbour"), "as it was").expect("writable");
    let mut image = tempfile::tempfile_in("/dev/shm").expect("memory");
    image.write_all(bytes).expect("writable");
    let package = Package::open(image, &options).expect("it opened before");

    let target = around.path().join("target");
    let done = pkgtool::fuzzing::extract(&package, &target);

    assert_eq!(target.exists(), done);
    let mut names: Vec<_> = fs::read_dir(around.path())
        .expect("a folder")
        .map(|entry| entry.expect("readable").file_name())
        .collect();
    names.sort();
    let expected: &[&str] = if done { &["neighbour", "target"] } else { &["neighbour"] };
    assert_eq!(names, expected);
    let neighbour = fs::read_to_string(around.path().join("neighbour"));
    assert_eq!(neighbour.expect("still there"), "as it was");
});
