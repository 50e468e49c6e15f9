//! The check `project`, of folders that are one: do project, targets and lock fit together, can
//! its packages be used here, and are its copies of them what is locked?

use std::collections::BTreeSet;
use std::path::Path;

use super::super::cache;
use super::super::finding::Finding;
use super::super::lock1::{LOCK_FILE, ProjectLock, check_fresh};
use super::super::platform::Platform;
use super::super::project::{PROJECT_FILE, Project, discover};
use super::super::supply::{Root, Roots, check_platform};
use super::{Check, Status, finding};
use crate::problem::Problem;
use crate::relpath::shown;

const ID: &str = "project";

/// Whether the folder is a project.
pub(super) fn is_project(root: &Path) -> bool {
    root.join(PROJECT_FILE).exists()
}

/// The check. `revoked` are the ids of keys that nobody may rely on.
pub(super) fn check(
    root: &Path,
    platform: &Platform,
    revoked: &BTreeSet<String>,
    deep: Option<(&Path, &Path)>,
) -> Check {
    let mut found = Findings::default();
    let Some(project) = found.take(Project::load(root)) else { return found.check() };
    let targets = found.take(discover(&project));
    found.targets = targets.map_or(0, |targets| targets.iter().count());
    found.dependencies = project.file.deps.len();
    let lock = match found.take(ProjectLock::load(root)) {
        Some(Some(lock)) => lock,
        Some(None) => {
            if !project.file.deps.is_empty() {
                let message = "the project has dependencies and no lock; `drift resolve` makes one";
                found.degraded.push(finding("PROJECT_LOCK_MISSING", message).at(LOCK_FILE));
            }
            return found.check();
        }
        None => return found.check(),
    };
    found.take(check_fresh(&project, &lock));
    found.take(check_platform(lock.packages.values(), platform));
    found.locked = lock.packages.len();
    for locked in lock.packages.values() {
        let kids = &locked.signer_kids;
        if !kids.is_empty() && kids.iter().all(|kid| revoked.contains(kid)) {
            let message = "every signer of the locked package is revoked";
            found.fatal.push(finding("LOCK_SIGNER_REVOKED", message).about(&locked.identity));
        }
    }
    if let Some((cache_dir, vendor_dir)) = deep {
        let copies = [cache::packages_dir(cache_dir), vendor_dir.to_owned()];
        for folder in copies.iter().filter(|folder| folder.is_dir()) {
            let folder = Roots::only(Root::Directory(folder.clone()));
            for locked in lock.packages.values() {
                match folder.find(locked).map(|_| ()) {
                    Ok(()) => {}
                    // A copy that is not there can be had; one that is wrong is a reason to look.
                    Err(problem) if problem.code == "PACKAGE_NOT_PRESENT" => {}
                    Err(problem) => {
                        found.degraded.push(of_problem(&problem).about(&locked.identity));
                    }
                }
            }
        }
    }
    found.check()
}

/// A problem as `doctor` tells it.
fn of_problem(problem: &Problem) -> Finding {
    let message = match &problem.field {
        Some(field) => format!("`{field}`: {}", problem.message),
        None => problem.message.clone(),
    };
    let found = finding(problem.code, message);
    match &problem.file {
        Some(file) => found.at(shown(Path::new(file))),
        None => found,
    }
}

#[derive(Default)]
struct Findings {
    fatal: Vec<Finding>,
    degraded: Vec<Finding>,
    targets: usize,
    dependencies: usize,
    locked: usize,
}

impl Findings {
    fn take<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.fatal.push(of_problem(&problem))).ok()
    }

    fn check(self) -> Check {
        let (status, summary) = match (self.fatal.is_empty(), self.degraded.is_empty()) {
            (false, _) => (Status::Fatal, "the project does not fit together"),
            (true, false) => (Status::Degraded, "the project is incomplete"),
            (true, true) => (Status::Ok, "project fine"),
        };
        let mut findings = self.fatal;
        findings.extend(self.degraded);
        Check::new(ID, status, summary).with_findings(findings).with_data([
            ("target_count", self.targets.into()),
            ("dependency_count", self.dependencies.into()),
            ("package_count", self.locked.into()),
        ])
    }
}
