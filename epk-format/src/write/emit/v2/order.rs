//! In which order the data lie.

use std::collections::HashMap;

use super::super::super::entry::{ContentId, Kind};
use super::super::super::plan::Plan;

/// For each entry of the plan the first one of the same file: itself, but for hard links.
pub(super) fn primaries(plan: &Plan) -> Vec<u32> {
    let mut first: HashMap<ContentId, u32> = HashMap::new();
    let numbered = (0..).zip(plan.entries());
    numbered
        .map(|(number, entry)| match entry.kind {
            Kind::File { content, .. } => *first.entry(content).or_insert(number),
            _ => number,
        })
        .collect()
}

/// The plan's files, each once: those of the profile in its order, then the others so that alike
/// lie together, which compresses better.
pub(super) fn order(plan: &Plan, primary: &[u32], profile: &[Vec<u8>]) -> Vec<u32> {
    let mut ranks: HashMap<u32, usize> = HashMap::new();
    for (rank, path) in profile.iter().enumerate() {
        let found = plan.entries().binary_search_by(|entry| entry.path.as_slice().cmp(path));
        if let Some(&file) = found.ok().and_then(|at| primary.get(at)) {
            ranks.entry(file).or_insert(rank);
        }
    }
    let is_file = |number: &u32| {
        let entry = usize::try_from(*number).ok().and_then(|at| plan.entries().get(at));
        entry.is_some_and(|entry| matches!(entry.kind, Kind::File { .. }))
    };
    let numbered = (0..).zip(primary);
    let firsts = numbered.filter(|&(number, first)| number == *first).map(|(number, _)| number);
    let mut files: Vec<u32> = firsts.filter(is_file).collect();
    files.sort_by_cached_key(|number| {
        let entry = usize::try_from(*number).ok().and_then(|at| plan.entries().get(at));
        let path = entry.map(|entry| entry.path.as_slice()).unwrap_or_default();
        let rank = ranks.get(number).copied().unwrap_or(usize::MAX);
        let (folder, suffix) = if rank == usize::MAX { likeness(path) } else { (&[][..], &[][..]) };
        (rank, folder, suffix, *number)
    });
    files
}

/// A path's folder, and the suffix of its name.
fn likeness(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let folder = slash.and_then(|at| path.get(..at)).unwrap_or_default();
    let name = slash.and_then(|at| path.get(at + 1..)).unwrap_or(path);
    // A dot at the beginning hides a name and begins no suffix.
    let dot = name.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0);
    (folder, dot.and_then(|at| name.get(at..)).unwrap_or_default())
}
