//! Catalogs, with the real `drift`: from the first file to a signed index and a page, and every way
//! in which a change of one could go wrong.

mod browser;
mod stage;

use std::fs;
use std::path::Path;
use std::process::Command;

use driftpm::canonical_json::indented;
use driftpm::json::{Limit, parse};
use serde_json::{Value, json};
use stage::{Ran, Stage, key};

const HTTP: &str = "packages/acme/http/1.0.0.json";
const ACME: &str = "index/namespaces/acme.json";
const ABOUT: &str = "index/index.v0.json";

/// A catalog with two packages of `acme` by key 1 and one of `tiny` by key 2.
fn catalog() -> Stage {
    let stage = Stage::new();
    stage.package("repo", "acme.json", "2.0.0", 1, &[]);
    stage.package("repo", "acme.http", "1.0.0", 1, &[("acme.json", "^2")]);
    stage.package("repo", "tiny.sum", "0.1.0", 2, &[]);
    run(&stage, &["init", "community", "--description", "What we use"]).ok();
    let add = |package: &str, more: &[&str]| {
        let path = stage.shown(&format!("repo/{package}-any.dmp"));
        let url = "https://packages.example/files/";
        let mut words = vec!["add", &path, "--url", url];
        words.extend(more);
        run(&stage, &words)
    };
    assert_eq!(add("acme.json-2.0.0", &["--json"]).code(), "CATALOG_NAMESPACE_UNKNOWN");
    add("acme.json-2.0.0", &["--owner", "alice", "--description", "Reads JSON"]).ok();
    add("acme.http-1.0.0", &["--tag", "web", "--tag", "net"]).ok();
    add("tiny.sum-0.1.0", &["--owner", "bob", "--owner", "carol"]).ok();
    stage
}

/// `drift catalog` with the catalog of the stage.
fn run(stage: &Stage, arguments: &[&str]) -> Ran {
    let folder = stage.shown("catalog");
    stage.drift(&[&["catalog"], arguments, &["--catalog", &folder]].concat())
}

fn validate(stage: &Stage, more: &[&str]) -> Value {
    let words: Vec<&str> = ["validate", "--json"].iter().chain(more).copied().collect();
    run(stage, &words).json()
}

/// The codes of a list of problems.
fn codes(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect()
}

