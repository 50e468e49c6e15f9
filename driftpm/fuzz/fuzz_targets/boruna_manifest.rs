//! Any bytes as a Boruna manifest, as a policy, and as a bundle of patches.
//!
//! Invariants: no panic; a manifest survives being written and read again; a valid one has a name
//! and a version that are safe as folders; no patch names a file outside of the workspace.
#![no_main]

use std::path::{Component, Path};

use driftpm::boruna::manifest::PackageManifest;
use driftpm::boruna::patch::PatchBundle;
use driftpm::boruna::policy::Policies;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Policies::from_texts(Some(text), "{}");
    let _ = Policies::from_texts(None, text);
    let plain =
        |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if let Ok(bundle) = PatchBundle::from_json(text) {
        assert!(bundle.patches.iter().all(|patch| plain(&patch.file)), "{bundle:?}");
    }
    let Ok(manifest) = PackageManifest::from_json(text) else { return };
    let written = manifest.to_pretty_json();
    assert_eq!(PackageManifest::from_json(&written).as_ref().ok(), Some(&manifest));
    assert!(!manifest.hashed_json().contains('\n'));
    if manifest.checked_id().is_ok() {
        for part in [&manifest.name, &manifest.version] {
            assert!(plain(part) && !part.contains('/'), "{part:?}");
        }
    }
});
