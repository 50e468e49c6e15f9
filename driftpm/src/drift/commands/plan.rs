//! `drift plan`, `drift build`, `drift install`

use std::path::PathBuf;

use super::super::native::{self, Installed, Workshop};
use super::super::plan::{self, BuildRequest, Built, DEFAULT_BUILD_DIR, PlanRequest};
use super::super::platform::Platform;
use super::super::supply::Roots;
use super::report::{PlatformArgs, Report, StoreArgs, finish, locked_project, one, root};
use super::{Failure, Host, status};
use crate::json::Value;
use crate::problem::Problem;
use crate::relpath::shown;

/// Options of everything that plans.
#[derive(Debug, clap::Args)]
struct Where {
    /// The target; without it the project's default, or its only one
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Where things are built
    #[arg(long, value_name = "DIR", default_value = DEFAULT_BUILD_DIR)]
    build_dir: PathBuf,
    /// Another package root, a directory or an EPK image; may be repeated
    #[arg(long, value_name = "DIR|IMAGE", action = clap::ArgAction::Append)]
    package_root: Vec<PathBuf>,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    platform: PlatformArgs,
}

impl Where {
    fn request(&self, host: &Host<'_>) -> PlanRequest {
        PlanRequest {
            root: root(),
            target: self.target.clone(),
            build_dir: self.build_dir.clone(),
            package_roots: self.package_root.clone(),
            stores: self.stores.stores(host),
        }
    }
}

/// Say what is to be built, in which order and out of what. No network, nothing is written.
///
/// Package roots are looked into in one order: build/drift/localpkgs, vendor/driftpkgs,
/// cache/driftpm, then those of --package-root.
#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    place: Where,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn plan(args: &PlanArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let made = args.place.platform.platform(host).and_then(|platform| {
        plan::plan(&args.place.request(host), &platform, host.progress(args.json))
    });
    let plan = match made {
        Ok(plan) => plan,
        Err(problem) => return finish(host, args.json, Err(one(problem))),
    };
    if args.json {
        host.print_json(&plan.to_json())?;
        return Ok(status(plan.ok()));
    }
    if !plan.ok() {
        return finish(host, false, Err(plan.problems));
    }
    let mut report = Report::default();
    for used in &plan.packages {
        let code = used.verdict.as_ref().map_or("", |verdict| verdict.code);
        let place = match &used.place.file {
            Some(file) => shown(file),
            None => format!("{}:{}", used.place.root, used.place.place),
        };
        let (id, version) = (&used.identity.package_id, &used.identity.version);
        report = report.line(format!("use {id} {version} {place} {code}"));
    }
    for step in &plan.targets {
        let (name, kind) = (&step.target.name, step.target.kind.as_str());
        let (version, artifact) = (&step.target.version, shown(&step.artifact));
        report = report.line(format!("build {name} {version} {kind} {artifact}"));
    }
    finish(host, false, Ok(report))
}

/// Build a target and the targets it needs, with a compiler.
///
/// Packages are published into build/drift/localpkgs before those that need them are compiled;
/// the gate is asked before every run. Native parts are compiled first, as `drift install` does.
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    /// The compiler, a program
    #[arg(long, value_name = "PROGRAM")]
    compiler: PathBuf,
    /// An argument that the compiler gets before those of the plan; may be repeated
    #[arg(long, value_name = "TEXT", action = clap::ArgAction::Append, allow_hyphen_values = true)]
    compiler_arg: Vec<String>,
    #[command(flatten)]
    place: Where,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn build(args: BuildArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    // The compiler runs in the project's root, which is the current folder; a name without a
    // slash is looked for on the search path.
    let machine = host.world.platform();
    let result = args.place.platform.platform(host).map_err(one).and_then(|platform| {
        let request = BuildRequest {
            plan: args.place.request(host),
            compiler: args.compiler,
            compiler_arguments: args.compiler_arg,
            shop: workshop(&platform, &machine, host),
        };
        plan::build(&request, host.progress(args.json))
    });
    let result = result.map(|built| {
        let list = Value::Array(built.iter().map(Built::to_json).collect());
        built.iter().fold(Report::default().field("built", list), |report, one| {
            report.line(format!("{} {}", one.name, shown(&one.artifact)))
        })
    });
    finish(host, args.json, result)
}

/// Compile the native parts of locked packages, into cache/driftpm/native.
///
/// Only what packages declare: C files by gcc or clang, no scripts, no flags of their own, in a
/// sandbox without network in which nothing of the host can be written. Only packages that the
/// gate accepts.
#[derive(Debug, clap::Args)]
pub(super) struct InstallArgs {
    /// Another package root, a directory or an EPK image; may be repeated
    #[arg(long, value_name = "DIR|IMAGE", action = clap::ArgAction::Append)]
    package_root: Vec<PathBuf>,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    platform: PlatformArgs,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn install(args: &InstallArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let result = install_all(args, host).map(|installed| {
        let list = Value::Array(installed.iter().map(Installed::to_json).collect());
        installed.iter().fold(Report::default().field("installed", list), |report, one| {
            let (id, version) = (&one.package.package_id, &one.package.version);
            report.line(format!("{id} {version} {} {}", one.name, shown(&one.object)))
        })
    });
    finish(host, args.json, result)
}

fn install_all(args: &InstallArgs, host: &Host<'_>) -> Result<Vec<Installed>, Vec<Problem>> {
    let (project, lock) = locked_project().map_err(one)?;
    let platform = args.platform.platform(host).map_err(one)?;
    let roots =
        Roots::of_project(&root(), std::path::Path::new(DEFAULT_BUILD_DIR), &args.package_root)
            .map_err(one)?;
    let request = PlanRequest {
        root: root(),
        build_dir: DEFAULT_BUILD_DIR.into(),
        stores: args.stores.stores(host),
        ..PlanRequest::default()
    };
    let packages =
        plan::accepted_native(&request, &project, &lock, &roots, host.progress(args.json))?;
    let machine = host.world.platform();
    native::install(&packages, &workshop(&platform, &machine, host)).map_err(one)
}

/// Where native parts are compiled: into the project's cache.
fn workshop<'a>(platform: &'a Platform, machine: &'a Platform, host: &'a Host<'_>) -> Workshop<'a> {
    Workshop {
        cache_dir: native::cache_of(&root()),
        platform,
        machine,
        search_path: host.world.search_path(),
        sandbox: host.world.sandbox(),
    }
}
