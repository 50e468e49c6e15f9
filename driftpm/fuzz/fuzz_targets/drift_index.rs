//! Any bytes as an index of Drift packages, as a list of sources, as JSON.
//!
//! Invariants: no panic; what a reader accepts survives being written and read again; an accepted
//! path has no component that climbs.
#![no_main]

use driftpm::canonical_json::{ascii_compact, canonical};
use driftpm::drift::index::{Entry, Index, Strictness};
use driftpm::drift::sources;
use driftpm::json::{self, Limit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = json::parse(bytes, Limit::SIDECAR) {
        for text in [canonical(&value), ascii_compact(&value)] {
            assert_eq!(json::parse(text.as_bytes(), Limit::SETTINGS).as_ref(), Ok(&value));
        }
    }
    let _ = sources::parse(bytes);
    let Ok(index) = Index::parse(bytes) else { return };
    assert_eq!(Index::parse(&index.to_bytes()).as_ref(), Ok(&index));
    for (id, value) in index.entries() {
        if let Ok(entry) = Entry::parse(id, value, Strictness::Filled) {
            let good = |part: &str| !matches!(part, "" | "." | "..");
            assert!(entry.path.components().all(good), "{:?}", entry.path);
        }
    }
});
