//! Plans, builds, vendoring and images.

use std::fs;

use driftpm::drift::container::{read_full, read_light};
use driftpm::drift::metadata::Metadata;
use serde_json::{Value, json};

use super::project::{Project, package};
use super::repository::rich_package;
use super::scripts;

impl Project {
    fn target(&self, folder: &str, mut target: Value) {
        target["format"] = json!(1);
        let name = target["name"].as_str().unwrap().to_owned();
        if target["version"].is_null() {
            target["version"] = json!("1.0.0");
        }
        if target["modules"].is_null() {
            target["modules"][format!("{name}.main")] = json!("main.drift");
        }
        if target["kind"] == "exec" {
            target["entry"] = json!(format!("{name}.main"));
        }
        self.write(&format!("{folder}/drift-target.json"), target.to_string());
        self.write(&format!("{folder}/main.drift"), "");
    }

    /// A compiler that writes down its words and copies what was prepared under the name of the
    /// package, or makes a program.
    fn compiler(&self) {
        scripts::write(
            &self.path("compiler"),
            "#!/bin/sh\n\
             echo \"$@\" >> words\n\
             test -f \"$DRIFT_PLAN\" || exit 9\n\
             echo compiling >&2\n\
             case $1 in\n\
             --emit-package) cp prepared/\"$4\" \"$2\";;\n\
             -o) echo program > \"$2\";;\n\
             esac\n",
        );
    }

    fn words(&self) -> String {
        String::from_utf8(self.read("words")).unwrap()
    }

    /// `app`, which uses `acme.http` and needs `util`, which needs `base` and uses `acme.json`.
    fn buildable() -> Self {
        let project = Self::fetched();
        project.project(&json!({
            "http": {"package": "acme.http", "constraint": "^1"}, "acme.json": "^1.2",
        }));
        project.drift(&["update", "--keep"]).ok();
        project.target(
            "z/app",
            json!({"name": "app", "kind": "exec", "uses": ["http"], "depends_on": ["util"]}),
        );
        project.target(
            "a/util",
            json!({"name": "util", "kind": "package", "version": "0.3.1",
            "uses": ["acme.json"], "depends_on": ["base"]}),
        );
        project.target(
            "base",
            json!({"name": "base", "kind": "package", "platform": {"os": ["linux"]}}),
        );
        project.target("other", json!({"name": "other", "kind": "exec"}));
        project.compiler();
        project.prepare();
        project
    }

    fn prepare(&self) {
        self.write("prepared/util", package("util", "0.3.1", &["util.main"]));
        let key = self.drift(&["plan", "--target", "base", "--json"]).ok().json();
        let target = key["targets"][0]["package_target"].as_str().unwrap().to_owned();
        let bytes = package("base", "1.0.0", &["base.main"]);
        let text = bytes.windows(3).position(|window| window == b"any");
        assert!(text.is_some());
        self.write("prepared/base", package_for("base", "1.0.0", &target));
    }
}

/// A package for a target other than `any`.
fn package_for(id: &str, version: &str, target: &str) -> Vec<u8> {
    use driftpm::drift::container_write::{Module, Package, write_package};
    use driftpm::drift::identity::Identity;
    let identity =
        Identity { package_id: id.into(), version: version.into(), target: target.into() };
    let module = Module {
        id: format!("{id}.main"),
        exports: driftpm::json::Value::Null,
        interface: format!("{{\"module_id\":\"{id}\"}}").into_bytes(),
        payload: format!("{{\"of\":\"{id}\"}}").into_bytes(),
    };
    write_package(&Package { identity, build_epoch: None, modules: vec![module] }).unwrap()
}

