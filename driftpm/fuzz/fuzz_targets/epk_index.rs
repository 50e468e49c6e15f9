//! Any bytes as a repository's index of EPK packages, and as the signed statement about one.
//!
//! Invariants: no panic; an accepted index survives being written and read again, and names no
//! file outside of the repository; no statement has a signature that nobody made.
#![no_main]

use driftpm::index::{EPK_KIND, EpkIndex, Signed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Signed::parse(bytes, EPK_KIND);
    let Ok(index) = EpkIndex::parse(bytes) else { return };
    let written = index.to_bytes().expect("an index that was accepted");
    let again = EpkIndex::parse(&written).expect("an index that was written");
    assert_eq!(again, index);
    for release in index.packages.values().flat_map(|releases| releases.values()) {
        let good = |part: &str| !matches!(part, "" | "." | "..");
        assert!(release.file.split('/').all(good), "{:?}", release.file);
    }
});
