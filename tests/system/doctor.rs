//! `pkgtool doctor` on machines that lack things.

use std::process::Command;

use epk_tests::app::App;
use epk_tests::daemon::Place;
use epk_tests::tool::{self, Outcome};
use epk_tests::tree::Tree;
use serde_json::Value;

use crate::scene::{Lacks, Scene, root};

/// The findings, by check: state and result; and whether there is a remedy.
#[track_caller]
fn examined(command: &mut Command, status: i32) -> impl Fn(&str) -> (String, String, bool) + use<> {
    let done = Outcome::of(command).exits(status);
    let report: Value = done.json().remove(0);
    assert_eq!(report["schema"], "epk.doctor/1");
    let findings = report["findings"].as_array().expect("an array").clone();
    let problems = findings.iter().filter(|finding| finding["state"] == "problem").count();
    assert_eq!(report["problems"], problems);
    assert_eq!(status, i32::from(problems > 0));
    move |check| {
        let finding = findings.iter().find(|finding| finding["check"] == check);
        let finding = finding.unwrap_or_else(|| panic!("no `{check}`"));
        let text = |key: &str| finding[key].as_str().expect("text").to_owned();
        assert!(!text("found").is_empty());
        (text("state"), text("result"), finding["remedy"].is_string())
    }
}

fn triple(state: &str, result: &str, remedy: bool) -> (String, String, bool) {
    (state.into(), result.into(), remedy)
}

const FINE: &str = "fine";

#[test]
fn three_findings_of_user_namespaces_by_doing() {
    if !root() {
        return;
    }
    let scene = Scene::new(&App::script(""));
    let words = &["doctor", "--json"];
    let fine = examined(&mut scene.pkgtool(Lacks::default(), words), 0);
    assert_eq!(fine("user-namespaces"), triple("ok", FINE, false));
    assert_eq!(fine("mounting"), triple("ok", FINE, false));
    assert_eq!(fine("run"), triple("ok", "userns", false));
    assert_eq!(fine("kernel").1, FINE);
    let offered = epkfs::confine::offered();
    let confined = match (offered.filter, offered.landlock) {
        (true, Some(_)) => triple("ok", FINE, false),
        (false, None) => triple("note", "absent", true),
        _ => triple("note", "partial", true),
    };
    assert_eq!(fine("confinement"), confined);
    let lacks = Lacks { namespaces: true, ..Lacks::default() };
    let absent = examined(&mut scene.pkgtool(lacks, words), 1);
    assert_eq!(absent("user-namespaces"), triple("problem", "absent", true));
    assert_eq!(absent("mounting"), triple("problem", "refused", true));
    assert_eq!(absent("run"), triple("problem", "fuse", true));
    let lacks = Lacks { maps: true, ..Lacks::default() };
    let restricted = examined(&mut scene.pkgtool(lacks, words), 1);
    assert_eq!(restricted("user-namespaces"), triple("problem", "restricted", true));
}

#[test]
fn a_hidden_device_is_found() {
    if !root() {
        return;
    }
    let scene = Scene::new(&App::script(""));
    let lacks = Lacks { device: true, ..Lacks::default() };
    let found = examined(&mut scene.pkgtool(lacks, &["doctor", "--json"]), 1);
    assert_eq!(found("fuse-device"), triple("problem", "absent", true));
    assert_eq!(found("user-namespaces").1, FINE);
    assert_eq!(found("run"), triple("problem", "extract", true));
    let done = Outcome::of(&mut scene.pkgtool(lacks, &["doctor"])).exits(1);
    assert!(done.text().contains("hint: `modprobe fuse` as root; "), "{}", done.text());
    assert!(done.text().lines().any(|line| line.starts_with("ok       kernel: fine: Linux ")));
    assert!(done.stderr.starts_with("error: there are "), "{}", done.stderr);
}

#[test]
fn a_dead_mount_is_found_and_the_remedy_helps() {
    let place = Place::default();
    Tree::default().file("f", "x").pack(
        &place.image(),
        65_536,
        epk_format::write::Compression::Zlib,
    );
    let mut daemon = place.mount(&[]);
    daemon.kill();
    let done = tool::run(["doctor", "--json"]).exits(1);
    let report = &done.json()[0];
    let mounts = report["findings"].as_array().expect("an array").iter();
    let mounts = mounts.clone().find(|finding| finding["check"] == "mounts").expect("there");
    assert_eq!(mounts["result"], "stale");
    assert!(
        mounts["found"].as_str().expect("text").contains(&*place.mountpoint().to_string_lossy())
    );
    assert_eq!(mounts["remedy"], "`pkgtool umount --dead`");
    drop(daemon);
}
