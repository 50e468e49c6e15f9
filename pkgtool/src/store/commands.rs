//! Which installed package has which command: of each name the package that the name alone means.
//!
//! Read from the packages' manifests. Whoever asks for a command needs nothing but
//! [`Commands::having`], however it came to know.

use std::collections::BTreeMap;

use epk_format::OpenOptions;
use epk_format::manifest::Manifest;
use epk_format::signature::Policy;

use super::{Installed, Store, Wanted, list, meant};
use crate::exit::Failure;
use crate::input::open_package;

/// The commands of installed packages.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    /// In the order of the packages' names.
    packages: Vec<(Installed, Manifest)>,
    /// What can't be read, each with the reason.
    pub(crate) unreadable: Vec<Failure>,
}

impl Commands {
    /// Reads the packages of the stores.
    pub(crate) fn read(stores: &[Store]) -> Result<Self, Failure> {
        let installed = list(stores)?;
        let mut names = BTreeMap::new();
        for package in &installed {
            let name = &package.identity.name;
            let wanted = Wanted { name: name.clone(), version: None };
            names.entry(name).or_insert_with(|| meant(&installed, &wanted));
        }
        let mut found = Self::default();
        for package in names.into_values().flatten() {
            // Whoever runs it judges the signature.
            let options = OpenOptions { signature: Policy::Disabled, ..OpenOptions::default() };
            let opened = open_package(&package.path, &options);
            let manifest = opened.and_then(|package_file| {
                package_file
                    .parse_manifest()
                    .map_err(|error| Failure::manifest(&package.path, &error))
            });
            match manifest {
                Ok(manifest) => found.packages.push((package.clone(), manifest)),
                Err(failure) => found.unreadable.push(failure),
            }
        }
        Ok(found)
    }

    /// The packages that have a command.
    pub(crate) fn having<'c>(&'c self, command: &'c str) -> impl Iterator<Item = &'c Installed> {
        let has = move |manifest: &Manifest| manifest.command(command).is_some();
        self.packages.iter().filter_map(move |(package, manifest)| has(manifest).then_some(package))
    }
}
