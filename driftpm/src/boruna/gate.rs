//! The gate in front of a patch bundle that touches packages.
//!
//! For every directory whose manifest, lockfile or policy the bundle changes: apply the bundle
//! in memory, resolve, compare lockfiles as data, check hashes and policy. A changed lockfile
//! needs a reviewer who is not the author. Nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::Error;
use super::files;
use super::install::{LockfileName, Plan};
use super::lockfile::Lockfile;
use super::manifest::{MANIFEST_NAME, PackageManifest};
use super::patch::PatchBundle;
use super::policy::{POLICY_NAME, Policies, requirements};
use super::project::Project;
use super::registry::Registry;

/// What the gate is asked.
#[derive(Debug, Clone)]
pub struct GateRequest<'a> {
    /// The bundle file.
    pub bundle: &'a Path,
    /// The directory to which the bundle's paths are relative.
    pub workspace: &'a Path,
    /// The registry.
    pub registry: &'a Path,
    /// Who reviewed the bundle.
    pub reviewer: Option<&'a str>,
    /// The lockfile's name.
    pub lockfile: &'a LockfileName,
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whether the bundle may pass.
    pub passed: bool,
    /// The report: status, problems, and what was found in each directory.
    pub report: Value,
}

/// Looks at a patch bundle.
///
/// # Errors
///
/// The bundle can't be read, or the registry can't be opened. Whatever is wrong with what the
/// bundle does is part of the verdict.
pub fn gate(request: &GateRequest<'_>) -> Result<Verdict, Error> {
    let text = files::read_text(request.bundle).map_err(Error::io("read bundle"))?;
    let bundle = PatchBundle::from_json(&text)?;
    let registry = Registry::open(request.registry)?;

    let mut problems = Vec::new();
    let mut touched: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    let mut patched: BTreeMap<PathBuf, String> = BTreeMap::new();
    for patch in &bundle.patches {
        let path = Path::new(&patch.file);
        if is_below(&request.workspace.join(path), registry.root()) {
            problems.push(format!("{}: published packages never change", patch.file));
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !counts(name, request.lockfile) {
            // Another name for a file that counts would be a way round.
            let real = request.workspace.join(path).canonicalize().unwrap_or_default();
            let real = real.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if counts(real, request.lockfile) {
                problems.push(format!("{}: a link to {real}; patch the file itself", patch.file));
            }
            continue;
        }
        let directory = path.parent().unwrap_or(Path::new("")).to_path_buf();
        touched.entry(directory).or_default().insert(name.to_string());
        let after = files::read_text(&request.workspace.join(path))
            .map_err(|error| format!("cannot resolve {}: {error}", patch.file))
            .and_then(|text| patch.apply(&text));
        match after {
            Ok(text) => {
                patched.insert(path.to_path_buf(), text);
            }
            Err(problem) => problems.push(problem),
        }
    }

    let mut directories = Vec::new();
    let mut lockfile_changes = false;
    if problems.is_empty() {
        for (directory, names) in &touched {
            let outcome = examine(request, &registry, directory, &patched);
            lockfile_changes |= outcome.lockfile_changes;
            directories.push(outcome.report(directory, names));
            let place = shown(directory);
            problems.extend(outcome.problems.iter().map(|problem| format!("{place}: {problem}")));
        }
    }
    if lockfile_changes {
        problems.extend(reviewer_problem(&bundle.metadata.author, request.reviewer));
    }

    let passed = problems.is_empty();
    let status = match (passed, touched.is_empty()) {
        (false, _) => "fail",
        (true, true) => "skip",
        (true, false) => "pass",
    };
    let report = json!({
        "gate": "package",
        "status": status,
        "bundle": bundle.metadata.id,
        "author": bundle.metadata.author,
        "reviewer": request.reviewer,
        "review_required": lockfile_changes,
        "problems": problems,
        "directories": directories,
    });
    Ok(Verdict { passed, report })
}

/// Whether a file of this name says what a package is, needs or may do.
fn counts(name: &str, lockfile: &LockfileName) -> bool {
    name == MANIFEST_NAME || name == POLICY_NAME || lockfile.matches(name)
}

/// Two different people, however their names are capitalised.
fn reviewer_problem(author: &str, reviewer: Option<&str>) -> Option<String> {
    let plain = |name: &str| name.trim().to_lowercase();
    let Some(reviewer) = reviewer.filter(|name| !name.trim().is_empty()) else {
        return Some("the lockfile changes: a reviewer is required (--reviewer)".to_string());
    };
    if plain(author).is_empty() {
        return Some("the lockfile changes, but the bundle names no author".to_string());
    }
    (plain(author) == plain(reviewer)).then(|| {
        format!("the lockfile changes: the reviewer must not be the author, {}", author.trim())
    })
}

fn is_below(path: &Path, registry: &Path) -> bool {
    let Ok(registry) = registry.canonicalize() else { return false };
    path.ancestors().find_map(|above| above.canonicalize().ok()).is_some_and(|real| {
        // A path that does not exist yet is below whatever of it exists.
        real.starts_with(registry)
    })
}

fn shown(directory: &Path) -> String {
    if directory == Path::new("") { ".".to_string() } else { directory.display().to_string() }
}

/// What the bundle does to one directory.
#[derive(Default)]
struct Outcome {
    problems: Vec<String>,
    lockfile_changes: bool,
    found: Vec<(&'static str, Value)>,
}

impl Outcome {
    fn report(&self, directory: &Path, touched: &BTreeSet<String>) -> Value {
        let mut report = json!({
            "directory": shown(directory),
            "touched": touched,
            "status": if self.problems.is_empty() { "pass" } else { "fail" },
            "problems": self.problems,
        });
        if let Some(object) = report.as_object_mut() {
            object.extend(self.found.iter().map(|(key, value)| (key.to_string(), value.clone())));
        }
        report
    }

    fn take<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.problems.push(message(&error))).ok()
    }
}

