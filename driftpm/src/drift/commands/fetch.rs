//! `drift fetch`

use std::path::PathBuf;

use super::super::cache;
use super::super::fetch::{FetchRequest, fetch};
use super::super::supply::{Fetched, fetch_locked};
use super::network::ReachArgs;
use super::report::{Report, locked_project};
use super::{Failure, Host, status};
use crate::json::Value;
use crate::problem::Problem;

/// Fetch packages into the cache: those of drift-project.lock.json from the project's
/// repositories, or, with --sources, from the sources.
///
/// From sources: with a lock exactly the locked packages, otherwise everything that the sources
/// list. A package enters the cache only if it is the one promised.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The sources file; without it the project's lock is fetched
    #[arg(long, value_name = "FILE")]
    sources: Option<PathBuf>,
    /// The cache
    #[arg(long, value_name = "DIR", default_value = cache::DEFAULT_DIR)]
    cache_dir: PathBuf,
    /// The lock, with --sources
    #[arg(long, value_name = "FILE", default_value = "drift.lock.json", requires = "sources")]
    lock: PathBuf,
    /// Replace other packages in the cache's index, with --sources; integrity is never a matter of
    /// force
    #[arg(long, requires = "sources")]
    force: bool,
    #[command(flatten)]
    reach: ReachArgs,
}

pub(super) fn run(args: Args, host: &mut Host<'_>) -> Result<u8, Failure> {
    let Some(sources) = args.sources else {
        let result = fetch_project(&args, host);
        return args.reach.finish(host, result);
    };
    let Args { cache_dir, lock, force, reach: ReachArgs { json, .. }, .. } = args;
    let report = fetch(&FetchRequest { sources, cache_dir, lock, force }, host.progress(json));
    if json {
        host.print_json(&report.to_json())?;
    } else {
        for error in &report.errors {
            writeln!(host.err, "{error}")?;
        }
    }
    Ok(status(report.ok()))
}

/// What the project's lock says, from the project's repositories.
fn fetch_project(args: &Args, host: &Host<'_>) -> Result<Report, Problem> {
    let (project, lock) = locked_project()?;
    let (repositories, platform) = args.reach.open(&project, host)?;
    let progress = host.progress(args.reach.json);
    let fetched = fetch_locked(&lock, &repositories, &platform, &args.cache_dir, progress)?;
    let list = Value::Array(fetched.iter().map(Fetched::to_json).collect());
    Ok(Report::default().field("mode", "project").field("packages", list))
}
