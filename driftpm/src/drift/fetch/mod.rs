//! `fetch`: from the sources into the cache, by the lock if there is one.
//!
//! Every package is read once, checked completely, and written to a temporary file before it
//! gets its name, so the cache never holds bytes that were not right. Packages are handled in
//! the order of their ids; the first error ends the run, and those before it stay.

mod locked;
mod pick;
mod unlocked;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::cache;
use super::finding::{Finding, Mode};
use super::index::{Entry, Index, Strictness};
use super::lock::Lock;
use super::sources::{self, Source};
use super::transfer::{Claims, in_order, sync_directories, sync_staged};
use crate::files::{self, FileError};
use crate::json::{Limit, Value, object};
use crate::progress::Progress;
use crate::relpath::shown;
use pick::Pick;

/// What to fetch, and where to.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// The sources file.
    pub sources: PathBuf,
    /// The cache.
    pub cache_dir: PathBuf,
    /// The lock; whether it is there decides the mode.
    pub lock: PathBuf,
    /// Replace other versions in the cache. Integrity is never a matter of force.
    pub force: bool,
}

/// A package that was fetched.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The package, its place in the source, and what is known of it.
    pick: Pick,
    /// Where it lies in the cache.
    cache_path: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct FetchReport {
    /// By lock or by index.
    pub mode: Mode,
    /// The packages that are now in the cache, sorted by id.
    pub selected: Vec<Selected>,
    /// The error that ended the run.
    pub errors: Vec<Finding>,
    /// Whether the cache's index was written.
    pub cache_index_written: bool,
}

impl FetchReport {
    /// Whether everything was fetched.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.errors.is_empty()
    }

    /// The JSON report.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object([
            ("ok", self.ok().into()),
            ("mode", self.mode.as_str().into()),
            ("cache_index_written", self.cache_index_written.into()),
            (
                "selected",
                Value::Array(
                    self.selected.iter().map(|one| one.pick.to_json(&one.cache_path)).collect(),
                ),
            ),
            ("errors", Value::Array(self.errors.iter().map(Finding::to_json).collect())),
        ])
    }
}

/// An error that has no code of its own.
fn internal(mode: Mode, message: impl Into<String>) -> Finding {
    Finding::new(mode, "INTERNAL_ERROR", message)
}

/// Fetches, and reports.
#[must_use]
pub fn fetch(request: &FetchRequest, progress: &dyn Progress) -> FetchReport {
    let mode = if request.lock.exists() { Mode::Lock } else { Mode::Unlocked };
    let mut report =
        FetchReport { mode, selected: Vec::new(), errors: Vec::new(), cache_index_written: false };
    if let Err(mut finding) = run(request, progress, &mut report) {
        if finding.identity.is_none() {
            finding.identity =
                finding.claimed_identity.clone().or_else(|| finding.observed_identity.clone());
        }
        report.errors.push(finding);
    }
    progress.end();
    report
}

