//! `drift fetch`

use std::path::PathBuf;

use super::super::cache;
use super::super::fetch::{FetchRequest, fetch};
use super::{Failure, Host, status};

/// Fetch packages from the sources into the cache.
///
/// With a lock exactly the locked packages, otherwise everything that the sources list. A package
/// enters the cache only if it is the one promised.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The sources file
    #[arg(long, value_name = "FILE")]
    sources: PathBuf,
    /// The cache
    #[arg(long, value_name = "DIR", default_value = cache::DEFAULT_DIR)]
    cache_dir: PathBuf,
    /// The lock
    #[arg(long, value_name = "FILE", default_value = "drift.lock.json")]
    lock: PathBuf,
    /// Replace other packages in the cache's index; integrity is never a matter of force
    #[arg(long)]
    force: bool,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, host: &mut Host<'_>) -> Result<u8, Failure> {
    let Args { sources, cache_dir, lock, force, json } = args;
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
