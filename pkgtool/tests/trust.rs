//! `pkgtool trust`, and signers of installed packages that change.

mod support;

use std::fs;
use std::process::Command;
use std::thread;

use serde_json::Value;
use support::{MANIFEST, Place, Ran};

/// `pkgtool` as somebody whose folders lie below `home`.
fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command();
    command.args(arguments);
    for (variable, folder) in [
        ("XDG_DATA_HOME", "home/data"),
        ("XDG_CACHE_HOME", "home/cache"),
        ("XDG_CONFIG_HOME", "home/config"),
        ("XDG_STATE_HOME", "home/state"),
    ] {
        command.env(variable, place.path(folder));
    }
    command
}

fn pkgtool(place: &Place, arguments: &[&str]) -> Ran {
    Ran::new(&command(place, arguments).output().expect("ran"))
}

/// Makes a key file. Gives the public key and the id.
fn keygen(place: &Place, file: &str) -> (String, String) {
    let made = place.run(&["keygen", file, "--json"]).ok().json();
    let text = |key: &str| made[key].as_str().expect("text").to_owned();
    (text("public_key"), text("key_id"))
}

/// Packs a version signed by a key file, if there is one, as `VERSION.epk`.
fn pack(place: &Place, version: &str, key: Option<&str>) -> String {
    let manifest = MANIFEST.replace("1.2.3", version);
    place.file("app/manifest.toml", manifest.as_bytes(), 0o644);
    let file = format!("{version}.epk");
    let mut words = vec!["pack", "app", "-o", &file, "--force"];
    words.extend(key.into_iter().flat_map(|key| ["--sign", key]));
    place.run(&words).ok();
    file
}

/// What `trust list` says without the policy.
fn listed(place: &Place) -> Vec<Value> {
    let ran = pkgtool(place, &["trust", "list", "--json"]).ok();
    let lines = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    lines.filter(|value: &Value| value["schema"] == "epk.trust/1").collect()
}

#[test]
fn a_life_of_keys() {
    let place = Place::empty();
    let give = |words: &[&str]| pkgtool(&place, &[&["trust"], words].concat());
    let ((public, one), (_, two)) = (keygen(&place, "one"), keygen(&place, "two"));
    assert_eq!(give(&["list"]).ok().stdout, "policy optional, nothing says otherwise\n");
    let added = give(&["add", &public, "--for", "org.example", "--comment", "a \"b\""]).ok();
    let line = |id: &str, rest: &str| format!("{id} user {rest}\n");
    assert_eq!(added.stdout, line(&one, "trusted for `org.example` (a \\\"b\\\")"));
    let added = give(&["add", &one, "--for", "net.example"]).ok();
    assert_eq!(added.stdout, line(&one, "trusted for `net.example`, `org.example` (a \\\"b\\\")"));
    // A file of keys, as `keygen` prints it.
    fs::write(place.path("keys"), format!("# ours\n{two} second\n")).expect("written");
    assert_eq!(give(&["add", "keys"]).ok().stdout, line(&two, "trusted for all names"));
    let text = fs::read_to_string(place.path("home/config/epk/trust.toml")).expect("there");
    assert!(text.starts_with("# Kept by `pkgtool trust`."), "{text}");
    assert_eq!(listed(&place).len(), 2);

    give(&["remove", &one, "--for", "org"]).fails(1, &["not for `org` in particular"]);
    let removed = give(&["remove", &one, "--for", "org.example"]).ok();
    assert!(removed.stdout.contains("trusted for `net.example` ("), "{}", removed.stdout);
    assert_eq!(give(&["remove", &one]).ok().stdout, line(&one, "removed"));
    give(&["remove", &one]).fails(1, &["is not trusted here"]);

    assert_eq!(
        give(&["revoke", &two, "--reason", "lost"]).ok().stdout,
        line(&two, "revoked (lost)")
    );
    let since = listed(&place)[0]["since"].as_i64().expect("a time");
    assert!(since > 1_700_000_000);
    give(&["revoke", &two, "--reason", "again"]).ok();
    let again = listed(&place);
    assert_eq!((&again[0]["since"], &again[0]["text"]), (&since.into(), &"lost".into()));
    give(&["add", &one, &two]).fails(5, &["is revoked", "(SIGNER_REVOKED)"]);
    assert_eq!(listed(&place), again, "nothing was added before that");

    for (words, code, said) in [
        (&["add", "nothing"][..], 2, "`nothing` is neither a key nor a file"),
        (&["add", "app/manifest.toml"], 5, "line 1 is neither a public key nor a key id"),
        (&["add", "app/../empty"], 1, "has no keys"),
        (&["add", &one, "--for", "org.*"], 2, "has no `*`"),
        (&["revoke", "x"], 2, "expected a key id"),
        (&["remove", "one"], 2, "expected a key id"),
    ] {
        fs::write(place.path("empty"), "").expect("written");
        give(words).fails(code, &[said]);
    }
    let file = place.path("home/config/epk/trust.toml");
    fs::write(&file, "x = 1\n").expect("written");
    for words in [&["list"][..], &["add", &one], &["revoke", &one]] {
        give(words).fails(5, &["trust.toml`: line 1: unknown field `x`"]);
    }
    assert_eq!(fs::read_to_string(&file).expect("there"), "x = 1\n");
}

