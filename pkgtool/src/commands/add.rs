//! `pkgtool add`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::exit::{Failure, print_line};
use crate::input::{TrustArgs, signature_words};
use crate::store::signers::AcceptArgs;
use crate::store::{self, Admission, Owner, Placed, Store};

/// Install packages: verify them as a whole and copy them into the store
///
/// The store is a folder of files, $XDG_DATA_HOME/epk/packages, or with `--system`
/// /var/lib/epk/packages. Versions lie beside each other; a bare name means the newest one. A
/// version that is installed stays: the same file again is fine, other bytes are refused.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The packages
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Install for all users
    #[arg(long)]
    system: bool,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    accept: AcceptArgs,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn add(args: &AddArgs) -> Result<(), Failure> {
    let owner = if args.system { Owner::System } else { Owner::User };
    let options = args.trust.options_for(owner)?;
    let store = Store::of(owner)?;
    let admission = Admission::accepting(&args.accept.accept_signer);
    // Each package is a step of its own: those before one that is refused are installed.
    args.files.iter().try_for_each(|file| {
        let placed = store::place(file, &store, &options, Some(&admission))?;
        if args.json { print_line(to_json(&placed)) } else { print_line(to_line(&placed)) }
    })
}

fn to_line(placed: &Placed) -> String {
    let what = if placed.was_there { "was installed before" } else { "installed" };
    format!("{}: {what}, {}", placed.installed.identity, placed.installed.path.display())
}

fn to_json(placed: &Placed) -> serde_json::Value {
    let Placed { installed, package, was_there } = placed;
    let (state, key_id) = signature_words(package.signature());
    json!({
        "schema": "epk.add/1",
        "name": installed.identity.name,
        "version": installed.identity.version,
        "store": installed.owner.word(),
        "path": installed.path.to_string_lossy(),
        "package_hash": format!("sha256:{}", package.package_hash()),
        "signature": { "state": state, "key_id": key_id },
        "was_there": was_there,
    })
}
