//! Finding a project's targets: every `drift-target.json` below its root.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Kind, PROJECT_FILE, Project, TARGET_FILE, Target, read_document};
use crate::problem::Problem;
use crate::relpath::{RelPath, shown};

/// Folders in which nothing is looked for, wherever they lie: what is built, fetched or copied
/// there may have target files of its own.
const SKIPPED: [&str; 4] = ["build", "cache", "vendor", ".git"];
/// How deep targets may lie.
const MAX_DEPTH: usize = 32;

/// The targets of a project, by name.
#[derive(Clone, Debug, Default)]
pub struct Targets(BTreeMap<String, Found>);

/// A target and its folder.
#[derive(Clone, Debug)]
struct Found {
    target: Target,
    folder: Option<RelPath>,
}

impl Targets {
    /// All of them, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.0.values().map(|found| &found.target)
    }

    /// The target of that name.
    ///
    /// # Errors
    /// `TARGET_UNKNOWN`
    pub fn get(&self, name: &str) -> Result<&Target, Problem> {
        self.0.get(name).map(|found| &found.target).ok_or_else(|| {
            let known: Vec<String> = self.0.keys().map(|name| format!("`{name}`")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("no target is called `{name}`; there are {known}");
            Problem::new("TARGET_UNKNOWN", message).about(name)
        })
    }

    /// The folder of a target, from the project's root.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.0.get(name).and_then(|found| found.folder.as_ref());
        folder.map_or_else(PathBuf::new, |folder| PathBuf::from(folder.as_str()))
    }

    /// The names of the targets that `name` needs and then itself: each after those it needs.
    ///
    /// # Errors
    /// `TARGET_UNKNOWN`, `TARGET_CYCLE`
    pub fn in_order<'a>(&'a self, name: &'a str) -> Result<Vec<&'a Target>, Problem> {
        let mut order: Vec<&Target> = Vec::new();
        // What is being looked at, each with the number of its needs that are done.
        let mut path: Vec<(&Target, usize)> = vec![(self.get(name)?, 0)];
        while let Some((target, done)) = path.last_mut() {
            let target = *target;
            let Some(next) = target.depends_on.get(*done) else {
                order.push(target);
                path.pop();
                continue;
            };
            *done = done.saturating_add(1);
            if order.iter().any(|other| other.name == *next) {
                continue;
            }
            if let Some(from) = path.iter().position(|(other, _)| other.name == *next) {
                let circle = path.iter().skip(from).map(|(other, _)| format!("`{}`", other.name));
                let circle: Vec<String> = circle.chain([format!("`{next}`")]).collect();
                let message = format!("targets need each other: {}", circle.join(" needs "));
                return Err(Problem::new("TARGET_CYCLE", message).about(next.as_str()));
            }
            path.push((self.get(next)?, 0));
        }
        Ok(order)
    }
}

/// Finds and reads all targets of a project, and checks what they say about each other and about
/// the project.
///
/// # Errors
/// `TARGET_INVALID`, `TARGET_DUPLICATE`, `TARGET_UNKNOWN`, `TARGET_CYCLE`, `PROJECT_INVALID` (the
/// default target), `FILE_ERROR`
pub fn discover(project: &Project) -> Result<Targets, Problem> {
    let mut files = target_files(&project.root)?;
    files.sort();
    let mut targets = Targets::default();
    for (folder, path) in files {
        let document = read_document(&path, "TARGET_INVALID", "TARGET_INVALID")?;
        let target = Target::from_json(&document, &shown(&path))?;
        let name = target.name.clone();
        let found = Found { target, folder };
        if let Some(first) = targets.0.insert(name.clone(), found) {
            let first = first.folder.map_or_else(String::new, |folder| format!("{folder}/"));
            let message = format!("`{first}{TARGET_FILE}` is called `{name}` too");
            return Err(Problem::new("TARGET_DUPLICATE", message)
                .in_file(shown(&path))
                .at("name")
                .about(name));
        }
    }
    check_together(project, &targets)?;
    Ok(targets)
}

fn check_together(project: &Project, targets: &Targets) -> Result<(), Problem> {
    for target in targets.iter() {
        let file = shown(&project.root.join(targets.folder(&target.name)).join(TARGET_FILE));
        let wrong = |field: &str, message: String| {
            Problem::new("TARGET_INVALID", message)
                .in_file(file.as_str())
                .at(field)
                .about(target.name.as_str())
        };
        if let Some(key) = target.uses.iter().find(|key| !project.file.deps.contains_key(*key)) {
            let message = format!("`{key}` is no key of the project's `deps`");
            return Err(wrong("uses", message).hint(format!("`drift add {key}` adds it")));
        }
        for name in &target.depends_on {
            let needed = targets.get(name).map_err(|problem| {
                wrong("depends_on", problem.message.clone()).coded("TARGET_UNKNOWN")
            })?;
            if needed.kind == Kind::Exec {
                let message = format!("`{name}` is a program, only packages can be needed");
                return Err(wrong("depends_on", message));
            }
        }
        targets.in_order(&target.name)?;
        // A module of ours under the id of a package of theirs: which one would be meant?
        if let Some((key, _)) =
            project.file.deps.iter().find(|(_, dependency)| dependency.package == target.name)
        {
            let message = format!("the package of `deps.{key}` has this name");
            return Err(wrong("name", message));
        }
    }
    if let Some(name) = &project.file.default_target {
        targets.get(name).map_err(|problem| {
            let file = shown(&project.root.join(PROJECT_FILE));
            problem.coded("PROJECT_INVALID").in_file(file).at("default_target")
        })?;
    }
    Ok(())
}

/// The target files below `root`, each with its folder. Links are not followed, so the walk ends.
fn target_files(root: &Path) -> Result<Vec<(Option<RelPath>, PathBuf)>, Problem> {
    let mut found = Vec::new();
    let mut waiting = vec![(root.to_owned(), 0_usize)];
    while let Some((directory, depth)) = waiting.pop() {
        let failed = |error: std::io::Error| {
            Problem::new("FILE_ERROR", format!("cannot read `{}`: {error}", shown(&directory)))
        };
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (name, kind) = (entry.file_name(), entry.file_type().map_err(failed)?);
            if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
                if depth >= MAX_DEPTH {
                    let message = format!("folders nest deeper than {MAX_DEPTH} levels");
                    return Err(Problem::new("TARGET_INVALID", message).in_file(shown(&directory)));
                }
                waiting.push((entry.path(), depth.saturating_add(1)));
            } else if kind.is_file() && name == TARGET_FILE {
                let folder = directory.strip_prefix(root).unwrap_or(&directory);
                let folder = match folder.to_str() {
                    Some("") => None,
                    Some(text) => RelPath::parse(text).map(Some).map_err(|error| {
                        let message = format!("the folder `{text}` {error}");
                        Problem::new("TARGET_INVALID", message).in_file(shown(&entry.path()))
                    })?,
                    None => {
                        let message = "the folder's name is not UTF-8";
                        return Err(
                            Problem::new("TARGET_INVALID", message).in_file(shown(&entry.path()))
                        );
                    }
                };
                found.push((folder, entry.path()));
            }
        }
    }
    Ok(found)
}
