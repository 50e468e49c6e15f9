//! Which installed packages have a newer version in a source.

use super::Offer;
use crate::store::{Identity, Installed, compare_versions};

/// What is newer than what is installed.
#[derive(Debug, Default)]
pub(crate) struct Updates<'o> {
    /// The newest version installed, and the newest one offered that this machine can run.
    pub(crate) newer: Vec<(Identity, &'o Offer)>,
    /// Names that several sources offer, with these: nobody guesses which is meant.
    pub(crate) ambiguous: Vec<(String, Vec<String>)>,
}

/// Compares what is installed, of one store and from old to new, with what is offered, by name.
pub(crate) fn updates<'o>(installed: &[Installed], offers: &'o [Offer]) -> Updates<'o> {
    let mut updates = Updates::default();
    for (at, package) in installed.iter().enumerate() {
        let identity = &package.identity;
        let next = installed.get(at.saturating_add(1));
        if next.is_some_and(|next| next.identity.name == identity.name) {
            continue;
        }
        let named = of_name(offers, &identity.name);
        let mut sources: Vec<String> = named.iter().map(|offer| offer.source.clone()).collect();
        sources.sort();
        sources.dedup();
        if sources.len() > 1 {
            updates.ambiguous.push((identity.name.clone(), sources));
            continue;
        }
        let newer = |offer: &&Offer| {
            offer.fits() && compare_versions(&offer.identity.version, &identity.version).is_gt()
        };
        let newest = named.iter().filter(newer).max_by(|left, right| {
            compare_versions(&left.identity.version, &right.identity.version)
        });
        updates.newer.extend(newest.map(|offer| (identity.clone(), offer)));
    }
    updates
}

/// The offers of a package, out of all in the order of their names.
fn of_name<'o>(offers: &'o [Offer], name: &str) -> &'o [Offer] {
    let start = offers.partition_point(|offer| *offer.identity.name < *name);
    let rest = offers.get(start..).unwrap_or_default();
    let end = rest.partition_point(|offer| offer.identity.name == name);
    rest.get(..end).unwrap_or_default()
}
