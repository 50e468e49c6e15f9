//! `drift init`, `drift add`, `drift remove`, `drift targets`

use std::path::Path;

use super::super::project::{self, Dependency, Kind, Project, discover};
use super::super::resolve::{Catalogue, Constraint};
use super::network::ReachArgs;
use super::report::{Report, finish, one, root};
use super::{Failure, Host};
use crate::json::{Value, object};
use crate::problem::Problem;
use crate::relpath::shown;

/// Make a project in the current folder.
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// The project's name; without it that of the current folder
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Make a target in the same folder, too: a package
    #[arg(long, conflicts_with = "exec")]
    package: bool,
    /// Make a target in the same folder, too: a program
    #[arg(long)]
    exec: bool,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn init(args: &InitArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let kind = match (args.package, args.exec) {
        (true, _) => Some(Kind::Package),
        (_, true) => Some(Kind::Exec),
        _ => None,
    };
    let make = || {
        let folder = std::fs::canonicalize(".").ok();
        let folder = folder.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        let name = args.name.as_deref().or(folder).ok_or_else(|| {
            Problem::new("PROJECT_INVALID", "the current folder has no name that could be used")
        })?;
        let files = project::init(Path::new("."), name, kind)?;
        let report = Report::default().field("name", name).field("files", files.clone());
        Ok(files.into_iter().fold(report, |report, file| report.note(format!("wrote `{file}`"))))
    };
    let result = make().map_err(one);
    finish(host, args.json, result)
}

/// Add a dependency to drift-project.json.
///
/// The lock stays as it is: `drift update KEY` changes it.
#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// The package
    #[arg(value_name = "PACKAGE")]
    package: String,
    /// Which versions will do, for instance ^1.4; without it those compatible with the newest
    /// that the repositories have
    #[arg(long, value_name = "TEXT")]
    constraint: Option<String>,
    /// The only repository from which it may come
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// The key under which targets use it; without it the package's id
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Take the place of a dependency with this key
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    reach: ReachArgs,
}

pub(super) fn add(args: &AddArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let result = add_one(args, host);
    args.reach.finish(host, result)
}

fn add_one(args: &AddArgs, host: &Host<'_>) -> Result<Report, Problem> {
    let project = Project::load(&root())?;
    let constraint = match &args.constraint {
        Some(text) => Constraint::parse(text)
            .map_err(|error| Problem::new("PROJECT_INVALID", error.to_string()))?,
        None => newest(args, &project, host)?,
    };
    let key = args.key.as_deref().unwrap_or(&args.package);
    let text = constraint.to_string();
    let dependency = Dependency {
        package: args.package.clone(),
        constraint,
        repository: args.repository.clone(),
    };
    project::add(&root(), key, &dependency, args.replace)?;
    Ok(Report::default()
        .field("key", key)
        .field("package", args.package.as_str())
        .field("constraint", text.as_str())
        .field("repository", args.repository.as_deref())
        .note(format!("added `{}` {text}", args.package)))
}

/// Versions compatible with the newest one; a pre-release only if there is nothing else.
fn newest(args: &AddArgs, project: &Project, host: &Host<'_>) -> Result<Constraint, Problem> {
    let (repositories, platform) = args.reach.open(project, host)?;
    let mut catalogue = Catalogue::new(repositories.all(), &platform);
    if let Some(repository) = &args.repository {
        catalogue.bind(&args.package, repository);
    }
    let known = catalogue.look_up(&args.package)?;
    let released = known.candidates.iter().rev().find(|one| one.version.pre.is_empty());
    match released.or(known.candidates.last()) {
        Some(newest) => Ok(Constraint::compatible(&newest.version)),
        None => {
            let message = format!("no repository offers `{}` for this platform", args.package);
            Err(Problem::new("PACKAGE_UNKNOWN", message)
                .about(args.package.as_str())
                .hint("with `--constraint` it is added all the same"))
        }
    }
}

/// Remove a dependency from drift-project.json.
///
/// The lock stays as it is: `drift update --keep` changes it.
#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    /// The dependency's key
    #[arg(value_name = "KEY")]
    key: String,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn remove(args: &RemoveArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let result = project::remove(&root(), &args.key)
        .map(|()| {
            let key = args.key.as_str();
            Report::default().field("key", key).note(format!("removed `{key}`"))
        })
        .map_err(one);
    finish(host, args.json, result)
}

/// List the project's targets: every drift-target.json below, but not in build, cache, vendor and
/// .git.
#[derive(Debug, clap::Args)]
pub(super) struct TargetsArgs {
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn targets(args: &TargetsArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let list = || -> Result<Report, Problem> {
        let project = Project::load(&root())?;
        let targets = discover(&project)?;
        let mut report = Report::default();
        let mut list = Vec::new();
        for target in targets.iter() {
            let folder = shown(&targets.folder(&target.name));
            let (kind, version) = (target.kind.as_str(), target.version.to_string());
            report = report.line(format!("{} {version} {kind} {folder}", target.name));
            list.push(object([
                ("name", target.name.as_str().into()),
                ("kind", kind.into()),
                ("version", version.into()),
                ("folder", folder.into()),
                ("uses", target.uses.clone().into()),
                ("depends_on", target.depends_on.clone().into()),
                ("platform", target.platform.to_json()),
                (
                    "native",
                    Value::Array(target.native.iter().map(project::Shim::to_json).collect()),
                ),
            ]));
        }
        let default = project.file.default_target.as_deref();
        Ok(report
            .field("project", project.file.name.as_str())
            .field("default_target", default)
            .field("targets", Value::Array(list)))
    };
    let result = list().map_err(one);
    finish(host, args.json, result)
}
