//! The index of a repository, made of a catalog.

use super::document::split;
use super::read::Catalog;
use crate::drift::repository::{Entry, Listed, render};

/// The index of everything in the catalog, as `drift fetch` and `drift search` read it. The same
/// catalog makes the same bytes.
#[must_use]
pub fn index_of(catalog: &Catalog) -> Vec<u8> {
    let listed = catalog.releases.iter().map(|(id, releases)| {
        let described = split(id).and_then(|(namespace, name)| {
            catalog.namespaces.get(namespace)?.packages.get(name).cloned()
        });
        let described = described.unwrap_or_default();
        let entries: Vec<Entry> =
            releases.values().flat_map(|release| release.artifacts.clone()).collect();
        Listed { id: id.clone(), description: described.description, tags: described.tags, entries }
    });
    render(catalog.about.base_url.as_deref(), listed)
}
