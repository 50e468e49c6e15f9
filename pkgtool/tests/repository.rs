//! Repositories: made, signed and checked; fetched from over files, nginx and an object store; and
//! attacked.

#[path = "../../driftpm/tests/browser/mod.rs"]
mod browser;
#[path = "repository/interrupted.rs"]
mod interrupted;
#[path = "repository/page.rs"]
mod page;
#[path = "repository/readme.rs"]
mod readme;
#[path = "../../driftpm/tests/servers/mod.rs"]
mod servers;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use servers::{Answer, Own, nginx, put, s3};
use support::repository::{add_source, command, forget, installed, pack, pkgtool, published, same};
use support::{MANIFEST, Place, Ran, noise};

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("there");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What is left of a way that was gone to its end.
#[track_caller]
fn nothing_is_left(place: &Place) {
    let fetch = place.path("home/cache/epk/fetch");
    assert_eq!(names(&fetch), ["downloads", "indexes"]);
    assert_eq!(names(&fetch.join("downloads")), [""; 0]);
    for indexes in [fetch.join("indexes"), place.path("home/state/epk/indexes")] {
        let names = names(&indexes);
        assert!(matches!(&*names, [name] if name.ends_with(".json")), "{names:?}");
    }
}

/// The files of a repository, by the paths that servers are asked for.
fn files_of(root: PathBuf) -> impl Fn(&str) -> Option<Vec<u8>> + Clone + Send + Sync + 'static {
    move |path| fs::read(root.join(path.trim_start_matches('/').replace("%40", "@"))).ok()
}

/// The answer of servers that don't have it.
fn missing() -> Vec<u8> {
    b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec()
}

#[test]
fn published_with_three_commands_and_installed_with_two() {
    let place = Place::app();
    pack(&place, "1", &noise(300_000));
    // The publisher.
    let key = pkgtool(&place, &["keygen", "repo.key"]).ok();
    pkgtool(&place, &["repo", "init", "repo"]).ok();
    pkgtool(&place, &["repo", "add", "repo", "1.epk", "--sign", "repo.key"]).ok();
    // Everybody else, with what `keygen` has printed.
    let public = key.stdout.split(' ').next().expect("a word");
    pkgtool(&place, &["source", "add", "things", "repo", "--key", public]).ok();
    pkgtool(&place, &["fetch", "org.example.app"]).ok();
    assert_eq!(pkgtool(&place, &["run", "org.example.app"]).ok().stdout, "hello\n");
    assert!(same(&installed(&place, "1"), &place.path("1.epk")));
    let again = pkgtool(&place, &["fetch", "org.example.app"]).ok();
    assert_eq!(again.stdout, "org.example.app@1: is installed\n");
    nothing_is_left(&place);
}

/// A life over every transport: fetch, a new version by difference, a version that is named.
fn life(place: &Place, url: &str, key: &str) {
    add_source(place, url, key);
    let listed = pkgtool(place, &["source", "list", "--json"]).ok().json();
    assert_eq!((&listed["name"], &listed["key_ids"][0]), (&"things".into(), &key.into()));
    let fetched = pkgtool(place, &["fetch", "org.example.app", "--json"]).ok().json();
    let size = fs::metadata(place.path("1.epk")).expect("there").len();
    assert_eq!((fetched["fetched"].as_u64(), fetched["reused"].as_u64()), (Some(size), Some(0)));
    // Version 2 has one other block of five.
    let mut library = noise(300_000);
    library[200_000] ^= 1;
    let file = pack(place, "2", &library);
    pkgtool(place, &["repo", "add", "repo", &file, "--sign", "repo.key"]).ok();
    let dry = pkgtool(place, &["fetch", "org.example.app", "--dry-run", "--json"]).ok().json();
    assert!(!installed(place, "2").exists());
    let fetched = pkgtool(place, &["fetch", "org.example.app", "--json"]).ok().json();
    assert!(same(&installed(place, "2"), &place.path("2.epk")));
    let bytes = |value: &Value, key: &str| value[key].as_u64().expect("a number");
    assert!(bytes(&fetched, "reused") > 200_000, "{fetched}");
    assert!(bytes(&dry, "fetched") < 120_000, "{dry}");
    // The dry run has left the head, so that it is not fetched twice.
    assert!(bytes(&fetched, "fetched") <= bytes(&dry, "fetched"));
    pkgtool(place, &["fetch", "org.example.app@3"]).fails(1, &["no source offers"]);
    pkgtool(place, &["remove", "org.example.app"]).ok();
    pkgtool(place, &["fetch", "org.example.app@1"]).ok();
    assert!(same(&installed(place, "1"), &place.path("1.epk")));
    pkgtool(place, &["source", "remove", "things"]).ok();
    pkgtool(place, &["fetch", "org.example.app"]).fails(1, &["there are no sources"]);
}

