//! Any bytes as each of Drift's JSON files and as a key file.
//!
//! Invariants: no panic; what a reader accepts survives being written and read again; an accepted
//! path has no component that climbs; a package that nobody signed is not accepted.
#![no_main]

use driftpm::canonical_json::{ascii_compact, canonical};
use driftpm::drift::index::{Entry, Index, Strictness};
use driftpm::drift::lock::Lock;
use driftpm::drift::lock1::ProjectLock;
use driftpm::drift::metadata::Metadata;
use driftpm::drift::project::{ProjectFile, Target};
use driftpm::drift::sidecar::{check_for_publishing, parse_for_gate, parse_for_publishing};
use driftpm::drift::sources;
use driftpm::drift::trust::verify::{Trust, verify_package};
use driftpm::json::{self, Limit};
use driftpm::keys::PrivateKey;
use driftpm::trust::{TrustFile, TrustStore};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = json::parse(bytes, Limit::SIDECAR) {
        for text in [canonical(&value), ascii_compact(&value)] {
            assert_eq!(json::parse(text.as_bytes(), Limit::SETTINGS).as_ref(), Ok(&value));
        }
    }
    if let Ok(index) = Index::parse(bytes) {
        assert_eq!(Index::parse(&index.to_bytes()).as_ref(), Ok(&index));
        for (id, value) in index.entries() {
            if let Ok(entry) = Entry::parse(id, value, Strictness::Filled) {
                let good = |part: &str| !matches!(part, "" | "." | "..");
                assert!(entry.path.components().all(good), "{:?}", entry.path);
            }
        }
    }
    if let Ok(lock) = Lock::parse(bytes) {
        Lock::parse(&lock.to_bytes()).expect("a lock that was written");
    }
    if let Ok(mut file) = TrustFile::parse(bytes) {
        file.revoke("k", "now", Some("why"));
        let again = TrustFile::parse(&file.to_bytes()).expect("a store that was written");
        assert_eq!(again, file);
    }
    let project = TrustStore::parse(bytes).unwrap_or_default();
    let trust = Trust { project, ..Trust::default() };
    let modules = ["acme.http".to_owned()];
    assert!(verify_package(b"abc", &modules, None, &trust, false).is_err());
    assert!(verify_package(b"abc", &modules, Some(bytes), &Trust::default(), true).is_err());
    let _ = sources::parse(bytes);
    if let Ok(json::Value::Object(document)) = json::parse(bytes, Limit::SETTINGS) {
        let _ = ProjectFile::from_json(&document, "file");
        let _ = Target::from_json(&document, "file");
        let _ = Metadata::of_manifest(&document, "file");
    }
    if let Ok(lock) = ProjectLock::parse(bytes, "file") {
        assert_eq!(ProjectLock::parse(&lock.to_bytes(), "file").as_ref(), Ok(&lock));
        for locked in lock.packages.values() {
            locked.place().expect("a place that is safe");
        }
    }
    let _ = parse_for_gate(bytes);
    let _ = parse_for_publishing(bytes);
    let _ = check_for_publishing(bytes, b"abc");
    let _ = std::str::from_utf8(bytes).map(PrivateKey::parse_file);
});
