//! What the machine's files outweigh, and what comes into the system's store.

use std::fs;

use epk_format::Format;
use epk_format::signature::Policy;

use crate::scene::{Scene, key};

#[test]
fn the_machines_policy_is_heeded_by_every_user() {
    let scene = Scene::new(Format::V2);
    let home = scene.trusting("home");
    home.settings(Policy::Disabled);
    let words = r#"verify --signature disabled unknown.epk"#;
    let done = home.machine(&format!("\"$0\" {words}")).exits(0);
    assert!(done.text().contains("signature not checked"), "{}", done.text());
    let required = "echo 'signature = \"required\"' > /etc/epk/epk.toml";
    let done = home.machine(&format!("{required}; \"$0\" {words}")).exits(5);
    assert!(done.text().contains("(122)"), "{}", done.text());
    let done = home.machine(&format!("{required}; \"$0\" trust list")).exits(0);
    assert!(done.text().starts_with("policy required, `/etc/epk/epk.toml`\n"), "{}", done.text());
    // What nobody can read, nobody can obey.
    let done = home.machine(&format!("mkdir /etc/epk/epk.toml; \"$0\" {words}")).exits(3);
    assert!(done.stderr.contains("cannot read `/etc/epk/epk.toml`"), "{}", done.stderr);
}

#[test]
fn whom_one_file_revokes_nobody_trusts() {
    let scene = Scene::new(Format::V2);
    let home = scene.trusting("home");
    let one = key(1).to_string();
    fs::write(scene.folder().join("keys"), format!("{one}\n")).expect("writable");
    let required = "--signature required --trust keys trusted.epk";
    let script = format!(
        "\"$0\" verify {required} > /dev/null
         umask 077
         \"$0\" trust revoke {one} --system --reason stolen > /dev/null
         stat -c '%a %n' /etc/epk/*
         \"$0\" trust list
         ! \"$0\" trust add {one}
         \"$0\" verify {required} || echo $?
         \"$0\" run --signature disabled ./trusted.epk || echo $?"
    );
    let done = home.machine(&script).exits(0);
    let text = done.text();
    let (three, four) = (key(3), key(4));
    for line in [
        "600 /etc/epk/trust.lock".to_owned(),
        "644 /etc/epk/trust.toml".to_owned(),
        "policy optional, nothing says otherwise".to_owned(),
        format!("{one} user overruled for all names"),
        format!("{three} user revoked (a test)"),
        format!("{four} user trusted for `org.other`"),
        format!("{one} system revoked (stolen)"),
        "5".to_owned(),
        "125".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
    }
    assert!(done.stderr.contains("is revoked, and not trusted any more (SIGNER_REVOKED)"));
    assert!(text.contains("(123)") && done.stderr.contains("(123)"), "{text}{}", done.stderr);
}

/// What one user trusts is not for all.
#[test]
fn the_systems_store_asks_the_systems_keys() {
    let scene = Scene::new(Format::V2);
    let home = scene.trusting("home");
    let one = key(1).to_string();
    let add = "\"$0\" add --signature required trusted.epk";
    let _done = home.machine(add).exits(0);
    let done = home.machine(&format!("{add} --system")).exits(5);
    assert!(done.stderr.contains("(122)"), "{}", done.stderr);
    let trust = format!("\"$0\" trust add --system {one} --for org.example; {add} --system");
    let _done = home.machine(&trust).exits(0);
    // A user may still forbid.
    let done = home.machine("\"$0\" add --system revoked.epk").exits(5);
    assert!(done.stderr.contains("(123)"), "{}", done.stderr);
}