/// An error in one line.
fn message(error: &Error) -> String {
    let lines = error.preamble().into_iter().chain([error.to_string()]).chain(error.details());
    lines.map(|line| line.trim_start().to_string()).collect::<Vec<_>>().join("; ")
}

fn examine(
    request: &GateRequest<'_>,
    registry: &Registry,
    directory: &Path,
    patched: &BTreeMap<PathBuf, String>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let place = request.workspace.join(directory);
    let before = |name: &str| match files::read_text(&place.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if files::is_absent(&error) => Ok(None),
        Err(reason) => Err(Error::Io { action: format!("read {name}"), reason }),
    };
    let after = |name: &str| match patched.get(&directory.join(name)) {
        Some(text) => Ok(Some(text.clone())),
        None => before(name),
    };

    let lockfile_name = request.lockfile.name_to_read(&place);
    let locked_before = before(lockfile_name).ok().flatten();
    let locked_after = outcome.take(after(lockfile_name)).flatten();
    let data = |text: &Option<String>| {
        text.as_deref()
            .map(|text| serde_json::from_str::<Value>(text).map_err(|_| text.to_string()))
    };
    outcome.lockfile_changes = data(&locked_before) != data(&locked_after);
    // The other lockfile, if both are there, is a lockfile too: someone may build from it.
    outcome.lockfile_changes |= patched.keys().any(|path| {
        path.parent().unwrap_or(Path::new("")) == directory
            && path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                name != lockfile_name
                    && request.lockfile.matches(name)
                    && data(&before(name).ok().flatten()) != data(&patched.get(path).cloned())
            })
    });

    let Some(text) = outcome.take(after(MANIFEST_NAME)) else { return outcome };
    let Some(text) = text else {
        outcome.problems.push(format!("{MANIFEST_NAME} not found"));
        return outcome;
    };
    let project = PackageManifest::from_json(&text).and_then(|manifest| {
        manifest.checked_id()?;
        Ok(Project { directory: place.clone(), manifest, text })
    });
    let Some(project) = outcome.take(project) else { return outcome };
    let Some(plan) = outcome.take(Plan::make(&project, registry)) else { return outcome };

    compare_lockfile(&mut outcome, lockfile_name, locked_after.as_deref(), &plan);
    let failures = plan.hash_failures(registry);
    outcome.problems.extend(failures.iter().map(|one| format!("{}: {}", one.id, one.reason)));
    outcome.found.push(("hashes", failures.iter().map(|one| json!(one.id)).collect()));
    compare_capabilities(&mut outcome, &place, &project, &plan, registry);
    if let Some(policy) = outcome.take(after(POLICY_NAME)) {
        let policies = Policies::from_texts(policy.as_deref(), &project.text);
        if let Some(policies) = outcome.take(policies) {
            let violations = policies.violations(Some(&project.manifest), &plan.resolution);
            let listed = violations.iter().map(super::error::Violation::to_json).collect();
            outcome.found.push(("policy_violations", listed));
            if !violations.is_empty() {
                outcome.problems.push(message(&Error::PolicyViolation(violations)));
            }
        }
    }
    outcome
}

fn compare_lockfile(outcome: &mut Outcome, name: &str, text: Option<&str>, plan: &Plan) {
    let Some(text) = text else {
        outcome.found.push(("lockfile", json!({ "name": name, "state": "missing" })));
        outcome.problems.push(format!("lockfile {name} not found"));
        return;
    };
    let (state, difference) = match Lockfile::from_json(text) {
        Ok(lockfile) => {
            let difference = lockfile.difference(&plan.lockfile());
            (if difference.is_empty() { "current" } else { "different" }, Some(difference))
        }
        Err(error) => {
            outcome.problems.push(error.to_string());
            ("broken", None)
        }
    };
    let mut report = json!({ "name": name, "state": state });
    if let Some(difference) = difference.filter(|difference| !difference.is_empty()) {
        outcome.problems.push(message(&Error::LockfileDiffers {
            name: name.to_string(),
            difference: difference.clone(),
        }));
        if let Some(object) = report.as_object_mut() {
            object.insert("difference".to_string(), difference.to_json());
        }
    }
    outcome.found.push(("lockfile", report));
}

/// Capabilities of the whole closure, before and after. Before may not resolve; then only the
/// new list is known.
fn compare_capabilities(
    outcome: &mut Outcome,
    place: &Path,
    project: &Project,
    plan: &Plan,
    registry: &Registry,
) {
    let after = requirements(&project.manifest, &plan.resolution);
    let before = Project::load_checked(place).ok().and_then(|old| {
        let closure = super::resolve::resolve(&old.manifest, registry).ok()?;
        Some(requirements(&old.manifest, &closure))
    });
    let report = match before {
        Some(before) => json!({
            "before": before,
            "after": after,
            "added": after.difference(&before).collect::<Vec<_>>(),
            "removed": before.difference(&after).collect::<Vec<_>>(),
        }),
        None => json!({ "before": null, "after": after }),
    };
    outcome.found.push(("capabilities", report));
}
