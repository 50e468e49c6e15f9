//! `pkgtool extract`

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;

use epk_tests::app::App;
use epk_tests::disk::{self, Found};
use epk_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Desk, damaged, reseal, usual};

#[test]
fn modes_times_links_and_bytes() {
    let desk = Desk::new();
    let out = desk.give(&["extract", "app.epk", "out"]).quietly();
    assert_eq!(out, b"");
    let tree = disk::tree(&desk.path("out"));
    let mut paths: Vec<String> =
        tree.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    paths.retain(|path| !path.starts_with("od"));
    let expected = "big bin bin/app doc manifest.toml share share/doc share/doc/a.txt \
        share/doc/b.txt share/empty share/secret";
    assert_eq!(paths, expected.split_whitespace().collect::<Vec<_>>());
    let at = |path: &str| &tree[path.as_bytes()];
    assert_eq!(at("doc").0, Found::Link("share/doc".into()));
    let file = |mode, bytes: &str| Found::File { mode, bytes: bytes.into() };
    assert_eq!(*at("share/doc/a.txt"), (file(0o644, "text a\n"), 1_700_000_000));
    assert_eq!(*at("share/doc/b.txt"), (file(0o644, "text b, which is longer\n"), 0));
    assert_eq!(at("share/secret").0, file(0o400, ""));
    assert_eq!(at("bin/app").0, file(0o755, "#!/bin/sh\necho hello\n"));
    assert_eq!(at("share/empty").0, Found::Folder { mode: 0o755 });
    assert_eq!(at("manifest.toml").0, file(0o644, &usual().manifest()));
    assert_eq!(fs::metadata(desk.path("out")).expect("a folder").mode() & 0o7777, 0o755);
    assert_eq!(fs::read(desk.path("out/od\nd\u{1b}[31m name")).expect("it is there"), b"odd");
    assert_eq!(desk.names(), ["app.epk", "out"]);
}

#[test]
fn the_users_mask_changes_nothing() {
    let desk = Desk::new();
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "umask 077; exec \"$0\" extract app.epk out"]);
    command.arg(epk_tests::binaries::binary("pkgtool")).current_dir(desk.path(""));
    assert!(command.status().expect("it starts").success());
    let _done = desk.give(&["extract", "app.epk", "other"]).quietly();
    let (masked, usual) = (disk::tree(&desk.path("out")), disk::tree(&desk.path("other")));
    assert_eq!(disk::differences(&masked, &usual), Vec::<String>::new());
}

#[test]
fn an_empty_folder_is_filled_another_refused() {
    let desk = Desk::new();
    fs::create_dir(desk.path("empty")).expect("a folder");
    let _done = desk.give(&["extract", "app.epk", "empty"]).quietly();
    assert!(desk.path("empty/bin/app").exists());
    let before = disk::tree(&desk.path("empty"));
    desk.give(&["extract", "app.epk", "empty"]).fails(1, "`empty` is not empty");
    assert_eq!(disk::differences(&before, &disk::tree(&desk.path("empty"))), Vec::<String>::new());
    desk.give(&["extract", "app.epk", "app.epk"]).fails(3, "`app.epk`: Not a directory");
    desk.give(&["extract", "app.epk", "no/such/parent"]).fails(3, "No such file or directory");
    assert_eq!(desk.names(), ["app.epk", "empty"]);
}

#[test]
fn targets_are_named_in_many_ways() {
    let desk = Desk::new();
    let absolute = desk.path("absolute");
    for target in ["plain", "./dotted", "slash/", absolute.to_str().expect("text")] {
        let _done = desk.give(&["extract", "app.epk", target]).quietly();
    }
    assert_eq!(desk.names(), ["absolute", "app.epk", "dotted", "plain", "slash"]);
    fs::create_dir(desk.path("here")).expect("a folder");
    let mut command = desk.command(&["extract", "../app.epk", "."]);
    let done = epk_tests::tool::Outcome::of(command.current_dir(desk.path("here")));
    // rename(2) can't put a folder in the place of `.`, and nothing may be left of the attempt.
    if !done.status.success() {
        assert_eq!(super::names(&desk.path("here")), Vec::<String>::new(), "{}", done.stderr);
    }
}

