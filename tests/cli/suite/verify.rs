//! `pkgtool verify`

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Desk, damaged, usual};

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn a_good_package_in_words() {
    let desk = Desk::new();
    let text = String::from_utf8(desk.give(&["verify", "app.epk"]).quietly()).expect("text");
    assert_eq!(text.lines().count(), 1);
    assert!(
        text.starts_with("app.epk: valid, org.example.app 1.2.3 for x86-64, unsigned, sha256:")
    );
    let deep = String::from_utf8(desk.give(&["verify", "--deep", "app.epk"]).quietly());
    // With the manifest, which is a file of the mounted tree.
    assert!(deep.expect("text").contains(", all 7 files and 9 blocks intact, sha256:"));
}

#[test]
fn a_good_package_as_json() {
    let desk = Desk::new();
    let out = desk.give(&["verify", "--json", "app.epk"]).exits(0).json();
    let [verdict] = out.as_slice() else { panic!("{} lines", out.len()) };
    let expected = "schema path valid code code_name format package_hash signature manifest \
        findings";
    assert_eq!(keys(verdict), expected.split_whitespace().collect());
    assert_eq!(keys(&verdict["signature"]), ["key_id", "state"].into());
    let hash = verdict["package_hash"].as_str().expect("text");
    assert_eq!((hash.len(), &hash[..7]), (71, "sha256:"));
    let rest = json!({
        "schema": "epk.verify/1", "path": "app.epk", "valid": true,
        "code": 0, "code_name": "EPK_VALIDATION_OK", "format": "1.0", "package_hash": hash,
        "signature": {"state": "unsigned", "key_id": null},
        "manifest": {
            "status": 0, "status_name": "ok", "name": "org.example.app", "version": "1.2.3",
            "arch": "x86-64", "kernel_api": "1.0", "entry": "/bin/app",
            "commands": {"tool": "/bin/app"}, "isolation": null,
        },
        "findings": [],
    });
    assert_eq!(*verdict, rest);
}

#[test]
fn a_refused_package_as_json() {
    let desk = Desk::empty();
    desk.put(
        "x.epk",
        b"EPK9, and so much that it could be a header, were it not for its first \
        letters, which are those of another format: 128",
    );
    let done = desk.give(&["verify", "--json", "x.epk"]).exits(4);
    let verdict = &done.json()[0];
    assert_eq!(verdict["valid"], false);
    assert_eq!((&verdict["code"], &verdict["format"]), (&json!(5), &Value::Null));
    assert_eq!(verdict["code_name"], "EPK_VALIDATION_INVALID_HEADER_SIZE");
    assert_eq!(verdict["manifest"], json!({"status": 9, "status_name": "invalid_package"}));
    assert_eq!(verdict["signature"]["state"], "not-checked");
    let findings = verdict["findings"].as_array().expect("an array");
    assert_eq!(findings.len(), 1);
    assert_eq!(keys(&findings[0]), ["at", "code", "code_name", "detail"].into());
    assert_eq!(done.stderr, "error: `x.epk`: invalid\n");
}

#[test]
fn several_packages_an_object_each_and_the_highest_status() {
    let desk = Desk::new();
    let mut other = usual();
    other.arch = "arm-64".into();
    desk.put("other.epk", &other.image());
    desk.put("bad.epk", b"no package");
    let mut lost = super::signed(1);
    *lost.last_mut().expect("bytes") ^= 1;
    desk.put("lost.epk", &lost);
    let cases: &[(&[&str], i32)] = &[
        (&["app.epk", "app.epk"], 0),
        (&["app.epk", "none.epk"], 3),
        (&["none.epk", "bad.epk", "app.epk"], 4),
        (&["bad.epk", "lost.epk", "none.epk"], 5),
        (&["other.epk", "lost.epk", "bad.epk", "none.epk", "app.epk"], 6),
    ];
    for (files, status) in cases {
        let words: Vec<&str> =
            ["verify", "--compat", "--json"].iter().chain(*files).copied().collect();
        let done = desk.give(&words).exits(*status);
        let paths: Vec<String> =
            done.json().iter().map(|v| v["path"].as_str().expect("text").to_owned()).collect();
        assert_eq!(paths, *files);
        assert_eq!(done.stderr.is_empty(), *status == 0, "{}", done.stderr);
    }
}

#[test]
fn only_a_deep_look_finds_a_damaged_block() {
    let desk = Desk::empty();
    desk.put("d.epk", &damaged());
    let shallow = desk.give(&["verify", "--json", "d.epk"]).exits(0);
    assert_eq!(shallow.json()[0]["valid"], true);
    let done = desk.give(&["verify", "--deep", "--json", "d.epk"]).exits(4);
    let verdict = &done.json()[0];
    assert!([130, 131].map(|code| json!(code)).contains(&verdict["code"]), "{verdict}");
    assert_eq!(verdict["deep"], json!({"files": 7, "blocks": 9}));
    assert_eq!(verdict["findings"].as_array().map(Vec::len), Some(1));
    assert_eq!(verdict["findings"][0]["at"], "block 4");
}

#[test]
fn compatibility_is_judged_when_asked_for() {
    let desk = Desk::empty();
    let mut app = usual();
    for (arch, api, status) in [
        ("x86-64", "1.0", 0),
        ("x86-64", "1.1", 15),
        ("x86-64", "2.0", 15),
        ("sparc", "1.0", 12),
        ("x86-64", "one", 13),
    ] {
        (app.arch, app.kernel_api) = (arch.into(), api.into());
        desk.put("x.epk", &app.image());
        let _line = desk.give(&["verify", "x.epk"]).quietly();
        let exit = if status == 0 { 0 } else { 6 };
        let done = desk.give(&["verify", "--compat", "--json", "x.epk"]).exits(exit);
        let verdict = &done.json()[0];
        assert_eq!(verdict["compatibility"]["status"], status, "{verdict}");
        assert_eq!((&verdict["code"], &verdict["valid"]), (&json!(0), &json!(status == 0)));
    }
    app.kernel_api = "1.1".into();
    desk.put("x.epk", &app.image());
    for (api, exit) in [("1.0", 6), ("1.1", 0), ("1.2", 0), ("2.1", 6), ("0.9", 6)] {
        let _done = desk.give(&["verify", "--compat", "--kernel-api", api, "x.epk"]).exits(exit);
    }
    let done = desk.give(&["verify", "--kernel-api", "1", "x.epk"]).exits(2);
    assert!(done.stderr.contains("expected `major.minor`"), "{}", done.stderr);
}

#[test]
fn what_cannot_be_read_is_no_verdict_on_the_package() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("folder")).expect("a folder");
    for (path, reason) in [
        ("none.epk", "No such file or directory"),
        ("folder", "is a folder, not a package"),
        ("/dev/null", "is not a regular file"),
        ("app.epk/x", "Not a directory"),
    ] {
        let done = desk.give(&["verify", "--json", path]).exits(3);
        let verdict = &done.json()[0];
        assert_eq!((&verdict["code"], &verdict["valid"]), (&Value::Null, &json!(false)));
        let detail = verdict["findings"][0]["detail"].as_str().expect("text");
        assert!(detail.contains(reason), "{path}: {detail}");
    }
}

#[test]
fn usage() {
    let desk = Desk::new();
    for words in [
        &["verify"][..],
        &["verify", "--signature", "maybe", "app.epk"],
        &["verify", "-x"],
        &["nonsense"],
    ] {
        let done = desk.give(words).exits(2);
        assert!(done.stderr.starts_with("error: ") && done.stdout.is_empty(), "{}", done.stderr);
    }
}
