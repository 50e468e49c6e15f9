//! All commands, out of the packages' files: how an index comes about.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::SystemTime;

use epkfs::own_cache::FileState;

use super::super::{Installed, Store, list, meant_of_each};
use super::index::{ABSENT, Index, UNKNOWN, UNREADABLE, first_line, store_line};
use super::{Having, Read};
use crate::exit::Failure;

/// The packages that names alone mean, in the order of these, with their commands.
pub(super) struct Table {
    /// The stores' lines in the index.
    stores: Vec<String>,
    packages: Vec<Row>,
}

struct Row {
    package: Installed,
    /// Its state in the index.
    state: String,
    commands: Result<Vec<String>, Failure>,
}

impl Table {
    /// Reads the stores. Packages whose files are as the index knows them aren't opened.
    pub(super) fn read(
        stores: &[Store],
        old: Option<&Index<'_>>,
        now: SystemTime,
        read: Read<'_>,
    ) -> Result<Self, Failure> {
        // Before the folders are listed: a change after that is another state.
        let lines = stores.iter().map(|store| store_line(store, &folder_state(store, now)));
        let lines = lines.collect();
        let known = old.map(known).unwrap_or_default();
        let installed = list(stores)?;
        let mut packages = Vec::new();
        for package in meant_of_each(&installed) {
            let state = match fs::metadata(&package.path) {
                Ok(metadata) => settled(FileState::of(&metadata), now),
                Err(_) => UNKNOWN.to_owned(),
            };
            let file = package.identity.file_name();
            let commands = match known.get(&(package.owner.word(), &*file)) {
                Some(known) if known.state == state && state != UNKNOWN => {
                    Ok(known.commands.iter().copied().map(str::to_owned).collect())
                }
                _ => read(package),
            };
            packages.push(Row { package: package.clone(), state, commands });
        }
        Ok(Self { stores: lines, packages })
    }

    /// The index's file. `None` where a path would break its lines.
    pub(super) fn to_index(&self) -> Option<String> {
        if self.stores.iter().any(|line| line.contains('\n')) {
            return None;
        }
        let mut lines: Vec<(&str, String)> = Vec::new();
        for Row { package, state, commands } in &self.packages {
            let (owner, file) = (package.owner.word(), package.identity.file_name());
            let (commands, state): (Vec<&str>, &str) = match commands {
                Ok(commands) if commands.is_empty() => (vec![""], state),
                Ok(commands) => (commands.iter().map(String::as_str).collect(), state),
                Err(_) => (vec![UNREADABLE], UNKNOWN),
            };
            let line = format!("{owner}\t{file}\t{state}");
            lines.extend(commands.into_iter().map(|command| (command, line.clone())));
        }
        // Stable: the packages of a command stay in the order of their names.
        lines.sort_by_key(|(command, _)| *command);
        let mut rest = self.stores.join("\n");
        rest.push_str("\n\n");
        for (command, line) in lines {
            rest.extend([command, "\t", &line, "\n"]);
        }
        Some(format!("{}\n{rest}", first_line(&rest)))
    }

    /// The packages that have a command.
    pub(super) fn into_having(self, command: &str) -> Having {
        let mut found = Having::default();
        for Row { package, commands, .. } in self.packages {
            match commands {
                Ok(commands) if commands.iter().any(|one| one == command) => {
                    found.packages.push(package);
                }
                Ok(_) => {}
                Err(failure) => found.unreadable.push(failure),
            }
        }
        found
    }
}

/// What an index knows of a file.
#[derive(Default)]
struct Known<'t> {
    state: &'t str,
    commands: Vec<&'t str>,
}

/// By owner and file.
fn known<'t>(index: &Index<'t>) -> HashMap<(&'t str, &'t str), Known<'t>> {
    let mut known: HashMap<_, Known<'t>> = HashMap::new();
    for line in index.lines() {
        let entry = known.entry((line.owner, line.file)).or_default();
        entry.state = line.state;
        if !matches!(line.command, "" | UNREADABLE) {
            entry.commands.push(line.command);
        }
    }
    known
}

/// The state of a store's folder, if that tells when it changes.
fn folder_state(store: &Store, now: SystemTime) -> String {
    match fs::metadata(&store.folder) {
        Ok(metadata) => settled(FileState::of(&metadata), now),
        Err(error) if error.kind() == io::ErrorKind::NotFound => ABSENT.to_owned(),
        Err(_) => UNKNOWN.to_owned(),
    }
}

/// A state that will not be the same after the next change.
fn settled(state: FileState, now: SystemTime) -> String {
    if state.is_settled(now) { state.to_string() } else { UNKNOWN.to_owned() }
}