#[test]
fn from_a_folder() {
    let (place, key) = published();
    life(&place, "repo", &key);
}

#[test]
fn from_nginx() {
    let (place, key) = published();
    let Some(server) = nginx(&place.path("repo"), None, "") else { return };
    life(&place, &format!("{}/", server.url), &key);
}

#[test]
fn from_an_object_store() {
    let (place, key) = published();
    let Some(server) = s3() else { return };
    let mut library = noise(300_000);
    library[0] ^= 1;
    let file = pack(&place, "2", &library);
    pkgtool(&place, &["repo", "add", "repo", &file, "--sign", "repo.key"]).ok();
    let packages = ["1", "2"].map(|version| format!("packages/org.example.app@{version}.epk"));
    let index = ["", ".zst", ".sig"].map(|suffix| format!("epk-index.json{suffix}"));
    for file in packages.iter().chain(&index) {
        let bytes = fs::read(place.path("repo").join(file)).expect("there");
        put(&server.url, &format!("/bucket/r/{}", file.replace('@', "%40")), &bytes);
    }
    // The commands of this test ask this server.
    let around = |arguments: &[&str]| {
        let mut command = command(&place, "home", arguments);
        command
            .env("AWS_ENDPOINT_URL", &server.url)
            .env("AWS_ACCESS_KEY_ID", "id")
            .env("AWS_SECRET_ACCESS_KEY", "secret");
        Ran::new(&command.output().expect("ran"))
    };
    around(&["source", "add", "things", "s3://bucket/r/", "--key", &key]).ok();
    around(&["fetch", "org.example.app@1"]).ok();
    let fetched = around(&["fetch", "org.example.app", "--json"]).ok().json();
    assert!(fetched["reused"].as_u64() > Some(200_000), "{fetched}");
    assert!(same(&installed(&place, "2"), &place.path("2.epk")));
}

#[test]
fn interrupted_and_without_ranges() {
    let (place, key) = published();
    let mut library = noise(300_000);
    library[250_000] ^= 1;
    let file = pack(&place, "2", &library);
    pkgtool(&place, &["repo", "add", "repo", &file, "--sign", "repo.key"]).ok();
    let read = files_of(place.path("repo"));
    // Packages never come whole by one request.
    let bytes = read.clone();
    let server = Own::new(move |path| match bytes(path) {
        Some(bytes) if path.contains("packages") => Answer::Cut(bytes, "\"tag\"", 100_000),
        Some(bytes) => Answer::File(bytes, "\"tag\""),
        None => Answer::Raw(missing()),
    });
    add_source(&place, &server.url, &key);
    pkgtool(&place, &["fetch", "org.example.app@1"]).ok();
    assert!(same(&installed(&place, "1"), &place.path("1.epk")));
    // A server that answers with the whole, whatever range is asked for.
    let server = Own::new(move |path| match read(path) {
        Some(bytes) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                bytes.len()
            );
            Answer::Raw([head.as_bytes(), &bytes].concat())
        }
        None => Answer::Raw(missing()),
    });
    pkgtool(&place, &["source", "remove", "things"]).ok();
    add_source(&place, &server.url, &key);
    let fetched = pkgtool(&place, &["fetch", "org.example.app", "--json"]).ok().json();
    assert_eq!(fetched["reused"], 0);
    assert!(same(&installed(&place, "2"), &place.path("2.epk")));
}

