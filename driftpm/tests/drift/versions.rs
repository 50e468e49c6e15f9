//! Resolving, locking, updating, fetching: the lock is the authority, and nothing differs from it
//! unnoticed.

use std::fs;

use serde_json::{Value, json};

use super::project::Project;
use super::repository::rich_package;

const LOCK: &str = "drift-project.lock.json";

/// What somebody does to a project.
type Attack<'a> = &'a dyn Fn(&Project);

#[test]
fn a_lock_is_written_once_and_only_update_changes_it() {
    let project = Project::fetched();
    assert_eq!(project.locked(), ["acme.http 1.4.0", "acme.json 1.3.0"]);
    let first = project.read(LOCK);
    project.offer("repo", "acme.json", "1.4.0", &[]);
    let report = project.drift(&["resolve", "--json"]).report();
    assert_eq!((&report["written"], &report["lock_rev"]), (&json!(false), &json!(1)));
    assert_eq!(project.read(LOCK), first, "resolve does not touch a lock");
    // Nothing that may change does, so not even the time does.
    project.drift(&["update", "--keep"]).ok();
    project.drift(&["update", "acme.http"]).ok();
    assert_eq!(project.read(LOCK), first);

    let report = project.drift(&["update", "--json"]).report();
    assert_eq!(
        report["changes"],
        json!([{"package_id": "acme.json", "from": "1.3.0", "to": "1.4.0"}])
    );
    assert_eq!((&report["written"], &report["lock_rev"]), (&json!(true), &json!(2)));
    let before = project.read(LOCK);
    project.drift(&["update"]).ok();
    assert_eq!(project.read(LOCK), before, "the same answer, the same bytes");

    let ran = project.drift(&["update", "--minimal"]).ok();
    assert_eq!(ran.stdout, "~ acme.json 1.4.0 -> 1.2.0\n");
    assert_eq!(project.read_json(LOCK)["lock_rev"], 3);
    assert_eq!(project.read_json(LOCK)["order"], "minimal");
    assert_eq!(project.drift(&["update", "nobody", "--json"]).codes(), ["PACKAGE_UNKNOWN"]);
}

#[test]
fn the_lock_depends_on_nothing_but_what_was_asked() {
    let one = Project::fetched();
    let other = Project::fetched();
    let content = |project: &Project| {
        let mut lock = project.read_json(LOCK);
        lock["generated_at"] = json!("");
        lock.to_string()
    };
    assert_eq!(content(&one), content(&other));
    let text = String::from_utf8(one.read(LOCK)).unwrap();
    assert!(text.ends_with("}\n") && text.contains("\n  \"lock_format\": 1,\n"), "{text}");
    let time = one.read_json(LOCK)["generated_at"].as_str().unwrap().to_owned();
    assert!(time.starts_with("20") && time.ends_with("+00:00"), "{time}");
}

