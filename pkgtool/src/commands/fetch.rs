//! `pkgtool fetch`

use clap::Args;
use driftpm::transport::oci::Reference;
use serde_json::json;

use crate::exit::{Failure, print_line};
use crate::fetch::{Fetched, Network, Offer, choose, of_registry, offers};
use crate::input::TrustArgs;
use crate::store::signers::AcceptArgs;
use crate::store::{Admission, Owner, Store, Wanted};

/// Fetch packages from sources and install them
///
/// Of a bare name the newest version that this machine can run. The index's signature, then size,
/// SHA-256, PackageHash and the package's signature are checked; what installed packages have is
/// not fetched again. No other package is fetched with it. A package of a registry of containers,
/// `oci://HOST/NAME:TAG` or `…@sha256:…`, needs no source.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// The packages
    #[arg(required = true, value_name = "PACKAGE[@VERSION]")]
    packages: Vec<String>,

    /// Only from this source
    #[arg(long, value_name = "SOURCE")]
    from: Option<String>,

    /// Say how many bytes would be fetched, and install nothing
    #[arg(long)]
    dry_run: bool,

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

pub(crate) fn fetch(args: &FetchArgs) -> Result<(), Failure> {
    let owner = if args.system { Owner::System } else { Owner::User };
    let options = args.trust.options_for(owner)?;
    let admission = Admission::accepting(&args.accept.accept_signer);
    let named =
        args.packages.iter().map(|text| Named::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let in_sources = named.iter().any(|named| matches!(named, Named::Package(_)));
    if !in_sources && args.from.is_some() {
        return Err(Failure::usage("`--from` is for packages of sources"));
    }
    let store = Store::of(owner)?;
    let network = Network::open()?;
    let offers = if in_sources { offers(&network, args.from.as_deref())? } else { Vec::new() };
    // All are found before the first is fetched.
    let find = |named: &Named| match named {
        Named::Package(wanted) => choose(&offers, wanted).cloned(),
        Named::Artifact(reference) => of_registry(&network, reference),
    };
    let chosen = named.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    chosen.iter().try_for_each(|offer| {
        let fetched = network.fetch(offer, &store, (&options, &admission), args.dry_run)?;
        report(offer, &fetched, args.dry_run, args.json)
    })
}

/// What a user names.
enum Named {
    /// A package of a source.
    Package(Wanted),
    /// A package of a registry.
    Artifact(Reference),
}

impl Named {
    fn parse(text: &str) -> Result<Self, Failure> {
        if !Reference::is_meant(text) {
            return Wanted::parse(text).map(Self::Package);
        }
        let reference = Reference::parse(text).map_err(Failure::usage)?;
        if reference.pointer().is_none() {
            return Err(Failure::usage(format!("`{reference}` has neither a tag nor a digest"))
                .hint(format!("`{reference}:TAG` names a package"))
                .hint("`pkgtool source add` is for repositories of packages"));
        }
        Ok(Self::Artifact(reference))
    }
}

/// Says what was fetched.
pub(crate) fn report(
    offer: &Offer,
    fetched: &Fetched,
    dry_run: bool,
    json: bool,
) -> Result<(), Failure> {
    let Fetched { bytes, reused, placed } = fetched;
    let identity = &offer.identity;
    if json {
        return print_line(json!({
            "schema": "epk.fetch/1",
            "name": identity.name,
            "version": identity.version,
            "source": offer.source,
            "size": offer.release.size,
            "fetched": bytes,
            "reused": reused,
            "dry_run": dry_run,
            "was_there": placed.as_ref().is_some_and(|placed| placed.was_there),
            "path": placed.as_ref().map(|placed| placed.installed.path.to_string_lossy()),
        }));
    }
    let size = offer.release.size;
    match placed {
        Some(placed) if placed.was_there => print_line(format!("{identity}: is installed")),
        Some(placed) => print_line(format!(
            "{identity}: installed, {}, {bytes} of {size} bytes from `{}`",
            placed.installed.path.display(),
            offer.source
        )),
        None => print_line(format!(
            "{identity}: {bytes} of {size} bytes would be fetched from `{}`",
            offer.source
        )),
    }
}
