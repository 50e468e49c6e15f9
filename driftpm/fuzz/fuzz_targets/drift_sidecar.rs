//! Any bytes as a signature sidecar of a Drift package, and as a key file.
//!
//! Invariants: no panic; a package that nobody signed is not accepted.
#![no_main]

use driftpm::drift::sidecar::{check_for_publishing, parse_for_gate, parse_for_publishing};
use driftpm::drift::trust::verify::{Trust, verify_package};
use driftpm::keys::PrivateKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_for_gate(bytes);
    let _ = parse_for_publishing(bytes);
    let _ = check_for_publishing(bytes, b"abc");
    let modules = ["acme.http".to_owned()];
    assert!(verify_package(b"abc", &modules, Some(bytes), &Trust::default(), true).is_err());
    let _ = std::str::from_utf8(bytes).map(PrivateKey::parse_file);
});
