//! Faults of the machine: disks that fail, fill up, or lose power; too few descriptors, too little
//! memory; processes killed at any moment; clocks that jump; very many mounts and openers. Nothing is lost,
//! nothing wrong is delivered, nothing is left behind.
//!
//! `EPK_TEST_MOUNTS` says how many mounts there are at once, 100 unless it is set. `scripts/faults N`
//! runs all of it N times. Images that change under a live mount are in `tests/mount`, launches that
//! are killed in `tests/launch`.

mod clock;
mod full;
mod jumps;
mod killed;
mod limits;
mod many;
mod memory;
mod power;
mod storage;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use epk_format::write::{Compression, Format};
use epk_tests::tool;
use epk_tests::tree::{MANIFEST, Random, Recipe, Tree};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Bytes of a block of the test packages.
const BLOCK: usize = 65_536;

/// Two files of some blocks that can't be told from noise, and one of a single block.
fn tree() -> Tree {
    let mut random = Random::new(11);
    Tree::default()
        .file("bin/app", "#!/bin/sh\necho ran\n")
        .file("a", random.noise(6 * BLOCK + 17))
        .file("b", random.noise(2 * BLOCK))
        .file("c", random.noise(BLOCK))
}

fn image(format: Format, version: &str) -> Vec<u8> {
    let manifest = MANIFEST.replace("1.2.3", version);
    let recipe = Recipe { format, manifest, compression: Compression::Auto, ..Recipe::default() };
    tree().image(&recipe)
}

/// `pkgtool` as somebody whose folders lie below `home`.
fn pkgtool(home: &Path) -> Command {
    let mut command = tool::pkgtool();
    for (variable, folder) in [
        ("XDG_DATA_HOME", "data"),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_STATE_HOME", "state"),
    ] {
        command.env(variable, home.join(folder));
    }
    command.env("TMPDIR", home);
    command
}

/// Lets this process have so many files open, or as many as it may, and says how many. Never lowers it:
/// tests run beside each other.
fn descriptors(wanted: u64) -> usize {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(wanted, |most| most.min(wanted));
    let current = limit.current.map(|current| current.max(wanted));
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).expect("below the maximum");
    usize::try_from(wanted).expect("small")
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
