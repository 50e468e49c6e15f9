//! `drift doctor`

use std::io::Write;
use std::path::PathBuf;

use super::super::cache;
use super::super::doctor::{DoctorReport, DoctorRequest, OtherStore, Status, doctor};
use super::super::gate::{TOOLCHAIN_KEYS, USER_STORE};
use super::super::trust::DEFAULT_STORE;
use super::super::vendor::DEFAULT_DIR;
use super::report::root;
use super::{FAILED, Failure, Host};

/// Find out what is wrong with a project's Drift files.
///
/// Exit status: 2 if a check is fatal; 1 if one is degraded and --fail-on says degraded; else 0.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The sources file
    #[arg(long, value_name = "FILE", default_value = "drift-sources.json")]
    sources: PathBuf,
    /// The project's trust store
    #[arg(long, value_name = "FILE", default_value = DEFAULT_STORE)]
    trust_store: PathBuf,
    /// Do not read the user's trust store, ~/.config/drift/trust.json
    #[arg(long)]
    no_user_trust_store: bool,
    /// The toolchain's keys; without this option drift-toolchain-keys.json beside the binary,
    /// which may be missing
    #[arg(long, value_name = "FILE")]
    toolchain_keys: Option<PathBuf>,
    /// The lock
    #[arg(long, value_name = "FILE", default_value = "drift.lock.json")]
    lock: PathBuf,
    /// The cache
    #[arg(long, value_name = "DIR", default_value = cache::DEFAULT_DIR)]
    cache_dir: PathBuf,
    /// The vendored packages
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    vendor_dir: PathBuf,
    /// Read every package, and compare the copies with the lock
    #[arg(long)]
    deep: bool,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
    /// From which status on the exit status tells
    #[arg(long, value_name = "STATUS", value_enum, default_value = "fatal")]
    fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    Fatal,
    Degraded,
}

pub(super) fn run(args: Args, host: &mut Host<'_>) -> Result<u8, Failure> {
    let home = host.home.as_ref().filter(|_| !args.no_user_trust_store);
    let user = home.map(|home| OtherStore { path: home.join(USER_STORE), must_exist: false });
    let shipped = host.binary_dir.as_ref().map(|dir| dir.join(TOOLCHAIN_KEYS));
    let toolchain = match (args.toolchain_keys, shipped) {
        (Some(path), _) => Some(OtherStore { path, must_exist: true }),
        (None, Some(path)) => Some(OtherStore { path, must_exist: false }),
        (None, None) => None,
    };
    let request = DoctorRequest {
        sources: args.sources,
        trust_store: args.trust_store,
        other_stores: user.into_iter().chain(toolchain).collect(),
        lock: args.lock,
        cache_dir: args.cache_dir,
        vendor_dir: args.vendor_dir,
        deep: args.deep,
        project: Some((root(), host.world.platform())),
    };
    let report = doctor(&request, host.progress(args.json));
    let exit = if report.count(Status::Fatal) > 0 {
        FAILED
    } else if report.count(Status::Degraded) > 0 && args.fail_on == FailOn::Degraded {
        1
    } else {
        0
    };
    if args.json {
        host.print_json(&report.to_json())?;
    } else {
        print(&report, exit == 0, host)?;
    }
    Ok(exit)
}

fn print(report: &DoctorReport, good: bool, host: &mut Host<'_>) -> Result<(), Failure> {
    let first: &mut dyn Write = if good { host.out } else { host.err };
    writeln!(
        first,
        "doctor: fatal={} degraded={} info={} ok={}",
        report.count(Status::Fatal),
        report.count(Status::Degraded),
        report.count(Status::Info),
        if report.ok() { "True" } else { "False" },
    )?;
    for check in report.checks.iter().filter(|check| check.status != Status::Ok) {
        let to: &mut dyn Write = if check.status == Status::Info { host.out } else { host.err };
        writeln!(to, "- {}: {} ({})", check.check_id, check.status.as_str(), check.summary)?;
        for finding in &check.findings {
            writeln!(to, "  - {finding}")?;
        }
    }
    Ok(())
}