fn run(
    request: &FetchRequest,
    progress: &dyn Progress,
    report: &mut FetchReport,
) -> Result<(), Finding> {
    let mode = report.mode;
    let failed = |error: &dyn ToString| internal(mode, error.to_string());
    let bytes = files::read(&request.sources, Limit::SETTINGS.file()).map_err(|e| failed(&e))?;
    let mut sources = sources::parse(&bytes).map_err(|e| failed(&e))?;
    let packages_dir = cache::packages_dir(&request.cache_dir);
    files::create_dirs(&packages_dir).map_err(|e| failed(&e))?;
    let _guard = files::lock_directory(&request.cache_dir).map_err(|e| failed(&e))?;
    let mut index =
        cache::read_index(&request.cache_dir).map_err(|e| failed(&e))?.unwrap_or_else(Index::empty);
    let lock = match mode {
        Mode::Lock => Some(read_lock(request)?),
        _ => None,
    };
    sources.sort_by(|a, b| (a.priority, &a.id).cmp(&(b.priority, &b.id)));
    check_ids(&sources).map_err(|id| failed(&format!("two sources have the id `{id}`")))?;
    let picks = match &lock {
        Some(lock) => locked::picks(lock, &sources),
        None => unlocked::picks(&sources)?.into_iter().map(Ok).collect(),
    };
    let picks = without_collisions(picks, &mut index, request, mode);

    progress.begin("fetching", picks.len());
    let first_error = in_order(
        &picks,
        progress,
        |pick| pick.as_ref().map_err(Clone::clone)?.stage(&packages_dir),
        |staged| match sync_staged(&packages_dir, staged.iter().flatten()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(failed(&error)),
        },
        |pick, staged| match staged.and_then(|staged| {
            let pick = pick.as_ref().map_err(Clone::clone)?;
            let entry = pick.cache_entry();
            if !request.force {
                index.check(&entry).map_err(|conflict| internal(mode, conflict.to_string()))?;
            }
            staged.commit().map_err(|error| internal(mode, error.to_string()))?;
            index.replace(&entry);
            Ok(pick.clone())
        }) {
            Ok(pick) => {
                let cache_path = shown(&pick.path.below(&packages_dir));
                report.selected.push(Selected { pick, cache_path });
                ControlFlow::Continue(())
            }
            Err(finding) => ControlFlow::Break(finding),
        },
    );
    sync_directories(&packages_dir, report.selected.iter().map(|one| &one.pick.path))
        .map_err(|e| failed(&e))?;
    if let Some(finding) = first_error {
        return Err(finding);
    }
    files::write_atomically(&cache::index_path(&request.cache_dir), &index.to_bytes())
        .map_err(|e| failed(&e))?;
    report.cache_index_written = true;
    Ok(())
}

fn read_lock(request: &FetchRequest) -> Result<Lock, Finding> {
    let invalid = |message: String| {
        Finding::new(Mode::Lock, "LOCK_INVALID", message).at(shown(&request.lock))
    };
    let bytes = files::read(&request.lock, Limit::INDEX.file())
        .map_err(|error: FileError| invalid(error.to_string()))?;
    Lock::parse(&bytes).map_err(|error| invalid(error.to_string()))
}

fn check_ids(sources: &[Source]) -> Result<(), String> {
    let mut seen = HashSet::new();
    match sources.iter().find(|source| !seen.insert(source.id.as_str())) {
        Some(source) => Err(source.id.clone()),
        None => Ok(()),
    }
}

/// Makes an error of every pick whose file in the cache another package has: another pick, or a
/// package that an earlier run put there. The latter gives way to `force`.
fn without_collisions(
    picks: Vec<Result<Pick, Finding>>,
    index: &mut Index,
    request: &FetchRequest,
    mode: Mode,
) -> Vec<Result<Pick, Finding>> {
    let packages_dir = cache::packages_dir(&request.cache_dir);
    let ids: HashSet<&str> =
        picks.iter().flatten().map(|pick| pick.identity.package_id.as_str()).collect();
    let mut cached = Claims::default();
    for (package_id, entry) in index.entries() {
        if !ids.contains(package_id)
            && let Ok(entry) = Entry::parse(package_id, entry, Strictness::Present)
        {
            // Two cached packages at one path are of another tool's making; the first has it.
            let _ = cached.claim(&entry.path, package_id);
        }
    }
    let mut claims = Claims::default();
    let mut replaced = Vec::new();
    let checked = picks
        .into_iter()
        .map(|pick| {
            let pick = pick?;
            let collision = |owner: &str| {
                let path = shown(&pick.path.below(&packages_dir));
                let message = format!("`{path}` in the cache is the place of `{owner}` too");
                Finding::new(mode, "CACHE_PATH_COLLISION", message)
                    .about(&pick.identity)
                    .from_source(&pick.source_id)
                    .at(path)
            };
            let package_id = pick.identity.package_id.as_str();
            claims.claim(&pick.path, package_id).map_err(|owner| collision(&owner))?;
            if let Err(owner) = cached.claim(&pick.path, package_id) {
                if !request.force {
                    return Err(collision(&owner));
                }
                replaced.push(owner);
            }
            Ok(pick)
        })
        .collect();
    for package_id in replaced {
        index.remove(&package_id);
    }
    checked
}
