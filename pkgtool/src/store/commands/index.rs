//! The index of commands as a file: lines, sorted by commands, so that one is found by halving.
//!
//! ```text
//! epk.commands/1 CHECKSUM
//! user STATE FOLDER
//! system STATE FOLDER
//!
//! COMMAND user|system FILE STATE
//! …
//! ```
//!
//! Words are separated by tabs. A STATE is what stat(2) said of a folder or file before it was read,
//! `-` if that can't tell that it is unchanged, `absent` for a folder that wasn't there. The
//! packages of a command come in the order of their names. A package without commands stands under
//! the empty one, a package that can't be read under `!`.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::path::Path;

use epkfs::own_cache::FileState;

use super::super::{Identity, Installed, Store};
use super::{Having, Read};

/// What the file says that it is.
pub(super) const SCHEMA: &str = "epk.commands/1";
/// The state of a folder that isn't there.
pub(super) const ABSENT: &str = "absent";
/// The state that no file or folder ever has.
pub(super) const UNKNOWN: &str = "-";
/// What stands for a command where a package can't be read.
pub(super) const UNREADABLE: &str = "!";

/// An index that is what was written.
pub(super) struct Index<'t> {
    text: &'t str,
    /// The lines of the stores.
    stores: &'t str,
    /// The lines of the commands.
    lines: &'t str,
}

/// A line of a command.
#[derive(Clone, Copy)]
pub(super) struct Line<'t> {
    pub(super) command: &'t str,
    pub(super) owner: &'t str,
    pub(super) file: &'t str,
    pub(super) state: &'t str,
}

impl<'t> Index<'t> {
    /// Reads a file; `None` if it is damaged, or none.
    pub(super) fn parse(bytes: &'t [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (first, rest) = text.split_once('\n')?;
        if first != first_line(rest) {
            return None;
        }
        let (stores, lines) = rest.split_once("\n\n")?;
        Some(Self { text, stores, lines })
    }

    /// The whole file.
    pub(super) fn text(&self) -> &str {
        self.text
    }

    /// All lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'t>> {
        self.lines.lines().filter_map(Line::parse)
    }

    /// The packages that have a command. `None` if that is not certain: something has changed, or
    /// the index knows none.
    pub(super) fn find(&self, stores: &[Store], command: &str, read: Read<'_>) -> Option<Having> {
        if !self.stores.lines().eq(stores.iter().map(|store| store_line(store, &state(store)))) {
            return None;
        }
        let mut found = Having::default();
        for line in self.of(command) {
            let package = line.package(stores)?;
            if line.state != state_of(&package.path) {
                return None;
            }
            found.packages.push(package);
        }
        for line in self.of(UNREADABLE) {
            found.unreadable.push(read(&line.package(stores)?).err()?);
        }
        (!found.packages.is_empty()).then_some(found)
    }

    /// The lines of a command.
    fn of(&self, command: &str) -> impl Iterator<Item = Line<'t>> {
        let bytes = self.lines.as_bytes();
        // Both are beginnings of lines; the first line that isn't before the command is between.
        let (mut low, mut high) = (0, bytes.len());
        while low < high {
            let middle = low.midpoint(high);
            let before = bytes.get(low..middle).unwrap_or_default();
            let start = before.iter().rposition(|&b| b == b'\n').map_or(low, |at| low + at + 1);
            let line = self.lines.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
            if command_of(line) < command {
                low = start.saturating_add(line.len()).saturating_add(1);
            } else {
                high = start;
            }
        }
        let lines = self.lines.get(low..).unwrap_or("").lines();
        let wanted = command.to_owned();
        lines.take_while(move |line| command_of(line) == wanted).filter_map(Line::parse)
    }
}

fn command_of(line: &str) -> &str {
    line.split('\t').next().unwrap_or("")
}

impl<'t> Line<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let mut words = line.split('\t');
        let mut next = || words.next();
        Some(Self { command: next()?, owner: next()?, file: next()?, state: next()? })
    }

    /// The package of the line.
    fn package(&self, stores: &[Store]) -> Option<Installed> {
        let store = stores.iter().find(|store| store.owner.word() == self.owner)?;
        let identity = Identity::of_file_name(self.file)?;
        Some(Installed { owner: store.owner, path: store.folder.join(self.file), identity })
    }
}

/// The first line of an index whose other lines are `rest`. It finds what a crash or a bad disk
/// has done; the folder keeps others from doing it.
pub(super) fn first_line(rest: &str) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(rest.as_bytes());
    format!("{SCHEMA} {:016x}", hasher.finish())
}

/// The line of a store.
pub(super) fn store_line(store: &Store, state: &str) -> String {
    format!("{}\t{state}\t{}", store.owner.word(), store.folder.display())
}

/// What stat(2) says of a store's folder.
pub(super) fn state(store: &Store) -> String {
    match fs::metadata(&store.folder) {
        Ok(metadata) => FileState::of(&metadata).to_string(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => ABSENT.to_owned(),
        Err(_) => "closed".to_owned(),
    }
}

/// What stat(2) says of a file.
pub(super) fn state_of(path: &Path) -> String {
    fs::metadata(path)
        .map_or_else(|_| "gone".to_owned(), |metadata| FileState::of(&metadata).to_string())
}
