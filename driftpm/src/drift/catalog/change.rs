//! What a change of a catalog does, for those who review it: what may not be, and what a person
//! should look at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::check::{namespace_file, release_file};
use super::document::{Namespace, Release, split};
use super::read::Catalog;
use super::{CATALOG_FILE, POLICIES};
use crate::drift::repository::Entry;
use crate::problem::Problem;

/// What there is to say about a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// What may not be.
    pub errors: Vec<Problem>,
    /// What may be, if somebody has looked at it.
    pub look_at: Vec<Problem>,
}

/// Compares a catalog with what it was. `by` is who wants the change: then only owners may change
/// their namespaces.
///
/// The folders of both are needed for the policies.
#[must_use]
pub fn changes(before: (&Path, &Catalog), now: (&Path, &Catalog), by: Option<&str>) -> Review {
    let mut review = Review::default();
    for (path, _) in POLICIES {
        let text = |root: &Path| std::fs::read(root.join(path)).ok();
        if text(before.0) != text(now.0) {
            review.look_at(path, "CATALOG_POLICY_CHANGED", "the policy is another one", "");
        }
    }
    let (before, now) = (before.1, now.1);
    if before.about
        != (super::About { namespaces: before.about.namespaces.clone(), ..now.about.clone() })
    {
        let message = "name, description, home or base_url changed";
        review.look_at(CATALOG_FILE, "CATALOG_ABOUT_CHANGED", message, "");
    }
    let mut touched: BTreeSet<&str> = BTreeSet::new();
    let names: BTreeSet<&String> = before.namespaces.keys().chain(now.namespaces.keys()).collect();
    for name in names {
        let (old, new) = (before.namespaces.get(name), now.namespaces.get(name));
        if old != new {
            touched.insert(name);
        }
        review.namespace(name, old, new);
    }
    let packages: BTreeSet<&String> = before.releases.keys().chain(now.releases.keys()).collect();
    for package in packages {
        let none = BTreeMap::new();
        let (old, new) = (
            before.releases.get(package).unwrap_or(&none),
            now.releases.get(package).unwrap_or(&none),
        );
        if old != new {
            touched.extend(split(package).map(|(namespace, _)| namespace));
        }
        for (version, release) in old {
            review.release(release, new.get(version));
        }
    }
    if let Some(by) = by {
        for name in touched {
            // Of a new namespace its first owners decide, and whoever reviews the change.
            let owned = before.namespaces.get(name).or(now.namespaces.get(name));
            let owners = owned.map(|namespace| namespace.owners.as_slice()).unwrap_or_default();
            if !owners.iter().any(|owner| owner == by) {
                let message = format!("`{by}` is none of the owners of `{name}`");
                review.error(&namespace_file(name), "CATALOG_NOT_OWNER", message, name);
            }
        }
    }
    review
}

impl Review {
    fn error(&mut self, file: &str, code: &'static str, message: impl Into<String>, about: &str) {
        self.errors.push(problem(file, code, message, about));
    }

    fn look_at(&mut self, file: &str, code: &'static str, message: impl Into<String>, about: &str) {
        self.look_at.push(problem(file, code, message, about));
    }

    fn namespace(&mut self, name: &str, old: Option<&Namespace>, new: Option<&Namespace>) {
        let file = namespace_file(name);
        let (old, new) = match (old, new) {
            (Some(old), Some(new)) => (old, new),
            (None, Some(new)) => {
                let message = format!("`{name}` would belong to {}", new.owners.join(", "));
                return self.look_at(&file, "CATALOG_NAMESPACE_NEW", message, name);
            }
            (Some(_), None) => {
                let message = format!("`{name}` belongs to somebody, and is gone");
                return self.error(&file, "CATALOG_NAMESPACE_REMOVED", message, name);
            }
            (None, None) => return,
        };
        if old.owners != new.owners {
            let message = format!("from {} to {}", old.owners.join(", "), new.owners.join(", "));
            self.look_at(&file, "CATALOG_OWNERS_CHANGED", message, name);
        }
        let added = new.keys.keys().filter(|kid| !old.keys.contains_key(*kid));
        let gone = old.keys.keys().filter(|kid| !new.keys.contains_key(*kid));
        let revoked = new.revoked.keys().filter(|kid| !old.revoked.contains_key(*kid));
        let list: Vec<String> = added
            .map(|kid| format!("`{kid}` is new"))
            .chain(gone.map(|kid| format!("`{kid}` is gone")))
            .chain(revoked.map(|kid| format!("`{kid}` is revoked")))
            .collect();
        if !list.is_empty() {
            self.look_at(&file, "CATALOG_KEYS_CHANGED", list.join(", "), name);
        }
        for kid in old.revoked.keys().filter(|kid| !new.revoked.contains_key(*kid)) {
            let message = format!("`{kid}` is not revoked any more, and that is for good");
            self.error(&file, "CATALOG_REVOCATION_REMOVED", message, name);
        }
    }

    fn release(&mut self, old: &Release, new: Option<&Release>) {
        let id = old.package_id.as_str();
        let file = release_file(id, &old.version);
        let Some(new) = new else {
            let message = format!("{id} {} was published and is gone", old.version);
            return self.error(&file, "CATALOG_VERSION_REMOVED", message, id);
        };
        for artifact in &old.artifacts {
            let target = &artifact.offer.identity.target;
            let found = new.artifacts.iter().find(|one| one.offer.identity.target == *target);
            let Some(found) = found else {
                let message =
                    format!("{} was published for {target}, and is not any more", old.version);
                self.error(&file, "CATALOG_VERSION_CHANGED", message, id);
                continue;
            };
            if fixed(artifact) != fixed(found) {
                let message = format!(
                    "{} for {target} was published as something else; only where it lies and \
                     whether it is withdrawn may change",
                    old.version
                );
                self.error(&file, "CATALOG_VERSION_CHANGED", message, id);
                continue;
            }
            if artifact.offer.yanked != found.offer.yanked {
                let message = if found.offer.yanked { "is withdrawn" } else { "is offered again" };
                let message = format!("{} for {target} {message}", old.version);
                self.look_at(&file, "CATALOG_YANKED", message, id);
            }
            if (&artifact.offer.path, &artifact.packed) != (&found.offer.path, &found.packed) {
                let message = format!("from `{}` to `{}`", artifact.offer.path, found.offer.path);
                self.look_at(&file, "CATALOG_URL_MOVED", message, id);
            }
        }
    }
}

/// What can not change of something published.
fn fixed(artifact: &Entry) -> Entry {
    let mut fixed = artifact.clone();
    fixed.packed = None;
    fixed.offer.path = String::new();
    fixed.offer.yanked = false;
    fixed
}

fn problem(file: &str, code: &'static str, message: impl Into<String>, about: &str) -> Problem {
    let problem = Problem::new(code, message).in_file(file);
    if about.is_empty() { problem } else { problem.about(about) }
}
