//! What the commands do where the original does worse: each test is a departure of
//! `spec/drift.md`, on the real binary.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::project::{FETCH, Project, key, package};
use serde_json::json;

#[test]
fn keys_are_private_and_never_overwritten() {
    let project = Project::new();
    let made = project.drift(&["keygen", "--out", "new/k", "--print-pubkey", "--print-kid"]).ok();
    let mode = fs::metadata(project.path("new/k")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(made.stdout.lines().count(), 2);
    let before = project.read("new/k");
    project.drift(&["keygen", "--out", "new/k"]).refused("exists");
    assert_eq!(project.read("new/k"), before);
    let other = project.drift(&["keygen", "--out", "k2", "--print-kid"]).ok();
    assert!(!made.stdout.contains(&other.stdout), "two keys are two keys");
}

#[test]
fn only_packages_are_signed() {
    let project = Project::new();
    project.key_file(1);
    let mut damaged = package("p", "1", &["p"]);
    *damaged.last_mut().unwrap() ^= 1;
    for (name, bytes) in [("empty", Vec::new()), ("text", b"text".to_vec()), ("damaged", damaged)] {
        project.write(name, bytes);
        project.drift(&["sign", name, "--key", "k1"]).refused("is not signed");
        assert!(!project.exists(&format!("{name}.sig")));
    }
}

#[test]
fn trust_refuses_what_it_would_not_honour() {
    let project = Project::new();
    let pubkey = key(1).public().to_base64();
    let add = |namespace, more: &[&str]| {
        let mut arguments = vec!["trust", "add-key", "--namespace", namespace, "--pubkey", &pubkey];
        arguments.extend(more);
        project.drift(&arguments)
    };
    for namespace in ["std.*", "lang", "drift.x", "", "*", "a b", "a.*.b"] {
        add(namespace, &[]).refused("the namespace");
    }
    add("acme.*", &["--kid", "ed25519:bogus"]).refused("key id");
    add("acme.*", &["--kid", ""]).refused("key id");
    assert!(!project.exists("drift"), "a refused change leaves nothing");
    add("acme.*", &["--kid", &key(1).public().id()]).ok();
    for (text, part) in [
        ("{", "not JSON"),
        ("[]", "version 0"),
        ("\u{fffd}", "not JSON"),
        ("{\"format\":\"drift-trust\",\"version\":0,\"revoked\":1}", "revoked"),
    ] {
        project.write("drift/trust.json", text);
        project.drift(&["trust", "list", "--json"]).refused(part);
        project.drift(&["trust", "revoke", "--kid", "k"]).refused(part);
        assert_eq!(project.read("drift/trust.json"), text.as_bytes(), "left as it was");
    }
}

#[test]
fn a_refused_publish_changes_nothing() {
    let project = Project::new();
    project.package("a.dmp", "acme.a", "1", &[1]);
    project.package("b.dmp", "acme.b", "1", &[]);
    let publish = |arguments: &[&str]| {
        let mut all = vec!["publish", "--dest-dir", "repo"];
        all.extend(arguments);
        project.drift(&all)
    };
    publish(&["a.dmp", "b.dmp"]).refused("no signature sidecar");
    assert_eq!(project.files("repo"), Vec::<String>::new());
    publish(&["a.dmp"]).ok();
    let before = project.read("repo/acme.a-1-any.dmp");

    // The same identity with other bytes.
    project.write("other.dmp", package("acme.a", "1", &["acme.a", "acme.a.more"]));
    publish(&["other.dmp", "--allow-unsigned"]).refused("--force");
    assert_eq!(project.read("repo/acme.a-1-any.dmp"), before);
    // By force, and then the old sidecar must go.
    publish(&["other.dmp", "--allow-unsigned", "--force"]).ok();
    assert_eq!(project.files("repo"), ["acme.a-1-any.dmp", "index.json"]);

    // A sidecar for other bytes; a damaged package with a sidecar of its own.
    fs::copy(project.path("a.dmp.sig"), project.path("b.dmp.sig")).unwrap();
    publish(&["b.dmp"]).refused("package_sha256 mismatch");
    let mut damaged = package("acme.c", "1", &["acme.c"]);
    *damaged.last_mut().unwrap() ^= 1;
    project.write("c.dmp", damaged);
    publish(&["c.dmp", "--allow-unsigned"]).refused("SHA-256");
    assert_eq!(project.files("repo"), ["acme.a-1-any.dmp", "index.json"]);
}

#[test]
fn identities_become_safe_file_names_or_nothing() {
    let project = Project::new();
    for (id, version) in [("../evil", "1"), ("a/b", "1"), ("a\\b", "1"), ("a", ".."), ("a\nb", "1")]
    {
        project.write("p.dmp", package(id, version, &["m"]));
        let publish = ["publish", "--dest-dir", "repo", "--allow-unsigned", "p.dmp"];
        project.drift(&publish).refused("file name");
    }
    assert_eq!(project.files(""), ["p.dmp"]);
    // Two identities, one file name.
    project.write("p.dmp", package("a-1", "2", &["m"]));
    project.write("q.dmp", package("a", "1-2", &["n"]));
    project.drift(&["publish", "--dest-dir", "repo", "--allow-unsigned", "p.dmp"]).ok();
    project
        .drift(&["publish", "--dest-dir", "repo", "--allow-unsigned", "q.dmp"])
        .refused("is the one of `a-1`");
}

#[test]
fn nothing_unverified_enters_the_cache() {
    let project = Project::vendored();
    fs::remove_dir_all(project.path("cache")).unwrap();
    fs::remove_file(project.path("drift.lock.json")).unwrap();
    let path = "repo/acme.json-0.9.0-any.dmp";
    let good = project.read(path);

    // Other bytes: the package before it stays, itself it doesn't come in.
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    project.write(path, &bad);
    let ran = project.drift(&FETCH);
    assert_eq!(ran.code(), "INDEX_SHA_MISMATCH");
    assert_eq!(ran.json()["selected"][0]["package_id"], "acme.http");
    assert_eq!(
        project.files("cache"),
        ["driftpm/pkgs/acme.http-1.4.0-any.dmp", "driftpm/pkgs/acme.http-1.4.0-any.dmp.sig"]
    );

    // An index that was made for the damaged bytes does not help them in.
    let hash = format!("sha256:{}", epk_format::digest::Sha256::of(&bad));
    project.change_json("repo/index.json", |index| {
        index["packages"]["acme.json"]["sha256"] = json!(hash);
    });
    assert_eq!(project.drift(&FETCH).code(), "INDEX_PKG_FORMAT_INVALID");

    // A link out of the source is not followed.
    project.write("secret", &good);
    fs::remove_file(project.path(path)).unwrap();
    symlink(project.path("secret"), project.path(path)).unwrap();
    assert_eq!(project.drift(&FETCH).code(), "INTERNAL_ERROR");
    assert!(!project.exists("cache/driftpm/pkgs/acme.json-0.9.0-any.dmp"));
}

#[test]
fn index_entries_have_their_types() {
    let project = Project::vendored();
    fs::remove_file(project.path("drift.lock.json")).unwrap();
    for (field, value) in [
        ("target", json!(null)),
        ("package_version", json!(1)),
        ("signers", json!("abc")),
        ("unsigned", json!("false")),
    ] {
        let before = project.read("repo/index.json");
        project.change_json("repo/index.json", |index| {
            index["packages"]["acme.http"][field] = value;
        });
        assert_eq!(project.drift(&FETCH).code(), "INDEX_INVALID_ENTRY", "{field}");
        project.write("repo/index.json", before);
    }
    project.sources(&[("main", 1, "repo")]);
    project.change_json("drift-sources.json", |file| file["sources"][0]["priority"] = json!(true));
    assert_eq!(project.drift(&FETCH).code(), "INTERNAL_ERROR");
}

#[test]
fn two_packages_never_share_a_file() {
    let project = Project::new();
    for (repo, id) in [("ra", "acme.a"), ("rb", "acme.b")] {
        project.write("p.dmp", package(id, "1", &[id]));
        project.drift(&["publish", "--dest-dir", repo, "--allow-unsigned", "p.dmp"]).ok();
        fs::rename(
            project.path(&format!("{repo}/{id}-1-any.dmp")),
            project.path(&format!("{repo}/p.dmp")),
        )
        .unwrap();
        project.change_json(&format!("{repo}/index.json"), |index| {
            index["packages"][id]["filename"] = json!("p.dmp");
        });
    }
    project.sources(&[("a", 1, "ra"), ("b", 2, "rb")]);
    let ran = project.drift(&FETCH);
    assert_eq!(ran.code(), "CACHE_PATH_COLLISION");
    assert_eq!(project.read("cache/driftpm/pkgs/p.dmp"), project.read("ra/p.dmp"));

    // Against what an earlier run cached: refused, and replaced by force.
    project.sources(&[("a", 1, "ra")]);
    project.drift(&FETCH).ok();
    project.sources(&[("b", 1, "rb")]);
    assert_eq!(project.drift(&FETCH).code(), "CACHE_PATH_COLLISION");
    let mut force = FETCH.to_vec();
    force.push("--force");
    project.drift(&force).ok();
    let index = project.read_json("cache/driftpm/index.json");
    assert_eq!(index["packages"].as_object().unwrap().keys().collect::<Vec<_>>(), ["acme.b"]);
    assert_eq!(project.read("cache/driftpm/pkgs/p.dmp"), project.read("rb/p.dmp"));
}

#[test]
fn stale_sidecars_go() {
    let project = Project::vendored();
    fs::remove_file(project.path("drift.lock.json")).unwrap();
    let sidecar = "acme.http-1.4.0-any.dmp.sig";
    fs::remove_file(project.path("repo").join(sidecar)).unwrap();
    project.drift(&FETCH).ok();
    assert!(!project.exists(&format!("cache/driftpm/pkgs/{sidecar}")));
    assert!(project.exists(&format!("vendor/driftpkgs/{sidecar}")));
    project.drift(&["vendor", "--json"]).ok();
    assert!(!project.exists(&format!("vendor/driftpkgs/{sidecar}")));
    assert!(project.exists("vendor/driftpkgs/acme.json-0.9.0-any.dmp.sig"));
}

#[test]
fn vendor_writes_locks_that_can_be_used() {
    let project = Project::vendored();
    let lock = project.read("drift.lock.json");
    // A part of the packages: the others stay locked.
    project.drift(&["vendor", "--json", "--package-id", "acme.json"]).ok();
    assert_eq!(project.read("drift.lock.json"), lock);
    // A lock that cannot be read is not replaced by a part of one.
    project.write("drift.lock.json", "{");
    let part = ["vendor", "--json", "--package-id", "acme.json"];
    assert_eq!(project.drift(&part).code(), "LOCK_INVALID");
    assert_eq!(project.read("drift.lock.json"), b"{");
    project.write("drift.lock.json", &lock);

    // The cache's index lies about an identity.
    let index = project.read("cache/driftpm/index.json");
    project.change_json("cache/driftpm/index.json", |index| {
        index["packages"]["acme.http"]["package_version"] = json!("9.9.9");
    });
    assert_eq!(project.drift(&["vendor", "--json"]).code(), "VENDOR_ERROR");
    // It is broken, empty, or not there: always a report, never a lock.
    for (text, code) in [
        ("{", "CACHE_INDEX_INVALID"),
        ("[]", "CACHE_INDEX_INVALID"),
        ("{\"format\":\"drift-index\",\"version\":0,\"packages\":{}}", "NOTHING_TO_VENDOR"),
    ] {
        project.write("cache/driftpm/index.json", text);
        assert_eq!(project.drift(&["vendor", "--json"]).code(), code);
    }
    fs::remove_dir_all(project.path("cache")).unwrap();
    assert_eq!(project.drift(&["vendor", "--json"]).code(), "NOTHING_TO_VENDOR");
    assert_eq!(project.read("drift.lock.json"), lock);
    project.write("cache/driftpm/index.json", index);
}

#[test]
fn an_interrupted_lock_fetch_leaves_no_bytes() {
    let project = Project::vendored();
    fs::remove_dir_all(project.path("cache")).unwrap();
    let sidecar = "repo/acme.http-1.4.0-any.dmp.sig";
    let mut altered = project.read(sidecar);
    altered.push(b' ');
    project.write(sidecar, altered);
    assert_eq!(project.drift(&FETCH).code(), "LOCK_SIG_SHA_MISMATCH");
    fs::remove_file(project.path(sidecar)).unwrap();
    assert_eq!(project.drift(&FETCH).code(), "LOCK_SIGNATURE_MISSING");
    assert_eq!(project.files("cache"), Vec::<String>::new());
}

/// Runs `doctor --deep --json` and returns the exit status with the codes of a check.
fn doctor(project: &Project, check_id: &str) -> (i32, Vec<String>) {
    let ran = project.drift(&["doctor", "--deep", "--json"]);
    let report = ran.json();
    let checks = report["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 6);
    let check = checks.iter().find(|check| check["check_id"] == check_id).unwrap();
    let findings = check["findings"].as_array().unwrap();
    let codes = findings.iter().map(|one| one["reason_code"].as_str().unwrap().to_owned());
    (ran.exit, codes.collect())
}

fn codes(codes: &[&str]) -> Vec<String> {
    codes.iter().map(|code| (*code).to_owned()).collect()
}

#[test]
fn doctor_notices_revoked_signers() {
    let project = Project::vendored();
    assert_eq!(doctor(&project, "lock"), (0, vec![]));
    let kid = key(1).public().id();
    // Revoked by the user rather than the project: the gate reads both.
    let store = json!({"format": "drift-trust", "version": 0, "revoked": [kid]});
    project.write("home/.config/drift/trust.json", store.to_string());
    let both = codes(&["LOCK_SIGNER_REVOKED", "LOCK_SIGNER_REVOKED"]);
    assert_eq!(doctor(&project, "lock"), (2, both));
    let shallow = project.drift(&["doctor", "--no-user-trust-store", "--json"]);
    assert_eq!(shallow.json()["ok"], true);
    // Somebody else has signed too.
    project.change_json("drift.lock.json", |lock| {
        for package in lock["packages"].as_object_mut().unwrap().values_mut() {
            package["sig_kids"].as_array_mut().unwrap().push(json!("somebody"));
        }
    });
    let both = codes(&["LOCK_SIGNER_PARTLY_REVOKED", "LOCK_SIGNER_PARTLY_REVOKED"]);
    assert_eq!(doctor(&project, "lock"), (0, both));
}

#[test]
fn doctor_looks_at_copied_sidecars() {
    let project = Project::vendored();
    let copy = "acme.http-1.4.0-any.dmp.sig";
    project.write(&format!("vendor/driftpkgs/{copy}"), "{}");
    fs::remove_file(project.path(&format!("cache/driftpm/pkgs/{copy}"))).unwrap();
    assert_eq!(doctor(&project, "vendor_consistency"), (0, codes(&["VENDOR_SIG_SHA_MISMATCH"])));
    assert_eq!(doctor(&project, "cache_consistency"), (0, codes(&["CACHE_SIGNATURE_MISSING"])));
    project.change_json("drift.lock.json", |lock| {
        lock["packages"]["acme.http"]["sig_sha256"] = json!(null);
    });
    let unexpected = codes(&["VENDOR_SIGNATURE_UNEXPECTED"]);
    assert_eq!(doctor(&project, "vendor_consistency"), (0, unexpected));
}

#[test]
fn doctor_survives_anything() {
    let project = Project::vendored();
    project.write("drift/trust.json", b"{\"a\":\"\xff\"}");
    assert_eq!(doctor(&project, "trust"), (2, codes(&["TRUST_SCHEMA_INVALID"])));
    // A store that the gate would refuse is not fine.
    let pubkey = format!("{}\n", key(1).public().to_base64());
    let store = json!({"format": "drift-trust", "version": 0, "namespaces": {},
        "keys": {key(1).public().id(): {"algo": "ed25519", "pubkey": pubkey}}});
    project.write("drift/trust.json", store.to_string());
    assert_eq!(doctor(&project, "trust").1, codes(&["TRUST_KEY_INVALID"]));
    // Neither is one that binds what only the toolchain may.
    let store = json!({"format": "drift-trust", "version": 0, "keys": {},
        "namespaces": {"std.*": [], "drift": [], "stdx": []}});
    project.write("drift/trust.json", store.to_string());
    let both = codes(&["TRUST_NAMESPACE_INVALID", "TRUST_NAMESPACE_INVALID"]);
    assert_eq!(doctor(&project, "trust").1, both);
    // What is bound to repositories must be theirs, and must let somebody sign.
    let kid = "ed25519:gone";
    let store = |repositories: serde_json::Value| {
        let store = json!({"format": "drift-trust", "version": 0, "keys": {}, "namespaces": {},
            "repositories": repositories, "revoked": {kid: {}}});
        project.write("drift/trust.json", store.to_string());
        doctor(&project, "trust")
    };
    for (repositories, found) in [
        (json!({"https://a.example/repo": [kid, "ed25519:other"]}), (0, codes(&[]))),
        (json!({"https://a.example": []}), (0, codes(&[]))),
        (json!({"https://a.example": [kid]}), (0, codes(&["TRUST_REPOSITORY_REVOKED"]))),
        (json!({"https://a.example/": ["k"]}), (0, codes(&["TRUST_REPOSITORY_INVALID"]))),
        (json!({"HTTPS://a.example": ["k"]}), (0, codes(&["TRUST_REPOSITORY_INVALID"]))),
        (json!({"nowhere": ["k"]}), (0, codes(&["TRUST_REPOSITORY_INVALID"]))),
        (json!({"https://a.example": "k"}), (0, codes(&["TRUST_REPOSITORY_INVALID"]))),
        (json!(["k"]), (2, codes(&["TRUST_SCHEMA_INVALID"]))),
    ] {
        assert_eq!(store(repositories.clone()), found, "{repositories}");
    }
    // A directory and a link in the places of packages.
    let path = "repo/acme.http-1.4.0-any.dmp";
    fs::remove_file(project.path(path)).unwrap();
    fs::create_dir(project.path(path)).unwrap();
    assert_eq!(doctor(&project, "indexes"), (2, codes(&["INDEX_PKG_FORMAT_INVALID"])));
    assert_eq!(doctor(&project, "lock"), (2, codes(&["LOCK_PKG_FORMAT_INVALID"])));
    // Directories in the places of all files.
    for file in ["drift-sources.json", "drift.lock.json", "drift/trust.json", "repo/index.json"] {
        let _ = fs::remove_file(project.path(file));
        fs::create_dir(project.path(file)).unwrap();
    }
    assert_eq!(doctor(&project, "sources"), (2, codes(&["SOURCES_SCHEMA_INVALID"])));
    assert_eq!(doctor(&project, "lock"), (2, codes(&["LOCK_SCHEMA_INVALID"])));
}

#[test]
fn the_command_line_is_forgiving_where_the_original_is() {
    let project = Project::vendored();
    fs::remove_dir_all(project.path("cache")).unwrap();
    let ran = project.drift(&["fetch", "--sou=drift-sources.json", "--js"]).ok();
    assert_eq!(ran.json()["ok"], true);
    for arguments in [
        &[][..],
        &["bogus"],
        &["fetch"],
        &["doctor", "--fail-on", "info"],
        &["publish", "--dest-dir", "r"],
        &["trust"],
        &["trust", "list", "extra"],
        &["gate"],
    ] {
        let ran = project.drift(arguments);
        assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!ran.stderr.is_empty());
    }
}

#[test]
fn writers_of_one_repository_wait_for_each_other() {
    let project = Project::new();
    let ids: Vec<String> = (0..8).map(|number| format!("p{number}")).collect();
    for id in &ids {
        project.write(&format!("{id}.dmp"), package(id, "1", &[id]));
    }
    std::thread::scope(|scope| {
        for id in &ids {
            let file = format!("{id}.dmp");
            let project = &project;
            scope.spawn(move || {
                project.drift(&["publish", "--dest-dir", "repo", "--allow-unsigned", &file]).ok();
            });
        }
    });
    let index = project.read_json("repo/index.json");
    assert_eq!(
        index["packages"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
}
