//! Where things are printed, whatever the terminal, and what happens when they can't be.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt as _;

use std::process::Command;

use epk_tests::tool::Outcome;

use super::{Desk, usual};

/// A command of each kind that prints data.
const PRINTING: &[&[&str]] = &[
    &["verify", "app.epk"],
    &["verify", "--json", "app.epk"],
    &["inspect", "app.epk"],
    &["inspect", "--json", "app.epk"],
    &["ls", "app.epk"],
    &["ls", "-l", "app.epk"],
    &["ls", "--json", "app.epk"],
    &["cat", "app.epk", "big"],
];

fn make_executable(path: &std::path::Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("ours");
}

#[test]
fn terminals_make_no_difference() {
    let desk = Desk::new();
    desk.put("bad.epk", b"bad");
    let failing: &[&[&str]] =
        &[&["verify", "bad.epk"], &["ls", "bad.epk"], &["ls"], &["--help"], &["run", "--help"]];
    for words in PRINTING.iter().chain(failing) {
        let plain = desk.give(words);
        let mut command = desk.command(words);
        command
            .env("TERM", "xterm-256color")
            .env("COLORTERM", "truecolor")
            .env("LANG", "de_DE.UTF-8");
        let colourful = Outcome::of(&mut command);
        assert_eq!(plain.status, colourful.status, "{words:?}");
        assert!(plain.stdout == colourful.stdout, "{words:?}");
        assert_eq!(plain.stderr, colourful.stderr, "{words:?}");
        assert!(!plain.stdout.contains(&0x1b) && !plain.stderr.contains('\u{1b}'), "{words:?}");
    }
}

#[test]
fn a_full_disk_is_said_and_no_panic() {
    let desk = Desk::new();
    std::fs::create_dir_all(desk.path("app/bin")).expect("a folder");
    desk.put("app/manifest.toml", usual().manifest().as_bytes());
    desk.put("app/bin/app", b"x");
    make_executable(&desk.path("app/bin/app"));
    let pack = ["pack", "app", "-o", "p.epk", "--json"];
    let more: &[&[&str]] = &[&["keygen", "key"], &["keygen", "--json", "key2"], &pack];
    for words in PRINTING.iter().chain(more) {
        let full = File::options().write(true).open("/dev/full").expect("it is there");
        let done = Outcome::of(desk.command(words).stdout(full));
        // `output` pipes what isn't set only.
        assert_eq!(done.status.code(), Some(3), "{words:?}: {}", done.stderr);
        assert!(done.stderr.starts_with("error: standard output: "), "{words:?}: {}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 1, "{words:?}: {}", done.stderr);
    }
}

#[test]
fn a_reader_that_has_left_ends_it_in_silence() {
    let desk = Desk::new();
    for words in PRINTING {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let done = Outcome::of(desk.command(words).stdout(writer));
        // As every program of a pipeline: by SIGPIPE, and without a word.
        assert_eq!(done.status.signal(), Some(13), "{words:?}: {}", done.stderr);
        assert_eq!(done.stderr, "", "{words:?}");
    }
}

#[test]
fn help_and_version_are_data() {
    for words in [&["--help"][..], &["--version"], &["help", "verify"], &["pack", "-h"]] {
        let out = epk_tests::tool::run(words).quietly();
        assert!(!out.is_empty(), "{words:?}");
    }
    let done = Outcome::of(&mut epk_tests::tool::pkgtool()).exits(2);
    assert!(done.stdout.is_empty() && done.stderr.contains("Usage: pkgtool"), "{}", done.stderr);
}

#[test]
fn every_command_works_without_a_network() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("app")).expect("a folder");
    desk.put("app/manifest.toml", usual().manifest().as_bytes());
    desk.put("app/app", b"x");
    let more: &[&[&str]] =
        &[&["pack", "app", "-o", "p.epk"], &["extract", "app.epk", "out"], &["keygen", "key"]];
    for words in PRINTING.iter().chain(more) {
        let inner = desk.command(words);
        let mut command = Command::new("/usr/bin/unshare");
        if !epk_tests::users::is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--net", "--"]).arg(inner.get_program()).args(inner.get_args());
        let done = Outcome::of(command.current_dir(desk.path("")));
        assert!(done.status.success(), "{words:?}: {}", done.stderr);
    }
}
