//! From a lock v0 to a lock of a project: the same bytes of the same packages, with what the new
//! lock says beyond.

use std::collections::BTreeMap;
use std::path::Path;

use epk_format::digest::Sha256;

use super::super::container;
use super::super::lock::{Lock, LockedPackage};
use super::super::metadata::Metadata;
use super::super::platform::Platform;
use super::super::project::Project;
use super::super::repositories::Repositories;
use super::{Locked, ProjectLock, check_fresh, requests};
use crate::files;
use crate::json::Limit;
use crate::keys::sha256_text;
use crate::problem::Problem;
use crate::relpath::shown;

/// What is needed to migrate.
#[derive(Debug)]
pub struct Migration<'a> {
    /// The project, whose dependencies the new lock answers.
    pub project: &'a Project,
    /// Its repositories: the sources of the old lock, by the same names.
    pub repositories: &'a Repositories,
    /// The platform of now.
    pub platform: &'a Platform,
    /// The time of now.
    pub now: &'a str,
}

/// Reads the lock v0 at `path` and makes a project's lock of it. Every package is read from its
/// repository and held against the old lock, so nothing changes but what is written about it.
///
/// # Errors
/// `LOCK_INVALID`, `LOCK_NOT_MIGRATABLE`, and whatever differs from the old lock
pub fn migrate(path: &Path, with: &Migration<'_>) -> Result<ProjectLock, Problem> {
    let invalid = |message: String| Problem::new("LOCK_INVALID", message).in_file(shown(path));
    let bytes = files::read(path, Limit::INDEX.file())?;
    let old = Lock::parse(&bytes).map_err(|error| invalid(error.to_string()))?;
    let mut packages = BTreeMap::new();
    for (id, package) in old.packages() {
        packages.insert(id.clone(), one(package, with)?);
    }
    let lock = ProjectLock {
        rev: 1,
        generated_at: with.now.to_owned(),
        project: with.project.file.name.clone(),
        order: "newest".to_owned(),
        platform: with.platform.clone(),
        requests: requests(with.project),
        packages,
    };
    let cannot = |message: String| Problem::new("LOCK_NOT_MIGRATABLE", message);
    let wanted = lock.closure(lock.requests.values().map(|request| request.package.as_str()));
    if wanted.len() < lock.packages.len() {
        let id = lock
            .packages
            .keys()
            .find(|id| !wanted.iter().any(|locked| locked.identity.package_id == **id))
            .cloned()
            .unwrap_or_default();
        let version = lock.packages.get(&id).map(|locked| locked.identity.version.clone());
        let message = format!("nothing that the project asks for needs the locked `{id}`");
        let version = version.unwrap_or_default();
        return Err(cannot(message)
            .about(id.as_str())
            .hint(format!("`drift add {id} --constraint ={version}` asks for it")));
    }
    // Reading back finds what is lacking, and whether the rest of it is a lock.
    let lock = ProjectLock::parse(&lock.to_bytes(), super::LOCK_FILE)
        .map_err(|problem| problem.coded("LOCK_NOT_MIGRATABLE"))?;
    check_fresh(with.project, &lock)?;
    Ok(lock)
}

fn one(package: &LockedPackage, with: &Migration<'_>) -> Result<Locked, Problem> {
    let id = package.identity.package_id.as_str();
    let problem = |code, message: String| Problem::new(code, message).about(id);
    let source = with.repositories.get(&package.source_id).ok_or_else(|| {
        let message = format!("the project has no repository `{}`", package.source_id);
        problem("LOCK_SOURCE_UNKNOWN", message)
            .hint("give the repository the name of the old source")
    })?;
    let artifact = source.fetch(&package.path, &package.pkg_sha256)?;
    let got = sha256_text(&Sha256::of(&artifact.package));
    if got != package.pkg_sha256 {
        let message = format!("its hash is {got}, {} is locked", package.pkg_sha256);
        return Err(problem("LOCK_SHA_MISMATCH", message));
    }
    if let Some(expected) = &package.sig_sha256 {
        let got = artifact.sidecar.map(|sidecar| sha256_text(&Sha256::of(&sidecar)));
        if got.as_ref() != Some(expected) {
            let got = got.unwrap_or_else(|| "that of nothing".to_owned());
            let message = format!("the hash of its sidecar is {got}, {expected} is locked");
            return Err(problem("LOCK_SIG_SHA_MISMATCH", message));
        }
    }
    let full = container::read_full(&artifact.package)
        .map_err(|error| problem("LOCK_PKG_FORMAT_INVALID", error.to_string()))?;
    let metadata = Metadata::of_manifest(&full.manifest, &package.path)?;
    Ok(Locked {
        identity: package.identity.clone(),
        sha256: package.pkg_sha256.clone(),
        sig_sha256: package.sig_sha256.clone(),
        signer_kids: package.sig_kids.iter().cloned().collect(),
        repository: package.source_id.clone(),
        path: package.path.clone(),
        dependencies: metadata.dependencies,
        platform: metadata.platform,
        native: !metadata.native.is_empty(),
    })
}