#[test]
fn a_plan_says_everything_and_writes_nothing() {
    let project = Project::buildable();
    let before = project.files("");
    let plan = project.drift(&["plan", "--target", "app", "--json"]).report();
    assert_eq!(project.files(""), before);
    let names = |list: &Value, key: &str| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|one| one[key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&plan["targets"], "name"), ["base", "util", "app"]);
    assert_eq!(names(&plan["packages"], "package_id"), ["acme.http", "acme.json"]);
    assert_eq!(
        names(&plan["package_roots"], "path"),
        ["build/drift/localpkgs", "vendor/driftpkgs", "cache/driftpm/pkgs"]
    );
    let util = &plan["targets"][1];
    assert_eq!(util["packages"], json!(["acme.json"]));
    assert_eq!(util["depends_on"], json!(["base"]));
    assert_eq!(util["artifact"], "build/drift/targets/util/artifact/util-0.3.1-any.dmp");
    assert_eq!(util["intermediates_dir"], "build/drift/targets/util/intermediates");
    assert_eq!(util["local_package"], "build/drift/localpkgs/util-0.3.1-any.dmp");
    assert_eq!(plan["packages"][0]["gate"]["code"], "OK");
    assert_eq!(plan["packages"][0]["root"], "cache/driftpm/pkgs");
    assert_eq!(plan["targets"][2]["packages"], json!(["acme.http", "acme.json"]));
    assert_eq!(plan["targets"][2]["local_package"], Value::Null);
    let words = plan["targets"][2]["command"].as_array().unwrap();
    let words: Vec<&str> = words.iter().map(|word| word.as_str().unwrap()).collect();
    let base = plan["targets"][0]["local_package"].as_str().unwrap();
    assert_eq!(
        words,
        [
            "-o",
            "build/drift/targets/app/artifact/app",
            "--entry",
            "app.main",
            "--package-root",
            "cache/driftpm/pkgs/acme.http/1.4.0/acme.http-1.4.0-any.dmp",
            "--package-root",
            "cache/driftpm/pkgs/acme.json/1.3.0/acme.json-1.3.0-any.dmp",
            "--package-root",
            base,
            "--package-root",
            "build/drift/localpkgs/util-0.3.1-any.dmp",
            "z/app/main.drift",
        ]
    );
    // Which target is meant is asked only where it is not clear.
    assert_eq!(project.drift(&["plan", "--json"]).codes(), ["TARGET_UNKNOWN"]);
    assert_eq!(project.drift(&["plan", "--target", "x", "--json"]).codes(), ["TARGET_UNKNOWN"]);
    project.change_json("drift-project.json", |file| file["default_target"] = json!("other"));
    let plan = project.drift(&["plan", "--json"]).report();
    assert_eq!((&plan["target"], &plan["packages"]), (&json!("other"), &json!([])));
}

#[test]
fn the_first_root_that_has_a_package_decides() {
    let project = Project::buildable();
    let plan = |project: &Project, more: &[&str]| {
        let arguments = [&["plan", "--target", "app", "--json"][..], more].concat();
        project.drift(&arguments)
    };
    project.drift(&["vendor"]).ok();
    let report = plan(&project, &[]).report();
    assert_eq!(report["packages"][1]["root"], "vendor/driftpkgs");
    // A vendored copy that is wrong is not passed over for the good one in the cache.
    let vendored = "vendor/driftpkgs/acme.json/1.3.0/acme.json-1.3.0-any.dmp";
    let good = project.read(vendored);
    project.write(
        vendored,
        rich_package("acme.json", "1.3.0", json!({"platform": {"os": ["linux"]}}), &[]),
    );
    assert_eq!(plan(&project, &[]).codes(), ["LOCK_SHA_MISMATCH"]);
    project.write(vendored, good);
    fs::remove_file(project.path(&format!("{vendored}.sig"))).unwrap();
    assert_eq!(plan(&project, &[]).codes(), ["LOCK_SIGNATURE_MISSING"]);
    fs::remove_dir_all(project.path("vendor")).unwrap();
    fs::remove_dir_all(project.path("cache")).unwrap();
    // All that is missing is told at once.
    assert_eq!(plan(&project, &[]).codes(), ["PACKAGE_NOT_PRESENT", "PACKAGE_NOT_PRESENT"]);
    // An explicit root: here the repository, where packages lie under their names.
    let report = plan(&project, &["--package-root", "repo"]).report();
    assert_eq!(report["packages"][1]["file"], "repo/acme.json-1.3.0-any.dmp");
    assert_eq!(plan(&project, &["--package-root", "none"]).codes(), ["FILE_ERROR"]);
}

