//! Any bytes as a manifest.
//!
//! Invariants: no panic; an accepted manifest has no empty field, its entry and its commands'
//! targets are normalised absolute paths, and judging compatibility never panics.
#![no_main]

use epk_format::manifest::{ApiVersion, Host, Manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(manifest) = Manifest::parse(text) else { return };
    assert!(!manifest.name.is_empty() && !manifest.version.is_empty());
    for target in manifest.commands.values().chain([&manifest.entry]) {
        let rest = target.strip_prefix('/').expect("an absolute path");
        assert!(!rest.split('/').any(|part| matches!(part, "" | "." | "..")), "{target}");
    }
    let _ =
        manifest.check_compatibility(&Host { arches: &["x86-64"], kernel_api: ApiVersion::HOST });
});
