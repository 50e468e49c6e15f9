//! Making the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::gate::{GateReport, GateRequest, gate};
use super::super::lock1::{LOCK_FILE, Locked, ProjectLock, check_fresh};
use super::super::platform::Platform;
use super::super::project::{Kind, Project, Target, Targets, discover};
use super::super::supply::{Root, Roots, check_platform, local_packages};
use super::command::{Words, arguments};
use super::{Plan, Step, Used};
use crate::problem::Problem;
use crate::progress::Progress;
use crate::relpath::{package_file_name, shown};

/// What to plan.
#[derive(Clone, Debug, Default)]
pub struct PlanRequest {
    /// The project's root.
    pub root: PathBuf,
    /// The target; without it the default one, or the only one.
    pub target: Option<String>,
    /// Where things are built, from the project's root.
    pub build_dir: PathBuf,
    /// More package roots.
    pub package_roots: Vec<PathBuf>,
    /// The trust stores beside the project's own.
    pub stores: GateRequest,
}

/// A plan and what it was made of.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) plan: Plan,
    pub(super) project: Project,
    /// Bytes of the packages with native parts, by id.
    pub(super) native: BTreeMap<String, Vec<u8>>,
}

/// Plans. What is wrong with the project itself is an error; what is wrong with packages is in the
/// plan, all of it.
///
/// # Errors
/// Project, targets or lock cannot be used.
pub fn plan(
    request: &PlanRequest,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Plan, Problem> {
    gather(request, platform, progress).map(|gathered| gathered.plan)
}

pub(super) fn gather(
    request: &PlanRequest,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Gathered, Problem> {
    let project = Project::load(&request.root)?;
    let targets = discover(&project)?;
    let wanted = wanted(request, &project, &targets)?.to_owned();
    let order = targets.in_order(&wanted)?;
    let lock = match ProjectLock::load(&request.root)? {
        None if project.file.deps.is_empty() => None,
        None => return Err(ProjectLock::require(&request.root).err().unwrap_or_else(no_lock)),
        Some(lock) => {
            check_fresh(&project, &lock)?;
            Some(lock)
        }
    };
    let roots = Roots::of_project(&request.root, &request.build_dir, &request.package_roots)?;
    let mut problems = Vec::new();
    let mut used: BTreeMap<String, Used> = BTreeMap::new();
    let mut native = BTreeMap::new();
    let closure = match &lock {
        None => Vec::new(),
        Some(lock) => lock.closure(packages_of(&project, &order)),
    };
    if let Err(problem) = check_platform(closure.iter().copied(), platform) {
        problems.push(problem);
    }
    for target in &order {
        if let Some(lacking) = target.platform.unmet_by(platform) {
            let message = format!("the target cannot be built for this platform: {lacking}");
            problems.push(Problem::new("PLATFORM_MISMATCH", message).about(target.name.as_str()));
        }
    }
    for locked in closure {
        let id = &locked.identity.package_id;
        if targets.iter().any(|target| target.name == *id) {
            let message = format!("a target is called `{id}`, and so is a locked package");
            problems.push(Problem::new("TARGET_INVALID", message).about(id.as_str()));
            continue;
        }
        match roots.find(locked) {
            Err(problem) => problems.push(problem),
            Ok((place, artifact)) => {
                if locked.native {
                    native.insert(id.clone(), artifact.package);
                }
                used.insert(id.clone(), Used::new(locked, place));
            }
        }
    }
    ask_gate(request, &project, &mut used, &mut problems, progress);
    let steps = steps(request, &project, &targets, &order, lock.as_ref(), &used, platform)?;
    let plan = Plan {
        project: project.file.name.clone(),
        target: wanted,
        build_dir: request.build_dir.clone(),
        platform: platform.clone(),
        lock_rev: lock.as_ref().map(|lock| lock.rev),
        roots: roots
            .iter()
            .map(|root| {
                let exists = match root {
                    Root::Directory(path) => path.is_dir(),
                    Root::Image(_) => true,
                };
                (root.shown(), exists)
            })
            .collect(),
        targets: steps,
        packages: used.into_values().collect(),
        problems,
    };
    Ok(Gathered { plan, project, native })
}

fn no_lock() -> Problem {
    Problem::new("PROJECT_LOCK_MISSING", "there is no such file").in_file(LOCK_FILE)
}

/// The target that is meant.
fn wanted<'a>(
    request: &'a PlanRequest,
    project: &'a Project,
    targets: &'a Targets,
) -> Result<&'a str, Problem> {
    if let Some(name) = request.target.as_ref().or(project.file.default_target.as_ref()) {
        return Ok(&targets.get(name)?.name);
    }
    let mut all = targets.iter();
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(&only.name),
        (None, _) => {
            let message = "the project has no targets";
            Err(Problem::new("TARGET_UNKNOWN", message).hint("`drift init --package` makes one"))
        }
        (Some(_), Some(_)) => {
            let names: Vec<String> = targets.iter().map(|one| format!("`{}`", one.name)).collect();
            let message = format!("which of {} is meant?", names.join(", "));
            Err(Problem::new("TARGET_UNKNOWN", message)
                .hint("`--target` or the project's `default_target` says"))
        }
    }
}