#[test]
fn a_plan_passes_on_what_the_gate_says() {
    let project = Project::buildable();
    let codes = |project: &Project| project.drift(&["plan", "--target", "app", "--json"]).codes();
    let trust = project.read("drift/trust.json");
    fs::remove_file(project.path("drift/trust.json")).unwrap();
    assert_eq!(codes(&project), ["NO_VALID_SIGNATURE", "NO_VALID_SIGNATURE"]);
    // Another store, named by the project.
    project.write("keys/store.json", &trust);
    project.change_json("drift-project.json", |file| {
        file["trust"] = json!({"store": "keys/store.json"});
    });
    let plan = project.drift(&["plan", "--target", "app", "--json"]).report();
    let words = plan["targets"][2]["command"].to_string();
    assert!(words.contains("\"--trust-store\",\"keys/store.json\""), "{words}");
    let kid = super::project::key(1).public().id();
    project.drift(&["trust", "revoke", "--kid", &kid, "--trust-store", "keys/store.json"]).ok();
    assert_eq!(codes(&project), ["SIGNER_REVOKED", "SIGNER_REVOKED"]);
    let ran = project.drift(&["build", "--target", "app", "--compiler", "./compiler", "--json"]);
    assert_eq!(ran.codes(), ["SIGNER_REVOKED", "SIGNER_REVOKED"]);
    assert!(!project.exists("words"), "no compiler sees what the gate refuses");
}

