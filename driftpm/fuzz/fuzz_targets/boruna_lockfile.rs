//! Any bytes as a Boruna lockfile.
//!
//! Invariants: no panic; an accepted lockfile survives being written and read again, and writing
//! it twice gives the same bytes.
#![no_main]

use driftpm::boruna::lockfile::Lockfile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(lockfile) = Lockfile::from_json(text) else { return };
    let written = lockfile.to_pretty_json();
    let again = Lockfile::from_json(&written).expect("a lockfile that was written");
    assert_eq!(again, lockfile);
    assert_eq!(again.to_pretty_json(), written);
});
