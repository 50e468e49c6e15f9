//! `boruna-pkg gate`: patch bundles that touch packages.

mod boruna;

use boruna::Place;
use serde_json::{Value, json};

/// A workspace with a registry of `base.a@1.0.0`, `mid.b@1.0.0` above it and `lib.web@1.0.0`,
/// which asks for `net`, and `app`, which depends on `base.a`.
fn workspace() -> Place {
    let place = Place::with_two_packages();
    place.package("sources/web", "lib.web@1.0.0", "", &["net"]);
    place.run(&["publish", "sources/web"]).succeeds();
    place.project("app", "app@1.0.0", "base.a@1.0.0");
    // As the platform writes it: several lines, so that hunks have something to hold on to.
    place.run(&["add", "base.a", "1.0.0", "--dir", "app"]).succeeds();
    place.run(&["resolve", "app"]).succeeds();
    place
}

/// A hunk that puts `new` in the place of a whole file.
fn whole(place: &Place, file: &str, new: &str) -> Value {
    json!({ "file": file, "hunks": [{ "start_line": 1, "old_text": place.read(file), "new_text": new }] })
}

fn bundle(place: &Place, patches: &[Value]) {
    let bundle = json!({
        "version": 1,
        "metadata": {
            "id": "b-1", "intent": "x", "author": "Ada", "timestamp": "t",
            "touched_modules": [], "risk_level": "low",
        },
        "patches": patches,
        "expected_checks": { "compile": false, "test": false, "replay": false, "diagnostics_count": null },
        "reviewer_checklist": [],
    });
    place.write("x.patchbundle.json", &bundle.to_string());
}

/// Runs the gate: exit status, report.
fn gate(place: &Place, reviewer: Option<&str>) -> (i32, Value) {
    let mut arguments = vec!["gate", "--bundle", "x.patchbundle.json"];
    arguments.extend(reviewer.map(|_| "--reviewer"));
    arguments.extend(reviewer);
    let output = place.run(&arguments);
    (output.status, serde_json::from_str(&output.stdout).unwrap())
}

/// The manifest and lockfile of `app` as they would be with other dependencies.
fn with_dependency(place: &Place, dependency: &str) -> (String, String) {
    place.copy("app", "later");
    let (name, version) = dependency.split_once('@').unwrap();
    place.run(&["add", name, version, "--dir", "later"]).succeeds();
    place.run(&["resolve", "later"]);
    (place.read("later/package.ax.json"), place.read("later/ax.lock.json"))
}

