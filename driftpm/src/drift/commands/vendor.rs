//! `drift vendor`

use std::path::PathBuf;

use super::super::cache;
use super::super::project::PROJECT_FILE;
use super::super::supply::{vendor_image, vendor_locked};
use super::super::vendor::{DEFAULT_DIR, VendorRequest, vendor};
use super::report::{Report, finish, locked_project, one, root};
use super::{Failure, Host, status};
use crate::problem::Problem;

/// Copy packages from the cache into the project: in a project (with drift-project.json) those of
/// its lock, elsewhere or with --lock all of them, and lock them.
///
/// In a project the lock stays as it is, and packages of other versions are removed. Elsewhere the
/// lock is written if every package is in place; with --package-id the other packages keep their
/// place in the lock.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The cache
    #[arg(long, value_name = "DIR", default_value = cache::DEFAULT_DIR)]
    cache_dir: PathBuf,
    /// Where the packages go
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    dest_dir: PathBuf,
    /// The lock of format 0 to write; without it drift.lock.json, if this is no project
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Vendor this package only; may be repeated; not in a project
    #[arg(long = "package-id", value_name = "ID", action = clap::ArgAction::Append)]
    package_ids: Vec<String>,
    /// Write the project's packages into one EPK image instead of files
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lock", "package_ids", "dest_dir"])]
    image: Option<PathBuf>,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, host: &mut Host<'_>) -> Result<u8, Failure> {
    let is_project = root().join(PROJECT_FILE).exists();
    if args.image.is_some() || (is_project && args.lock.is_none() && args.package_ids.is_empty()) {
        let result = vendor_project(&args, host).map_err(one);
        return finish(host, args.json, result);
    }
    let Args { cache_dir, dest_dir, lock, package_ids, json, image: _ } = args;
    let lock = lock.unwrap_or_else(|| "drift.lock.json".into());
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

/// The packages of the project's lock, as files or as an image.
fn vendor_project(args: &Args, host: &Host<'_>) -> Result<Report, Problem> {
    let (_, lock) = locked_project()?;
    let vendored = match &args.image {
        Some(image) => vendor_image(&lock, &args.cache_dir, image)?,
        None => vendor_locked(&lock, &args.cache_dir, &args.dest_dir, host.progress(args.json))?,
    };
    Ok(Report::default().field("vendored", vendored.to_json()))
}
