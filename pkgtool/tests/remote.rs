//! The program that talks to servers: what is in which of the two, and how one becomes the other.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use object::{Object as _, ObjectSymbol as _, SymbolKind};
use support::{Place, Ran, tool};

const PKGTOOL: &str = env!("CARGO_BIN_EXE_pkgtool");
const REMOTE: &str = env!("CARGO_BIN_EXE_pkgtool-remote");

/// What only the network needs, as it stands in the names of symbols.
const NETWORK: [&str; 6] = ["reqwest", "rustls", "hyper", "tokio", "object_store", "ring_core"];

/// Which of these a program has code of.
fn network_code(program: &str) -> BTreeSet<&'static str> {
    let bytes = fs::read(program).expect("read");
    let file = object::File::parse(&*bytes).expect("a program");
    // Functions; the names of what was linked from are there even if nothing of it is.
    let functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    let names: Vec<&str> = functions.filter_map(|symbol| symbol.name().ok()).collect();
    assert!(!names.is_empty(), "`{program}` was stripped: nothing can be told");
    NETWORK.into_iter().filter(|part| names.iter().any(|name| name.contains(part))).collect()
}

#[test]
fn only_one_program_has_network_code() {
    assert_eq!(network_code(REMOTE), BTreeSet::from(NETWORK));
    assert_eq!(network_code(PKGTOOL), BTreeSet::new());
}

fn ran(program: &Path, arguments: &[&str], home: &Path) -> Ran {
    let mut command = Command::new(program);
    for variable in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"] {
        command.env(variable, home);
    }
    Ran::new(&command.args(arguments).output().expect("ran"))
}

#[test]
fn commands_are_handed_over() {
    let place = Place::empty();
    let home = place.path("home");
    // The same answer, whoever is asked; the file counts, not the link to it.
    let link = place.path("pkgtool-link");
    symlink(PKGTOOL, &link).expect("linked");
    for program in [Path::new(PKGTOOL), Path::new(REMOTE), &link] {
        for verb in [&["fetch", "x"][..], &["search"], &["outdated"], &["update"]] {
            ran(program, verb, &home).fails(1, &["there are no sources"]);
        }
        for verb in [&["push", "none", "oci://h/n"][..], &["repo", "push", "none", "oci://h/n"]] {
            ran(program, verb, &home).fails(3, &["`none`"]);
        }
        let usage = ran(program, &["fetch"], &home);
        assert_eq!(usage.code, Some(2), "{}", usage.stderr);
    }
    for verb in [&["list"][..], &["repo", "init", "x"]] {
        let other = ran(Path::new(REMOTE), verb, &home);
        other.fails(2, &["nothing but talk to servers", "hint: `pkgtool` does"]);
    }
}

#[test]
fn without_the_other_program() {
    let place = Place::empty();
    let home = place.path("home");
    let alone = place.path("pkgtool");
    // By another process: a program that is open for writing cannot be executed, and what other
    // tests start would have it open, too.
    tool(&place.path(""), "cp", &[PKGTOOL, "pkgtool"]);
    let missing = place.path("pkgtool-remote");
    let said = format!("`{}` is not there", missing.display());
    ran(&alone, &["search"], &home).fails(3, &[&said, "hint: "]);
    // A usage error is one all the same, and so is help.
    assert_eq!(ran(&alone, &["fetch"], &home).code, Some(2));
    assert!(ran(&alone, &["fetch", "--help"], &home).ok().stdout.contains("--dry-run"));
    fs::create_dir(&missing).expect("made");
    ran(&alone, &["search"], &home).fails(3, &[&said]);
    fs::remove_dir(&missing).expect("removed");
    fs::write(&missing, "nonsense").expect("written");
    ran(&alone, &["search"], &home).fails(3, &["cannot execute", "pkgtool-remote"]);
}
