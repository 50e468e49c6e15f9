//! Each command's call into the library, and the words for its result.

use std::mem::ManuallyDrop;
use std::path::Path;

use serde_json::json;

use super::super::bundle::bundle;
use super::super::compiler::Compiler;
use super::super::error::Error;
use super::super::gate::{GateRequest, gate};
use super::super::install::{InstallOptions, LockfileName, Plan, install, resolve_project};
use super::super::lockfile::ORIGINAL_LOCKFILE_NAME;
use super::super::name::PackageId;
use super::super::project::{self, Project};
use super::super::publish::publish;
use super::super::registry::Registry;
use super::super::tree::{FULL_TREE_LINES, Graph};
use super::super::verify::{verify_project, verify_registry};
use super::super::why;
use super::{Args, Command, Done, Environment};

pub(super) fn perform(args: &Args, environment: &Environment, compat: bool) -> Result<Done, Error> {
    let lockfile = match (&args.lockfile_name, compat) {
        (Some(name), _) => LockfileName::new(name)?,
        (None, true) => LockfileName::new(ORIGINAL_LOCKFILE_NAME)?,
        (None, false) => LockfileName::default(),
    };
    let registry = &args.registry;
    match &args.command {
        Command::Init { dir, name } => {
            let name = project::init(dir, name.as_deref())?;
            Ok(said(args, format!("initialized package: {name}\n"), || json!({ "name": name })))
        }
        Command::Add { name, version, dir } => {
            project::add(dir, name, version)?;
            let text = format!("added dependency: {name}@{version}\n");
            Ok(said(args, text, || json!({ "name": name, "version": version })))
        }
        Command::Remove { name, dir } => {
            project::remove(dir, name)?;
            Ok(said(args, format!("removed dependency: {name}\n"), || json!({ "name": name })))
        }
        Command::Resolve { dir } => {
            // The process is about to end: giving the memory of thousands of packages back piece
            // by piece would take longer than writing their lockfile.
            let plan = ManuallyDrop::new(resolve_project(dir, registry, &lockfile)?);
            let order = &plan.resolution.order;
            let mut text = format!("resolved {} packages:\n", order.len());
            order.iter().for_each(|id| text.extend(["  ", id.as_str(), "\n"]));
            Ok(said(args, text, || planned(&plan)))
        }
        Command::Install { dir, locked } => {
            let options = InstallOptions { locked: *locked, compat, lockfile };
            let plan = ManuallyDrop::new(install(dir, registry, &options)?);
            let text = format!("installed {} packages\n", plan.resolution.order.len());
            Ok(said(args, text, || planned(&plan)))
        }
        Command::Publish { dir, compiler } => publish_package(dir, args, compiler, environment),
        Command::Verify { project } => {
            let ids = match project {
                Some(dir) => verify_project(dir, registry, &lockfile)?,
                None => verify_registry(registry)?,
            };
            let mut text = format!("verified {} packages:\n", ids.len());
            ids.iter().for_each(|id| text.extend(["  ", id, " OK\n"]));
            Ok(said(args, text, || json!({ "packages": ids })))
        }
        Command::Tree { dir } => {
            let graph = load_graph(dir, registry)?;
            let mut text = graph.lines(FULL_TREE_LINES).join("\n");
            text.push('\n');
            Ok(said(args, text, || json!({ "root": graph.root, "packages": graph.packages })))
        }
        Command::Why { name, dir } => explain(args, &load_graph(dir, registry)?, name),
        Command::Gate { bundle, reviewer, dir } => {
            let verdict = gate(&GateRequest {
                bundle,
                workspace: dir,
                registry,
                reviewer: reviewer.as_deref(),
                lockfile: &lockfile,
            })?;
            let refused = !verdict.passed;
            Ok(Done { json: verdict.report, always_json: true, refused, ..Done::default() })
        }
        Command::Bundle { dir, output } => {
            let bundled = bundle(dir, registry, &lockfile, output)?;
            let ids: Vec<_> = bundled.packages.iter().map(PackageId::as_str).collect();
            let hash = format!("sha256:{}", bundled.package_hash);
            Ok(said(
                args,
                format!("bundled {} packages\n  package hash: {hash}\n", ids.len()),
                || json!({ "packages": ids, "package_hash": hash, "size": bundled.size }),
            ))
        }
    }
}

/// A result in words, and as data if that is what will be printed: of thousands of packages
/// the data nobody asked for takes a noticeable time.
fn said(args: &Args, text: String, json: impl FnOnce() -> serde_json::Value) -> Done {
    let json = if args.json { json() } else { serde_json::Value::Null };
    Done { text, json, ..Done::default() }
}

fn planned(plan: &Plan) -> serde_json::Value {
    let packages: Vec<_> = plan
        .resolution
        .order
        .iter()
        .map(|id| {
            let integrity = plan.hashes.get(id).map(ToString::to_string);
            json!({ "id": id.as_str(), "integrity": integrity })
        })
        .collect();
    json!({ "packages": packages })
}

fn publish_package(
    dir: &Path,
    args: &Args,
    compiler: &Option<String>,
    environment: &Environment,
) -> Result<Done, Error> {
    let command = compiler.as_ref().or(environment.compiler.as_ref());
    let compiler = command.and_then(|text| Compiler::new(text, &environment.directory));
    let published = publish(dir, &args.registry, compiler.as_ref())?;
    let (id, integrity) = (&published.id, published.integrity.to_string());
    let mut notes = Vec::new();
    if compiler.is_none() {
        notes.push(
            "no compiler (--compiler or BORUNA_COMPILER): sources only, no bytecode".to_string(),
        );
    }
    Ok(Done {
        text: format!("published {id}\n  integrity: {integrity}\n"),
        notes,
        json: json!({
            "id": id.as_str(),
            "integrity": integrity,
            "compiled": published.compiled,
        }),
        ..Done::default()
    })
}

fn load_graph(dir: &Path, registry: &Path) -> Result<Graph, Error> {
    let project = Project::load(dir)?;
    let registry = Registry::open(registry)?;
    Ok(Graph::load(&project.manifest, &registry))
}

fn explain(args: &Args, graph: &Graph, name: &str) -> Result<Done, Error> {
    let found = why::paths(graph, name, why::MOST_PATHS);
    if found.paths.is_empty() {
        let what = if PackageId::parse(name).is_some() { "package" } else { "package named" };
        return Err(Error::Request(format!("{} does not bring in a {what} '{name}'", graph.root)));
    }
    let mut text: String =
        found.paths.iter().map(|path| format!("{}\n", path.join(" -> "))).collect();
    if found.more {
        text.push_str("… and more paths\n");
    }
    Ok(said(args, text, || json!({ "paths": found.paths, "more": found.more })))
}
