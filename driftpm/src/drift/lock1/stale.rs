//! Whether a lock is still the lock of its project.

use std::collections::BTreeMap;

use super::super::project::{PROJECT_FILE, Project};
use super::super::resolve::Constraint;
use super::{LOCK_FILE, ProjectLock, Request};
use crate::problem::Problem;

/// What the project asks for, as a lock notes it.
#[must_use]
pub fn requests(project: &Project) -> BTreeMap<String, Request> {
    let request = |dependency: &super::super::project::Dependency| Request {
        package: dependency.package.clone(),
        constraint: dependency.constraint.as_str().to_owned(),
        repository: dependency.repository.clone(),
    };
    project.file.deps.iter().map(|(key, one)| (key.clone(), request(one))).collect()
}

/// Checks that the lock answers what the project asks for today, and that what it holds meets
/// every constraint it notes: an edited version is found without a network.
///
/// # Errors
/// `PROJECT_LOCK_STALE`
pub fn check_fresh(project: &Project, lock: &ProjectLock) -> Result<(), Problem> {
    let stale = |message: String| Problem::new("PROJECT_LOCK_STALE", message).in_file(LOCK_FILE);
    let asked = requests(project);
    let keys: std::collections::BTreeSet<&String> =
        asked.keys().chain(lock.requests.keys()).collect();
    for key in keys {
        let message = match (asked.get(key), lock.requests.get(key)) {
            (Some(now), Some(then)) if now == then => continue,
            (Some(now), None) => {
                format!(
                    "`{PROJECT_FILE}` asks for `{}` {}, the lock does not",
                    now.package, now.constraint
                )
            }
            (None, _) => {
                format!("the lock is for a dependency `{key}` that is not in `{PROJECT_FILE}`")
            }
            (Some(now), Some(then)) => format!(
                "`{PROJECT_FILE}` asks for `{}` {} from {}, the lock is for `{}` {} from {}",
                now.package,
                now.constraint,
                now.repository.as_deref().unwrap_or("any repository"),
                then.package,
                then.constraint,
                then.repository.as_deref().unwrap_or("any repository"),
            ),
        };
        return Err(stale(message)
            .at(format!("requests.{key}"))
            .hint("`drift update --keep` changes the lock where it must, and nothing else"));
    }
    let by_project =
        lock.requests.values().map(|one| (&lock.project, &one.package, &one.constraint));
    let by_packages = lock.packages.iter().flat_map(|(id, locked)| {
        locked.dependencies.iter().map(move |(package, constraint)| (id, package, constraint))
    });
    for (by, package, text) in by_project.chain(by_packages) {
        let Some(locked) = lock.packages.get(package) else { continue };
        let version = &locked.identity.version;
        let meets = Constraint::parse(text).is_ok_and(|constraint| {
            semver::Version::parse(version).is_ok_and(|version| constraint.matches(&version))
        });
        if !meets {
            let message = format!("`{by}` needs `{package}` {text}, {version} is locked");
            return Err(stale(message).at(format!("packages.{package}.version")));
        }
    }
    for (id, locked) in &lock.packages {
        if project.file.repository(&locked.repository).is_none() {
            let message = format!("the project has no repository `{}`", locked.repository);
            return Err(Problem::new("LOCK_SOURCE_UNKNOWN", message)
                .in_file(LOCK_FILE)
                .at(format!("packages.{id}.repository"))
                .about(id.as_str()));
        }
    }
    Ok(())
}