/// Changes a file of the catalog, and writes it as `drift` would.
fn edit(stage: &Stage, file: &str, change: impl Fn(&mut Value)) {
    let path = stage.path("catalog").join(file);
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    let value = parse(value.to_string().as_bytes(), Limit::SETTINGS).unwrap();
    fs::write(path, indented(&value)).unwrap();
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn from_the_first_file_to_a_signed_index() {
    let stage = catalog();
    let report = validate(&stage, &["--artifacts", &stage.shown("repo")]);
    assert_eq!(report["ok"], true, "{report}");
    let counts = ["namespaces", "packages", "versions", "artifacts_compared"];
    assert_eq!(counts.map(|name| report[name].as_u64().unwrap()), [2, 3, 3, 3]);
    assert_eq!(run(&stage, &["init", "again", "--json"]).code(), "CATALOG_EXISTS");

    // The packages lie beside the index here: the catalog says that by a base.
    edit(&stage, ABOUT, |about| about["base_url"] = Value::Null);
    for (file, name) in [
        (HTTP, "acme.http-1.0.0-any.dmp"),
        ("packages/acme/json/2.0.0.json", "acme.json-2.0.0-any.dmp"),
        ("packages/tiny/sum/0.1.0.json", "tiny.sum-0.1.0-any.dmp"),
    ] {
        edit(&stage, file, |release| release["artifacts"][0]["url"] = json!(name));
    }
    let (out, signer) = (stage.shown("repo/drift-index.json"), stage.shown("key3"));
    let build = ["build", "--out", &out, "--key", &signer, "--pack", "--json"];
    let built = run(&stage, &build).ok().json();
    assert_eq!((&built["number"], &built["packages"]), (&json!(1), &json!(3)));
    let first = fs::read(&out).unwrap();
    assert_eq!(run(&stage, &build).ok().json()["number"], 2);
    assert_eq!(fs::read(&out).unwrap(), first, "the same catalog makes the same bytes");

    let url = format!("file://{}", stage.shown("repo"));
    stage.project(&[("main", &url)], &[("acme.http", "^1")]);
    stage.resolve().ok();
    stage.fetch().ok();
    assert_eq!(stage.locked("acme.json")["version"], "2.0.0");
    let found = stage.drift(&["search", "reads", "--json"]).ok().json();
    assert_eq!(found["packages"][0]["package_id"], "acme.json");
}

/// A file, what is done to it, and the code that comes of it.
type Damage = (&'static str, fn(&mut Value), &'static str);

const DAMAGES: &[Damage] = &[
    (ABOUT, |about| about["format"] = json!("x"), "CATALOG_INVALID"),
    (
        ABOUT,
        |about| about["namespaces"] = json!(["acme", "new", "tiny"]),
        "CATALOG_NAMESPACE_UNKNOWN",
    ),
    (ABOUT, |about| about["namespaces"] = json!(["tiny"]), "CATALOG_NAMESPACE_UNKNOWN"),
    (ABOUT, |about| about["namespaces"] = json!(["tiny", "acme"]), "CATALOG_INVALID"),
    (ABOUT, |about| about["base_url"] = json!("x"), "CATALOG_INVALID"),
    (ACME, |acme| acme["owners"] = json!([]), "CATALOG_NAMESPACE_UNOWNED"),
    (ACME, |acme| acme["later"] = json!(1), "CATALOG_INVALID"),
    (ACME, |acme| acme["namespace"] = json!("acm"), "CATALOG_INVALID"),
    (
        ACME,
        |acme| acme["packages"]["ftp"] = json!({"description": null, "tags": []}),
        "CATALOG_PACKAGE_UNKNOWN",
    ),
    (
        ACME,
        |acme| {
            let keys = acme["keys"].as_object_mut().unwrap();
            let text = keys.values().next().unwrap().clone();
            keys.insert(key(3).public().id(), text);
        },
        "CATALOG_INVALID",
    ),
    (
        ACME,
        |acme| {
            acme["keys"] = json!({key(3).public().id(): key(3).public().to_base64()});
        },
        "CATALOG_SIGNER_NOT_OWNER",
    ),
    (
        ACME,
        |acme| acme["revoked"] = json!({key(1).public().id(): "lost"}),
        "CATALOG_SIGNER_REVOKED",
    ),
    (HTTP, |http| http["package_id"] = json!("acme.htt"), "CATALOG_INVALID"),
    (HTTP, |http| http["package_version"] = json!("1.0.1"), "CATALOG_INVALID"),
    (HTTP, |http| http["artifacts"] = json!([]), "CATALOG_INVALID"),
    (
        HTTP,
        |http| {
            let twice = http["artifacts"][0].clone();
            http["artifacts"].as_array_mut().unwrap().push(twice);
        },
        "CATALOG_INVALID",
    ),
    (HTTP, |http| http["artifacts"][0]["sha256"] = json!("sha256:00"), "CATALOG_INVALID"),
    (HTTP, |http| http["artifacts"][0]["size"] = json!(0), "CATALOG_INVALID"),
    (HTTP, |http| http["artifacts"][0]["published_at"] = json!("yesterday"), "CATALOG_INVALID"),
    (
        HTTP,
        |http| http["artifacts"][0]["dependencies"]["acme.json"] = json!("latest"),
        "CATALOG_INVALID",
    ),
    (
        HTTP,
        |http| http["artifacts"][0]["platform_requirements"] = json!({"os": "linux"}),
        "CATALOG_INVALID",
    ),
    (HTTP, |http| http["artifacts"][0]["sig_sha256"] = Value::Null, "CATALOG_UNSIGNED"),
    (
        HTTP,
        |http| http["artifacts"][0]["signer_kids"] = json!(["ed25519:x"]),
        "CATALOG_SIGNER_NOT_OWNER",
    ),
    (HTTP, |http| http["artifacts"][0]["url"] = json!("file:///tmp/x.dmp"), "CATALOG_URL"),
    (HTTP, |http| http["artifacts"][0]["url"] = json!("http://a.example/x.dmp"), "CATALOG_URL"),
    (HTTP, |http| http["artifacts"][0]["url"] = json!("../x.dmp"), "CATALOG_URL"),
    (HTTP, |http| http["artifacts"][0]["packed_url"] = json!("/x.dmp.zst"), "CATALOG_URL"),
];

#[test]
fn whatever_is_wrong_has_a_code_and_a_place() {
    let stage = catalog();
    let whole = stage.path("whole");
    copy_tree(&stage.path("catalog"), &whole);
    let again = || {
        fs::remove_dir_all(stage.path("catalog")).unwrap();
        copy_tree(&whole, &stage.path("catalog"));
    };
    for (place, (file, damage, code)) in DAMAGES.iter().enumerate() {
        edit(&stage, file, damage);
        let report = validate(&stage, &[]);
        assert_eq!(report["ok"], false, "{place}");
        assert!(codes(&report["errors"]).contains(code), "{place} {file}: {report}");
        let built = run(&stage, &["site", "--out", &stage.shown("site"), "--json"]);
        assert_eq!((built.exit, stage.path("site").exists()), (2, false), "{place}");
        again();
    }
    let folder = stage.path("catalog");
    for (file, text, code) in [
        ("index/other.json", "{}", "CATALOG_FILE_UNEXPECTED"),
        ("packages/x", "", "CATALOG_FILE_UNEXPECTED"),
        ("packages/acme/http/1.0.json", "{}", "CATALOG_FILE_UNEXPECTED"),
        ("packages/acme/http/1.0.1.json", "{", "CATALOG_INVALID"),
        ("index/namespaces/aсme.json", "", "CATALOG_INVALID"),
    ] {
        fs::write(folder.join(file), text).unwrap();
        assert_eq!(codes(&validate(&stage, &[])["errors"]), [code], "{file}");
        again();
    }
    fs::remove_file(folder.join("policy/signing.md")).unwrap();
    assert_eq!(codes(&validate(&stage, &[])["errors"]), ["CATALOG_POLICY_MISSING"]);
    again();
    std::os::unix::fs::symlink("http", folder.join("packages/acme/link")).unwrap();
    assert_eq!(codes(&validate(&stage, &[])["errors"]), ["CATALOG_FILE_UNEXPECTED"]);
    fs::remove_dir_all(folder.join("index")).unwrap();
    assert_eq!(run(&stage, &["validate", "--json"]).code(), "CATALOG_MISSING");
}

#[test]
fn one_spelling() {
    let stage = catalog();
    let path = stage.path("catalog").join(ACME);
    let right = fs::read_to_string(&path).unwrap();
    let value: Value = serde_json::from_str(&right).unwrap();
    fs::write(&path, value.to_string()).unwrap();
    let report = validate(&stage, &[]);
    assert_eq!(codes(&report["errors"]), ["CATALOG_NOT_CANONICAL"]);
    assert_eq!(report["errors"][0]["file"], ACME);
    assert_eq!(validate(&stage, &["--fix"])["ok"], true);
    assert_eq!(fs::read_to_string(&path).unwrap(), right);
}

#[test]
fn namespaces_that_people_would_mix_up() {
    let stage = catalog();
    for (id, code) in [
        ("acrne.http", "CATALOG_NAMESPACE_LOOKALIKE"),
        ("std.http", "CATALOG_SIGNER_NOT_OWNER"),
        ("alone", "CATALOG_ID"),
    ] {
        stage.package("more", id, "1.0.0", 3, &[]);
        let path = stage.shown(&format!("more/{id}-1.0.0-any.dmp"));
        let added = run(&stage, &["add", &path, "--owner", "mallory", "--json"]);
        assert_eq!(added.code(), code, "{id}");
    }
    // Somebody else's namespace, and a version that is there already.
    stage.package("more", "acme.more", "1.0.0", 3, &[]);
    let path = stage.shown("more/acme.more-1.0.0-any.dmp");
    assert_eq!(run(&stage, &["add", &path, "--json"]).code(), "CATALOG_SIGNER_NOT_OWNER");
    let path = stage.shown("repo/acme.http-1.0.0-any.dmp");
    assert_eq!(run(&stage, &["add", &path, "--json"]).code(), "CATALOG_VERSION_CHANGED");
    fs::remove_file(format!("{path}.sig")).unwrap();
    assert_eq!(run(&stage, &["add", &path, "--json"]).code(), "CATALOG_UNSIGNED");
    assert_eq!(validate(&stage, &[])["ok"], true, "nothing was added");
}

#[test]
fn a_package_that_is_not_the_listed_one() {
    let stage = catalog();
    stage.package("repo", "acme.http", "1.0.0", 1, &[("acme.json", "^1")]);
    let report = validate(&stage, &["--artifacts", &stage.shown("repo")]);
    assert_eq!(codes(&report["errors"]), ["CATALOG_ARTIFACT_MISMATCH"]);
    assert_eq!(report["errors"][0]["file"], HTTP);
    stage.package("repo", "acme.http", "1.0.0", 3, &[("acme.json", "^2")]);
    let report = validate(&stage, &["--artifacts", &stage.shown("repo")]);
    assert_eq!(codes(&report["errors"]), ["CATALOG_ARTIFACT_MISMATCH", "CATALOG_SIGNER_NOT_OWNER"]);
}

fn git(stage: &Stage, arguments: &[&str]) {
    let output = Command::new("git")
        .arg("-C")
        .arg(stage.0.path())
        .args(["-c", "user.name=Alice", "-c", "user.email=alice@example.org"])
        .args(arguments)
        .env("HOME", stage.path("home"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A file, what is done to it, what may not be, and what is to be looked at.
type Change = (&'static str, fn(&mut Value), &'static [&'static str], &'static [&'static str]);

const CHANGES: &[Change] = &[
    (ABOUT, |about| about["home"] = json!("https://a.example"), &[], &["CATALOG_ABOUT_CHANGED"]),
    (ACME, |acme| acme["owners"] = json!(["alice", "mallory"]), &[], &["CATALOG_OWNERS_CHANGED"]),
    (
        ACME,
        |acme| {
            acme["keys"][key(3).public().id()] = json!(key(3).public().to_base64());
        },
        &[],
        &["CATALOG_KEYS_CHANGED"],
    ),
    (ACME, |acme| acme["packages"]["http"]["description"] = json!("Speaks HTTP"), &[], &[]),
    (HTTP, |http| http["artifacts"][0]["yanked"] = json!(true), &[], &["CATALOG_YANKED"]),
    (HTTP, |http| http["artifacts"][0]["url"] = json!("x.dmp"), &[], &["CATALOG_URL_MOVED"]),
    (
        HTTP,
        |http| {
            let hash = format!("sha256:{}", "0".repeat(64));
            http["artifacts"][0]["sha256"] = json!(hash);
        },
        &["CATALOG_VERSION_CHANGED"],
        &[],
    ),
    (
        HTTP,
        |http| http["artifacts"][0]["dependencies"] = json!({}),
        &["CATALOG_VERSION_CHANGED"],
        &[],
    ),
    (
        HTTP,
        |http| http["artifacts"][0]["target"] = json!("other"),
        &["CATALOG_VERSION_CHANGED"],
        &[],
    ),
];

#[test]
fn what_a_change_may_do() {
    let stage = catalog();
    // A revoked key of long ago.
    let old = format!("ed25519:{}=", "A".repeat(43));
    edit(&stage, ACME, |acme| acme["revoked"] = json!({&old: "lost"}));
    git(&stage, &["init", "--quiet"]);
    git(&stage, &["add", "catalog"]);
    git(&stage, &["commit", "--quiet", "-m", "a catalog in a folder of a repository"]);
    copy_tree(&stage.path("catalog"), &stage.path("before"));
    let bases = [["--base-rev", "HEAD"], ["--base-dir", &stage.shown("before")]];
    let check = |errors: &[&str], look_at: &[&str], what: &str| {
        for base in bases {
            let report = validate(&stage, &[&base[..], &["--by", "alice"]].concat());
            assert_eq!(codes(&report["errors"]), errors, "{what}: {report}");
            assert_eq!(codes(&report["review"]), look_at, "{what}: {report}");
        }
    };
    let again = || {
        fs::remove_dir_all(stage.path("catalog")).unwrap();
        copy_tree(&stage.path("before"), &stage.path("catalog"));
    };
    check(&[], &[], "nothing");
    for (place, (file, change, errors, look_at)) in CHANGES.iter().enumerate() {
        edit(&stage, file, change);
        check(errors, look_at, &format!("{place} {file}"));
        again();
    }
    edit(&stage, ACME, |acme| acme["revoked"] = json!({}));
    check(&["CATALOG_REVOCATION_REMOVED"], &[], "no revocation");
    again();
    fs::remove_file(stage.path("catalog").join(HTTP)).unwrap();
    edit(&stage, ACME, |acme| acme["packages"] = json!({}));
    check(&["CATALOG_VERSION_REMOVED"], &[], "no version");
    again();
    fs::write(stage.path("catalog/policy/signing.md"), "none").unwrap();
    check(&[], &["CATALOG_POLICY_CHANGED"], "another policy");
    again();
    edit(&stage, "packages/tiny/sum/0.1.0.json", |one| one["artifacts"][0]["yanked"] = json!(true));
    check(&["CATALOG_NOT_OWNER"], &["CATALOG_YANKED"], "somebody else's");
    again();
    // All of it by somebody new, of whom nobody has heard.
    stage.package("repo", "neu.a", "1.0.0", 3, &[]);
    let path = stage.shown("repo/neu.a-1.0.0-any.dmp");
    run(&stage, &["add", &path, "--owner", "alice"]).ok();
    check(&[], &["CATALOG_NAMESPACE_NEW"], "a new namespace");
    again();
    run(&stage, &["add", &path, "--owner", "dave"]).ok();
    check(&["CATALOG_NOT_OWNER"], &["CATALOG_NAMESPACE_NEW"], "for somebody else");
    again();
    for rev in ["none", "--help", ""] {
        let base = format!("--base-rev={rev}");
        assert_eq!(run(&stage, &["validate", &base, "--json"]).code(), "CATALOG_BASE", "{rev}");
    }
    // Nobody's index of git was touched.
    let status = Command::new("git")
        .arg("-C")
        .arg(stage.path("catalog"))
        .args(["status", "--porcelain", "."])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&status.stdout), "");
}

/// What somebody could write who wants to be more than text.
const HOSTILE: &str = "<script>document.title='mine'</script></table></td>\
    <img src=x onerror=\"document.title='mine'\">\u{202e}\"'";

#[test]
fn a_page_for_people() {
    let stage = catalog();
    edit(&stage, ACME, |acme| {
        acme["packages"]["http"]["description"] = json!(HOSTILE);
        acme["owners"] = json!([HOSTILE.replace(char::is_control, "")]);
    });
    edit(&stage, ABOUT, |about| {
        about["description"] = json!(HOSTILE);
        about["home"] = json!("javascript:document.title='mine'");
    });
    let out = stage.path("site");
    run(&stage, &["site", "--out", &out.display().to_string()]).ok();
    let page = out.join("index.html");
    let text = fs::read_to_string(&page).unwrap();
    for foreign in ["src=", "<link", "@import", "url(", "<img", "href=\"javascript"] {
        let mut lines = text.lines().filter(|line| line.contains(foreign));
        let escaped = |line: &str| foreign == "src=" && line.contains("&lt;img src=x");
        assert!(lines.all(escaped), "{foreign}");
    }
    for word in ["acme.http", "2.0.0", "Reads JSON", "https://packages.example/files/", "sha256:"] {
        assert!(text.contains(word), "{word}");
    }
    // By the accessibility guidelines: a language, one heading, a label, headers of the table.
    for part in
        ["<html lang=\"en\">", "<h1>", "<label for=\"words\">", "scope=\"col\"", "scope=\"row\""]
    {
        assert!(text.contains(part), "{part}");
    }

    // A browser that runs no script: one that the page itself forbids to.
    let (head, tail) = text.split_once("script-src '").unwrap();
    let (_, tail) = tail.split_once('\'').unwrap();
    let without = out.join("without.html");
    fs::write(&without, format!("{head}script-src 'none'{tail}")).unwrap();
    let Some(plain) = browser::document(&without, "") else { return };
    assert!(plain.contains("<title>Drift packages of community</title>"), "{plain}");
    assert_eq!(plain.matches("<tbody id=\"p-").count(), 3);
    assert!(plain.contains("id=\"search\" role=\"search\" hidden"), "no field that does nothing");

    let document = |fragment| browser::document(&page, fragment).unwrap();
    let all = document("");
    assert!(all.contains("<title>Drift packages of community</title>"), "nothing ran: {all}");
    assert!(!all.contains("<img"), "{all}");
    assert!(all.contains("role=\"status\">3 packages<"), "{all}");
    assert!(!all.contains("role=\"search\" hidden"), "{all}");
    for (words, found, status) in [
        ("#q=reads%20JSON", &["acme.json"][..], "1 of 3 packages"),
        ("#q=ACME", &["acme.http", "acme.json"], "2 of 3 packages"),
        ("#q=0.1.0", &["tiny.sum"], "1 of 3 packages"),
        ("#q=acme%20sum", &[], "0 of 3 packages"),
        ("#q=%zz", &["acme.http", "acme.json", "tiny.sum"], "3 packages"),
        ("#p-acme.http", &["acme.http", "acme.json", "tiny.sum"], "3 packages"),
    ] {
        let text = document(words);
        let shown: Vec<&str> = ["acme.http", "acme.json", "tiny.sum"]
            .into_iter()
            .filter(|id| text.contains(&format!("<tbody id=\"p-{id}\">")))
            .collect();
        assert_eq!(shown, found, "{words}");
        assert!(text.contains(&format!("role=\"status\">{status}<")), "{words}");
    }
}
