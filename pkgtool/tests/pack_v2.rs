//! `pkgtool pack` in format 2.0: what the package has of the folder. How its bytes lie is tested in
//! epk-format, and that it shows any folder as it is in `tests/property`; here names and targets are
//! looked for in the metadata, which is not compressed.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustix::fs::{XattrFlags, setxattr};
use support::Place;

/// Packs with more arguments, and gives the summary.
fn packed(place: &Place, more: &[&str]) -> serde_json::Value {
    place.pack(&[&["--json"], more].concat()).ok().json()
}

/// Rows of nodes: kind and mode, links, seconds, nanoseconds, whether there are attributes.
/// The nodes of an image that was packed without compression.
fn nodes(image: &[u8]) -> Vec<(u16, u32, i64, u32, bool)> {
    let number = |at: usize, bytes: usize| {
        let field = image[at..at + bytes].iter().rev();
        field.fold(0u64, |sum, &byte| sum << 8 | u64::from(byte))
    };
    let metadata = number(0x10, 8) as usize;
    let count = number(metadata + 0x10, 8) as usize;
    let row = |node: usize| {
        let at = metadata + 64 + 48 * node;
        (
            number(at, 2) as u16,
            number(at + 4, 4) as u32,
            number(at + 0x10, 8).cast_signed(),
            number(at + 0x18, 4) as u32,
            number(at + 0x1C, 4) != 0,
        )
    };
    (0..count).map(row).collect()
}

fn has(image: &[u8], text: &[u8]) -> bool {
    image.windows(text.len()).any(|window| window == text)
}

#[test]
fn links_attributes_modes_and_times_are_kept() {
    let place = Place::app();
    place.link("app/usr", "../anywhere/else");
    place.file("app/back\\slash", b"x", 0o644);
    fs::hard_link(place.path("app/lib/text"), place.path("app/lib/more")).expect("linked");
    fs::hard_link(place.path("app/lib/text"), place.path("app/bin/more")).expect("linked");
    fs::write(place.path("app/lib/copy"), fs::read(place.path("app/lib/text")).expect("there"))
        .expect("written");
    fs::set_permissions(place.path("app/share"), fs::Permissions::from_mode(0o710)).expect("set");
    let text = place.path("app/lib/text");
    setxattr(&text, "user.comment", b"remarkable", XattrFlags::empty()).expect("xattrs");
    let summary = packed(&place, &["--alias", "lib64=lib", "--compression", "none"]);
    assert_eq!(summary["format"], "2.0");
    let keys = ["entries", "files", "folders", "symlinks", "aliases"];
    assert_eq!(keys.map(|key| summary[key].as_u64().expect("a number")), [17, 10, 5, 1, 1]);
    assert_eq!(summary["shared"]["files"], 1);
    let lost = summary["lost"].as_object().expect("an object");
    assert!(lost.values().all(|count| count == 0), "{lost:?}");

    let image = place.image();
    for text in ["../anywhere/else", "back\\slash", "user.comment", "remarkable"] {
        assert!(has(&image, text.as_bytes()), "{text}");
    }
    let nodes = nodes(&image);
    // The root, and two names less.
    assert_eq!(nodes.len(), 1 + 17 - 2);
    // `lib/text`, with a time that has a fraction.
    assert!(nodes.contains(&(0x1000 | 0o644, 3, 1_600_000_000, 123_456_789, true)));
    assert!(nodes.iter().any(|node| node.0 == 0x2000 | 0o710));
    assert_eq!(nodes.iter().filter(|node| node.0 >> 12 == 3).count(), 1);

    let zero = packed(&place, &["--compression", "none", "--mtime", "zero"]);
    assert_ne!(zero["package_hash"], summary["package_hash"]);
    assert!(self::nodes(&place.image()).iter().all(|node| (node.2, node.3) == (0, 0)));
    let mut command = place.command();
    command.env("SOURCE_DATE_EPOCH", "1500000000");
    command.args(["pack", "app", "-o", "app.epk", "--compression", "none"]);
    assert!(command.status().expect("ran").success());
    assert!(self::nodes(&place.image()).iter().all(|node| node.2 <= 1_500_000_000 && node.3 == 0));
}

