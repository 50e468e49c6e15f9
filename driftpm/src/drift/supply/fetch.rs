//! From the repositories into the cache, exactly what is locked.

use std::ops::ControlFlow;
use std::path::Path;

use super::super::cache;
use super::super::lock1::{Locked, ProjectLock};
use super::super::platform::Platform;
use super::super::repositories::Repositories;
use super::super::transfer::{
    StagedPackage, in_order, read_sidecar, sync_directories, sync_staged,
};
use super::super::trust::{Examined, FirstUse};
use super::{check_locked, check_platform};
use crate::files::{self, MAX_PACKAGE};
use crate::json::{Value, object};
use crate::problem::Problem;
use crate::progress::Progress;
use crate::relpath::RelPath;

/// A package that is in the cache now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The package.
    pub locked: Locked,
    /// Where it lies below the cache's directory of packages.
    pub place: RelPath,
    /// Whether it was there already.
    pub present: bool,
}

impl Fetched {
    /// The entry of reports.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object([
            ("package_id", self.locked.identity.package_id.as_str().into()),
            ("version", self.locked.identity.version.as_str().into()),
            ("target", self.locked.identity.target.as_str().into()),
            ("repository", self.locked.repository.as_str().into()),
            ("sha256", self.locked.sha256.as_str().into()),
            ("place", self.place.as_str().into()),
            ("present", self.present.into()),
        ])
    }
}

/// Fetches every package of `lock` into the cache at `cache_dir`. What is there and right is not
/// asked for again. Every package is checked completely before it gets its name.
///
/// # Errors
/// The first thing that is wrong, by the ids of packages; those before it stay.
pub fn fetch_locked(
    lock: &ProjectLock,
    repositories: &Repositories,
    platform: &Platform,
    cache_dir: &Path,
    progress: &dyn Progress,
) -> Result<Vec<Fetched>, Problem> {
    check_platform(lock.packages.values(), platform)?;
    let packages_dir = cache::packages_dir(cache_dir);
    files::create_dirs(&packages_dir)?;
    let _guard = files::lock_directory(cache_dir)?;
    let jobs = lock
        .packages
        .values()
        .map(|locked| Ok((locked, locked.place()?)))
        .collect::<Result<Vec<(&Locked, RelPath)>, Problem>>()?;
    progress.begin("fetching", jobs.len());
    let mut fetched = Vec::new();
    let stopped = in_order(
        &jobs,
        progress,
        |(locked, place)| get(locked, place, repositories, &packages_dir),
        |staged| {
            let new = staged.iter().flatten().flatten().map(|new| &new.staged);
            match sync_staged(&packages_dir, new) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Problem::from(error)),
            }
        },
        |(locked, place), staged| {
            let done = staged.and_then(|staged| {
                let present = staged.is_none();
                if let Some(New { staged, examined }) = staged {
                    if let Some((first_use, examined)) = examined {
                        let id = locked.identity.package_id.as_str();
                        first_use.admit_package(id, &examined)?;
                    }
                    staged.commit()?;
                }
                Ok(Fetched { locked: (*locked).clone(), place: place.clone(), present })
            });
            match done {
                Ok(one) => {
                    fetched.push(one);
                    ControlFlow::Continue(())
                }
                Err(problem) => ControlFlow::Break(problem),
            }
        },
    );
    progress.end();
    sync_directories(&packages_dir, fetched.iter().map(|one| &one.place))?;
    stopped.map_or(Ok(fetched), Err)
}

/// A package that is not in the cache yet.
struct New<'a> {
    staged: StagedPackage,
    /// What decides whether its signers are let in, and by whom.
    examined: Option<(&'a FirstUse, Examined)>,
}

/// Stages the package, or nothing if it is there already.
fn get<'a>(
    locked: &Locked,
    place: &RelPath,
    repositories: &'a Repositories,
    packages_dir: &Path,
) -> Result<Option<New<'a>>, Problem> {
    if is_there(locked, place, packages_dir) {
        return Ok(None);
    }
    let id = locked.identity.package_id.as_str();
    let source = repositories.get(&locked.repository).ok_or_else(|| {
        let message = format!("the project has no repository `{}`", locked.repository);
        Problem::new("LOCK_SOURCE_UNKNOWN", message).about(id)
    })?;
    let artifact = source
        .fetch(&locked.path, &locked.sha256)
        .map_err(|problem| if problem.subject.is_some() { problem } else { problem.about(id) })?;
    let from = format!("{}:{}", locked.repository, locked.path);
    let full = check_locked(locked, &artifact.package, artifact.sidecar.as_deref(), &from)?;
    // A sidecar that is not locked is not taken: it might be of another time.
    let sidecar = artifact.sidecar.filter(|_| locked.sig_sha256.is_some());
    // Nobody vouches for a package without signatures: the gate decides about it.
    let examined = source.first_use().zip(sidecar.as_deref()).map(|(first_use, sidecar)| {
        (first_use, first_use.examine(&artifact.package, &full.modules, sidecar))
    });
    let staged = StagedPackage::write(packages_dir, place, &artifact.package, sidecar.as_deref())?;
    Ok(Some(New { staged, examined }))
}

/// Whether the cache has exactly the locked bytes. Whatever is wrong there is written anew.
fn is_there(locked: &Locked, place: &RelPath, packages_dir: &Path) -> bool {
    let Ok(package) = files::read_below(packages_dir, place, MAX_PACKAGE) else { return false };
    let Ok(sidecar) = read_sidecar(packages_dir, place) else { return false };
    sidecar.is_some() == locked.sig_sha256.is_some()
        && check_locked(locked, &package, sidecar.as_deref(), place.as_str()).is_ok()
}
