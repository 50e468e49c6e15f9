//! Replays the recorded cases of the original Drift tool, container by container and scenario by
//! scenario. They lie outside the repository: `EPK_VECTORS` names the folder that has `drift` in
//! it. Without the variable nothing is replayed; with it, a missing folder is a failure.
//!
//! What differs on purpose is listed in [`departures`] with what happens instead; the reasons are
//! in `spec/drift.md`.

#[path = "drift/departures.rs"]
mod departures;
#[path = "drift/formats.rs"]
mod formats;
#[path = "drift/scenarios.rs"]
mod scenarios;
#[path = "drift/tables.rs"]
mod tables;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder of Drift's vectors, or nothing if they are not to be replayed.
fn vectors() -> Option<PathBuf> {
    let Some(root) = std::env::var_os("EPK_VECTORS") else {
        println!("skipped: EPK_VECTORS is not set");
        return None;
    };
    let folder = PathBuf::from(root).join("drift");
    assert!(folder.is_dir(), "EPK_VECTORS is set, but `{}` is no folder", folder.display());
    Some(folder)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&read(path)).unwrap_or_else(|e| panic!("`{}`: {e}", path.display()))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no string `{key}` in {value}"))
}

/// Fails with all disagreements at once, after telling how many cases there were.
fn conclude(what: &str, cases: usize, disagreements: &[String]) {
    println!("{what}: {} of {cases} agree", cases - disagreements.len());
    assert!(cases > 0, "{what}: no cases found");
    assert!(disagreements.is_empty(), "{what}:\n{}", disagreements.join("\n"));
}