#[test]
fn what_the_format_cannot_hold_is_refused_by_name() {
    let place = Place::app();
    mkfifo(&place.path("app/pipe"), Mode::S_IRUSR).expect("made");
    place.file("app/bin/su", b"", 0o4755);
    place.link("app/link", "bin/app");
    fs::set_permissions(place.path("app/share"), fs::Permissions::from_mode(0o1777)).expect("set");
    let said = [
        "format 2.0 cannot hold these 3 things",
        "`pipe`: pipe",
        "`bin/su`: permission bits 4000 (set-user-id)",
        "`share`: permission bits 1000 (sticky)",
    ];
    let ran = place.pack(&[]).fails(1, &said);
    assert!(!ran.stderr.contains("--format"), "{}", ran.stderr);
    let allowed = ["--special", "skip", "--mode-bits", "drop"];
    let lost = packed(&place, &allowed)["lost"].clone();
    assert_eq!((&lost["special_skipped"], &lost["mode_bits_dropped"]), (&1.into(), &2.into()));
    let followed = packed(&place, &[&allowed[..], &["--symlinks", "follow"]].concat());
    assert_eq!(
        (&followed["symlinks"], &followed["lost"]["symlinks_followed"]),
        (&0.into(), &1.into())
    );
    let said = ["`link`: symbolic link to `bin/app`"];
    let refuse = [&["--symlinks", "error"], &allowed[..]].concat();
    place.pack(&refuse).fails(1, &said);
    assert_eq!(place.names(), ["app", "app.epk"]);
}

#[test]
fn the_surroundings_change_nothing() {
    let place = Place::app();
    packed(&place, &[]);
    let expected = place.image();
    for threads in ["1", "3", "8"] {
        packed(&place, &["--threads", threads]);
        assert!(place.image() == expected, "{threads} threads");
    }
    let copied = std::process::Command::new("cp")
        .args(["-a", "app", "copy"])
        .current_dir(place.path(""))
        .status();
    assert!(copied.expect("ran").success());
    place.run(&["pack", "copy", "-o", "app.epk"]).ok();
    assert!(place.image() == expected, "a copy");
}

#[test]
fn a_profile_changes_the_order_of_the_data() {
    let place = Place::app();
    packed(&place, &["--compression", "none"]);
    let first = |image: &[u8]| image.windows(6).position(|window| window == b"line 0");
    let before = first(&place.image());
    fs::write(place.path("profile"), "\n/lib/text\nbin/app\nno/such/file\n").expect("written");
    packed(&place, &["--compression", "none", "--profile", "profile"]);
    assert!(first(&place.image()) < before);
    let one = ["--format", "1", "--profile", "profile"];
    place.pack(&one).fails(2, &["`--profile` is not for format 1.0", "leave out `--format 1`"]);
    place.pack(&["--profile", "none"]).fails(3, &["cannot read `none`"]);
}

#[test]
fn chunk_sizes_are_powers_of_two() {
    let place = Place::app();
    for size in ["4K", "128K", "1M"] {
        packed(&place, &["--chunk-size", size]);
    }
    for size in ["1", "2K", "5000", "2M", "64M"] {
        let said = ["format 2.0 allows the powers of two from 4096 to 1048576 bytes"];
        place.pack(&["--chunk-size", size]).fails(2, &said);
    }
}

#[test]
fn packages_are_signed() {
    let place = Place::app();
    place.run(&["keygen", "key"]).ok();
    let summary = packed(&place, &["--sign", "key"]);
    assert_eq!(summary["signature"]["size"], 144);
    assert!(has(&place.image(), b"SIGS"));
}
