//! `drift gate` on the real binary.

use std::fs;

use super::project::{Project, Ran, key, package};
use serde_json::{Value, json};

impl Project {
    fn gate(&self, arguments: &[&str]) -> Ran {
        let mut all = vec!["gate", "--json"];
        all.extend(arguments);
        self.drift(&all)
    }

    /// The codes of all verdicts, and the exit status that goes with them.
    fn codes(&self, arguments: &[&str]) -> Vec<String> {
        let ran = self.gate(arguments);
        let report = ran.json();
        let packages = report["packages"].as_array().unwrap();
        let all_good = packages.iter().all(|verdict| verdict["ok"] == true);
        assert_eq!(report["ok"], all_good);
        assert_eq!(ran.exit, if all_good { 0 } else { 2 });
        packages.iter().map(|verdict| verdict["code"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn accepts_what_is_trusted_and_says_by_whom() {
    let project = Project::vendored();
    let ran = project.gate(&["vendor"]).ok();
    let first = &ran.json()["packages"][0];
    assert_eq!(
        *first,
        json!({
            "path": "vendor/driftpkgs/acme.http-1.4.0-any.dmp",
            "identity": {"package_id": "acme.http", "version": "1.4.0", "target": "any"},
            "ok": true, "code": "OK", "message": first["message"],
            "accepted_kids": [key(1).public().id()],
        })
    );
    assert_eq!(
        project.codes(&["vendor", "vendor/driftpkgs"]),
        ["OK", "OK"],
        "named twice, meant once"
    );
    assert_eq!(project.codes(&["drift"]), Vec::<String>::new(), "no packages");
    let human = project.drift(&["gate", "vendor"]).ok();
    assert_eq!((human.stdout, human.stderr), (String::new(), String::new()));
}

#[test]
fn the_report_is_there_in_every_failure() {
    let project = Project::vendored();
    let path = "vendor/driftpkgs/acme.http-1.4.0-any.dmp";
    assert_eq!(project.codes(&["nowhere", "vendor"]), ["PATH_UNREADABLE", "OK", "OK"]);
    let missing = project.gate(&["vendor", "--trust-store", "none.json"]).json();
    assert_eq!(missing["packages"][0]["code"], "TRUST_STORE_MISSING");
    assert_eq!(missing["packages"][0]["identity"], Value::Null);
    let good = project.read("drift/trust.json");
    for store in ["{", "[]", "{\"format\":\"drift-trust\",\"version\":0,\"revoked\":\"x\"}"] {
        project.write("drift/trust.json", store);
        assert_eq!(project.codes(&["vendor"]), ["TRUST_STORE_INVALID"]);
    }
    project.write("drift/trust.json", good);

    let bytes = project.read(path);
    let mut longer = bytes.clone();
    longer.push(0);
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for (bytes, code) in [
        (longer, "SIDECAR_SHA_MISMATCH"),
        (damaged, "PKG_FORMAT_INVALID"),
        (Vec::new(), "PKG_FORMAT_INVALID"),
    ] {
        project.write(path, bytes);
        assert_eq!(project.codes(&[path]), [code]);
    }
    project.write(path, bytes);
    project.write(&format!("{path}.sig"), "{}");
    assert_eq!(project.codes(&[path]), ["SIDECAR_INVALID"]);
    fs::remove_file(project.path(&format!("{path}.sig"))).unwrap();
    assert_eq!(project.codes(&[path]), ["SIGNATURE_MISSING"]);
    let human = project.drift(&["gate", path]);
    assert_eq!(human.exit, 2);
    assert!(human.stderr.contains("[SIGNATURE_MISSING]"), "{}", human.stderr);
}

#[test]
fn a_manifest_without_identity_is_refused() {
    let project = Project::new();
    let manifest = driftpm::json::Object::from([
        ("package_id", "p".into()),
        ("modules", Vec::<String>::new().into()),
        ("blobs", driftpm::json::Object::new().into()),
    ]);
    let bytes = driftpm::drift::container_write::write_container(&manifest, &[]).unwrap();
    project.write("p.dmp", bytes);
    let report = project.gate(&["p.dmp"]).json();
    let verdict = &report["packages"][0];
    assert_eq!(verdict["code"], "PKG_IDENTITY_MISSING");
    assert_eq!(verdict["identity"], json!({"package_id": "p", "version": null, "target": null}));
}

#[test]
fn unsigned_packages_need_a_place() {
    let project = Project::new();
    project.package("build/drift/localpkgs/a.dmp", "a", "1", &[]);
    project.package("elsewhere/b.dmp", "b", "1", &[]);
    let both = ["build", "elsewhere"];
    assert_eq!(project.codes(&both), ["UNSIGNED_ALLOWED", "SIGNATURE_MISSING"]);
    let allow = ["build", "elsewhere", "--allow-unsigned-from", "elsewhere"];
    assert_eq!(project.codes(&allow), ["UNSIGNED_ALLOWED", "UNSIGNED_ALLOWED"]);
    let mut require = allow.to_vec();
    require.push("--require-signatures");
    assert_eq!(project.codes(&require), ["SIGNATURE_MISSING", "SIGNATURE_MISSING"]);
    // A link into the allowed place leads out of it, and the place counts, not the name.
    std::os::unix::fs::symlink(
        project.path("elsewhere/b.dmp"),
        project.path("build/drift/localpkgs/b.dmp"),
    )
    .unwrap();
    assert_eq!(project.codes(&["build/drift/localpkgs/b.dmp"]), ["SIGNATURE_MISSING"]);
    // A sidecar that is there counts, even where none is needed.
    project.write("build/drift/localpkgs/a.dmp.sig", "{}");
    assert_eq!(project.codes(&["build/drift/localpkgs/a.dmp"]), ["SIDECAR_INVALID"]);
}

#[test]
fn nobody_vouches_for_nothing() {
    let project = Project::new();
    project.trusted_key(1, "acme.*");
    project.write("build/drift/localpkgs/p.dmp", package("acme.p", "1", &[]));
    assert_eq!(project.codes(&["build"]), ["NO_MODULES"]);
    project.drift(&["sign", "build/drift/localpkgs/p.dmp", "--key", "k1"]).ok();
    assert_eq!(project.codes(&["build"]), ["NO_MODULES"]);
}

#[test]
fn reserved_names_need_toolchain_keys() {
    let project = Project::new();
    project.package("p/std.dmp", "std.io", "1", &[1]);
    project.package("build/drift/localpkgs/lang.dmp", "lang.x", "1", &[]);
    let kid = key(1).public().id();
    let store = json!({"format": "drift-trust", "version": 0,
        "keys": {&kid: {"algo": "ed25519", "pubkey": key(1).public().to_base64()}},
        "namespaces": {"std.*": [&kid]}});
    // Neither the project's nor the user's word counts.
    project.write("drift/trust.json", store.to_string());
    project.write("home/.config/drift/trust.json", store.to_string());
    assert_eq!(project.codes(&["p", "build"]), ["NAMESPACE_RESERVED", "NAMESPACE_RESERVED"]);
    project.write("keys.json", store.to_string());
    let with_keys = ["p", "build", "--toolchain-keys", "keys.json"];
    assert_eq!(project.codes(&with_keys), ["OK", "NAMESPACE_RESERVED"]);
    assert_eq!(project.codes(&["p", "--toolchain-keys", "none"]), ["TRUST_STORE_MISSING"]);
    // Revocation wins, by whomever.
    project.drift(&["trust", "revoke", "--kid", &kid]).ok();
    assert_eq!(project.codes(&with_keys), ["SIGNER_REVOKED", "NAMESPACE_RESERVED"]);
}

#[test]
fn toolchain_keys_may_lie_beside_the_binary() {
    let project = Project::new();
    project.package("p/std.dmp", "std.io", "1", &[1]);
    let kid = key(1).public().id();
    let store = json!({"format": "drift-trust", "version": 0,
        "keys": {&kid: {"algo": "ed25519", "pubkey": key(1).public().to_base64()}},
        "namespaces": {"std.*": [&kid]}});
    // A second name for the binary, on the same file system; a copy could still be open for
    // writing in a child that another test starts.
    let bin = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let binary = bin.path().join("drift");
    fs::hard_link(env!("CARGO_BIN_EXE_drift"), &binary).unwrap();
    fs::write(bin.path().join("drift-toolchain-keys.json"), store.to_string()).unwrap();
    let status = std::process::Command::new(binary)
        .args(["gate", "p"])
        .current_dir(project.path(""))
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn the_users_store_adds_keys_and_revocations() {
    let project = Project::vendored();
    fs::create_dir_all(project.path("home/.config/drift")).unwrap();
    fs::rename(project.path("drift/trust.json"), project.path("home/.config/drift/trust.json"))
        .unwrap();
    assert_eq!(project.codes(&["vendor"]), ["OK", "OK"]);
    let without = ["vendor", "--no-user-trust-store"];
    assert_eq!(project.codes(&without), ["NO_VALID_SIGNATURE", "NO_VALID_SIGNATURE"]);
    project.drift(&["trust", "revoke", "--kid", &key(1).public().id()]).ok();
    assert_eq!(project.codes(&["vendor"]), ["SIGNER_REVOKED", "SIGNER_REVOKED"]);
}

#[test]
fn packages_must_fit_together() {
    let project = Project::vendored();
    project.trusted_key(1, "acme.*");
    // The same bytes twice.
    assert_eq!(
        project.codes(&["vendor", "cache/driftpm/pkgs/acme.http-1.4.0-any.dmp"]),
        ["MODULE_COLLISION", "OK", "MODULE_COLLISION"]
    );
    project.package("p/http.dmp", "acme.http", "1.5.0", &[1]);
    assert_eq!(project.codes(&["vendor", "p"]), ["MULTIPLE_VERSIONS", "OK", "MULTIPLE_VERSIONS"]);
    fs::remove_dir_all(project.path("p")).unwrap();
    project.write("p/x.dmp", package("acme.x", "1", &["acme.json"]));
    project.drift(&["sign", "p/x.dmp", "--key", "k1"]).ok();
    assert_eq!(project.codes(&["vendor", "p"]), ["OK", "MODULE_COLLISION", "MODULE_COLLISION"]);
    // A package that is refused anyway takes nobody with it.
    fs::remove_file(project.path("p/x.dmp.sig")).unwrap();
    assert_eq!(project.codes(&["vendor", "p"]), ["OK", "OK", "SIGNATURE_MISSING"]);
}
