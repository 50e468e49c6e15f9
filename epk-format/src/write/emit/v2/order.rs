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

/// The plan's files, each once: those of the profile in its order, then the others in path order.
/// Neighbours in a folder are alike: for a Python installation no order by folder, suffix or size
/// gave a smaller image.
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
    // The plan is in path order, and stays so where the profile says nothing.
    files.sort_by_key(|number| ranks.get(number).copied().unwrap_or(usize::MAX));
    files
}
