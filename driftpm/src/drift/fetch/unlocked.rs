//! Picking without a lock: everything that the sources list, one candidate for each package id.

use std::collections::BTreeMap;

use super::super::finding::{Finding, Mode};
use super::super::identity::PartialIdentity;
use super::super::index::{self, Entry, Index, Strictness};
use super::super::sources::Source;
use super::internal;
use super::pick::{Pick, Pin};
use crate::files;
use crate::json::Limit;
use crate::relpath::shown;

/// The best candidate for each package id, sorted by id. `sources` are sorted by priority and
/// id, so the first candidate is the best one but for its path.
///
/// # Errors
/// The first thing wrong with an index, or two sources that offer the same identity.
pub(super) fn picks(sources: &[Source]) -> Result<Vec<Pick>, Finding> {
    let mut ids: Vec<String> = Vec::new();
    let mut candidates: BTreeMap<String, Vec<Pick>> = BTreeMap::new();
    for source in sources {
        for pick in of_source(source)? {
            let package_id = pick.identity.package_id.clone();
            candidates.entry(package_id.clone()).or_insert_with(|| {
                ids.push(package_id);
                Vec::new()
            });
            if let Some(list) = candidates.get_mut(&pick.identity.package_id) {
                list.push(pick);
            }
        }
    }
    for id in &ids {
        if let Some(finding) = candidates.get(id).and_then(|list| ambiguity(list)) {
            return Err(finding);
        }
    }
    Ok(candidates.into_values().filter_map(|list| list.into_iter().next()).collect())
}

/// Two sources with one identity are an error whatever their priorities and bytes: nobody should
/// have to wonder from where a package came.
fn ambiguity(candidates: &[Pick]) -> Option<Finding> {
    let identity = candidates.iter().enumerate().find_map(|(at, one)| {
        let twice =
            candidates.iter().skip(at.saturating_add(1)).any(|o| o.identity == one.identity);
        twice.then_some(&one.identity)
    })?;
    let places: Vec<String> = candidates
        .iter()
        .filter(|pick| pick.identity == *identity)
        .map(|pick| format!("`{}` of source `{}`", pick.path, pick.source_id))
        .collect();
    let message = format!(
        "ambiguous package identity: {identity} is {}; only a lock can tell which is meant",
        places.join(" and ")
    );
    Some(Finding::new(Mode::Unlocked, "AMBIGUOUS_IDENTITY", message).about(identity))
}

fn of_source(source: &Source) -> Result<Vec<Pick>, Finding> {
    let index_path = source.path.join(index::FILE_NAME);
    let bytes = match files::read(&index_path, Limit::INDEX.file()) {
        Ok(bytes) => bytes,
        // A source without an index offers nothing.
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        Err(error) => return Err(internal(Mode::Unlocked, error.to_string())),
    };
    let index = Index::parse(&bytes)
        .map_err(|error| internal(Mode::Unlocked, format!("`{}`: {error}", shown(&index_path))))?;
    let mut picks = Vec::new();
    for (package_id, value) in index.entries() {
        let entry = Entry::parse(package_id, value, Strictness::Filled).map_err(|error| {
            Finding::new(
                Mode::Unlocked,
                "INDEX_INVALID_ENTRY",
                format!("invalid index entry `{package_id}`: {error}"),
            )
            .about(PartialIdentity::of_entry(package_id, value))
            .from_source(&source.id)
            .in_index(&shown(&index_path))
        })?;
        picks.push(Pick {
            identity: entry.identity,
            source_id: source.id.clone(),
            source_dir: source.path.clone(),
            path: entry.path,
            sha256: entry.sha256,
            signers: entry.signers,
            pin: Pin::Index { unsigned: entry.unsigned },
        });
    }
    Ok(picks)
}
