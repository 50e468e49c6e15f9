//! `pkgtool diff`.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::fs::{XattrFlags, setxattr};
use support::{Place, noise};

/// Two packages of two states of a folder.
fn two_states(options: &[&str]) -> Place {
    let place = Place::app();
    place.link("app/link", "lib");
    let pack = |output: &str| {
        place.run(&[&["pack", "app", "-o", output], options].concat()).ok();
    };
    pack("a.epk");
    place.file("app/lib/text", b"other", 0o644);
    place.file("app/new/file", b"four", 0o644);
    fs::remove_file(place.path("app/lib-a")).expect("removed");
    fs::remove_file(place.path("app/sub/manifest.toml")).expect("removed");
    fs::create_dir(place.path("app/sub/manifest.toml")).expect("made");
    fs::remove_file(place.path("app/link")).expect("removed");
    place.link("app/link", "bin");
    fs::set_permissions(place.path("app/bin/app"), fs::Permissions::from_mode(0o700)).expect("set");
    place.set_time("app/lib/empty", 1_700_000_000);
    fs::hard_link(place.path("app/lib/data.bin"), place.path("app/lib/too")).expect("linked");
    setxattr(place.path("app/share"), "user.x", b"y", XattrFlags::empty()).expect("set");
    pack("b.epk");
    place
}

#[test]
fn every_kind_of_difference_is_told() {
    let place = two_states(&["--format", "2", "--mtime", "zero"]);
    let ran = place.run(&["diff", "a.epk", "b.epk"]);
    let expected = "\
~ /bin/app: mode 0755 -> 0700
~ /lib/data.bin: links 1 -> 2
~ /lib/text: content, 48890 -> 5 bytes
+ /lib/too (100000 bytes)
- /lib-a (17 bytes)
~ /link: target lib -> bin
+ /new/
+ /new/file (4 bytes)
~ /share: xattrs
~ /sub/manifest.toml: kind file -> folder
";
    assert_eq!(ran.stdout, expected);
    assert_eq!(ran.code, Some(1));
    let said = "2 of 3 blocks shared, 100000 of 100030 stored bytes\n\
        error: `a.epk` and `b.epk` differ: 3 added, 1 removed, 6 changed\n";
    assert_eq!(ran.stderr, said);
    let same = place.run(&["diff", "a.epk", "a.epk"]).ok();
    assert_eq!(same.stdout, "");
}

#[test]
fn json_says_the_same() {
    let place = two_states(&["--format", "2"]);
    let ran = place.run(&["diff", "--json", "a.epk", "b.epk"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let object = ran.json();
    assert_eq!(object["schema"], "epk.diff/1");
    assert_eq!((&object["same"], &object["added"]), (&false.into(), &3.into()));
    let differences = object["differences"].as_array().expect("an array");
    let at = |path: &str| {
        let found = differences.iter().find(|difference| difference["path"] == path);
        found.unwrap_or_else(|| panic!("no {path}"))
    };
    assert_eq!(at("/lib/empty")["what"], serde_json::json!(["time"]));
    assert_eq!(at("/lib/empty")["b"]["mtime"], 1_700_000_000);
    assert_eq!(at("/new/file")["a"], serde_json::Value::Null);
    assert_eq!(at("/share")["b"]["xattrs"], serde_json::json!(["user.x"]));
    assert_eq!(at("/link")["b"]["target"], "bin");
    let blocks = &object["blocks"];
    // Noise of 100000 bytes is the same in both.
    assert!(blocks["shared"].as_u64() >= Some(1), "{blocks}");
    assert!(blocks["shared_stored_bytes"].as_u64() >= Some(65536), "{blocks}");
    let same = place.run(&["diff", "--json", "b.epk", "b.epk"]).ok().json();
    assert_eq!((&same["same"], &same["blocks"]["shared"]), (&true.into(), &same["blocks"]["b"]));
}

#[test]
fn formats_and_blocks_make_no_difference() {
    let place = Place::empty();
    place.file("app/bin/app", &noise(200_000), 0o755);
    place.pack(&["--format", "1", "--mtime", "zero"]).ok();
    for (output, options) in [
        ("two.epk", &["--format", "2", "--mtime", "zero"][..]),
        ("small.epk", &["--format", "2", "--mtime", "zero", "--chunk-size", "4K"]),
    ] {
        place.run(&[&["pack", "app", "-o", output], options].concat()).ok();
    }
    let ran = place.run(&["diff", "app.epk", "two.epk"]).ok();
    assert!(ran.stderr.contains("two formats"), "{}", ran.stderr);
    place.run(&["diff", "two.epk", "small.epk"]).ok();
    let json = place.run(&["diff", "--json", "app.epk", "two.epk"]).ok().json();
    assert_eq!(json["blocks"], serde_json::Value::Null);
}
