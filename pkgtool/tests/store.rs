//! The store: `add`, `list`, `remove`, and `run` of what is installed.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::{MANIFEST, Place, Ran, noise};

/// `pkgtool` with a store of its own below the folder.
fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command();
    command.args(arguments).env("XDG_DATA_HOME", place.path("home"));
    command
}

fn pkgtool(place: &Place, arguments: &[&str]) -> Ran {
    Ran::new(&command(place, arguments).output().expect("ran"))
}

fn store(place: &Place) -> PathBuf {
    place.path("home/epk/packages")
}

/// Packs the application under a name and version as `file`.
fn pack(place: &Place, name: &str, version: &str, file: &str) {
    let manifest = MANIFEST.replace("org.example.app", name).replace("1.2.3", version);
    let manifest = format!("{manifest}[commands]\ntool = \"/bin/app\"\n");
    place.file("app/manifest.toml", manifest.as_bytes(), 0o644);
    place.run(&["pack", "app", "-o", file]).ok();
}

fn lines(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().collect()
}

fn objects(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(store(place)).expect("a store");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_life() {
    let place = Place::app();
    assert_eq!(pkgtool(&place, &["list"]).ok().stdout, "");
    for version in ["1.9", "1.10", "1.10-rc1"] {
        pack(&place, "org.example.app", version, &format!("{version}.epk"));
    }
    let added = pkgtool(&place, &["add", "1.10.epk", "1.9.epk", "1.10-rc1.epk"]).ok();
    let path = store(&place).join("org.example.app@1.10.epk");
    let first = format!("org.example.app@1.10: installed, {}", path.display());
    assert_eq!(lines(&added)[0], first);
    assert_eq!(fs::read(&path).expect("there"), fs::read(place.path("1.10.epk")).expect("there"));
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o644);
    let folder = fs::metadata(store(&place)).expect("there");
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);

    let listed = pkgtool(&place, &["list"]).ok();
    let expected = [
        "org.example.app@1.9 user",
        "org.example.app@1.10-rc1 user",
        "org.example.app@1.10 user *",
    ];
    assert_eq!(lines(&listed), expected);
    let listed = pkgtool(&place, &["list", "--json", "--long", "--commands"]).ok();
    let meant: Vec<bool> =
        objects(&listed).iter().map(|object| object["meant"] == Value::Bool(true)).collect();
    assert_eq!(meant, [false, false, true]);
    assert_eq!(objects(&listed)[0]["commands"]["tool"], "/bin/app");
    pkgtool(&place, &["verify", "--installed", "--deep"]).ok();

    // By name, by version, and by path.
    for word in ["org.example.app", "org.example.app@1.9", "./1.9.epk"] {
        assert_eq!(pkgtool(&place, &["run", word]).ok().stdout, "hello\n", "{word}");
    }
    pkgtool(&place, &["run", "org.example.other"]).fails(125, &["org.example.other"]);

    // The same again is fine, other bytes are not.
    let again = pkgtool(&place, &["add", "1.9.epk"]).ok();
    assert!(again.stdout.contains("was installed before"), "{}", again.stdout);
    place.file("app/bin/app", b"#!/bin/sh\necho hacked\n", 0o755);
    pack(&place, "org.example.app", "1.9", "other.epk");
    pkgtool(&place, &["add", "other.epk"]).fails(1, &["org.example.app@1.9", "has other bytes"]);
    assert_eq!(pkgtool(&place, &["run", "org.example.app@1.9"]).ok().stdout, "hello\n");

    let removed = pkgtool(&place, &["remove", "--old"]).ok();
    let expected = ["org.example.app@1.9: removed", "org.example.app@1.10-rc1: removed"];
    assert_eq!(lines(&removed), expected);
    let data = place.path("home/epk/data/org.example.app");
    assert!(data.is_dir());
    pkgtool(&place, &["remove", "org.example.app@2"]).fails(1, &["`org.example.app@2` is not"]);
    pkgtool(&place, &["remove", "org.example.app"]).ok();
    assert!(data.is_dir() && names(&place).is_empty());
    pkgtool(&place, &["add", "1.10.epk", "1.9.epk"]).ok();
    let removed = pkgtool(&place, &["remove", "--purge", "--json", "org.example.app"]).ok();
    let purged: Vec<bool> =
        objects(&removed).iter().map(|object| object["purged"] == Value::Bool(true)).collect();
    assert_eq!(purged, [false, true]);
    assert!(!data.exists());
}

