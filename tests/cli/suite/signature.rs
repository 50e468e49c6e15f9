//! Signatures, under each policy.

use epk_format::signature::SigningKey;

use super::{Desk, reseal, signed, usual};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// A desk with packages of every kind and two lists of keys: one that trusts `good`, one that
/// doesn't.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.put("good.epk", &signed(1));
    let mut bad = signed(1);
    *bad.last_mut().expect("bytes") ^= 1;
    desk.put("bad.epk", &bad);
    let mut none = signed(1);
    let blob = none.len() - 144;
    none[blob + 8..blob + 48].fill(0);
    desk.put("none.epk", &none);
    let mut moved = signed(1);
    let at = moved.windows(6).position(|w| w == b"1.2.3\"").expect("a version");
    moved[at] = b'9';
    reseal(&mut moved);
    desk.put("moved.epk", &moved);
    let list = format!(
        "# keys that we trust\n\n{}\n{}\n",
        key(7).public().id(),
        key(1).public().to_base64()
    );
    desk.put("trust", list.as_bytes());
    desk.put("other", format!("{}\n", key(2).public().id()).as_bytes());
    desk
}

#[test]
fn each_policy_on_each_kind() {
    let desk = desk();
    let id = key(1).public().id().to_string();
    let required = ["--signature", "required", "--trust", "trust"];
    let trusting = ["--trust", "trust"];
    let distrusting = ["--signature", "required", "--trust", "other"];
    let disabled = ["--signature", "disabled"];
    /// Options, package, exit status, code, state, whether the key is named.
    type Case<'c> = (&'c [&'c str], &'c str, i32, u64, &'c str, bool);
    let cases: &[Case<'_>] = &[
        (&[], "app.epk", 0, 0, "unsigned", false),
        (&[], "good.epk", 0, 0, "untrusted", true),
        (&[], "bad.epk", 5, 12, "bad", false),
        (&[], "moved.epk", 5, 12, "bad", false),
        (&[], "none.epk", 0, 0, "unsigned", false),
        (&trusting, "good.epk", 0, 0, "valid", true),
        (&required, "app.epk", 5, 12, "unsigned", false),
        (&required, "good.epk", 0, 0, "valid", true),
        (&required, "bad.epk", 5, 12, "bad", false),
        (&required, "moved.epk", 5, 12, "bad", false),
        (&required, "none.epk", 5, 120, "unsigned", false),
        (&distrusting, "good.epk", 5, 122, "untrusted", true),
        (&disabled, "app.epk", 0, 0, "unsigned", false),
        (&disabled, "good.epk", 0, 0, "not-checked", false),
        (&disabled, "bad.epk", 0, 0, "not-checked", false),
    ];
    for (options, file, exit, code, state, named) in cases {
        let words: Vec<&str> =
            ["verify", "--json", file].into_iter().chain(options.iter().copied()).collect();
        let done = desk.give(&words).exits(*exit);
        let verdict = &done.json()[0];
        let at = format!("{options:?} {file}: {verdict}");
        assert_eq!(verdict["code"], *code, "{at}");
        assert_eq!(verdict["signature"]["state"], *state, "{at}");
        assert_eq!(verdict["signature"]["key_id"].as_str(), named.then_some(id.as_str()), "{at}");
    }
}

#[test]
fn every_command_that_opens_a_package_obeys() {
    let desk = desk();
    let policy = ["--signature", "required", "--trust", "trust"];
    let commands: [&[&str]; 4] = [&["ls"], &["cat"], &["extract"], &["mount"]];
    for command in commands {
        for (file, good) in
            [("good.epk", true), ("app.epk", false), ("bad.epk", false), ("none.epk", false)]
        {
            let mut words = command.to_vec();
            words.push(file);
            match command[0] {
                "cat" => words.push("f"),
                "extract" | "mount" => words.push("out"),
                _ => {}
            }
            words.extend(policy);
            if command[0] == "mount" {
                // Good ones have tests of their own.
                if good {
                    continue;
                }
                std::fs::create_dir_all(desk.path("out")).expect("a folder");
            }
            let done = desk.give(&words);
            assert_eq!(
                done.status.code(),
                Some(if good { 0 } else { 5 }),
                "{words:?}: {}",
                done.stderr
            );
            assert!(good || done.stdout.is_empty(), "{words:?} printed data");
            let _removed = std::fs::remove_dir_all(desk.path("out"));
        }
    }
}

#[test]
fn a_key_inside_the_package_is_no_trust() {
    let desk = desk();
    let done = desk.give(&["verify", "--signature", "required", "good.epk"]).exits(5);
    assert!(done.text().contains("is not a trusted key"), "{}", done.text());
    desk.put("empty", b"");
    let done = desk.give(&["verify", "--signature", "required", "--trust", "empty", "good.epk"]);
    assert_eq!(done.status.code(), Some(5), "{}", done.stderr);
}

#[test]
fn lists_of_keys_that_are_none() {
    let desk = desk();
    desk.put("list", b"# fine\nnot a key\n");
    desk.give(&["verify", "--trust", "list", "good.epk"])
        .fails(5, "`list`: line 2 is neither a public key nor a key id");
    desk.give(&["verify", "--trust", "nothing", "good.epk"]).fails(3, "`nothing`: No such file");
}

#[test]
fn made_here_and_verified_here() {
    let desk = Desk::empty();
    let printed = desk.give(&["keygen", "key"]).quietly();
    desk.put("trust", &printed);
    std::fs::create_dir_all(desk.path("app/bin")).expect("a folder");
    desk.put("app/bin/app", b"#!/bin/sh\n");
    desk.put("app/manifest.toml", usual().manifest().as_bytes());
    let _said = desk.give(&["pack", "app", "-o", "s.epk", "--sign", "key"]).exits(0);
    let done =
        desk.give(&["verify", "--json", "--signature", "required", "--trust", "trust", "s.epk"]);
    let id = String::from_utf8(printed).expect("text");
    let id = id.split_whitespace().nth(1).expect("an id");
    assert_eq!(
        done.exits(0).json()[0]["signature"],
        serde_json::json!({"state": "valid", "key_id": id})
    );
}