#[test]
fn a_selection() {
    let desk = Desk::new();
    let _done = desk.give(&["extract", "app.epk", "out", "share/doc/a*", "bin"]).quietly();
    let tree = disk::tree(&desk.path("out"));
    let paths: Vec<String> =
        tree.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    assert_eq!(paths, ["bin", "bin/app", "share", "share/doc", "share/doc/a.txt"]);
    desk.give(&["extract", "app.epk", "more", "bin", "nothing"]).fails(1, "nothing at `/nothing`");
    assert_eq!(desk.names(), ["app.epk", "out"]);
}

#[test]
fn failures_leave_nothing() {
    let desk = Desk::empty();
    desk.put("d.epk", &damaged());
    desk.give(&["extract", "d.epk", "out"]).fails(4, "`d.epk`: block 4: ");
    assert_eq!(desk.names(), ["d.epk"]);
    fs::create_dir(desk.path("out")).expect("a folder");
    desk.give(&["extract", "d.epk", "out"]).fails(4, "block 4");
    assert_eq!(desk.names(), ["d.epk", "out"]);
    assert_eq!(super::names(&desk.path("out")), Vec::<String>::new());
    // What isn't damaged can be had.
    let _done = desk.give(&["extract", "d.epk", "out", "share"]).quietly();
    assert!(desk.path("out/share/doc/a.txt").exists());
}

#[test]
fn no_package_can_write_elsewhere() {
    let base = App::script("x").with_file("aaaa/f", "planted").with_file("bbbb", "x").image();
    let change = |from: &[u8], to: &[u8]| {
        let mut image = base.clone();
        let at = image.windows(from.len()).position(|w| w == from).expect("it is there");
        image[at..at + to.len()].copy_from_slice(to);
        reseal(&mut image);
        image
    };
    let desk = Desk::empty();
    let outside = fs::metadata(desk.path("")).expect("a folder").mtime();
    for path in [b"../../", b"/tmp/f", b"./../f", b"..//ff", b"a/../f", b"bbbb/f"] {
        desk.put("x.epk", &change(b"aaaa/f", path));
        let shown = String::from_utf8_lossy(path).into_owned();
        desk.give(&["extract", "x.epk", "out"]).fails(4, "EPK_STRICT_");
        assert_eq!(desk.names(), ["x.epk"], "{shown}");
    }
    assert!(outside > 0);
}

#[test]
fn planted_links_are_not_followed() {
    let desk = Desk::new();
    fs::create_dir(desk.path("victim")).expect("a folder");
    symlink("victim", desk.path("link")).expect("a link");
    symlink("nowhere", desk.path("dangling")).expect("a link");
    for target in ["link", "dangling"] {
        let done = desk.give(&["extract", "app.epk", target]);
        assert_eq!(done.status.code(), Some(3), "{target}: {}", done.stderr);
        assert!(desk.path(target).is_symlink(), "{target} was replaced");
    }
    assert_eq!(super::names(&desk.path("victim")), Vec::<String>::new());
    assert_eq!(desk.names(), ["app.epk", "dangling", "link", "victim"]);
}

/// A package of many files, and its extraction under way.
fn extraction_under_way() -> (Desk, std::process::Child) {
    let desk = Desk::empty();
    let mut app = App::script("x");
    for n in 0..MANY {
        app = app.with_file(&format!("f{n}"), vec![b'x'; 20_000]);
    }
    desk.put("many.epk", &app.image());
    let child = desk.command(&["extract", "many.epk", "out"]).spawn().expect("it starts");
    wait::until("it has begun", || desk.names().len() > 1);
    (desk, child)
}

const MANY: usize = 2000;

#[test]
fn interrupted_it_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (desk, mut child) = extraction_under_way();
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        kill(pid, signal).expect("a child");
        let status = wait::for_end(&mut child);
        assert_eq!(status.signal(), Some(signal as i32), "{status}");
        assert_eq!(desk.names(), ["many.epk"], "{signal}");
    }
}

#[test]
fn killed_it_leaves_no_half_of_a_tree_under_the_name() {
    let (desk, mut child) = extraction_under_way();
    child.kill().expect("a child");
    wait::for_end(&mut child);
    if desk.path("out").exists() {
        assert_eq!(disk::tree(&desk.path("out")).len(), MANY + 3, "half a tree has the name");
    }
    for name in desk.names().iter().filter(|name| name.starts_with('.')) {
        let mode = fs::metadata(desk.path(name)).expect("a folder").permissions().mode();
        let whole = || disk::tree(&desk.path(name)).len() == MANY + 3;
        assert!(mode & 0o777 == 0o700 || whole(), "others may look into half a tree");
    }
}