fn problems(report: &Value) -> Vec<&str> {
    report["problems"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect()
}

#[test]
fn a_bundle_that_touches_no_package_is_skipped() {
    let place = workspace();
    place.write("app/src/main.ax", "one\n");
    bundle(&place, &[whole(&place, "app/src/main.ax", "two")]);
    let (status, report) = gate(&place, None);
    assert_eq!((status, &report["status"], problems(&report)), (0, &json!("skip"), vec![]));
}

#[test]
fn a_sound_change_passes_with_another_reviewer_only() {
    let place = workspace();
    let (manifest, lockfile) = with_dependency(&place, "mid.b@1.0.0");
    let before = (place.read("app/package.ax.json"), place.read("app/ax.lock.json"));
    bundle(
        &place,
        &[
            whole(&place, "app/package.ax.json", &manifest),
            whole(&place, "app/ax.lock.json", &lockfile),
        ],
    );
    for (reviewer, problem) in [
        (None, Some("the lockfile changes: a reviewer is required (--reviewer)")),
        (Some(" "), Some("the lockfile changes: a reviewer is required (--reviewer)")),
        (Some("Ada"), Some("the lockfile changes: the reviewer must not be the author, Ada")),
        (Some(" ada "), Some("the lockfile changes: the reviewer must not be the author, Ada")),
        (Some("Grace"), None),
    ] {
        let (status, report) = gate(&place, reviewer);
        assert_eq!(problems(&report), problem.into_iter().collect::<Vec<_>>(), "{reviewer:?}");
        assert_eq!(status, i32::from(problem.is_some()), "{reviewer:?}");
        assert_eq!(report["status"], if problem.is_some() { "fail" } else { "pass" });
        assert_eq!(report["directories"][0]["lockfile"]["state"], "current");
        assert_eq!(report["review_required"], true);
    }
    let after = (place.read("app/package.ax.json"), place.read("app/ax.lock.json"));
    assert_eq!(after, before, "the gate writes nothing");
}

#[test]
fn a_manifest_without_its_lockfile_fails_with_the_difference() {
    let place = workspace();
    let (manifest, _) = with_dependency(&place, "mid.b@1.0.0");
    bundle(&place, &[whole(&place, "app/package.ax.json", &manifest)]);
    let (status, report) = gate(&place, Some("Grace"));
    assert_eq!(status, 1);
    let lockfile = &report["directories"][0]["lockfile"];
    assert_eq!(lockfile["state"], "different");
    assert_eq!(lockfile["difference"]["added"], json!(["mid.b@1.0.0"]));
    assert_eq!(report["review_required"], false);
}

#[test]
fn what_a_bundle_can_break() {
    let place = workspace();
    let manifest = place.read("app/package.ax.json");
    let lockfile = place.read("app/ax.lock.json");
    let hash = place.read("packages/registry/base.a/1.0.0/HASH");
    for (file, new, problem) in [
        (
            "app/package.ax.json",
            manifest.replace("\"base.a\"", "\"no.such\""),
            "app: failed to load no.such@1.0.0: package no.such@1.0.0 not found in registry",
        ),
        ("app/package.ax.json", "{".to_string(), "app: parse manifest: "),
        (
            "app/package.ax.json",
            manifest.replace("\"1.0.0\"", "\"^1.0.0\""),
            "app: invalid version '^1.0.0'",
        ),
        (
            "app/ax.lock.json",
            lockfile.replace(&hash, &format!("sha256:{}", "0".repeat(64))),
            "app: lockfile ax.lock.json does not match what the dependencies resolve to; changed: \
             base.a@1.0.0",
        ),
        ("app/ax.lock.json", "{}".to_string(), "app: parse lockfile: missing field"),
        (
            "packages/registry/base.a/1.0.0/package.ax.json",
            "{}".to_string(),
            "packages/registry/base.a/1.0.0/package.ax.json: published packages never change",
        ),
        (
            "packages/registry/base.a/1.0.0/src/core.ax",
            "x".to_string(),
            "packages/registry/base.a/1.0.0/src/core.ax: published packages never change",
        ),
    ] {
        bundle(&place, &[whole(&place, file, &new)]);
        let (status, report) = gate(&place, Some("Grace"));
        assert_eq!((status, &report["status"]), (1, &json!("fail")), "{file} {new}");
        assert!(problems(&report).iter().any(|one| one.starts_with(problem)), "{file}: {report}");
    }
    for (patch, problem) in [
        (
            json!({ "file": "app/package.ax.json", "hunks": [{ "start_line": 2, "old_text": "other", "new_text": "" }] }),
            "app/package.ax.json line 2: the file does not have the lines to replace",
        ),
        (
            json!({ "file": "new/ax.lock.json", "hunks": [] }),
            "cannot resolve new/ax.lock.json: No such file or directory (os error 2)",
        ),
    ] {
        bundle(&place, &[patch]);
        assert_eq!(problems(&gate(&place, Some("Grace")).1), [problem]);
    }
}

#[test]
fn capabilities_are_held_against_the_policy() {
    let place = workspace();
    place.write("app/policy.ax.json", "{\n\"denied_capabilities\": [\"net.fetch\"]\n}\n");
    let (manifest, lockfile) = with_dependency(&place, "lib.web@1.0.0");
    let patches = [
        whole(&place, "app/package.ax.json", &manifest),
        whole(&place, "app/ax.lock.json", &lockfile),
    ];
    bundle(&place, &patches);
    let (status, report) = gate(&place, Some("Grace"));
    assert_eq!(status, 1);
    let found = &report["directories"][0];
    assert_eq!(found["capabilities"]["added"], json!(["net.fetch"]));
    assert_eq!(found["policy_violations"][0]["package"], "lib.web@1.0.0");

    // The policy as the bundle leaves it is the one that counts.
    let looser = whole(&place, "app/policy.ax.json", "{\"denied_capabilities\": [\"random\"]}");
    bundle(&place, &[&patches[..], &[looser]].concat());
    assert_eq!(gate(&place, Some("Grace")).0, 0);
}

#[test]
fn a_link_is_no_way_round() {
    let place = workspace();
    std::os::unix::fs::symlink("package.ax.json", place.path("app/notes.txt")).unwrap();
    bundle(&place, &[whole(&place, "app/notes.txt", "{}")]);
    let (status, report) = gate(&place, Some("Grace"));
    assert_eq!(status, 1);
    assert_eq!(
        problems(&report),
        ["app/notes.txt: a link to package.ax.json; patch the file itself"]
    );
}

#[test]
fn layout_of_a_lockfile_is_not_a_change() {
    let place = workspace();
    let lockfile = place.read("app/ax.lock.json");
    bundle(&place, &[whole(&place, "app/ax.lock.json", &lockfile.replace("\n    ", " "))]);
    let (status, report) = gate(&place, None);
    assert_eq!((status, &report["review_required"]), (0, &json!(false)), "{report}");
}

#[test]
fn a_damaged_registry_fails() {
    let place = workspace();
    let manifest = place.read("app/package.ax.json");
    place.write("packages/registry/base.a/1.0.0/src/core.ax", "changed");
    bundle(&place, &[whole(&place, "app/package.ax.json", &manifest)]);
    let (status, report) = gate(&place, None);
    assert_eq!(status, 1);
    assert_eq!(report["directories"][0]["hashes"], json!(["base.a@1.0.0"]));
}

#[test]
fn broken_bundles_are_errors() {
    let place = workspace();
    for (text, message) in [
        ("{", "error: parse bundle: EOF while parsing an object at line 1 column 1\n"),
        (
            r#"{"version":2,"metadata":{"id":"x","author":"a"},"patches":[]}"#,
            "error: unsupported bundle version: 2\n",
        ),
        (
            r#"{"version":1,"metadata":{"id":"x","author":"a"},"patches":[{"file":"../x","hunks":[]}]}"#,
            "error: invalid path '../x' in the bundle: must be relative, without '.' and '..'\n",
        ),
    ] {
        place.write("x.patchbundle.json", text);
        place.refused(&["gate", "--bundle", "x.patchbundle.json"], message);
    }
    place.refused(
        &["gate", "--bundle", "none"],
        "error: read bundle: No such file or directory (os error 2)\n",
    );
}
