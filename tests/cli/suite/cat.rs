//! `pkgtool cat`

use super::{Desk, damaged, usual};

#[test]
fn files_one_after_another() {
    let desk = Desk::new();
    let out =
        desk.give(&["cat", "app.epk", "share/doc/a.txt", "/bin/app", "share/secret"]).quietly();
    assert_eq!(String::from_utf8_lossy(&out), "text a\n#!/bin/sh\necho hello\n");
    let out = desk.give(&["cat", "app.epk", "manifest.toml"]).quietly();
    assert_eq!(String::from_utf8_lossy(&out), usual().manifest());
    let out = desk.give(&["cat", "app.epk", "big"]).quietly();
    assert!(out == b"0123456789abcdef".repeat(20_000));
}

#[test]
fn links_are_followed_and_never_lead_out() {
    let desk = Desk::new();
    for path in ["doc/a.txt", "share/../doc/a.txt", "../../share/doc/a.txt", "doc/../doc/a.txt"] {
        let out = desk.give(&["cat", "app.epk", path]).quietly();
        assert_eq!(String::from_utf8_lossy(&out), "text a\n", "{path}");
    }
}

#[test]
fn what_is_no_file() {
    let desk = Desk::new();
    for (path, message) in [
        ("none", "`app.epk`: `none`: no such file in the package"),
        ("share", "`share`: is a folder"),
        ("doc", "`doc`: is a folder"),
        ("bin/app/x", "`bin/app/x`: a part of the path is not a folder"),
        ("etc/passwd", "no such file in the package"),
        ("../../../etc/passwd", "no such file in the package"),
    ] {
        desk.give(&["cat", "app.epk", path]).fails(1, message);
    }
    let _done = desk.give(&["cat", "app.epk"]).exits(2);
}

#[test]
fn damage_ends_it_before_a_wrong_byte() {
    let desk = Desk::empty();
    desk.put("d.epk", &damaged());
    let done = desk.give(&["cat", "d.epk", "big"]).exits(4);
    assert!(done.stderr.starts_with("error: `d.epk`: `big`: block 4: "), "{}", done.stderr);
    let right = b"0123456789abcdef".repeat(20_000);
    // The blocks before the damaged one.
    assert_eq!(done.stdout.len(), 4 * 65_536);
    assert!(right.starts_with(&done.stdout));
    let out = desk.give(&["cat", "d.epk", "share/doc/a.txt"]).quietly();
    assert_eq!(out, b"text a\n", "the rest is intact");
}
