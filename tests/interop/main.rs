//! Images and manifests that EXOS's own programs made or judged, against this implementation.
//!
//! They lie outside the repository: `EPK_VECTORS` names their folder. Without it these tests
//! say so and pass; with it a missing file fails them.

mod epk_handmade;
mod epk_invalid;
mod epk_manifests;
mod epk_trees;
mod epk_valid;
mod users;

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The vectors of the image format, `None` when nobody said where they are.
fn epk_vectors() -> Option<PathBuf> {
    let Some(root) = std::env::var_os("EPK_VECTORS") else {
        eprintln!("EPK_VECTORS is not set: nothing was compared");
        return None;
    };
    let folder = PathBuf::from(root).join("epk");
    assert!(folder.is_dir(), "EPK_VECTORS has no folder `epk`: {}", folder.display());
    Some(folder)
}

/// The rows of a tab-separated table, by the names in its first line.
fn table(path: &std::path::Path) -> Vec<BTreeMap<String, String>> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a first line").split('\t').collect();
    let rows: Vec<_> = lines
        .map(|line| {
            let values = line.split('\t').chain(std::iter::repeat(""));
            names.iter().map(ToString::to_string).zip(values.map(str::to_owned)).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "{} has no rows", path.display());
    rows
}
