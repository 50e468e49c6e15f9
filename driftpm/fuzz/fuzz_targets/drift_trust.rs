//! Any bytes as a trust store.
//!
//! Invariants: no panic; what a reader accepts survives a change, being written and being read
//! again; without a signature no store makes a package trusted.
#![no_main]

use driftpm::drift::trust::verify::{Trust, verify_package};
use driftpm::trust::{TrustFile, TrustStore};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut file) = TrustFile::parse(bytes) {
        file.revoke("k", "now", Some("why"));
        let again = TrustFile::parse(&file.to_bytes()).expect("a store that was written");
        assert_eq!(again, file);
    }
    let project = TrustStore::parse(bytes).unwrap_or_default();
    let trust = Trust { project, ..Trust::default() };
    let modules = ["acme.http".to_owned()];
    assert!(verify_package(b"abc", &modules, None, &trust, false).is_err());
});
