//! Any bytes as each of Drift's lockfiles, and as a project or target file.
//!
//! Invariants: no panic; what a reader accepts survives being written and read again; every
//! locked package has a place that is safe.
#![no_main]

use driftpm::drift::lock::Lock;
use driftpm::drift::lock1::ProjectLock;
use driftpm::drift::metadata::Metadata;
use driftpm::drift::project::{ProjectFile, Target};
use driftpm::json::{self, Limit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(lock) = Lock::parse(bytes) {
        Lock::parse(&lock.to_bytes()).expect("a lock that was written");
    }
    if let Ok(lock) = ProjectLock::parse(bytes, "file") {
        assert_eq!(ProjectLock::parse(&lock.to_bytes(), "file").as_ref(), Ok(&lock));
        for locked in lock.packages.values() {
            locked.place().expect("a place that is safe");
        }
    }
    if let Ok(json::Value::Object(document)) = json::parse(bytes, Limit::SETTINGS) {
        let _ = ProjectFile::from_json(&document, "file");
        let _ = Target::from_json(&document, "file");
        let _ = Metadata::of_manifest(&document, "file");
    }
});