#[test]
fn who_may_say_what() {
    let (place, key) = published();
    add_source(&place, "repo", &key);
    let other = place.run(&["keygen", "--json", "other.key"]).ok().json();
    let index = place.path("repo/epk-index.json");
    let statement = place.path("repo/epk-index.json.sig");
    let fetch = || pkgtool(&place, &["fetch", "org.example.app", "--dry-run"]);
    fetch().ok();
    let old: Vec<(PathBuf, Vec<u8>)> = ["", ".zst", ".sig"]
        .map(|suffix| place.path(&format!("repo/epk-index.json{suffix}")))
        .map(|path| (path.clone(), fs::read(&path).expect("there")))
        .to_vec();
    let restore = || {
        for (path, bytes) in &old {
            fs::write(path, bytes).expect("written");
        }
    };
    // Another key.
    pkgtool(&place, &["repo", "sign", "repo", "--sign", "other.key"]).ok();
    fetch().fails(5, &["SIGNER_CHANGED", &key]);
    restore();
    // Both keys: one that is trusted is enough. From now on this is the newest state.
    let both = ["repo", "sign", "repo", "--sign", "other.key", "--sign", "repo.key"];
    pkgtool(&place, &both).ok();
    fetch().ok();
    // Rollback.
    restore();
    fetch().fails(5, &["INDEX_ROLLBACK"]);
    // The same number for something else.
    let sign = ["repo", "sign", "repo", "--sign", "repo.key", "--valid-for", "7"];
    pkgtool(&place, &sign).ok();
    fetch().fails(5, &["INDEX_EQUIVOCATION"]);
    // Freeze.
    pkgtool(&place, &["repo", "sign", "repo", "--sign", "repo.key", "--valid-for", "0"]).ok();
    fetch().fails(5, &["INDEX_EXPIRED"]);
    pkgtool(&place, &["repo", "sign", "repo", "--sign", "repo.key"]).ok();
    fetch().ok();
    // A changed statement, index, and neither.
    let good = fs::read_to_string(&statement).expect("there");
    fs::write(&statement, good.replace("\"number\":4", "\"number\":5")).expect("written");
    fetch().fails(5, &["INDEX_SIGNATURE_INVALID"]);
    fs::write(&statement, good.replace("epk-index", "drift-index")).expect("written");
    fetch().fails(5, &["INDEX_"]);
    fs::remove_file(&statement).expect("removed");
    fetch().fails(5, &["INDEX_SIGNATURE_MISSING"]);
    fs::write(&statement, &good).expect("written");
    forget(&place);
    add_source(&place, "repo", &key);
    let text = fs::read_to_string(&index).expect("there");
    fs::write(place.path("repo/epk-index.json.zst"), "nonsense").expect("written");
    fetch().fails(3, &["TRANSPORT_WRONG_SIZE"]);
    assert_eq!(fs::read_to_string(&index).expect("there"), text);
    let key_of_other = other["key_id"].as_str().expect("text");
    pkgtool(&place, &["repo", "check", "repo", "--key", &key]).fails(1, &["findings"]);
    pkgtool(&place, &["repo", "sign", "repo", "--sign", "repo.key"]).ok();
    pkgtool(&place, &["repo", "check", "repo", "--key", &key]).ok();
    pkgtool(&place, &["repo", "check", "repo", "--key", key_of_other]).fails(1, &["findings"]);
}

