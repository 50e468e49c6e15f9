//! Projects and targets: what is refused names file and field; editing leaves the rest alone.

use serde_json::{Value, json};

use super::project::Project;

/// The file and field of the only error, and its code.
fn complaint(project: &Project, arguments: &[&str]) -> (String, String, String) {
    let ran = project.drift(arguments);
    let codes = ran.codes();
    assert_eq!(codes.len(), 1);
    let error = &ran.json()["errors"][0];
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    (codes[0].clone(), text("file"), text("field"))
}

fn good_project() -> Value {
    json!({
        "format": 1, "name": "demo", "epoch": "2026.11",
        "repositories": [
            {"name": "main", "type": "dir", "url": "repo", "priority": 1},
            {"name": "far", "type": "http", "url": "https://example.org/index"},
        ],
        "deps": {"http": {"package": "acme.http", "constraint": "^1", "repository": "main"}},
        "trust": {"store": "drift/trust.json", "require_signatures": false,
                  "allow_unsigned_from": ["mine"]},
        "default_target": "app",
        "x": {"anything": 1},
    })
}

fn good_target() -> Value {
    json!({
        "format": 1, "name": "app", "kind": "exec", "version": "0.1.0",
        "modules": {"app.main": "src/main.drift"}, "entry": "app.main", "uses": ["http"],
        "platform": {"os": ["linux"]},
    })
}

/// Sets what lies at `path`, steps with slashes between.
fn set(document: &mut Value, path: &str, value: Value) {
    let pointer = format!("/{path}");
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        Value::Object(members) => {
            members.insert(key.to_owned(), value);
        }
        _ => panic!("{path}"),
    }
}

#[test]
fn every_wrong_field_of_a_project_is_named() {
    for (path, value, field) in [
        ("format", json!(2), "format"),
        ("format", json!("1"), "format"),
        ("format", Value::Null, "format"),
        ("name", json!("../x"), "name"),
        ("name", json!(""), "name"),
        ("name", json!(5), "name"),
        ("epoch", json!("a\nb"), "epoch"),
        ("dependencies", json!({}), "dependencies"),
        ("repositories", json!({}), "repositories"),
        ("repositories/0", json!("repo"), "repositories[0]"),
        ("repositories/0/type", json!("ftp"), "repositories[0].type"),
        ("repositories/0/url", Value::Null, "repositories[0].url"),
        ("repositories/1/url", json!("ftp://x"), "repositories[1].url"),
        ("repositories/1/name", json!("main"), "repositories[1].name"),
        ("repositories/0/priority", json!(1.5), "repositories[0].priority"),
        ("repositories/0/prio", json!(1), "repositories[0].prio"),
        ("deps", json!([]), "deps"),
        ("deps/a b", json!("^1"), "deps.a b"),
        ("deps/x", json!("one"), "deps.x"),
        ("deps/x", json!(1), "deps.x"),
        ("deps/http/constraint", Value::Null, "deps.http.constraint"),
        ("deps/http/constraint", json!("1 || 2"), "deps.http.constraint"),
        ("deps/http/constrain", json!("1"), "deps.http.constrain"),
        ("deps/http/repository", json!("nowhere"), "deps.http.repository"),
        ("deps/http/package", json!("a/b"), "deps.http.package"),
        ("deps/more", json!({"package": "acme.http", "constraint": "1"}), "deps.more"),
        ("trust", json!([]), "trust"),
        ("trust/store", json!("../trust.json"), "trust.store"),
        ("trust/require_signatures", json!("yes"), "trust.require_signatures"),
        ("trust/allow_unsigned_from", json!(["/tmp"]), "trust.allow_unsigned_from"),
        ("default_target", json!("other"), "default_target"),
    ] {
        let project = Project::new();
        let mut document = good_project();
        set(&mut document, path, value.clone());
        project.project_with(&document);
        project.write("app/drift-target.json", good_target().to_string());
        let found = complaint(&project, &["targets", "--json"]);
        let expected = ("PROJECT_INVALID", "drift-project.json", field);
        assert_eq!(
            (found.0.as_str(), found.1.as_str(), found.2.as_str()),
            expected,
            "{path} {value}"
        );
    }
    let project = Project::new();
    project.write("drift-project.json", "{");
    assert_eq!(complaint(&project, &["targets", "--json"]).0, "PROJECT_INVALID");
    assert_eq!(complaint(&Project::new(), &["targets", "--json"]).0, "PROJECT_MISSING");
}

