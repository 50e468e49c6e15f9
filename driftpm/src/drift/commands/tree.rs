//! `drift tree`, `drift why`

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::lock1::ProjectLock;
use super::report::{Report, finish, locked_project, one};
use super::{Failure, Host};
use crate::json::{Object, Value, object};
use crate::problem::Problem;

/// Show the locked packages as a tree.
#[derive(Debug, clap::Args)]
pub(super) struct TreeArgs {
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

/// `PACKAGE VERSION`
fn named(lock: &ProjectLock, package: &str) -> String {
    let version = lock.packages.get(package).map(|one| one.identity.version.as_str());
    format!("{package} {}", version.unwrap_or("?"))
}

pub(super) fn tree(args: &TreeArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let result = locked_project().map(|(_, lock)| draw(&lock)).map_err(one);
    finish(host, args.json, result)
}

fn draw(lock: &ProjectLock) -> Report {
    let mut report = Report::default().line(lock.project.as_str());
    let mut shown: BTreeSet<&str> = BTreeSet::new();
    let roots: BTreeSet<&str> = lock.requests.values().map(|one| one.package.as_str()).collect();
    // What is still to be drawn, the next one last: package, lines before it, whether it is the
    // last of its siblings. No recursion: a lock may be as deep as it is large.
    let mut waiting: Vec<(&str, String, bool)> = siblings(roots.into_iter(), "");
    while let Some((package, before, last)) = waiting.pop() {
        let first = shown.insert(package);
        let needs = lock.packages.get(package).map(|one| &one.dependencies);
        let mark = if first || needs.is_none_or(BTreeMap::is_empty) { "" } else { " (above)" };
        let branch = if last { "└── " } else { "├── " };
        report = report.line(format!("{before}{branch}{}{mark}", named(lock, package)));
        if let (true, Some(needs)) = (first, needs) {
            let before = format!("{before}{}", if last { "    " } else { "│   " });
            waiting.extend(siblings(needs.keys().map(String::as_str), &before));
        }
    }
    let mut packages = Object::new();
    for (id, locked) in &lock.packages {
        let needs: Vec<String> = locked.dependencies.keys().cloned().collect();
        packages.insert(
            id.as_str(),
            object([
                ("version", locked.identity.version.as_str().into()),
                ("repository", locked.repository.as_str().into()),
                ("dependencies", needs.into()),
            ]),
        );
    }
    let mut requests = Object::new();
    for (key, request) in &lock.requests {
        requests.insert(key.as_str(), request.package.as_str());
    }
    report
        .field("project", lock.project.as_str())
        .field("requests", requests)
        .field("packages", packages)
}

/// Packages below one place, the first one last.
fn siblings<'a>(
    packages: impl DoubleEndedIterator<Item = &'a str>,
    before: &str,
) -> Vec<(&'a str, String, bool)> {
    let reversed = packages.rev().enumerate();
    reversed.map(|(at, package)| (package, before.to_owned(), at == 0)).collect()
}

/// Show through what the project needs a package: one shortest way from each dependency.
#[derive(Debug, clap::Args)]
pub(super) struct WhyArgs {
    /// The package
    #[arg(value_name = "PACKAGE")]
    package: String,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn why(args: &WhyArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let result = locked_project().and_then(|(_, lock)| explain(&lock, &args.package)).map_err(one);
    finish(host, args.json, result)
}

fn explain(lock: &ProjectLock, package: &str) -> Result<Report, Problem> {
    let Some(locked) = lock.packages.get(package) else {
        let message = format!("the project does not need `{package}`");
        return Err(Problem::new("PACKAGE_UNKNOWN", message).about(package));
    };
    let mut report = Report::default();
    let mut ways = Vec::new();
    for (key, request) in &lock.requests {
        let Some(way) = way(lock, &request.package, package) else { continue };
        let mut line = format!("{} (`{}` {})", lock.project, key, request.constraint);
        let mut previous: Option<&str> = None;
        for step in &way {
            let constraint = previous
                .and_then(|id| lock.packages.get(id)?.dependencies.get(*step))
                .map_or_else(String::new, |text| format!(" ({text})"));
            line.push_str(&format!(" -> {}{constraint}", named(lock, step)));
            previous = Some(step);
        }
        report = report.line(line);
        let steps: Vec<String> = way.into_iter().map(str::to_owned).collect();
        ways.push(object([("key", key.as_str().into()), ("way", steps.into())]));
    }
    Ok(report
        .field("package_id", package)
        .field("version", locked.identity.version.as_str())
        .field("ways", Value::Array(ways)))
}

/// A shortest way from one package to another through what they need.
fn way<'a>(lock: &'a ProjectLock, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut came_from: BTreeMap<&str, Option<&str>> = BTreeMap::from([(from, None)]);
    let mut waiting = VecDeque::from([from]);
    while let Some(id) = waiting.pop_front() {
        if id == to {
            let mut way = vec![id];
            let mut at = id;
            while let Some(Some(before)) = came_from.get(at) {
                way.push(before);
                at = before;
            }
            way.reverse();
            return Some(way);
        }
        for next in lock.packages.get(id)?.dependencies.keys() {
            if !came_from.contains_key(next.as_str()) {
                came_from.insert(next, Some(id));
                waiting.push_back(next);
            }
        }
    }
    None
}