#[test]
fn bad_packages_are_not_installed() {
    let place = Place::app();
    pack(&place, "org.example.app", "1", "good.epk");
    let good = fs::read(place.path("good.epk")).expect("there");
    for at in [0x20, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        fs::write(place.path("bad.epk"), bytes).expect("written");
        assert_eq!(pkgtool(&place, &["add", "bad.epk"]).code, Some(4), "byte {at}");
    }
    fs::write(place.path("bad.epk"), &good[..good.len() - 1]).expect("written");
    pkgtool(&place, &["add", "bad.epk"]).fails(4, &["bad.epk"]);
    pkgtool(&place, &["add", "nothing.epk"]).fails(3, &["nothing.epk"]);
    fs::write(place.path("keys"), "").expect("written");
    let strict = ["add", "good.epk", "--signature", "required", "--trust", "keys"];
    pkgtool(&place, &strict).fails(5, &["good.epk"]);
    let foreign = MANIFEST.replace("x86-64", "z80");
    place.file("app/manifest.toml", foreign.as_bytes(), 0o644);
    place.run(&["pack", "app", "-o", "foreign.epk"]).ok();
    pkgtool(&place, &["add", "foreign.epk"]).fails(6, &["z80"]);
    pack(&place, &"n".repeat(250), "1.2.3", "long.epk");
    pkgtool(&place, &["add", "long.epk"]).fails(1, &["260 bytes, 255 is the most"]);
    assert!(!store(&place).exists() || names(&place).is_empty());
}

#[test]
fn names_that_are_no_file_names() {
    let place = Place::app();
    pack(&place, "../../evil name", "1/2@3", "odd.epk");
    pkgtool(&place, &["add", "odd.epk"]).ok();
    assert_eq!(names(&place), ["%2E.%2F..%2Fevil%20name@1%2F2%403.epk"]);
    let listed = pkgtool(&place, &["list"]).ok();
    assert_eq!(lines(&listed), ["../../evil name@1/2@3 user *"]);
    // A file that somebody renamed is another package by its name, and `verify` says so.
    let path = store(&place).join(&names(&place)[0]);
    fs::rename(path, store(&place).join("good@1.epk")).expect("renamed");
    let verified = pkgtool(&place, &["verify", "--installed", "--json"]);
    assert_eq!(verified.code, Some(4));
    let detail = objects(&verified)[0]["findings"][0]["detail"].to_string();
    assert!(detail.contains("installed as `good@1`"), "{detail}");
}