/// Each of many processes adds a key of its own, and every key is there.
#[test]
fn many_at_once() {
    let place = &Place::empty();
    let keys: Vec<String> =
        (0..12).map(|number| keygen(place, &format!("key{number}")).1).collect();
    thread::scope(|scope| {
        for key in &keys {
            scope.spawn(move || pkgtool(place, &["trust", "add", key]).ok());
            scope.spawn(move || pkgtool(place, &["trust", "list"]).ok());
        }
    });
    let mut expected: Vec<Value> = keys.into_iter().map(Value::from).collect();
    let mut found: Vec<Value> = listed(place).iter().map(|line| line["key_id"].clone()).collect();
    let text = |value: &Value| value.to_string();
    expected.sort_by_key(text);
    found.sort_by_key(text);
    assert_eq!(found, expected);
}

#[test]
fn another_signer_is_refused_until_accepted() {
    let place = Place::app();
    let ((_, one), (_, two)) = (keygen(&place, "one"), keygen(&place, "two"));
    for (version, key) in [
        ("1", Some("one")),
        ("2", Some("one")),
        ("3", Some("two")),
        ("4", None),
        ("5", None),
        ("6", Some("two")),
    ] {
        pack(&place, version, key);
    }
    let add = |words: &[&str]| pkgtool(&place, &[&["add"], words].concat());
    add(&["1.epk", "2.epk"]).ok();
    let said = [
        &*format!("`org.example.app@3` is signed by `{two}`"),
        &format!("is known to be signed by `{one}` (SIGNER_CHANGED)"),
        &format!("hint: if the publisher has announced that: `--accept-signer {two}`"),
    ];
    add(&["3.epk"]).fails(5, &said);
    add(&["3.epk", "--accept-signer", &one]).fails(5, &said);
    // Somebody may have taken the signature away.
    add(&["4.epk"]).fails(5, &["is signed by nobody", "`--accept-signer nobody`"]);
    // Being trusted for all names, or for more than this one, says nothing of this name.
    pkgtool(&place, &["trust", "add", &two]).ok();
    add(&["3.epk"]).fails(5, &said);
    pkgtool(&place, &["trust", "remove", &two]).ok();
    pkgtool(&place, &["trust", "add", &two, "--for", "org.example"]).ok();
    add(&["3.epk"]).fails(5, &said);
    let names = pkgtool(&place, &["list", "org.example.app"]).ok().stdout;
    assert_eq!(names.lines().count(), 2, "{names}");
    add(&["3.epk", "--accept-signer", &two]).ok();
    // Accepted once: the installed version says so from now on.
    add(&["6.epk"]).ok();
    pkgtool(&place, &["remove", "org.example.app@6"]).ok();
    add(&["4.epk", "--accept-signer", "nobody"]).ok();
    add(&["5.epk"]).ok();
    // What is there already is not judged again.
    pkgtool(&place, &["remove", "org.example.app@1"]).ok();
    pkgtool(&place, &["remove", "org.example.app@2"]).ok();
    add(&["3.epk"]).ok();
    add(&["1.epk"]).fails(5, &[&format!("is known to be signed by `{two}`")]);
    // What is removed is forgotten.
    pkgtool(&place, &["remove", "org.example.app"]).ok();
    add(&["1.epk"]).ok();
}