#[test]
fn a_lock_that_is_not_the_projects_any_more_is_refused_by_all() {
    let deps = json!({"http": {"package": "acme.http", "constraint": "^1"}});
    let changed = [
        json!({"http": {"package": "acme.http", "constraint": "^1.4"}}),
        json!({"http": {"package": "acme.http", "constraint": "^1", "repository": "main"}}),
        json!({"web": {"package": "acme.http", "constraint": "^1"}}),
        json!({"http": {"package": "acme.http", "constraint": "^1"}, "acme.json": "^1"}),
        json!({}),
    ];
    for deps in &changed {
        let project = Project::fetched();
        project.project(deps);
        project.write(
            "drift-target.json",
            json!({"format": 1, "name": "app", "kind": "package",
            "version": "1.0.0", "modules": {"app": "a.drift"}})
            .to_string(),
        );
        for command in [
            &["resolve"][..],
            &["fetch"],
            &["vendor"],
            &["tree"],
            &["plan"],
            &["install"],
            &["why", "acme.json"],
        ] {
            let arguments = [command, &["--json"]].concat();
            assert_eq!(
                project.drift(&arguments).codes(),
                ["PROJECT_LOCK_STALE"],
                "{deps} {command:?}"
            );
        }
        let before = project.locked();
        project.drift(&["update", "--keep"]).ok();
        project.drift(&["resolve"]).ok();
        if deps != &json!({}) {
            assert_eq!(project.locked(), before, "{deps}");
        }
    }
    // The same for what is written into the lock by hand.
    for (pointer, value, code) in [
        ("/packages/acme.json/version", json!("2.0.0"), "PROJECT_LOCK_STALE"),
        ("/packages/acme.json/version", json!("1.1.0"), "PROJECT_LOCK_STALE"),
        ("/packages/acme.json/repository", json!("other"), "LOCK_SOURCE_UNKNOWN"),
        ("/packages/acme.json/version", json!("../../x"), "PROJECT_LOCK_INVALID"),
        ("/packages/acme.json/sha256", json!("sha256:0"), "PROJECT_LOCK_INVALID"),
        ("/packages/acme.json/native", json!("no"), "PROJECT_LOCK_INVALID"),
        ("/packages/acme.json", Value::Null, "PROJECT_LOCK_INVALID"),
        ("/packages", json!({}), "PROJECT_LOCK_INVALID"),
        ("/lock_format", json!(2), "PROJECT_LOCK_INVALID"),
        ("/lock_rev", json!(0), "PROJECT_LOCK_INVALID"),
        ("/platform/os", json!("LINUX"), "PROJECT_LOCK_INVALID"),
    ] {
        let project = Project::fetched();
        project.change_json(LOCK, |lock| *lock.pointer_mut(pointer).unwrap() = value.clone());
        assert_eq!(project.drift(&["fetch", "--json"]).codes(), [code], "{pointer} {value}");
    }
    let project = Project::fetched();
    project.change_json(LOCK, |lock| lock["more"] = json!(1));
    assert_eq!(project.drift(&["tree", "--json"]).codes(), ["PROJECT_LOCK_INVALID"]);
    project.project(&deps);
    fs::remove_file(project.path(LOCK)).unwrap();
    assert_eq!(project.drift(&["fetch", "--json"]).codes(), ["PROJECT_LOCK_MISSING"]);
}