/// The packages that targets use directly.
fn packages_of<'a>(project: &'a Project, targets: &[&'a Target]) -> BTreeSet<&'a str> {
    let keys = targets.iter().flat_map(|target| &target.uses);
    keys.filter_map(|key| project.file.deps.get(key)).map(|one| one.package.as_str()).collect()
}

/// The gate's request for files, under the project's trust.
pub(super) fn gate_request(request: &PlanRequest, project: &Project) -> GateRequest {
    let trust = &project.file.trust;
    let below = |path: &crate::relpath::RelPath| path.below(&request.root);
    let mut asked = request.stores.clone();
    if asked.trust_store.is_none() {
        asked.trust_store = trust.store.as_ref().map(below);
    }
    asked.require_signatures |= trust.require_signatures;
    asked.allow_unsigned_from.extend(trust.allow_unsigned_from.iter().map(below));
    asked.allow_unsigned_from.push(local_packages(&request.root, &request.build_dir));
    asked
}

/// Asks the gate about all packages together, and notes its verdicts.
fn ask_gate(
    request: &PlanRequest,
    project: &Project,
    used: &mut BTreeMap<String, Used>,
    problems: &mut Vec<Problem>,
    progress: &dyn Progress,
) {
    let mut asked = gate_request(request, project);
    for one in used.values() {
        match &one.place.file {
            Some(file) => asked.paths.push(file.clone()),
            None => asked.inside.push((PathBuf::from(&one.place.root), one.place.place.clone())),
        }
    }
    let report = gate(&asked, progress);
    problems.extend(refusals(&report));
    for one in used.values_mut() {
        let path = match &one.place.file {
            Some(file) => shown(file),
            None => format!("{}:{}", one.place.root, one.place.place),
        };
        one.verdict = report.packages.iter().find(|verdict| verdict.path == path).cloned();
        // What the gate has seen must be what was compared with the lock.
        if let Some(verdict) = &one.verdict
            && verdict.ok
            && verdict.sha256.as_deref() != Some(one.sha256.as_str())
        {
            let message = "the package changed while it was read";
            problems.push(Problem::new("LOCK_SHA_MISMATCH", message).in_file(path));
        }
    }
}

/// The gate's refusals as problems, under its own codes.
pub(super) fn refusals(report: &GateReport) -> Vec<Problem> {
    let refused = report.packages.iter().filter(|verdict| !verdict.ok);
    refused
        .map(|verdict| {
            let problem = Problem::new(verdict.code, verdict.message.as_str());
            let id = verdict.identity.as_ref().and_then(|id| id.package_id.clone());
            let problem = problem.in_file(verdict.path.as_str());
            match id {
                Some(id) => problem.about(id),
                None => problem,
            }
        })
        .collect()
}

fn steps(
    request: &PlanRequest,
    project: &Project,
    targets: &Targets,
    order: &[&Target],
    lock: Option<&ProjectLock>,
    used: &BTreeMap<String, Used>,
    platform: &Platform,
) -> Result<Vec<Step>, Problem> {
    let mut steps: Vec<Step> = Vec::new();
    for target in order {
        let needed = targets.in_order(&target.name)?;
        let direct = packages_of(project, &needed);
        let closure: Vec<&Locked> = lock.map(|lock| lock.closure(direct)).unwrap_or_default();
        let packages: Vec<String> =
            closure.iter().map(|locked| locked.identity.package_id.clone()).collect();
        let local: Vec<String> = needed
            .iter()
            .filter(|other| other.name != target.name)
            .map(|other| other.name.clone())
            .collect();
        let mut files: Vec<PathBuf> = packages
            .iter()
            .filter_map(|id| used.get(id)?.place.file.clone())
            .map(|file| from_root(&file, &request.root))
            .collect();
        let built = steps.iter().filter(|step| local.contains(&step.target.name));
        files.extend(built.filter_map(|step| step.local_package.clone()));
        steps.push(step(request, project, targets, target, packages, local, &files, platform)?);
    }
    Ok(steps)
}

/// A path as the compiler sees it, which runs in the project's root.
fn from_root(path: &Path, root: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

#[expect(clippy::too_many_arguments, reason = "one call; a struct would only repeat the names")]
fn step(
    request: &PlanRequest,
    project: &Project,
    targets: &Targets,
    target: &Target,
    packages: Vec<String>,
    local: Vec<String>,
    files: &[PathBuf],
    platform: &Platform,
) -> Result<Step, Problem> {
    let folder = targets.folder(&target.name);
    let version = target.version.to_string();
    // What runs everywhere is one package for everywhere.
    let package_target = if target.platform.is_empty() {
        "any".to_owned()
    } else {
        format!("{}-{}-{}", platform.os, platform.arch, platform.abi)
    };
    let base = request.build_dir.join("targets").join(&target.name);
    let artifact_dir = base.join("artifact");
    let (name, local_package) = match target.kind {
        Kind::Exec => (target.name.clone(), None),
        Kind::Package => {
            let name = package_file_name(&target.name, &version, &package_target)
                .map_err(|error| Problem::new("TARGET_INVALID", error.to_string()))?;
            let folder = local_packages(Path::new(""), &request.build_dir);
            (name.to_string(), Some(name.below(&folder)))
        }
    };
    let artifact = artifact_dir.join(name);
    let mut unsigned: Vec<PathBuf> = project
        .file
        .trust
        .allow_unsigned_from
        .iter()
        .map(|path| PathBuf::from(path.as_str()))
        .collect();
    if request.build_dir != Path::new(super::DEFAULT_BUILD_DIR) {
        unsigned.push(local_packages(Path::new(""), &request.build_dir));
    }
    let words = Words {
        project: &project.file,
        target,
        folder: &folder,
        package_target: &package_target,
        artifact: &artifact,
        packages: files,
        unsigned: &unsigned,
    };
    let command = arguments(&words);
    Ok(Step {
        target: target.clone(),
        folder,
        package_target,
        artifact_dir,
        intermediates_dir: base.join("intermediates"),
        artifact,
        local_package,
        packages,
        local,
        command,
    })
}

/// The bytes of the locked packages with native parts, all of them accepted by the gate: nothing
/// of a package that is not is compiled.
///
/// # Errors
/// `PACKAGE_NOT_PRESENT`, what differs from the lock, and the gate's refusals
pub fn accepted_native(
    request: &PlanRequest,
    project: &Project,
    lock: &ProjectLock,
    roots: &Roots,
    progress: &dyn Progress,
) -> Result<Vec<Vec<u8>>, Vec<Problem>> {
    let mut used = BTreeMap::new();
    let mut packages = Vec::new();
    let mut problems = Vec::new();
    for locked in lock.packages.values().filter(|locked| locked.native) {
        match roots.find(locked) {
            Err(problem) => problems.push(problem),
            Ok((place, artifact)) => {
                let id = locked.identity.package_id.clone();
                used.insert(id, Used::new(locked, place));
                packages.push(artifact.package);
            }
        }
    }
    ask_gate(request, project, &mut used, &mut problems, progress);
    if problems.is_empty() { Ok(packages) } else { Err(problems) }
}
