//! `drift gate`

use std::path::PathBuf;

use super::super::gate::{GateRequest, TOOLCHAIN_KEYS, USER_STORE, gate};
use super::super::identity::PartialIdentity;
use super::{Failure, Host, status};

/// Decide whether packages may be used, as a compiler does before it reads them.
///
/// Checks container, signatures and namespaces of every package, then all together: one version
/// and target of each package, each module from one file. Nothing is written, no network is used.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Packages, and directories and EPK images whose *.dmp files are meant, however deep
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// The project's trust store; without this option drift/trust.json, which may be missing
    #[arg(long, value_name = "FILE")]
    trust_store: Option<PathBuf>,
    /// Do not read the user's trust store, ~/.config/drift/trust.json
    #[arg(long)]
    no_user_trust_store: bool,
    /// The toolchain's keys, the only ones for std, lang and drift; without this option
    /// drift-toolchain-keys.json beside the binary, which may be missing
    #[arg(long, value_name = "FILE")]
    toolchain_keys: Option<PathBuf>,
    /// Accept nothing unsigned, from nowhere
    #[arg(long)]
    require_signatures: bool,
    /// Accept unsigned packages below DIR too, not only below build/drift/localpkgs; may be
    /// repeated
    #[arg(long, value_name = "DIR", action = clap::ArgAction::Append)]
    allow_unsigned_from: Vec<PathBuf>,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, host: &mut Host<'_>) -> Result<u8, Failure> {
    let home = host.home.clone().filter(|_| !args.no_user_trust_store);
    let request = GateRequest {
        paths: args.paths,
        inside: Vec::new(),
        trust_store: args.trust_store,
        user_trust_store: home.map(|home| home.join(USER_STORE)),
        toolchain_keys: args.toolchain_keys,
        shipped_toolchain_keys: host.binary_dir.as_ref().map(|dir| dir.join(TOOLCHAIN_KEYS)),
        require_signatures: args.require_signatures,
        allow_unsigned_from: args.allow_unsigned_from,
    };
    let report = gate(&request, host.progress(args.json));
    if args.json {
        host.print_json(&report.to_json())?;
    } else {
        for refused in report.packages.iter().filter(|verdict| !verdict.ok) {
            let identity: PartialIdentity = refused.identity.clone().unwrap_or_default();
            let (code, path, message) = (refused.code, &refused.path, &refused.message);
            writeln!(host.err, "[{code}] `{path}` {identity}: {message}")?;
        }
    }
    Ok(status(report.ok()))
}
