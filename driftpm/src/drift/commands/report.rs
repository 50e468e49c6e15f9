//! The reports of commands on projects: one shape for all of them.

use std::path::PathBuf;

use super::super::gate::{GateRequest, TOOLCHAIN_KEYS, USER_STORE};
use super::super::lock1::{ProjectLock, check_fresh};
use super::super::platform::Platform;
use super::super::project::Project;
use super::{Failure, Host, status};
use crate::json::{Object, Value};
use crate::problem::Problem;

/// What a command has to say when all went well.
#[derive(Default)]
pub(super) struct Report {
    /// Fields of the JSON report, beside `ok` and `errors`.
    pub(super) fields: Object,
    /// Lines for people, on stdout.
    pub(super) lines: Vec<String>,
    /// Lines for people, on stderr.
    pub(super) notes: Vec<String>,
}

impl Report {
    /// With a field.
    pub(super) fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name, value);
        self
    }

    /// With a line on stdout.
    pub(super) fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// With a line on stderr.
    pub(super) fn note(mut self, line: impl Into<String>) -> Self {
        self.notes.push(line.into());
        self
    }
}

/// Prints the report or the problems, and returns the exit status.
pub(super) fn finish(
    host: &mut Host<'_>,
    json: bool,
    result: Result<Report, Vec<Problem>>,
) -> Result<u8, Failure> {
    let ok = result.is_ok();
    match (result, json) {
        (Ok(report), true) => {
            let mut document = report.fields;
            document.insert("ok", true);
            document.insert("errors", Value::Array(Vec::new()));
            host.print_json(&document.into())?;
        }
        (Ok(report), false) => {
            for line in report.lines {
                writeln!(host.out, "{line}")?;
            }
            for line in report.notes {
                writeln!(host.err, "{line}")?;
            }
        }
        (Err(problems), true) => host.print_json(&failure(&problems))?,
        (Err(problems), false) => {
            for problem in &problems {
                writeln!(host.err, "{problem}")?;
            }
        }
    }
    Ok(status(ok))
}

/// Prints a report that has its fields also where something is wrong: `errors` fail the command,
/// what is to be looked at does not, and is in `fields` already.
pub(super) fn finish_with(
    host: &mut Host<'_>,
    json: bool,
    mut fields: Object,
    errors: &[Problem],
    look_at: &[Problem],
) -> Result<u8, Failure> {
    let ok = errors.is_empty();
    if json {
        fields.insert("ok", ok);
        fields.insert("errors", Value::Array(errors.iter().map(Problem::to_json).collect()));
        host.print_json(&fields.into())?;
    } else {
        for problem in errors {
            writeln!(host.err, "{problem}")?;
        }
        for problem in look_at {
            writeln!(host.out, "look at: {problem}")?;
        }
    }
    Ok(status(ok))
}

/// The report of a failure.
fn failure(problems: &[Problem]) -> Value {
    let errors = Value::Array(problems.iter().map(Problem::to_json).collect());
    crate::json::object([("ok", false.into()), ("errors", errors)])
}

/// One problem as many.
pub(super) fn one(problem: Problem) -> Vec<Problem> {
    vec![problem]
}

/// The folder in which commands look for the project: the current one.
pub(super) fn root() -> PathBuf {
    PathBuf::from(".")
}

/// The project here, with its lock, which must be there and fit it.
pub(super) fn locked_project() -> Result<(Project, ProjectLock), Problem> {
    let project = Project::load(&root())?;
    let lock = ProjectLock::require(&root())?;
    check_fresh(&project, &lock)?;
    Ok((project, lock))
}

/// Options about the platform.
#[derive(Debug, clap::Args)]
pub(super) struct PlatformArgs {
    /// Decide for another platform than this one: os, arch, abi, libc (NAME:VERSION or none),
    /// capabilities (words with commas between); may be repeated
    #[arg(long, value_name = "NAME=VALUE", action = clap::ArgAction::Append)]
    platform: Vec<String>,
}

impl PlatformArgs {
    /// The platform that is meant.
    pub(super) fn platform(&self, host: &Host<'_>) -> Result<Platform, Problem> {
        host.world.platform().with(&self.platform)
    }
}

/// Options about trust stores, as the gate knows them.
#[derive(Debug, clap::Args)]
pub(super) struct StoreArgs {
    /// The project's trust store; without this option the project's `trust.store`, or
    /// drift/trust.json, which may be missing
    #[arg(long, value_name = "FILE")]
    trust_store: Option<PathBuf>,
    /// Do not read the user's trust store, ~/.config/drift/trust.json
    #[arg(long)]
    no_user_trust_store: bool,
    /// The toolchain's keys; without this option drift-toolchain-keys.json beside the binary,
    /// which may be missing
    #[arg(long, value_name = "FILE")]
    toolchain_keys: Option<PathBuf>,
    /// Accept nothing unsigned, from nowhere
    #[arg(long)]
    require_signatures: bool,
}

impl StoreArgs {
    /// A request to the gate without packages.
    pub(super) fn stores(&self, host: &Host<'_>) -> GateRequest {
        let home = host.home.as_ref().filter(|_| !self.no_user_trust_store);
        GateRequest {
            trust_store: self.trust_store.clone(),
            user_trust_store: home.map(|home| home.join(USER_STORE)),
            toolchain_keys: self.toolchain_keys.clone(),
            shipped_toolchain_keys: host.binary_dir.as_ref().map(|dir| dir.join(TOOLCHAIN_KEYS)),
            require_signatures: self.require_signatures,
            ..GateRequest::default()
        }
    }
}
