//! `pkgtool outdated` and `pkgtool update`

use clap::Args;
use serde_json::json;

use super::fetch::report;
use super::list::not_installed;
use crate::exit::{Failure, print_line};
use crate::fetch::{Network, Offer, Updates, offers, updates};
use crate::input::TrustArgs;
use crate::store::signers::AcceptArgs;
use crate::store::{Admission, Identity, Installed, Owner, Store, Wanted};

/// Say which installed packages have a newer version in a source
#[derive(Debug, Args)]
pub(crate) struct OutdatedArgs {
    /// The system's packages instead of the user's
    #[arg(long)]
    system: bool,

    /// Only from this source
    #[arg(long, value_name = "SOURCE")]
    from: Option<String>,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

/// Fetch newer versions of installed packages
///
/// The older versions stay until `pkgtool remove --old`; `pkgtool rollback` goes back to them.
/// Nothing is ever updated unless this is called.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The packages [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Only say what is newer, and exit with 1 if anything is
    #[arg(long)]
    check: bool,

    /// The system's packages instead of the user's
    #[arg(long)]
    system: bool,

    /// Only from this source
    #[arg(long, value_name = "SOURCE")]
    from: Option<String>,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    accept: AcceptArgs,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

fn store(system: bool) -> Result<Store, Failure> {
    Store::of(if system { Owner::System } else { Owner::User })
}

pub(crate) fn outdated(args: &OutdatedArgs) -> Result<(), Failure> {
    let installed = store(args.system)?.list()?;
    let offers = offers(&Network::open()?, args.from.as_deref())?;
    let updates = updates(&installed, &offers);
    warn_of_ambiguity(&updates);
    updates.newer.iter().try_for_each(|(old, offer)| tell(old, offer, args.json))
}

pub(crate) fn update(args: &UpdateArgs) -> Result<(), Failure> {
    let store = store(args.system)?;
    let options = args.trust.options_for(store.owner)?;
    let admission = Admission::accepting(&args.accept.accept_signer);
    let installed = choose(store.list()?, &args.names)?;
    let network = Network::open()?;
    let offers = offers(&network, args.from.as_deref())?;
    let updates = updates(&installed, &offers);
    warn_of_ambiguity(&updates);
    if args.check {
        updates.newer.iter().try_for_each(|(old, offer)| tell(old, offer, args.json))?;
        return match updates.newer.len() {
            0 => Ok(()),
            count => Err(Failure::refused(format!("{count} packages have a newer version"))),
        };
    }
    updates.newer.iter().try_for_each(|(_, offer)| {
        let fetched = network.fetch(offer, &store, (&options, &admission), false)?;
        report(offer, &fetched, false, args.json)
    })
}

fn choose(installed: Vec<Installed>, names: &[String]) -> Result<Vec<Installed>, Failure> {
    let has = |name: &String| installed.iter().any(|package| package.identity.name == *name);
    if let Some(none) = names.iter().find(|name| !has(name)) {
        return Err(not_installed(&Wanted { name: none.clone(), version: None }));
    }
    let named = |package: &Installed| names.is_empty() || names.contains(&package.identity.name);
    Ok(installed.into_iter().filter(named).collect())
}

fn warn_of_ambiguity(updates: &Updates<'_>) {
    for (name, sources) in &updates.ambiguous {
        let (name, sources) = (name.escape_debug(), sources.join("`, `"));
        eprintln!("warning: `{name}` is offered by `{sources}`: `--from` says which is meant");
    }
}

fn tell(old: &Identity, offer: &Offer, json: bool) -> Result<(), Failure> {
    if json {
        return print_line(json!({
            "schema": "epk.outdated/1",
            "name": old.name,
            "installed": old.version,
            "offered": offer.identity.version,
            "source": offer.source,
            "size": offer.release.size,
        }));
    }
    let new = offer.identity.version.escape_debug();
    print_line(format!("{old}: `{}` has {new}", offer.source))
}
