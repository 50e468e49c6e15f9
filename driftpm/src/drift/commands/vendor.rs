//! `drift vendor`

use std::path::PathBuf;

use super::super::cache;
use super::super::vendor::{DEFAULT_DIR, VendorRequest, vendor};
use super::{Failure, Host, status};

/// Copy packages from the cache into the project and lock them.
///
/// The lock is written only if every package is in place. With --package-id the other packages
/// keep their place in the lock.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The cache
    #[arg(long, value_name = "DIR", default_value = cache::DEFAULT_DIR)]
    cache_dir: PathBuf,
    /// Where the packages go
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    dest_dir: PathBuf,
    /// The lock
    #[arg(long, value_name = "FILE", default_value = "drift.lock.json")]
    lock: PathBuf,
    /// Vendor this package only; may be repeated
    #[arg(long = "package-id", value_name = "ID", action = clap::ArgAction::Append)]
    package_ids: Vec<String>,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, host: &mut Host<'_>) -> Result<u8, Failure> {
    let Args { cache_dir, dest_dir, lock, package_ids, json } = args;
    let request = VendorRequest { cache_dir, dest_dir, lock, package_ids };
    let report = vendor(&request, host.progress(json));
    if json {
        host.print_json(&report.to_json())?;
    } else if !report.ok() {
        let count = report.errors.len();
        writeln!(host.out, "vendor: {count} error(s), so the lock stays as it was:")?;
        for error in &report.errors {
            writeln!(host.out, "- {} {}: {}", error.identity, error.reason_code, error.message)?;
        }
        writeln!(host.out, "hint: `--json` prints a report for programs")?;
    }
    Ok(status(report.ok()))
}
