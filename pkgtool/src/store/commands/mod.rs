//! Which installed package has which command: of each name the package that the name alone means.
//!
//! That is in the packages' manifests. What was read of them is kept in the user's cache, in an
//! [`Index`](index::Index) that is looked into without reading all of it, so that a command among
//! ten thousand packages is found about as quickly as among ten. The index is only a cache:
//! whatever is wrong with it, and every change of the files, leads back to the files.

mod index;
mod table;

use std::path::Path;
use std::time::SystemTime;

use epk_format::OpenOptions;
use epk_format::signature::Policy;
use epkfs::own_cache::OwnFolder;

use self::index::Index;
use self::table::Table;
use super::{Installed, Store};
use crate::exit::Failure;
use crate::input::open_package;

/// The folder below the cache.
const FOLDERS: [&str; 1] = ["epk"];
/// The index's file in it.
const FILE: &str = "commands.index";
/// More bytes than an index ever has.
const FILE_BYTES: u64 = 1 << 28;

/// Reads the names of a package's commands.
type Read<'r> = &'r mut dyn FnMut(&Installed) -> Result<Vec<String>, Failure>;

/// The packages that have a command.
#[derive(Debug, Default)]
pub(crate) struct Having {
    /// In the order of their names.
    pub(crate) packages: Vec<Installed>,
    /// Packages that can't be read, each with the reason.
    pub(crate) unreadable: Vec<Failure>,
}

/// Finds the packages of the stores that have a command. `cache` is the user's cache, `now` the
/// time.
pub(crate) fn having(
    stores: &[Store],
    command: &str,
    cache: Option<&Path>,
    now: SystemTime,
) -> Result<Having, Failure> {
    find(stores, command, cache, now, &mut read_commands)
}

fn read_commands(package: &Installed) -> Result<Vec<String>, Failure> {
    // Whoever runs it judges the signature.
    let options = OpenOptions { signature: Policy::Disabled, ..OpenOptions::default() };
    let opened = open_package(&package.path, &options)?;
    let manifest =
        opened.parse_manifest().map_err(|error| Failure::manifest(&package.path, &error))?;
    Ok(manifest.commands.into_keys().collect())
}

fn find(
    stores: &[Store],
    command: &str,
    cache: Option<&Path>,
    now: SystemTime,
    read: Read<'_>,
) -> Result<Having, Failure> {
    let folder = cache.and_then(|cache| OwnFolder::open(cache, &FOLDERS, false).ok());
    let old = folder.and_then(|folder| folder.read(FILE, FILE_BYTES).ok());
    let old = old.as_deref().and_then(Index::parse);
    if let Some(index) = &old
        && let Some(found) = index.find(stores, command, read)
    {
        return Ok(found);
    }
    // Neither the index's word that nobody has the command is taken: all files are looked at.
    let table = Table::read(stores, old.as_ref(), now, read)?;
    if let (Some(cache), Some(text)) = (cache, table.to_index())
        && old.is_none_or(|old| old.text() != text)
        && let Err(error) = OwnFolder::open(cache, &FOLDERS, true)
            .and_then(|folder| folder.write(FILE, text.as_bytes()))
    {
        tracing::debug!(%error, "no index of commands was left");
    }
    Ok(table.into_having(command))
}

#[cfg(test)]
mod tests;
