//! Resolving a project: its dependencies in, a lock out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::lock1::{Locked, ProjectLock, requests};
use super::super::platform::Platform;
use super::super::project::Project;
use super::super::repositories::Repositories;
use super::{Catalogue, Chosen, Need, Order, solve};
use crate::problem::Problem;

/// Which locked versions may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freedom {
    /// All of them.
    All,
    /// Those of these packages, and others where they must.
    Only(BTreeSet<String>),
    /// None but where they must.
    Keep,
}

/// Resolves the project for `platform`. `before` is the lock there was: its versions are kept as
/// far as `freedom` says. The result has revision 1; [`ProjectLock::save`] knows better.
///
/// # Errors
/// `RESOLUTION_IMPOSSIBLE`, and what is wrong with a repository
pub fn resolve_project(
    project: &Project,
    repositories: &Repositories,
    platform: &Platform,
    order: Order,
    before: Option<&ProjectLock>,
    freedom: &Freedom,
    now: &str,
) -> Result<ProjectLock, Problem> {
    let mut catalogue = Catalogue::new(repositories.all(), platform);
    let mut needs = Vec::new();
    for dependency in project.file.deps.values() {
        if let Some(repository) = &dependency.repository {
            catalogue.bind(&dependency.package, repository);
        }
        needs.push(Need {
            package: dependency.package.clone(),
            constraint: dependency.constraint.clone(),
        });
    }
    let mut preferred = HashMap::new();
    for (id, locked) in before.into_iter().flat_map(|lock| &lock.packages) {
        let kept = match freedom {
            Freedom::All => false,
            Freedom::Only(free) => !free.contains(id),
            Freedom::Keep => true,
        };
        if kept {
            preferred.insert(id.clone(), locked.identity.version.clone());
            catalogue.keep(id, &locked.identity.version);
        }
    }
    let solution = solve(&project.file.name, &needs, &catalogue, order, &preferred)?;
    let packages: BTreeMap<String, Locked> =
        solution.into_iter().map(|(id, chosen)| (id, lock_one(chosen))).collect();
    Ok(ProjectLock {
        rev: 1,
        generated_at: now.to_owned(),
        project: project.file.name.clone(),
        order: order.as_str().to_owned(),
        platform: platform.clone(),
        requests: requests(project),
        packages,
    })
}

fn lock_one(chosen: Chosen) -> Locked {
    let Chosen { repository, candidate } = chosen;
    let offer = candidate.offer;
    Locked {
        identity: offer.identity,
        sha256: offer.sha256,
        sig_sha256: offer.sig_sha256,
        signer_kids: offer.signer_kids.into_iter().collect(),
        repository,
        path: offer.path,
        dependencies: offer.dependencies,
        platform: offer.platform,
        native: offer.native,
    }
}