#[test]
fn every_wrong_field_of_a_target_is_named() {
    let native = json!({"name": "z", "tool": "gcc", "sources": ["z.c"]});
    let with = |key: &str, value: Value| {
        let mut shim = native.clone();
        shim[key] = value;
        json!([shim])
    };
    for (path, value, field) in [
        ("format", json!(0), "format"),
        ("name", json!("-x"), "name"),
        ("kind", json!("lib"), "kind"),
        ("version", json!("1.0"), "version"),
        ("modules", json!({}), "modules"),
        ("modules", json!({"a": "../x"}), "modules.a"),
        ("modules", json!({"a": 1}), "modules.a"),
        ("entry", Value::Null, "entry"),
        ("entry", json!("none"), "entry"),
        ("uses", json!("http"), "uses"),
        ("uses", json!(["http", "http"]), "uses"),
        ("uses", json!(["json"]), "uses"),
        ("platform", json!({"os": "linux"}), "platform.os"),
        ("platform", json!({"os": []}), "platform.os"),
        (
            "platform",
            json!({"libc": {"name": "glibc", "min_version": "new"}}),
            "platform.libc.min_version",
        ),
        ("platform", json!({"cpu": []}), "platform.cpu"),
        ("native", json!([native]), "native"),
        ("scripts", json!([]), "scripts"),
    ] {
        check_target(good_target(), path, &value, field);
    }
    let mut package = good_target();
    package["kind"] = json!("package");
    package.as_object_mut().unwrap().remove("entry");
    check_target(package.clone(), "entry", &json!("app.main"), "entry");
    for (value, field) in [
        (with("tool", json!("make")), "native[0].tool"),
        (with("tool", Value::Null), "native[0].tool"),
        (with("sources", json!([])), "native[0].sources"),
        (with("sources", json!(["build.sh"])), "native[0].sources"),
        (with("sources", json!(["../z.c"])), "native[0].sources"),
        (with("headers", json!(["z.c"])), "native[0].headers"),
        (with("defines", json!({"A B": "1"})), "native[0].defines.A B"),
        (with("defines", json!({"A": "1;x"})), "native[0].defines.A"),
        (with("standard", json!("gnu11")), "native[0].standard"),
        (with("link", json!(["ssl"])), "native[0].link"),
        (with("flags", json!(["-fplugin=x.so"])), "native[0].flags"),
        (with("script", json!("./configure")), "native[0].script"),
        (json!([native, native]), "native[1].name"),
    ] {
        check_target(package.clone(), "native", &value, field);
    }
}

fn check_target(mut target: Value, path: &str, value: &Value, field: &str) {
    let project = Project::new();
    project.project_with(&good_project());
    set(&mut target, path, value.clone());
    project.write("deep/er/app/drift-target.json", target.to_string());
    let (code, file, found) = complaint(&project, &["targets", "--json"]);
    assert_eq!((code.as_str(), found.as_str()), ("TARGET_INVALID", field), "{path} {value}");
    assert_eq!(file, "deep/er/app/drift-target.json");
}

fn package_target(name: &str, needs: &[&str]) -> String {
    json!({"format": 1, "name": name, "kind": "package", "version": "1.0.0",
           "modules": {name: "m.drift"}, "depends_on": needs})
    .to_string()
}

#[test]
fn targets_are_found_everywhere_but_where_copies_lie() {
    let project = Project::new();
    project.project_with(&json!({"format": 1, "name": "demo"}));
    for folder in ["", "a/", "a/deep/er/"] {
        let name = format!("t{}", folder.len());
        project.write(&format!("{folder}drift-target.json"), package_target(&name, &[]));
    }
    for folder in ["build", "cache", "vendor", ".git", "a/vendor/x", "a/build"] {
        project.write(&format!("{folder}/drift-target.json"), "not even JSON");
    }
    std::os::unix::fs::symlink("a", project.path("link")).unwrap();
    let report = project.drift(&["targets", "--json"]).report();
    let names: Vec<&str> =
        report["targets"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["t0", "t10", "t2"]);
    assert_eq!(report["targets"][1]["folder"], "a/deep/er");

    project.write("b/drift-target.json", package_target("t2", &[]));
    let (code, file, field) = complaint(&project, &["targets", "--json"]);
    assert_eq!(
        (code.as_str(), file.as_str(), field.as_str()),
        ("TARGET_DUPLICATE", "b/drift-target.json", "name")
    );
}