#[test]
fn a_key_for_this_very_name_is_known_before_the_first_version() {
    let place = Place::app();
    let (_, one) = keygen(&place, "one");
    keygen(&place, "two");
    pkgtool(&place, &["trust", "add", &one, "--for", "org.example.app"]).ok();
    let file = pack(&place, "1", Some("two"));
    pkgtool(&place, &["add", &file]).fails(5, &["(SIGNER_CHANGED)"]);
    let file = pack(&place, "2", None);
    pkgtool(&place, &["add", &file]).fails(5, &["is signed by nobody", "(SIGNER_CHANGED)"]);
    let file = pack(&place, "3", Some("one"));
    pkgtool(&place, &["add", &file]).ok();
    // Nobody looks whose a signature is.
    let file = pack(&place, "4", Some("two"));
    pkgtool(&place, &["add", &file, "--signature", "disabled"]).ok();
}

#[test]
fn nobody_knows_the_signer_of_what_cannot_be_read() {
    let place = Place::app();
    keygen(&place, "one");
    let file = pack(&place, "1", Some("one"));
    pkgtool(&place, &["add", &file]).ok();
    let installed = place.path("home/data/epk/packages/org.example.app@1.epk");
    let bytes = fs::read(&installed).expect("there");
    fs::write(&installed, &bytes[..100]).expect("written");
    let file = pack(&place, "2", Some("one"));
    let said = ["nobody knows who signed it: `pkgtool remove org.example.app@1`"];
    pkgtool(&place, &["add", &file]).fails(4, &said);
}

#[test]
fn fetch_and_update_refuse_another_signer_too() {
    let place = Place::app();
    keygen(&place, "one");
    let (_, two) = keygen(&place, "two");
    let (_, key) = keygen(&place, "repo.key");
    pkgtool(&place, &["repo", "init", "repo"]).ok();
    let publish = |version: &str, key: Option<&str>| {
        let file = pack(&place, version, key);
        // A repository takes whatever its keeper gives it.
        pkgtool(&place, &["repo", "add", "repo", &file, "--sign", "repo.key"]).ok();
    };
    publish("1", Some("one"));
    pkgtool(&place, &["source", "add", "things", "repo", "--key", &key]).ok();
    pkgtool(&place, &["fetch", "org.example.app"]).ok();
    publish("2", Some("two"));
    for verb in ["fetch", "update"] {
        pkgtool(&place, &[verb, "org.example.app"]).fails(5, &["(SIGNER_CHANGED)"]);
    }
    assert_eq!(pkgtool(&place, &["list"]).ok().stdout, "org.example.app@1 user *\n");
    pkgtool(&place, &["update", "--accept-signer", &two]).ok();
    publish("3", None);
    pkgtool(&place, &["update"]).fails(5, &["is signed by nobody"]);
    pkgtool(&place, &["fetch", "org.example.app", "--accept-signer", "nobody"]).ok();
}

/// Two at once, each the first as far as it can see: never do both stay.
#[test]
fn the_first_signer_is_one() {
    let place = &Place::app();
    keygen(place, "one");
    keygen(place, "two");
    let files = [pack(place, "1", Some("one")), pack(place, "2", Some("two"))];
    for _ in 0..8 {
        thread::scope(|scope| {
            for file in &files {
                scope.spawn(move || {
                    let ran = pkgtool(place, &["add", file]);
                    assert!(matches!(ran.code, Some(0 | 5)), "{}", ran.stderr);
                });
            }
        });
        let left = pkgtool(place, &["list"]).ok().stdout;
        assert!(left.lines().count() <= 1, "{left}");
        if !left.is_empty() {
            pkgtool(place, &["remove", "org.example.app"]).ok();
        }
    }
}