#[test]
fn what_a_repository_hands_out_must_be_what_is_locked() {
    let json_package = "repo/acme.json-1.3.0-any.dmp";
    let attacks: [(&str, Attack<'_>); 8] = [
        ("LOCK_SHA_MISMATCH", &|project| {
            // Another package of the same name, signed by the same key: a swapped artifact.
            let other =
                rich_package("acme.json", "1.3.0", json!({"platform": {"os": ["linux"]}}), &[]);
            project.offer_bytes("repo", "acme.json", "1.3.0", &other);
        }),
        ("LOCK_SHA_MISMATCH", &|project| {
            let mut bytes = project.read(json_package);
            bytes.push(0);
            project.write(json_package, bytes);
        }),
        ("LOCK_ARTIFACT_MISSING", &|project| fs::remove_file(project.path(json_package)).unwrap()),
        ("LOCK_SIGNATURE_MISSING", &|project| {
            fs::remove_file(project.path(&format!("{json_package}.sig"))).unwrap();
        }),
        ("LOCK_SIG_SHA_MISMATCH", &|project| {
            let path = format!("{json_package}.sig");
            let text = String::from_utf8(project.read(&path)).unwrap();
            project.write(&path, text.replace('{', "{ "));
        }),
        ("LOCK_METADATA_MISMATCH", &|project| {
            project.change_json(LOCK, |lock| {
                lock["packages"]["acme.http"]["dependencies"] = json!({});
            });
        }),
        ("LOCK_PATH_INVALID", &|project| {
            project.change_json(LOCK, |lock| {
                lock["packages"]["acme.json"]["path"] = json!("../repo/acme.json-1.3.0-any.dmp");
            });
        }),
        ("LOCK_IDENTITY_MISMATCH", &|project| {
            project.change_json(LOCK, |lock| {
                lock["packages"]["acme.json"]["target"] = json!("other");
            });
        }),
    ];
    for (code, attack) in attacks {
        let project = Project::fetched();
        fs::remove_dir_all(project.path("cache")).unwrap();
        attack(&project);
        assert_eq!(project.drift(&["fetch", "--json"]).codes(), [code]);
        let bad: Vec<String> = project
            .files("cache/driftpm/pkgs")
            .into_iter()
            .filter(|file| file.starts_with("acme.json"))
            .collect();
        assert!(bad.is_empty(), "{code}: {bad:?}");
    }
    // A link in the repository is not followed.
    let project = Project::fetched();
    fs::remove_dir_all(project.path("cache")).unwrap();
    fs::rename(project.path(json_package), project.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(project.path("elsewhere"), project.path(json_package)).unwrap();
    assert_eq!(project.drift(&["fetch", "--json"]).codes(), ["FILE_ERROR"]);
}

#[test]
fn the_cache_is_mended_and_not_asked_for_twice() {
    let project = Project::fetched();
    let file = "cache/driftpm/pkgs/acme.json/1.3.0/acme.json-1.3.0-any.dmp";
    assert_eq!(project.files("cache/driftpm/pkgs").len(), 4);
    let present = |project: &Project| {
        let report = project.drift(&["fetch", "--json"]).report();
        let list = report["packages"].as_array().unwrap();
        list.iter().map(|one| one["present"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(present(&project), [true, true]);
    let good = project.read(file);
    project.write(file, "broken");
    assert_eq!(present(&project), [true, false]);
    assert_eq!(project.read(file), good);
    fs::remove_file(project.path(&format!("{file}.sig"))).unwrap();
    assert_eq!(present(&project), [true, false]);
    // With everything there the repository may be gone.
    fs::rename(project.path("repo"), project.path("gone")).unwrap();
    assert_eq!(present(&project), [true, true]);
}

#[test]
fn a_later_repository_cannot_slip_in_a_package() {
    let project = Project::new();
    project.offer("inside", "acme.http", "1.0.0", &[("acme.secret", "*")]);
    project.offer("inside", "acme.secret", "1.0.0", &[]);
    project.offer("outside", "acme.secret", "9.0.0", &[]);
    let with = |repositories: Value, deps: Value| {
        let _ = fs::remove_file(project.path(LOCK));
        project.project_with(
            &json!({"format": 1, "name": "demo", "repositories": repositories, "deps": deps}),
        );
        project.drift(&["resolve", "--json"])
    };
    let repository = |name: &str, priority: i64| json!({"name": name, "type": "dir", "url": name, "priority": priority});
    let deps = json!({"acme.http": "*"});
    with(json!([repository("outside", 2), repository("inside", 1)]), deps.clone()).report();
    assert_eq!(project.locked(), ["acme.http 1.0.0", "acme.secret 1.0.0"]);
    // In that order the project itself says so.
    with(json!([repository("outside", 0), repository("inside", 0)]), deps).report();
    assert_eq!(project.locked(), ["acme.http 1.0.0", "acme.secret 9.0.0"]);
    let bound = json!({"acme.http": "*", "s": {"package": "acme.secret", "constraint": "*", "repository": "inside"}});
    with(json!([repository("outside", 0), repository("inside", 0)]), bound).report();
    assert_eq!(project.locked(), ["acme.http 1.0.0", "acme.secret 1.0.0"]);
    assert_eq!(project.read_json(LOCK)["packages"]["acme.secret"]["repository"], "inside");
    // A version that only the later one has is no way out.
    let newer = json!({"acme.secret": "^9"});
    let ran = with(json!([repository("inside", 0), repository("outside", 0)]), newer);
    assert_eq!(ran.codes(), ["RESOLUTION_IMPOSSIBLE"]);
}

#[test]
fn only_what_runs_here_is_chosen() {
    let project = Project::new();
    let offer = |version: &str, platform: Value| {
        let bytes = rich_package("acme.fast", version, json!({"platform": platform}), &[]);
        project.offer_bytes("repo", "acme.fast", version, &bytes);
    };
    offer("1.0.0", json!({}));
    offer("1.1.0", json!({"os": ["linux"]}));
    offer("1.2.0", json!({"os": ["plan9"]}));
    project.project(&json!({"acme.fast": "^1"}));
    project.drift(&["resolve"]).ok();
    assert_eq!(project.locked(), ["acme.fast 1.1.0"]);
    project.drift(&["update", "--platform", "os=plan9", "--platform", "capabilities=x"]).ok();
    assert_eq!(project.locked(), ["acme.fast 1.2.0"]);
    assert_eq!(project.read_json(LOCK)["platform"]["os"], "plan9");
    assert_eq!(project.drift(&["fetch", "--json"]).codes(), ["PLATFORM_MISMATCH"]);
    project.drift(&["fetch", "--platform", "os=plan9"]).ok();
    assert_eq!(
        project.drift(&["resolve", "--json", "--platform", "os=A"]).exit,
        0,
        "the lock stands"
    );
    assert_eq!(
        project.drift(&["update", "--json", "--platform", "os=A"]).codes(),
        ["PLATFORM_INVALID"]
    );
    project.drift(&["update", "--platform", "os=hurd"]).ok();
    assert_eq!(project.locked(), ["acme.fast 1.0.0"]);
}

#[test]
fn repositories_with_something_wrong_in_them_are_refused() {
    let refused = |spoil: &dyn Fn(&Project)| {
        let project = Project::new();
        project.offer("repo", "acme.http", "1.0.0", &[]);
        project.project(&json!({"acme.http": "*"}));
        spoil(&project);
        project.drift(&["resolve", "--json"]).codes()
    };
    assert_eq!(refused(&|project| project.write("repo/x.dmp", "nonsense")), ["REPOSITORY_INVALID"]);
    assert_eq!(
        refused(&|project| project.write("repo/acme.http-1.0.0-any.dmp.sig", "{}")),
        ["REPOSITORY_INVALID"]
    );
    // Two different packages of one identity.
    let other = rich_package("acme.http", "1.0.0", json!({"platform": {"os": ["linux"]}}), &[]);
    assert_eq!(
        refused(&|project| project.offer_bytes("repo/more", "acme.http", "1.0.0", &other)),
        ["REPOSITORY_INVALID"]
    );
    assert_eq!(
        refused(&|project| fs::remove_dir_all(project.path("repo")).unwrap()),
        ["REPOSITORY_UNREADABLE"]
    );
    let far = |project: &Project| {
        project.project_with(&json!({"format": 1, "name": "demo", "deps": {"acme.http": "*"},
            "repositories": [{"name": "far", "type": "toolchain"}]}));
    };
    assert_eq!(refused(&far), ["REPOSITORY_UNREADABLE"]);
}

#[test]
fn people_see_what_needs_what() {
    let project = Project::fetched();
    project.offer("repo", "acme.log", "0.2.0", &[("acme.json", "*")]);
    project
        .project(&json!({"http": {"package": "acme.http", "constraint": "^1"}, "acme.log": "0.2"}));
    project.drift(&["update", "--keep"]).ok();
    let tree = project.drift(&["tree"]).ok().stdout;
    assert_eq!(
        tree,
        "demo\n├── acme.http 1.4.0\n│   └── acme.json 1.3.0\n└── acme.log 0.2.0\n    └── acme.json 1.3.0\n"
    );
    let why = project.drift(&["why", "acme.json"]).ok().stdout;
    assert_eq!(
        why,
        "demo (`acme.log` 0.2) -> acme.log 0.2.0 -> acme.json 1.3.0 (*)\n\
         demo (`http` ^1) -> acme.http 1.4.0 -> acme.json 1.3.0 (^1.2)\n"
    );
    let report = project.drift(&["why", "acme.json", "--json"]).report();
    assert_eq!(report["ways"][1], json!({"key": "http", "way": ["acme.http", "acme.json"]}));
    let report = project.drift(&["tree", "--json"]).report();
    assert_eq!(report["packages"]["acme.http"]["dependencies"], json!(["acme.json"]));
    assert_eq!(project.drift(&["why", "x", "--json"]).codes(), ["PACKAGE_UNKNOWN"]);
}

#[test]
fn a_lock_of_format_0_becomes_one_of_a_project() {
    let project = Project::vendored();
    project.project_with(&json!({
        "format": 1, "name": "demo", "deps": {"acme.http": "^1.4"},
        "repositories": [{"name": "main", "type": "dir", "url": "repo"}],
    }));
    let migrate = ["lock", "migrate", "--json"];
    let ran = project.drift(&migrate);
    assert_eq!(ran.codes(), ["LOCK_NOT_MIGRATABLE"]);
    let hint = ran.json()["errors"][0]["hint"].as_str().unwrap().to_owned();
    assert_eq!(hint, "`drift add acme.json --constraint =0.9.0` asks for it");
    assert!(!project.exists(LOCK));
    project.drift(&["add", "acme.json", "--constraint", "=0.9.0"]).ok();
    let report = project.drift(&migrate).report();
    assert_eq!(report["written"], true);
    let (old, new) = (project.read_json("drift.lock.json"), project.read_json(LOCK));
    for id in ["acme.http", "acme.json"] {
        assert_eq!(new["packages"][id]["sha256"], old["packages"][id]["pkg_sha256"]);
        assert_eq!(new["packages"][id]["sig_sha256"], old["packages"][id]["sig_sha256"]);
    }
    project.drift(&["fetch"]).ok();
    assert_eq!(project.drift(&migrate).codes(), ["PROJECT_EXISTS"]);
    // Other bytes under the old lock are not taken over.
    fs::remove_file(project.path(LOCK)).unwrap();
    project.package("repo/acme.http-1.4.0-any.dmp", "acme.http", "1.4.0", &[]);
    let mut bytes = project.read("repo/acme.http-1.4.0-any.dmp");
    bytes.push(0);
    project.write("repo/acme.http-1.4.0-any.dmp", bytes);
    assert_eq!(project.drift(&migrate).codes(), ["LOCK_SHA_MISMATCH"]);
    assert!(!project.exists(LOCK));
}

#[test]
fn doctor_looks_at_projects() {
    let project = Project::fetched();
    let check = |project: &Project| {
        let ran = project.drift(&["doctor", "--deep", "--json"]);
        let report = ran.json();
        let checks = report["checks"].as_array().unwrap().clone();
        assert_eq!(checks.len(), 7);
        (ran.exit, checks.into_iter().find(|check| check["check_id"] == "project").unwrap())
    };
    let (exit, fine) = check(&project);
    assert_eq!((exit, &fine["status"]), (0, &json!("ok")));
    assert_eq!(fine["data"], json!({"target_count": 0, "dependency_count": 1, "package_count": 2}));

    let file = "cache/driftpm/pkgs/acme.json/1.3.0/acme.json-1.3.0-any.dmp";
    project.write(file, "broken");
    let (exit, degraded) = check(&project);
    assert_eq!((exit, &degraded["status"]), (0, &json!("degraded")));
    assert_eq!(degraded["findings"][0]["reason_code"], "LOCK_SHA_MISMATCH");

    let kid = super::project::key(1).public().id();
    project.drift(&["trust", "revoke", "--kid", &kid]).ok();
    let (exit, revoked) = check(&project);
    assert_eq!((exit, &revoked["status"]), (2, &json!("fatal")));
    assert_eq!(revoked["findings"][0]["reason_code"], "LOCK_SHA_MISMATCH");
    assert_eq!(revoked["findings"][1]["reason_code"], "LOCK_SIGNER_REVOKED");

    project.project(&json!({}));
    let (exit, stale) = check(&project);
    assert_eq!((exit, &stale["status"]), (2, &json!("fatal")));
}