#[test]
fn packages_that_are_not_what_the_index_says() {
    let (place, key) = published();
    add_source(&place, "repo", &key);
    let file = place.path("repo/packages/org.example.app@1.epk");
    let good = fs::read(&file).expect("there");
    let fetch = || pkgtool(&place, &["fetch", "org.example.app"]);
    // Another byte, another length, another package under this name.
    let mut bytes = good.clone();
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(&file, &bytes).expect("written");
    fetch().fails(5, &["PACKAGE_MISMATCH", "SHA-256"]);
    fs::write(&file, &good[1..]).expect("written");
    fetch().fails(3, &["TRANSPORT_WRONG_SIZE"]);
    let checked = pkgtool(&place, &["repo", "check", "repo", "--json"]);
    assert_eq!(checked.code, Some(1));
    assert_eq!(checked.json()["findings"][0]["code"], "PACKAGE_MISMATCH");
    fs::write(&file, &good).expect("written");
    fs::write(place.path("repo/packages/letter"), "to my mother").expect("written");
    let checked = pkgtool(&place, &["repo", "check", "repo", "--json"]);
    assert_eq!(checked.json()["findings"][0]["code"], "FILE_UNKNOWN");
    // A publisher that says what is not so: signed, but the package says otherwise.
    let index = place.path("repo/epk-index.json");
    let text = fs::read_to_string(&index).expect("there");
    let hash = serde_json::from_str::<Value>(&text).expect("JSON")["packages"]["org.example.app"]
        ["1"]["package_hash"]
        .as_str()
        .expect("text")
        .to_owned();
    let with_key = format!("\"key_ids\":[\"{key}\"]");
    for (from, to, code, said) in [
        ("\"org.example.app\":{", "\"org.example.bank\":{", 5, "the package says that it is"),
        (&*hash, &*"0".repeat(64), 5, "PackageHash"),
        ("\"key_ids\":[]", &*with_key, 5, "signed by nobody"),
        ("\"arch\":\"x86-64\"", "\"arch\":\"riscv\"", 6, "not for this machine"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        fs::write(&index, changed).expect("written");
        pkgtool(&place, &["repo", "sign", "repo", "--sign", "repo.key"]).ok();
        let name = if to.contains("bank") { "org.example.bank" } else { "org.example.app" };
        pkgtool(&place, &["fetch", name]).fails(code, &[said]);
        let listed = pkgtool(&place, &["list"]).ok();
        assert_eq!(listed.stdout, "", "{from}");
    }
    // What is installed stays, when another name is said to be that very package.
    fs::write(&index, &text).expect("written");
    pkgtool(&place, &["repo", "sign", "repo", "--sign", "repo.key"]).ok();
    pkgtool(&place, &["fetch", "org.example.app"]).ok();
    let changed = text.replacen("\"org.example.app\":{", "\"org.example.bank\":{", 1);
    fs::write(&index, changed).expect("written");
    pkgtool(&place, &["repo", "sign", "repo", "--sign", "repo.key"]).ok();
    pkgtool(&place, &["fetch", "org.example.bank"]).fails(5, &["the package says that it is"]);
    assert_eq!(pkgtool(&place, &["list"]).ok().stdout.lines().count(), 1);
    // Nobody signs what nobody would read.
    for path in ["../packages/org", "file:///etc/org"] {
        fs::write(&index, text.replacen("packages/org", path, 1)).expect("written");
        let sign = ["repo", "sign", "repo", "--sign", "repo.key"];
        pkgtool(&place, &sign).fails(1, &["INDEX_INVALID", path]);
    }
}

#[test]
fn nobody_guesses_between_sources() {
    let (place, key) = published();
    add_source(&place, "repo", &key);
    let copy = place.path("copy");
    pkgtool(&place, &["repo", "init", "copy"]).ok();
    let file = pack(&place, "9", b"evil");
    let add = ["repo", "add", "copy", &file, "--sign", "repo.key"];
    pkgtool(&place, &add).ok();
    pkgtool(&place, &["source", "add", "copy", &copy.display().to_string(), "--key", &key]).ok();
    let fails = pkgtool(&place, &["fetch", "org.example.app"]);
    fails.fails(1, &["several sources: `copy`, `things`", "--from"]);
    pkgtool(&place, &["fetch", "org.example.app", "--from", "things"]).ok();
    assert!(same(&installed(&place, "1"), &place.path("1.epk")));
    pkgtool(&place, &["fetch", "x", "--from", "nowhere"]).fails(1, &["no source is named"]);
}

#[test]
fn searched_updated_and_rolled_back() {
    let (place, key) = published();
    add_source(&place, "repo", &key);
    pkgtool(&place, &["fetch", "org.example.app"]).ok();
    assert_eq!(pkgtool(&place, &["outdated"]).ok().stdout, "");
    pkgtool(&place, &["update", "--check"]).ok();
    place.file("app/bin/app", b"#!/bin/sh\necho two\n", 0o755);
    for version in ["2-rc.1", "2"] {
        let file = pack(&place, version, &noise(300_000));
        pkgtool(&place, &["repo", "add", "repo", &file, "--sign", "repo.key"]).ok();
    }
    let found = pkgtool(&place, &["search", "EXAMPLE", "app"]).ok();
    assert_eq!(found.stdout, "org.example.app@2 (things): An <b>example</b>\n");
    pkgtool(&place, &["search", "example", "nothing"]).fails(1, &["no package"]);
    let outdated = pkgtool(&place, &["outdated"]).ok();
    assert_eq!(outdated.stdout, "org.example.app@1: `things` has 2\n");
    pkgtool(&place, &["update", "--check"]).fails(1, &["1 packages"]);
    let updated = pkgtool(&place, &["update", "org.example.app", "--json"]).ok().json();
    assert_eq!(updated["version"], "2");
    assert!(updated["reused"].as_u64() > Some(250_000), "{updated}");
    let run = || pkgtool(&place, &["run", "org.example.app"]).ok().stdout;
    assert_eq!(run(), "two\n");
    pkgtool(&place, &["rollback", "org.example.app"]).ok();
    assert_eq!(run(), "hello\n");
    pkgtool(&place, &["rollback", "org.example.app"]).fails(1, &["the only version"]);
}

#[test]
fn a_repository_is_changed() {
    let (place, key) = published();
    let file = pack(&place, "2", b"two");
    let warned = pkgtool(&place, &["repo", "add", "repo", &file]).ok();
    assert!(warned.stderr.contains("not signed"), "{}", warned.stderr);
    pkgtool(&place, &["repo", "check", "repo"]).fails(1, &["findings"]);
    let sign = ["repo", "remove", "repo", "org.example.app@1", "--sign", "repo.key", "--json"];
    let signed = pkgtool(&place, &sign).ok().json();
    assert_eq!((&signed["number"], &signed["key_ids"][0]), (&2.into(), &key.as_str().into()));
    assert!(!place.path("repo/packages/org.example.app@1.epk").exists());
    pkgtool(&place, &["repo", "check", "repo", "--key", &key]).ok();
    // A version that was published keeps its bytes.
    pack(&place, "2", b"other");
    pkgtool(&place, &["repo", "add", "repo", "2.epk"]).fails(1, &["has other bytes"]);
    for (arguments, code) in [
        (&["repo", "init", "repo"][..], 1),
        (&["repo", "remove", "repo", "org.example.app@1"], 1),
        (&["repo", "remove", "repo", "org.example.app"], 2),
        (&["repo", "sign", "repo"], 2),
        (&["repo", "sign", "repo", "--sign", "repo.key", "--number", "2"], 5),
        (&["repo", "add", "nowhere", "2.epk"], 3),
        (&["repo", "check", "nowhere"], 3),
    ] {
        assert_eq!(pkgtool(&place, arguments).code, Some(code), "{arguments:?}");
    }
    // The page says it, and stays text.
    let page = fs::read_to_string(place.path("repo/index.html")).expect("there");
    assert!(page.contains("An &lt;b&gt;example&lt;/b&gt;") && page.contains("Things"), "{page}");
}

/// What came over the wire is in the log as what came from a file is.
#[test]
fn the_log_tells_of_what_was_fetched_and_of_what_was_refused() {
    let (place, key) = published();
    add_source(&place, "repo", &key);
    let log = place.path("log");
    let told = |arguments: &[&str]| {
        let ran = command(&place, "home", arguments).env("EPK_LOG", &log).output().expect("ran");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _removed = fs::remove_file(&log);
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let told: Vec<(String, String)> =
            lines.iter().map(|line| (word(line, "target"), word(line, "message"))).collect();
        (ran.status.success(), told)
    };
    let valid = ("epk::validate".to_owned(), "valid".to_owned());
    let compatible = ("epk::compatibility".to_owned(), "compatible".to_owned());
    let refused = ("epk::validate".to_owned(), "refused".to_owned());
    assert_eq!(told(&["repo", "check", "repo"]), (true, vec![valid.clone()]));
    assert_eq!(told(&["fetch", "org.example.app"]), (true, vec![compatible, valid]));
    // By a policy that the next user has, whatever the repository says.
    forget(&place);
    add_source(&place, "repo", &key);
    let fetched = told(&["fetch", "org.example.app", "--signature", "required"]);
    assert_eq!(fetched, (false, vec![refused]));
}