#[test]
fn packages_are_built_before_those_that_need_them() {
    let project = Project::buildable();
    let report =
        project.drift(&["build", "--target", "app", "--compiler", "./compiler", "--json"]).report();
    let built: Vec<&str> = report["built"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(built, ["base", "util", "app"]);
    let words = project.words();
    let ids: Vec<&str> = words.lines().map(|line| line.split(' ').nth(3).unwrap()).collect();
    assert_eq!(ids, ["base", "util", "app.main"]);
    assert_eq!(project.read("build/drift/targets/app/artifact/app"), b"program\n");
    assert_eq!(project.read("build/drift/targets/app/intermediates/compiler.log"), b"compiling\n");
    // What the compiler does not know is attached.
    let util = project.read("build/drift/localpkgs/util-0.3.1-any.dmp");
    assert_eq!(util, project.read("build/drift/targets/util/artifact/util-0.3.1-any.dmp"));
    let full = read_full(&util).unwrap();
    let metadata = Metadata::of_manifest(&full.manifest, "util").unwrap();
    let needs: Vec<(&str, &str)> =
        metadata.dependencies.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
    assert_eq!(needs, [("acme.json", "^1.2"), ("base", "^1.0.0")]);
    // Another version takes the place of the old one.
    project.change_json("a/util/drift-target.json", |target| target["version"] = json!("0.4.0"));
    project.write("prepared/util", package("util", "0.4.0", &["util.main"]));
    project.drift(&["build", "--target", "util", "--compiler", "./compiler"]).ok();
    let local = project.files("build/drift/localpkgs");
    assert_eq!(local.len(), 2, "{local:?}");
    assert!(local[1].starts_with("util-0.4.0"), "{local:?}");
    // A compiler is found on the search path only without a slash.
    let ran =
        project.drift(&["build", "--target", "base", "--compiler", "no-such-program", "--json"]);
    assert_eq!(ran.codes(), ["COMPILER_MISSING"]);
    let report = project
        .drift(&[
            "build",
            "--target",
            "base",
            "--compiler",
            "./compiler",
            "--build-dir",
            "out",
            "--json",
        ])
        .report();
    assert!(
        report["built"][0]["artifact"]
            .as_str()
            .unwrap()
            .starts_with("out/targets/base/artifact/base-1.0.0-")
    );
    assert!(project.files("out").iter().any(|file| file.starts_with("localpkgs/base-")));
}

#[test]
fn what_the_compiler_writes_must_be_what_was_planned() {
    let project = Project::buildable();
    let build = |project: &Project| {
        let ran =
            project.drift(&["build", "--target", "util", "--compiler", "./compiler", "--json"]);
        assert_eq!(ran.codes(), ["BUILD_FAILED"]);
        ran.json()["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    project.write("prepared/util", package("util", "9.9.9", &["util.main"]));
    assert!(build(&project).contains("(util, 9.9.9, any), not (util, 0.3.1, any)"));
    project.write("prepared/util", "nonsense");
    assert!(build(&project).contains("the compiler wrote no package"));
    fs::remove_file(project.path("prepared/util")).unwrap();
    let message = build(&project);
    assert!(message.contains("exit status: 1") && message.contains("compiling"), "{message}");
    assert!(!project.exists("build/drift/localpkgs/util-0.3.1-any.dmp"));
    // A failed run leaves no artifact of an earlier one that could be taken for its own.
    project.write("prepared/util", package("util", "0.3.1", &["util.main"]));
    project.drift(&["build", "--target", "util", "--compiler", "./compiler"]).ok();
    fs::remove_file(project.path("prepared/util")).unwrap();
    build(&project);
    assert!(!project.exists("build/drift/targets/util/artifact/util-0.3.1-any.dmp"));
}

#[test]
fn vendoring_follows_the_lock_and_an_image_is_a_root() {
    let project = Project::buildable();
    let report = project.drift(&["vendor", "--json"]).report();
    assert_eq!(report["vendored"]["packages"].as_array().unwrap().len(), 2);
    assert_eq!(project.files("vendor/driftpkgs").len(), 4);
    // The old version goes when the lock does.
    project.offer("repo", "acme.json", "1.9.0", &[]);
    project.write("vendor/driftpkgs/README", "mine");
    project.drift(&["update"]).ok();
    assert_eq!(project.drift(&["vendor", "--json"]).codes(), ["PACKAGE_NOT_PRESENT"]);
    project.drift(&["fetch"]).ok();
    let report = project.drift(&["vendor", "--json"]).report();
    assert_eq!(report["vendored"]["removed"], json!(["acme.json/1.3.0/acme.json-1.3.0-any.dmp"]));
    let files = project.files("vendor/driftpkgs");
    assert_eq!(files.len(), 5, "{files:?}");
    assert!(!project.exists("vendor/driftpkgs/acme.json/1.3.0"));

    let report = project.drift(&["vendor", "--image", "v.epk", "--json"]).report();
    let size = report["vendored"]["image"]["size"].as_u64().unwrap();
    let image = project.read("v.epk");
    assert_eq!(u64::try_from(image.len()).unwrap(), size);
    project.drift(&["vendor", "--image", "again.epk"]).ok();
    assert_eq!(project.read("again.epk"), image, "the same packages, the same bytes");
    let verdicts = project.drift(&["gate", "v.epk", "--json"]).ok().json();
    assert_eq!(verdicts["packages"][0]["path"], "v.epk:acme.http/1.4.0/acme.http-1.4.0-any.dmp");
    assert_eq!(verdicts["packages"][1]["code"], "OK");

    fs::remove_dir_all(project.path("vendor")).unwrap();
    fs::remove_dir_all(project.path("cache")).unwrap();
    let plan = ["plan", "--target", "app", "--package-root", "v.epk", "--json"];
    let report = project.drift(&plan).report();
    assert_eq!(report["packages"][0]["file"], Value::Null);
    assert_eq!(report["packages"][0]["gate"]["code"], "OK");
    let build = [
        "build",
        "--target",
        "app",
        "--package-root",
        "v.epk",
        "--compiler",
        "./compiler",
        "--json",
    ];
    assert_eq!(project.drift(&build).codes(), ["PACKAGE_NOT_PRESENT"]);
    // A damaged image is no root, and other files are not replaced by one.
    let mut damaged = image.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    project.write("v.epk", damaged);
    assert_eq!(project.drift(&plan).codes(), ["IMAGE_INVALID"]);
    assert_eq!(project.drift(&["gate", "v.epk", "--json"]).exit, 2);
    assert_eq!(project.drift(&["mount", "v.epk", "--json"]).codes(), ["IMAGE_INVALID"]);
    project.write("precious", "text");
    project.drift(&["fetch"]).ok();
    assert_eq!(
        project.drift(&["vendor", "--image", "precious", "--json"]).codes(),
        ["IMAGE_INVALID"]
    );
    assert_eq!(project.read("precious"), b"text");
    assert_eq!(
        project.drift(&["mount", "again.epk", "cache", "--json"]).codes(),
        ["MOUNT_FAILED"],
        "not over files"
    );
    assert!(read_light(&project.read("repo/acme.http-1.4.0-any.dmp")).is_ok());
}
