//! `pkgtool push`

use std::path::PathBuf;

use clap::Args;
use driftpm::transport::oci::Reference;
use serde_json::json;

use crate::exit::{Failure, print_line};
use crate::fetch::client;
use crate::input::TrustArgs;
use crate::repository::push::{Pushed, push as push_package};

/// Push a package to a registry of containers, as an artifact
///
/// The package is verified as a whole before. What the registry has is not sent again. Registries
/// are spoken to over TLS, but for those on this machine and with `oci+http://`. Logins are those of
/// Docker and Podman. `pkgtool fetch` gets it back; `pkgtool repo push` is for a whole repository.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The package
    file: PathBuf,

    /// Where to: `oci://HOST[:PORT]/NAME[:TAG]`; without a tag, the package's version is it
    #[arg(value_name = "REFERENCE")]
    to: String,

    /// Move the tag if it is at something else
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    trust: TrustArgs,

    /// Print an object as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn push(args: &PushArgs) -> Result<(), Failure> {
    let to = Reference::parse(&args.to).map_err(Failure::usage)?;
    let options = args.trust.open_options()?;
    let pushed = push_package(&client()?, &args.file, &to, &options, args.force)?;
    let Pushed { identity, release, reference, digest, sent, was_there } = pushed;
    if args.json {
        return print_line(json!({
            "schema": "epk.push/1",
            "name": identity.name,
            "version": identity.version,
            "reference": reference.to_string(),
            "digest": format!("sha256:{digest}"),
            "package_hash": format!("sha256:{}", release.package_hash),
            "size": release.size,
            "sent": sent,
            "was_there": was_there,
        }));
    }
    if was_there {
        return print_line(format!("{identity}: is `{reference}`, sha256:{digest}"));
    }
    let size = release.size;
    print_line(format!(
        "{identity}: pushed to `{reference}`, sha256:{digest}, {sent} of {size} bytes"
    ))
}
