//! `drift resolve`, `drift update`, `drift lock migrate`

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::lock1::{LOCK_FILE, Migration, ProjectLock, check_fresh, migrate};
use super::super::project::Project;
use super::super::resolve::{Freedom, Order, resolve_project};
use super::network::ReachArgs;
use super::report::{Report, root};
use super::trust::timestamp;
use super::{Failure, Host};
use crate::files;
use crate::json::{Value, object};
use crate::problem::Problem;

/// Choose versions of everything the project needs, and lock them.
///
/// Where there is a lock, nothing is chosen: it is held against the project, and any difference
/// is an error. Only `drift update` changes it.
#[derive(Debug, clap::Args)]
pub(super) struct ResolveArgs {
    /// Choose the oldest versions that will do instead of the newest
    #[arg(long)]
    minimal: bool,
    #[command(flatten)]
    reach: ReachArgs,
}

pub(super) fn resolve(args: &ResolveArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let result = resolve_once(args, host);
    args.reach.finish(host, result)
}

fn resolve_once(args: &ResolveArgs, host: &Host<'_>) -> Result<Report, Problem> {
    let project = Project::load(&root())?;
    if let Some(lock) = ProjectLock::load(&root())? {
        check_fresh(&project, &lock)?;
        return Ok(report(None, &lock, false));
    }
    write(&project, None, &Freedom::All, order(args.minimal), &args.reach, host)
}

fn order(minimal: bool) -> Order {
    if minimal { Order::Minimal } else { Order::Newest }
}

/// Choose versions anew, and change the lock. The only command that does.
///
/// Without packages everything may change; with packages these, and others only where they must.
#[derive(Debug, clap::Args)]
pub(super) struct UpdateArgs {
    /// Packages or keys of dependencies that may change
    #[arg(value_name = "PACKAGE", conflicts_with = "keep")]
    packages: Vec<String>,
    /// Change only what must be changed to fit the project
    #[arg(long)]
    keep: bool,
    /// Choose the oldest versions that will do instead of the newest
    #[arg(long)]
    minimal: bool,
    #[command(flatten)]
    reach: ReachArgs,
}

pub(super) fn update(args: &UpdateArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let result = update_once(args, host);
    args.reach.finish(host, result)
}

fn update_once(args: &UpdateArgs, host: &Host<'_>) -> Result<Report, Problem> {
    let project = Project::load(&root())?;
    let before = ProjectLock::load(&root())?;
    let freedom = if args.keep {
        Freedom::Keep
    } else if args.packages.is_empty() {
        Freedom::All
    } else {
        let mut free = BTreeSet::new();
        for name in &args.packages {
            let package = project.file.deps.get(name).map_or(name, |one| &one.package);
            let known = project.file.deps.values().any(|one| one.package == *package)
                || before.as_ref().is_some_and(|lock| lock.packages.contains_key(package));
            if !known {
                let message = format!("neither project nor lock know a package `{name}`");
                return Err(Problem::new("PACKAGE_UNKNOWN", message).about(name.as_str()));
            }
            free.insert(package.clone());
        }
        Freedom::Only(free)
    };
    write(&project, before.as_ref(), &freedom, order(args.minimal), &args.reach, host)
}

fn write(
    project: &Project,
    before: Option<&ProjectLock>,
    freedom: &Freedom,
    order: Order,
    reach: &ReachArgs,
    host: &Host<'_>,
) -> Result<Report, Problem> {
    let _guard = files::lock_directory(std::path::Path::new("."))?;
    let (repositories, platform) = reach.open(project, host)?;
    let now = timestamp(host.now);
    let mut lock =
        resolve_project(project, &repositories, &platform, order, before, freedom, &now)?;
    let changed = lock.save(&root(), before)?;
    Ok(report(before, &lock, changed))
}

/// What a lock has, and what has changed in it.
fn report(before: Option<&ProjectLock>, lock: &ProjectLock, written: bool) -> Report {
    let old = before.map(|lock| lock.packages.clone()).unwrap_or_default();
    let names: BTreeSet<&String> = old.keys().chain(lock.packages.keys()).collect();
    let mut report = Report::default();
    let mut changes = Vec::new();
    for name in names {
        let then = old.get(name).map(|one| one.identity.version.as_str());
        let now = lock.packages.get(name).map(|one| one.identity.version.as_str());
        if then == now || !written {
            continue;
        }
        report = report.line(match (then, now) {
            (None, Some(now)) => format!("+ {name} {now}"),
            (Some(then), None) => format!("- {name} {then}"),
            (then, now) => {
                format!("~ {name} {} -> {}", then.unwrap_or_default(), now.unwrap_or_default())
            }
        });
        changes.push(object([
            ("package_id", name.as_str().into()),
            ("from", then.into()),
            ("to", now.into()),
        ]));
    }
    let packages = lock.packages.values().map(|one| {
        object([
            ("package_id", one.identity.package_id.as_str().into()),
            ("version", one.identity.version.as_str().into()),
            ("target", one.identity.target.as_str().into()),
            ("repository", one.repository.as_str().into()),
            ("sha256", one.sha256.as_str().into()),
        ])
    });
    report
        .field("lock", LOCK_FILE)
        .field("lock_rev", Value::Number(lock.rev.into()))
        .field("written", written)
        .field("packages", Value::Array(packages.collect()))
        .field("changes", Value::Array(changes))
}

/// The project's lock.
#[derive(Debug, clap::Subcommand)]
pub(super) enum LockCommand {
    Migrate(MigrateArgs),
}

/// Make drift-project.lock.json of a lock of format 0.
///
/// The same bytes of the same packages: each is read from its repository, which has the name of
/// the old source, and held against the old lock.
#[derive(Debug, clap::Args)]
pub(super) struct MigrateArgs {
    /// The lock of format 0
    #[arg(long, value_name = "FILE", default_value = "drift.lock.json")]
    lock: PathBuf,
    #[command(flatten)]
    reach: ReachArgs,
}

pub(super) fn lock(command: &LockCommand, host: &mut Host<'_>) -> Result<u8, Failure> {
    let LockCommand::Migrate(args) = command;
    let result = migrate_once(args, host);
    args.reach.finish(host, result)
}

fn migrate_once(args: &MigrateArgs, host: &Host<'_>) -> Result<Report, Problem> {
    let project = Project::load(&root())?;
    if ProjectLock::load(&root())?.is_some() {
        let message = "exists and is not overwritten";
        return Err(Problem::new("PROJECT_EXISTS", message).in_file(LOCK_FILE));
    }
    let (repositories, platform) = args.reach.open(&project, host)?;
    let now = timestamp(host.now);
    let with = Migration {
        project: &project,
        repositories: &repositories,
        platform: &platform,
        now: &now,
    };
    let mut lock = migrate(&args.lock, &with)?;
    let written = lock.save(&root(), None)?;
    Ok(report(None, &lock, written))
}