#[test]
fn targets_that_need_each_other_are_refused() {
    let project = Project::new();
    project.project_with(&json!({"format": 1, "name": "demo"}));
    project.write("a/drift-target.json", package_target("a", &["b"]));
    project.write("b/drift-target.json", package_target("b", &["c"]));
    project.write("c/drift-target.json", package_target("c", &["a"]));
    let ran = project.drift(&["targets", "--json"]);
    assert_eq!(ran.codes(), ["TARGET_CYCLE"]);
    let message = ran.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "targets need each other: `a` needs `b` needs `c` needs `a`");

    project.write("c/drift-target.json", package_target("c", &["none"]));
    assert_eq!(project.drift(&["targets", "--json"]).codes(), ["TARGET_UNKNOWN"]);
    // A dependency's name is taken.
    project.project_with(&json!({"format": 1, "name": "demo", "deps": {"b": "^1"}}));
    project.write("c/drift-target.json", package_target("c", &[]));
    assert_eq!(project.drift(&["targets", "--json"]).codes(), ["TARGET_INVALID"]);
}

#[test]
fn projects_are_made_once() {
    let project = Project::new();
    let report = project.drift(&["init", "demo", "--exec", "--json"]).report();
    assert_eq!(report["files"], json!(["drift-target.json", "drift-project.json"]));
    let report = project.drift(&["targets", "--json"]).report();
    assert_eq!(report["default_target"], "demo");
    assert_eq!(report["targets"][0]["kind"], "exec");
    let before = project.read("drift-project.json");
    assert_eq!(project.drift(&["init", "other", "--json"]).codes(), ["PROJECT_EXISTS"]);
    assert_eq!(project.read("drift-project.json"), before);
    for name in ["a/b", "", "..", "-x", "a b"] {
        assert_eq!(
            Project::new().drift(&["init", "--json", "--", name]).codes(),
            ["PROJECT_INVALID"],
            "{name}"
        );
    }
    let package = Project::new();
    package.drift(&["init", "acme.http", "--package"]).ok();
    assert_eq!(package.drift(&["targets"]).ok().stdout, "acme.http 0.1.0 package .\n");
}

#[test]
fn dependencies_are_added_and_removed_and_the_rest_stays() {
    let project = Project::new();
    project.offer("repo", "acme.http", "1.4.2", &[]);
    project.offer("repo", "acme.http", "1.10.0", &[]);
    project.offer("repo", "acme.http", "2.0.0-rc.1", &[]);
    project.offer("repo", "acme.new", "0.1.0-alpha", &[]);
    let text = "{\n  \"name\": \"demo\",\n  \"format\": 1,\n  \"x\": {\n    \"keep\": \"me\"\n  },\n  \
                \"repositories\": [\n    {\n      \"name\": \"main\",\n      \"type\": \"dir\",\n      \
                \"url\": \"repo\"\n    }\n  ]\n}\n";
    project.write("drift-project.json", text);
    let added = project.drift(&["add", "acme.http", "--key", "http", "--json"]).report();
    assert_eq!(added["constraint"], "^1.10.0");
    project.drift(&["add", "acme.new"]).ok();
    project.drift(&["add", "far.away", "--constraint", ">=1, <3", "--repository", "main"]).ok();
    let deps = project.read_json("drift-project.json")["deps"].clone();
    assert_eq!(
        deps,
        json!({
            "http": {"package": "acme.http", "constraint": "^1.10.0"},
            "acme.new": "^0.1.0-alpha",
            "far.away": {"package": "far.away", "constraint": ">=1, <3", "repository": "main"},
        })
    );
    for (arguments, code) in [
        (&["add", "acme.http", "--key", "http"][..], "DEPENDENCY_EXISTS"),
        (&["add", "nobody.knows"], "PACKAGE_UNKNOWN"),
        (&["add", "a", "--constraint", "newest"], "PROJECT_INVALID"),
        (&["add", "a", "--constraint", "1", "--repository", "none"], "PROJECT_INVALID"),
        (&["add", "acme.http", "--key", "a/b"], "PROJECT_INVALID"),
        (&["remove", "acme.http"], "DEPENDENCY_UNKNOWN"),
    ] {
        let before = project.read("drift-project.json");
        let arguments = [arguments, &["--json"]].concat();
        assert_eq!(project.drift(&arguments).codes(), [code], "{arguments:?}");
        assert_eq!(project.read("drift-project.json"), before, "{arguments:?}");
    }
    project.drift(&["add", "acme.http", "--key", "http", "--constraint", "^1.4", "--replace"]).ok();
    assert_eq!(project.read_json("drift-project.json")["deps"]["http"]["constraint"], "^1.4");
    for key in ["http", "acme.new", "far.away"] {
        project.drift(&["remove", key]).ok();
    }
    let end = String::from_utf8(project.read("drift-project.json")).unwrap();
    assert_eq!(end, text.replace("\n  ]\n}", "\n  ],\n  \"deps\": {}\n}"));
}