#[test]
fn what_runs_is_not_removed() {
    let place = Place::app();
    place.file("app/bin/app", b"#!/bin/sh\necho ready\nread line\necho $line\n", 0o755);
    pack(&place, "org.example.app", "1", "app.epk");
    pkgtool(&place, &["add", "app.epk"]).ok();
    let mut running = command(&place, &["run", "org.example.app"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut output = std::io::BufReader::new(running.stdout.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).expect("said");
    assert_eq!(line, "ready\n");
    pkgtool(&place, &["remove", "org.example.app"]).fails(1, &["is running or mounted"]);
    assert_eq!(names(&place).len(), 1);
    pkgtool(&place, &["remove", "--force", "org.example.app"]).ok();
    assert!(names(&place).is_empty());
    // It goes on.
    std::io::Write::write_all(&mut running.stdin.take().expect("a pipe"), b"word\n").expect("sent");
    line.clear();
    std::io::BufRead::read_line(&mut output, &mut line).expect("said");
    assert_eq!(line, "word\n");
    assert!(running.wait().expect("ended").success());
}

/// In namespaces of its own, where `/var/lib` is an empty folder.
#[test]
fn the_systems_store() {
    let place = Place::app();
    pack(&place, "org.example.app", "1", "1.epk");
    pack(&place, "org.example.app", "2", "2.epk");
    let script = r#"set -e
        mount -t tmpfs none /var/lib
        "$0" add --system 1.epk 2.epk > /dev/null
        stat -c '%a %n' /var/lib/epk/packages /var/lib/epk/packages/*
        "$0" add 1.epk > /dev/null
        "$0" list
        "$0" run org.example.app
        "$0" remove --system --old
        "$0" list"#;
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-c", script, env!("CARGO_BIN_EXE_pkgtool")]);
    command.current_dir(place.path("")).env("XDG_DATA_HOME", place.path("home"));
    let ran = Ran::new(&command.output().expect("ran")).ok();
    // The user's old version hides the system's new one.
    let expected = "755 /var/lib/epk/packages
        644 /var/lib/epk/packages/org.example.app@1.epk
        644 /var/lib/epk/packages/org.example.app@2.epk
        org.example.app@1 user *
        org.example.app@1 system
        org.example.app@2 system
        hello
        org.example.app@1: removed
        org.example.app@1 user *
        org.example.app@2 system";
    assert_eq!(lines(&ran), expected.lines().map(str::trim).collect::<Vec<_>>());
}

/// Many processes at once: each sees a store in which every package is whole.
#[test]
fn many_at_once() {
    let place = Place::app();
    for version in ["1", "2", "3"] {
        pack(&place, "org.example.app", version, &format!("{version}.epk"));
    }
    let place = &place;
    let file = |version: usize| format!("{version}.epk");
    thread::scope(|scope| {
        for worker in 0..6_usize {
            scope.spawn(move || {
                for round in 0..8 {
                    let version = (worker + round) % 3 + 1;
                    pkgtool(place, &["add", &file(version)]).ok();
                    let name = format!("org.example.app@{version}");
                    if worker % 2 == 0 {
                        let removed = pkgtool(place, &["remove", "--force", &name]);
                        assert!(matches!(removed.code, Some(0 | 1)), "{}", removed.stderr);
                    } else {
                        pkgtool(place, &["list"]).ok();
                        // It may be gone, but it is never half there.
                        let ran = pkgtool(place, &["run", &name]);
                        assert!(matches!(ran.code, Some(0 | 125)), "{}", ran.stderr);
                        assert!(
                            ran.code == Some(0) || !ran.stderr.contains("EPK_"),
                            "{}",
                            ran.stderr
                        );
                    }
                }
            });
        }
    });
    pkgtool(place, &["verify", "--installed", "--deep"]).ok();
    let odd = names(place).into_iter().find(|name| !name.starts_with("org.example.app@"));
    assert_eq!(odd, None);
}

/// Killed at any moment, `add` has installed the package or not.
#[test]
fn add_is_killed() {
    let place = Place::app();
    place.file("app/lib/large", &noise(3_000_000), 0o644);
    pack(&place, "org.example.app", "1", "app.epk");
    let original = fs::read(place.path("app.epk")).expect("there");
    let mut installed = 0;
    for step in 0..200 {
        let mut add =
            command(&place, &["add", "app.epk"]).stdout(Stdio::null()).spawn().expect("started");
        // Not to wait for anything: to be killed at another moment each time.
        #[allow(clippy::disallowed_methods)]
        thread::sleep(Duration::from_micros(step * 150));
        add.kill().expect("killed");
        add.wait().expect("ended");
        let found = if store(&place).exists() { names(&place) } else { Vec::new() };
        assert!(found.len() <= 1, "{found:?}");
        if let Some(name) = found.first() {
            assert_eq!(name, "org.example.app@1.epk");
            assert!(
                fs::read(store(&place).join(name)).expect("there") == original,
                "half a package"
            );
            pkgtool(&place, &["remove", "org.example.app"]).ok();
            installed += 1;
        }
    }
    println!("installed {installed} of 200 times");
    pkgtool(&place, &["add", "app.epk"]).ok();
    pkgtool(&place, &["verify", "--installed", "--deep"]).ok();
}
