//! What sources offer, and which offer is meant.

use std::collections::BTreeMap;

use driftpm::index::{EPK_INDEX, EPK_KIND, EpkIndex, Fetcher, MAX_EPK_INDEX, Release, Remote};
use driftpm::index::{Signed, read_package};
use driftpm::problem::Problem;
use driftpm::progress::Silent;
use driftpm::transport::Location;
use driftpm::transport::oci::Reference;
use epk_format::manifest::Manifest;

use super::{Network, transport};
use crate::exit::Failure;
use crate::input;
use crate::repository::{self, now};
use crate::sources::{Source, Sources};
use crate::store::{Identity, Wanted, compare_versions};

/// A package that a source has.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The source's name.
    pub(crate) source: String,
    pub(crate) identity: Identity,
    pub(crate) release: Release,
    /// Where its file is.
    pub(crate) location: Location,
}

impl Offer {
    /// Whether this machine can run it.
    pub(crate) fn fits(&self) -> bool {
        let Release { arch, kernel_api, .. } = &self.release;
        let manifest = Manifest {
            name: self.identity.name.clone(),
            version: self.identity.version.clone(),
            arch: arch.clone(),
            kernel_api: kernel_api.clone(),
            entry: String::new(),
            commands: BTreeMap::new(),
            isolation: None,
        };
        manifest.check_compatibility(&input::host(None)).is_ok()
    }
}

/// All offers of the source named, or of all sources; by name, from old to new.
pub(crate) fn offers(network: &Network, from: Option<&str>) -> Result<Vec<Offer>, Failure> {
    let mut sources = Sources::all()?;
    if let Some(name) = from {
        let source = sources.remove(name).ok_or_else(|| {
            Failure::refused(format!("no source is named `{name}`"))
                .hint("`pkgtool source list` names them")
        })?;
        sources = BTreeMap::from([(name.to_owned(), source)]);
    }
    if sources.is_empty() {
        return Err(Failure::refused("there are no sources")
            .hint("`pkgtool source add NAME URL --key KEYID` adds one"));
    }
    let mut all = Vec::new();
    for (name, source) in &sources {
        all.extend(of_source(network, name, source)?);
    }
    all.sort_by(|left, right| {
        let (one, other) = (&left.identity, &right.identity);
        one.name.cmp(&other.name).then_with(|| compare_versions(&one.version, &other.version))
    });
    Ok(all)
}

fn of_source(network: &Network, name: &str, source: &Source) -> Result<Vec<Offer>, Failure> {
    let base = source.location()?;
    // One repository is one place, whether its URL ends in a slash or not.
    let place = base.to_string().trim_end_matches('/').to_owned();
    let file = Remote {
        base: &base,
        place: &place,
        shown: name,
        name: EPK_INDEX,
        kind: EPK_KIND,
        limit: MAX_EPK_INDEX,
    };
    let admit = |signed: &Signed| {
        if source.keys.iter().any(|key| signed.signers.contains_key(key)) {
            return Ok(());
        }
        let found = signed.signers.keys().cloned().collect::<Vec<_>>().join("`, `");
        let told = source.keys.join("`, `");
        let message = format!("the index is signed by `{found}`, the source's keys are `{told}`");
        Err(Problem::new("SIGNER_CHANGED", message))
    };
    let fetcher = Fetcher {
        client: &network.client,
        seen: &network.seen,
        cache: &network.cache,
        now: now(),
        progress: &Silent,
    };
    let read = fetcher.fetch(&file, admit).and_then(|(_, bytes)| EpkIndex::parse(&bytes));
    let failed = |problem: Problem| repository::failure(&problem.about(name));
    let index = read.map_err(failed)?;
    let mut found = Vec::new();
    for (package, releases) in index.packages {
        for (version, release) in releases {
            let identity = Identity { name: package.clone(), version };
            let location = source.file(&base, &release).map_err(failed)?;
            found.push(Offer { source: name.to_owned(), identity, release, location });
        }
    }
    Ok(found)
}

/// The package that an artifact of a registry is. What is told of it is for the package to prove.
pub(crate) fn of_registry(network: &Network, reference: &Reference) -> Result<Offer, Failure> {
    let (_, artifact) = network.client.artifact(reference).map_err(|error| transport(&error))?;
    let source = reference.to_string();
    let (name, version, release) = read_package(&artifact)
        .map_err(|problem| repository::failure(&problem.about(source.as_str())))?;
    let location = match artifact.layers.first() {
        Some(layer) => Location::of_blob(reference, &layer.digest),
        None => Location::of_artifact(reference),
    };
    Ok(Offer { source, identity: Identity { name, version }, release, location })
}

/// The one offer that is meant: of that version, or the newest that this machine can run. Two
/// sources that have the name are two answers, and nobody guesses.
pub(crate) fn choose<'o>(offers: &'o [Offer], wanted: &Wanted) -> Result<&'o Offer, Failure> {
    let named: Vec<&Offer> = offers.iter().filter(|offer| wanted.is(&offer.identity)).collect();
    let mut sources: Vec<&str> = named.iter().map(|offer| &*offer.source).collect();
    sources.sort_unstable();
    sources.dedup();
    if let [_, _, ..] = &*sources {
        return Err(Failure::refused(format!(
            "`{wanted}` is offered by several sources: `{}`",
            sources.join("`, `")
        ))
        .hint("`--from SOURCE` says which is meant"));
    }
    let fitting = named.iter().rev().find(|offer| wanted.version.is_some() || offer.fits());
    match (fitting, named.last()) {
        (Some(offer), _) => Ok(offer),
        (None, Some(other)) => Err(Failure::new(
            crate::exit::Exit::Incompatible,
            format!(
                "`{wanted}` is offered, but not for this machine: for {}, API {}",
                other.release.arch.escape_debug(),
                other.release.kernel_api.escape_debug()
            ),
        )),
        (None, None) => Err(Failure::refused(format!("no source offers `{wanted}`"))
            .hint("`pkgtool search WORDS` looks for packages")),
    }
}
