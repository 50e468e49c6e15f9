//! What holds for whoever gives the commands.

mod cat;
mod chart;
mod extract;
mod inspect;
mod keygen;
mod loader;
mod log;
mod ls;
mod mounts;
mod output;
mod pack;
mod report;
mod signature;
mod stats;
mod verify;
mod watch;

use std::path::{Path, PathBuf};
use std::process::Command;

use epk_tests::app::App;
use epk_tests::files::temp_folder;
use epk_tests::tool::{Outcome, pkgtool};
use epk_tests::tree::{Item, Recipe, Tree};
use tempfile::TempDir;

/// A folder with packages, in which commands are given.
struct Desk(TempDir);

impl Desk {
    /// One with the usual package, `app.epk`.
    fn new() -> Self {
        let desk = Self::empty();
        desk.put("app.epk", &usual().image());
        desk
    }

    fn empty() -> Self {
        Self(temp_folder())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("writable");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = pkgtool();
        command.args(words).current_dir(self.0.path());
        command
    }

    fn give(&self, words: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(words))
    }

    /// The names in the folder, sorted.
    fn names(&self) -> Vec<String> {
        names(self.0.path())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable"));
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A package with files of some modes and times, folders, an alias and odd names.
fn usual() -> App {
    let mut app = App::script("echo hello").with_command("tool", "/bin/app");
    app.tree = app
        .tree
        .file("share/doc/a.txt", "text a\n")
        .changed("share/doc/a.txt", 1_700_000_000)
        .file("share/doc/b.txt", "text b, which is longer\n")
        .with("share/empty", Item::Folder)
        .file("share/secret", "")
        .with("share/secret", Item::File { bytes: Vec::new(), mode: 0o400 })
        .file("od\nd\u{1b}[31m name", "odd")
        .with("doc", Item::Alias("share/doc".into()))
        .file("big", b"0123456789abcdef".repeat(20_000));
    app
}

/// A small package by the key of a seed.
fn signed(seed: u8) -> Vec<u8> {
    let recipe = Recipe { seed: Some([seed; 32]), ..Recipe::default() };
    Tree::default().file("f", "signed").image(&recipe)
}

/// Makes PackageHash right again after a change.
fn reseal(image: &mut [u8]) {
    let number = |at: usize| {
        let bytes: [u8; 8] = image[at..at + 8].try_into().expect("eight bytes");
        usize::try_from(u64::from_le_bytes(bytes)).expect("small")
    };
    let signature = number(64)..number(64) + number(72);
    let mut hashed = image.to_vec();
    hashed[80..112].fill(0);
    hashed.drain(signature);
    image[80..112].copy_from_slice(epk_format::digest::Sha256::of(&hashed).as_bytes());
}

/// The usual package with a damaged block that only reading it shows: the last of `/big`.
fn damaged() -> Vec<u8> {
    let mut image = usual().image();
    let package = epk_format::Package::open(image.as_slice(), &epk_format::OpenOptions::default());
    let package = package.expect("intact");
    let id = package.lookup(epk_format::package::NodeId::ROOT, b"big").expect("readable");
    let pieces: Vec<_> = package.pieces(id.expect("there"), 0..u64::MAX).expect("a file").collect();
    let Some(Ok(epk_format::package::Piece::Block { index, .. })) = pieces.last() else {
        panic!("no block")
    };
    let block = package.block(*index).expect("a block");
    let at = usize::try_from(block.offset).expect("small");
    let end = at + usize::try_from(block.stored_size).expect("small");
    drop(pieces);
    drop(package);
    image[end - 6] ^= 0x55;
    reseal(&mut image);
    image
}
