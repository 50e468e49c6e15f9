//! What there is to choose from: of each package the versions of the one repository it comes
//! from, without those that this platform cannot use.
//!
//! A package comes from the repository that the project names for it, else from the first one, by
//! priority, that knows its name at all. So nobody who can publish in a later repository can slip
//! in a higher version of a package that an earlier one has.

use std::collections::{BTreeMap, HashMap};

use semver::Version;

use super::super::platform::Platform;
use super::{Constraint, Offer, VersionSource};
use crate::problem::Problem;
use crate::relpath::package_file_name;

/// A version that can be chosen.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The version.
    pub version: Version,
    /// Its file for this platform.
    pub offer: Offer,
    /// Packages it needs.
    pub needs: BTreeMap<String, Constraint>,
}

/// A package as the catalogue knows it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The repository it comes from; none if no repository knows it.
    pub repository: Option<String>,
    /// What can be chosen, by version ascending.
    pub candidates: Vec<Candidate>,
    /// What cannot, and why: version and reason, for explanations.
    pub unusable: Vec<(String, String)>,
}

/// The repositories of a project, seen from one platform.
pub struct Catalogue<'a> {
    /// Best first.
    sources: Vec<&'a dyn VersionSource>,
    /// Packages that come from one repository only, by its name.
    bound: HashMap<String, String>,
    platform: &'a Platform,
    /// Versions that stay usable although they are withdrawn.
    locked: HashMap<String, String>,
}

impl std::fmt::Debug for Catalogue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.sources.iter().map(|source| source.name()).collect();
        f.debug_struct("Catalogue").field("sources", &names).finish_non_exhaustive()
    }
}

impl<'a> Catalogue<'a> {
    /// A catalogue of `sources`, best first.
    #[must_use]
    pub fn new(sources: Vec<&'a dyn VersionSource>, platform: &'a Platform) -> Self {
        Self { sources, bound: HashMap::new(), platform, locked: HashMap::new() }
    }

    /// Binds a package to the repository of that name.
    pub fn bind(&mut self, package: &str, repository: &str) {
        self.bound.insert(package.to_owned(), repository.to_owned());
    }

    /// Lets `version` of `package` be chosen even if it is withdrawn.
    pub fn keep(&mut self, package: &str, version: &str) {
        self.locked.insert(package.to_owned(), version.to_owned());
    }

    /// What is known of `package`.
    ///
    /// # Errors
    /// A repository that had to be asked cannot be used.
    pub fn look_up(&self, package: &str) -> Result<Known, Problem> {
        for source in &self.sources {
            if self.bound.get(package).is_some_and(|name| name != source.name()) {
                continue;
            }
            let offers = source.offers(package)?;
            if !offers.is_empty() {
                return Ok(self.sort_out(source.name(), offers, package));
            }
        }
        Ok(Known::default())
    }

    fn sort_out(&self, repository: &str, offers: Vec<Offer>, package: &str) -> Known {
        let mut known = Known { repository: Some(repository.to_owned()), ..Known::default() };
        for offer in offers {
            match self.candidate(&offer, package) {
                Ok(candidate) => known.candidates.push(candidate),
                Err(reason) => known.unusable.push((offer.identity.version, reason)),
            }
        }
        // Of one version's files the one that asks most of the platform was made for it; of equals
        // the first target by name, so that the choice does not depend on the repository's order.
        known.candidates.sort_by(|a, b| {
            a.version
                .cmp(&b.version)
                .then_with(|| b.offer.platform.weight().cmp(&a.offer.platform.weight()))
                .then_with(|| a.offer.identity.target.cmp(&b.offer.identity.target))
        });
        known.candidates.dedup_by(|later, first| later.version == first.version);
        known.unusable.sort();
        known.unusable.dedup();
        known
    }

    /// The offer as a candidate, or why it is none.
    fn candidate(&self, offer: &Offer, package: &str) -> Result<Candidate, String> {
        let identity = &offer.identity;
        if identity.package_id != package {
            return Err(format!("it is called `{}`", identity.package_id));
        }
        package_file_name(&identity.package_id, &identity.version, &identity.target)
            .map_err(|error| error.to_string())?;
        let version = Version::parse(&identity.version)
            .map_err(|error| format!("no semantic version: {error}"))?;
        if let Some(lacking) = offer.platform.unmet_by(self.platform) {
            return Err(lacking);
        }
        let kept = self.locked.get(package) == Some(&identity.version);
        if offer.yanked && !kept {
            return Err("withdrawn by its publisher".to_owned());
        }
        let mut needs = BTreeMap::new();
        for (package, text) in &offer.dependencies {
            let constraint = Constraint::parse(text)
                .map_err(|error| format!("its dependency `{package}`: {error}"))?;
            needs.insert(package.clone(), constraint);
        }
        Ok(Candidate { version, offer: offer.clone(), needs })
    }
}
