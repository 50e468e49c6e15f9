//! Repositories on servers, from both ends, with the real `drift`: the way it goes, and every way
//! in which somebody could want it to go.

mod servers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use driftpm::drift::container::read_full;
use driftpm::drift::container_write::{Module, Package, write_package};
use driftpm::drift::identity::Identity;
use driftpm::drift::metadata::{Metadata, attach};
use driftpm::drift::repository::{SignRequest, sign_index};
use driftpm::index::{Content, Statement, sign};
use driftpm::json::Value as Json;
use driftpm::keys::PrivateKey;
use serde_json::{Value, json};
use servers::{Own, nginx, put, s3};

const DAY: u64 = 86_400;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

/// A user with a project, and publishers with repositories, in one temporary folder.
struct Stage(tempfile::TempDir);

struct Ran {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn ok(self) -> Self {
        assert_eq!(self.exit, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    fn json(&self) -> Value {
        assert_eq!(self.stderr, "");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The code of the only problem.
    fn code(&self) -> String {
        assert_eq!(self.exit, 2, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        let report = self.json();
        assert_eq!(report["errors"].as_array().unwrap().len(), 1, "{report}");
        report["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

impl Stage {
    fn new() -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        for seed in 1..=3 {
            let text = key(seed).to_file_text();
            fs::write(stage.path(&format!("key{seed}")), text).unwrap();
        }
        fs::create_dir(stage.path("app")).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn drift(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_drift"))
            .args(arguments)
            .current_dir(self.path("app"))
            .env("HOME", self.path("home"))
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CACHE_HOME")
            .envs([("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        Ran {
            exit: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Puts a signed package into the repository `repository`.
    fn package(
        &self,
        repository: &str,
        id: &str,
        version: &str,
        signer: u8,
        needs: &[(&str, &str)],
    ) {
        let bytes = package(id, version, needs);
        let folder = self.path(repository);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{id}-{version}-any.dmp"));
        fs::write(&path, bytes).unwrap();
        let _ = fs::remove_file(format!("{}.sig", path.display()));
        let (path, key) = (path.display().to_string(), self.shown(&format!("key{signer}")));
        self.drift(&["sign", &path, "--key", &key, "--include-pubkey"]).ok();
    }

    /// Builds and signs the index of a repository.
    fn publish(&self, repository: &str, signer: u8, more: &[&str]) {
        let index = self.shown(&format!("{repository}/drift-index.json"));
        let folder = self.shown(repository);
        let mut build = vec!["index", "build", "--artifacts", &folder, "--out", &index];
        build.extend(more);
        self.drift(&build).ok();
        let key = self.shown(&format!("key{signer}"));
        self.drift(&["index", "sign", "--in", &index, "--key", &key]).ok();
        self.drift(&["index", "verify", "--in", &index]).ok();
    }

    /// The project's file: repositories by name and URL, best first, and what it needs.
    fn project(&self, repositories: &[(&str, &str)], needs: &[(&str, &str)]) {
        let repositories: Vec<Value> = repositories
            .iter()
            .enumerate()
            .map(|(priority, (name, url))| {
                let kind = if url.starts_with("s3:") {
                    "s3"
                } else if url.starts_with("http") {
                    "http"
                } else {
                    "dir"
                };
                json!({"name": name, "type": kind, "url": url, "priority": priority})
            })
            .collect();
        let deps: serde_json::Map<String, Value> =
            needs.iter().map(|(id, constraint)| ((*id).to_owned(), json!(constraint))).collect();
        let file = json!({"format": 1, "name": "app", "repositories": repositories, "deps": deps});
        fs::write(self.path("app/drift-project.json"), file.to_string()).unwrap();
    }

    fn locked(&self, package: &str) -> Value {
        let lock = fs::read(self.path("app/drift-project.lock.json")).unwrap();
        let lock: Value = serde_json::from_slice(&lock).unwrap();
        lock["packages"][package].clone()
    }

    fn trust(&self) -> Value {
        let store = fs::read(self.path("app/drift/trust.json")).unwrap();
        serde_json::from_slice(&store).unwrap()
    }

    fn resolve(&self) -> Ran {
        self.drift(&["resolve", "--json", "--trust-on-first-use"])
    }

    fn update(&self) -> Ran {
        self.drift(&["update", "--json"])
    }

    fn fetch(&self) -> Ran {
        self.drift(&["fetch", "--json", "--trust-on-first-use"])
    }

    /// One repository with `acme.http` 1.0.0 by key 1, which also signs the index.
    fn usual(&self) -> Own {
        self.package("repo", "acme.http", "1.0.0", 1, &[]);
        self.publish("repo", 1, &[]);
        let server = Own::folder(&self.path("repo"));
        self.project(&[("main", &server.url)], &[("acme.http", "^1")]);
        server
    }
}

/// A package with one module of its own name and a megabyte of nothing.
fn package(id: &str, version: &str, needs: &[(&str, &str)]) -> Vec<u8> {
    let empty = " ".repeat(100_000);
    let bytes = write_package(&Package {
        identity: Identity { package_id: id.into(), version: version.into(), target: "any".into() },
        build_epoch: None,
        modules: vec![Module {
            id: id.into(),
            exports: Json::Null,
            interface: b"{}".to_vec(),
            payload: format!("{{\"version\":\"{version}\"{empty}}}").into_bytes(),
        }],
    })
    .unwrap();
    let dependencies = needs.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned()));
    let metadata = Metadata { dependencies: dependencies.collect(), ..Metadata::default() };
    attach(&bytes, &read_full(&bytes).unwrap(), &metadata, &Default::default()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The whole way, over whatever serves the folder `repo` at `url`.
fn the_way(stage: &Stage, url: &str) {
    stage.project(&[("main", url)], &[("acme.http", "^1")]);
    let refused = stage.drift(&["resolve", "--json"]);
    assert_eq!(refused.code(), "FIRST_USE_REFUSED", "there is no terminal");
    assert!(!stage.path("app/drift").exists(), "nothing was written");
    stage.resolve().ok();
    assert_eq!(stage.locked("acme.http")["version"], "1.2.0");
    assert_eq!(stage.locked("acme.json")["version"], "2.0.0");
    assert_eq!(stage.drift(&["fetch", "--json"]).code(), "FIRST_USE_REFUSED");
    let fetched = stage.fetch().ok().json();
    assert_eq!(fetched["packages"].as_array().unwrap().len(), 2);
    let trust = stage.trust();
    let kid = key(1).public().id();
    assert_eq!(trust["namespaces"], json!({"acme.*": [kid]}));
    assert_eq!(trust["repositories"][url.trim_end_matches('/')], json!([key(2).public().id()]));
    stage.drift(&["gate", "cache/driftpm/pkgs"]).ok();
    // The second time nothing is asked, and the index is not fetched again.
    stage.drift(&["update", "--json"]).ok();
    let again = stage.drift(&["fetch", "--json"]).ok().json();
    assert_eq!(again["packages"][0]["present"], true);
    let found = stage.drift(&["search", "json", "--json"]).ok().json();
    assert_eq!(found["packages"][0]["package_id"], "acme.json");
    assert_eq!(found["packages"][0]["description"], "Reads JSON");
    assert_eq!(found["packages"][0]["version"], "2.0.0");
}

/// A repository by key 1, its index by key 2, packed.
fn publish_the_way(stage: &Stage) {
    stage.package("repo", "acme.http", "1.0.0", 1, &[]);
    stage.package("repo", "acme.http", "1.2.0", 1, &[("acme.json", "^2")]);
    stage.package("repo", "acme.json", "2.0.0", 1, &[]);
    let about = json!({"packages": {"acme.json": {"description": "Reads JSON", "tags": ["data"]}}});
    fs::write(stage.path("about.json"), about.to_string()).unwrap();
    let (index, about) = (stage.shown("repo/drift-index.json"), stage.shown("about.json"));
    let (repo, key2) = (stage.shown("repo"), stage.shown("key2"));
    let build = ["index", "build", "--artifacts", &repo, "--out", &index];
    let build = [&build[..], &["--about", &about, "--pack", "--json"]].concat();
    let report = stage.drift(&build).ok().json();
    assert_eq!(
        (&report["packages"], &report["versions"], &report["added"]),
        (&json!(2), &json!(3), &json!(3))
    );
    assert!(stage.path("repo/acme.json-2.0.0-any.dmp.zst").exists());
    let once = fs::read(&index).unwrap();
    let report = stage.drift(&build).ok().json();
    assert_eq!((&report["added"], &report["changed"]), (&json!(0), &json!(false)));
    assert_eq!(fs::read(&index).unwrap(), once, "the same bytes");
    let sign = ["index", "sign", "--in", &index, "--key", &key2, "--pack"];
    stage.drift(&sign).ok();
    let number = |arguments: &[&str]| stage.drift(arguments).ok().json()["number"].clone();
    assert_eq!(number(&[&sign[..], &["--json"]].concat()), 2);
    assert_eq!(number(&["index", "verify", "--in", &index, "--json"]), 2);
    let other = key(1).public().to_base64();
    let refused = stage.drift(&["index", "verify", "--in", &index, "--pubkey", &other, "--json"]);
    assert_eq!(refused.code(), "SIGNER_CHANGED");
}

#[test]
fn the_way_over_nginx() {
    let stage = Stage::new();
    publish_the_way(&stage);
    let Some(server) = nginx(&stage.path("repo"), None, "") else { return };
    the_way(&stage, &server.url.clone());
}

#[test]
fn the_way_over_an_object_store() {
    let stage = Stage::new();
    publish_the_way(&stage);
    let Some(server) = s3() else { return };
    for entry in fs::read_dir(stage.path("repo")).unwrap() {
        let entry = entry.unwrap();
        let path = format!("/bucket/r/{}", entry.file_name().to_str().unwrap());
        put(&server.url, &path, &fs::read(entry.path()).unwrap());
    }
    // The client reads the endpoint from the environment, as others do.
    let output = Command::new(env!("CARGO_BIN_EXE_drift"))
        .args(["resolve", "--json", "--trust-on-first-use"])
        .current_dir({
            stage.project(&[("main", "s3://bucket/r")], &[("acme.http", "^1")]);
            stage.path("app")
        })
        .env("HOME", stage.path("home"))
        .envs([("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")])
        .env("AWS_ENDPOINT_URL", &server.url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stage.locked("acme.json")["version"], "2.0.0");
}

#[test]
fn the_way_over_files() {
    let stage = Stage::new();
    publish_the_way(&stage);
    the_way(&stage, &format!("file://{}", stage.shown("repo")));
}

#[test]
fn a_swapped_artifact() {
    let stage = Stage::new();
    let _server = stage.usual();
    stage.resolve().ok();
    let path = stage.path("repo/acme.http-1.0.0-any.dmp");
    let sidecar = fs::read(stage.path("repo/acme.http-1.0.0-any.dmp.sig")).unwrap();
    fs::write(&path, package("acme.http", "1.0.0", &[("evil", "*")])).unwrap();
    assert_eq!(stage.fetch().code(), "LOCK_SHA_MISMATCH");
    let _ = fs::remove_file(stage.path("repo/acme.http-1.0.0-any.dmp.sig"));
    // Signed anew by the same publisher, it is still not what was locked.
    stage.drift(&["sign", &path.display().to_string(), "--key", &stage.shown("key1")]).ok();
    assert_eq!(stage.fetch().code(), "LOCK_SHA_MISMATCH");
    fs::write(&path, package("acme.http", "1.0.0", &[])).unwrap();
    assert_eq!(stage.fetch().code(), "LOCK_SIG_SHA_MISMATCH");
    fs::remove_file(stage.path("repo/acme.http-1.0.0-any.dmp.sig")).unwrap();
    assert_eq!(stage.fetch().code(), "LOCK_SIGNATURE_MISSING");
    assert!(!stage.path("app/cache/driftpm/pkgs/acme.http").exists(), "nothing entered the cache");
    fs::write(stage.path("repo/acme.http-1.0.0-any.dmp.sig"), sidecar).unwrap();
    stage.fetch().ok();
}

#[test]
fn published_versions_do_not_change() {
    let stage = Stage::new();
    let _server = stage.usual();
    let (repo, index) = (stage.shown("repo"), stage.shown("repo/drift-index.json"));
    let build = ["index", "build", "--artifacts", &repo, "--out", &index, "--json"];
    stage.package("repo", "acme.http", "1.0.0", 1, &[("more", "*")]);
    assert_eq!(stage.drift(&build).code(), "INDEX_VERSION_CHANGED");
    fs::remove_file(stage.path("repo/acme.http-1.0.0-any.dmp")).unwrap();
    assert_eq!(stage.drift(&build).code(), "INDEX_VERSION_MISSING");
    stage.drift(&[&build[..], &["--force"]].concat()).ok();
}

#[test]
fn an_old_index_again() {
    let stage = Stage::new();
    let _server = stage.usual();
    stage.resolve().ok();
    copy(&stage.path("repo"), &stage.path("old"));
    stage.package("repo", "acme.http", "1.1.0", 1, &[]);
    stage.publish("repo", 1, &[]);
    stage.update().ok();
    assert_eq!(stage.locked("acme.http")["version"], "1.1.0");
    copy(&stage.path("old"), &stage.path("repo"));
    assert_eq!(stage.update().code(), "INDEX_ROLLBACK");
    assert_eq!(stage.locked("acme.http")["version"], "1.1.0");
}

#[test]
fn an_index_that_is_kept_from_changing() {
    let stage = Stage::new();
    let _server = stage.usual();
    stage.resolve().ok();
    let sign = |now, number| {
        sign_index(&SignRequest {
            index: stage.path("repo/drift-index.json"),
            keys: vec![&key(1)],
            number: Some(number),
            now,
            valid_for: DAY,
            pack: false,
        })
        .unwrap();
    };
    sign(now() - 2 * DAY, 5);
    assert_eq!(stage.update().code(), "INDEX_EXPIRED");
    sign(now(), 6);
    stage.update().ok();
    // Two states under one number.
    fs::remove_file(stage.path("repo/drift-index.json.sig")).unwrap();
    sign(now() - 10, 6);
    assert_eq!(stage.update().code(), "INDEX_EQUIVOCATION");
}

#[test]
fn an_index_and_a_statement_that_do_not_belong_together() {
    let stage = Stage::new();
    let _server = stage.usual();
    let path = stage.path("repo/drift-index.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("1.0.0", "1.0.1")).unwrap();
    assert_eq!(stage.resolve().code(), "INDEX_CONTENT_MISMATCH");
    fs::write(&path, "x").unwrap();
    assert_eq!(stage.resolve().code(), "TRANSPORT_WRONG_SIZE");
    let statement = stage.path("repo/drift-index.json.sig");
    let signed = fs::read_to_string(&statement).unwrap();
    fs::write(&statement, signed.replace("\"number\":1", "\"number\":9")).unwrap();
    assert_eq!(stage.resolve().code(), "INDEX_SIGNATURE_INVALID");
    fs::write(&statement, "{}").unwrap();
    assert_eq!(stage.resolve().code(), "INDEX_STATEMENT_INVALID");
    fs::remove_file(&statement).unwrap();
    assert_eq!(stage.resolve().code(), "INDEX_SIGNATURE_MISSING");
    // Right in every way, but about something else.
    let other = Statement {
        kind: "epk-index".into(),
        number: 2,
        created: now(),
        expires: now() + DAY,
        content: Content::of(text.as_bytes()),
        packed: None,
    };
    fs::write(&statement, sign(&other, &[&key(1)])).unwrap();
    assert_eq!(stage.resolve().code(), "INDEX_KIND");
}

#[test]
fn another_signer_of_the_index() {
    let stage = Stage::new();
    let server = stage.usual();
    stage.resolve().ok();
    stage.publish("repo", 2, &[]);
    let update = ["update", "--json", "--trust-on-first-use"];
    assert_eq!(stage.drift(&update).code(), "SIGNER_CHANGED", "the first use is over");
    let pubkey = key(2).public().to_base64();
    let rotate = ["trust", "rotate", "--repository", &server.url, "--pubkey", &pubkey, "--json"];
    let report = stage.drift(&[&rotate[..], &["--revoke-old"]].concat()).ok().json();
    assert_eq!(report["replaced"], json!([key(1).public().id()]));
    stage.update().ok();
    stage.publish("repo", 1, &[]);
    assert_eq!(stage.drift(&update).code(), "SIGNER_REVOKED", "the old one is revoked");
    let back = key(1).public().to_base64();
    let rotate = ["trust", "rotate", "--repository", &server.url, "--pubkey", &back, "--json"];
    assert_eq!(stage.drift(&rotate).code(), "TRUST_ROTATE_REFUSED");
}

#[test]
fn revocation_wins_over_first_use() {
    let stage = Stage::new();
    let _server = stage.usual();
    stage.resolve().ok();
    stage.drift(&["trust", "revoke", "--kid", &key(1).public().id()]).ok();
    assert_eq!(stage.fetch().code(), "SIGNER_REVOKED");
    // In the user's store it counts as well, even before anything was used.
    let stage = Stage::new();
    let _server = stage.usual();
    let store = stage.shown("home/.config/drift/trust.json");
    let kid = key(1).public().id();
    stage.drift(&["trust", "revoke", "--trust-store", &store, "--kid", &kid]).ok();
    assert_eq!(stage.resolve().code(), "SIGNER_REVOKED");
    assert!(!stage.path("app/drift").exists());
}

#[test]
fn another_signer_of_a_package() {
    let stage = Stage::new();
    let _server = stage.usual();
    stage.resolve().ok();
    stage.fetch().ok();
    stage.package("repo", "acme.http", "1.1.0", 2, &[]);
    stage.publish("repo", 1, &[]);
    stage.update().ok();
    assert_eq!(stage.fetch().code(), "SIGNER_CHANGED");
    let pubkey = key(2).public().to_base64();
    stage.drift(&["trust", "rotate", "--namespace", "acme.*", "--pubkey", &pubkey]).ok();
    stage.fetch().ok();
    assert_eq!(stage.trust()["namespaces"]["acme.*"], json!([key(2).public().id()]));
}

#[test]
fn names_that_are_taken() {
    for (id, code) in [
        ("acme.evil", "SIGNER_CHANGED"),
        ("acrne.http", "NAMESPACE_LOOKALIKE"),
        ("Acme.http", "NAMESPACE_LOOKALIKE"),
        ("std.io", "NAMESPACE_RESERVED"),
        ("drift.core", "NAMESPACE_RESERVED"),
    ] {
        let stage = Stage::new();
        let server = stage.usual();
        stage.resolve().ok();
        stage.fetch().ok();
        let before = stage.trust();
        stage.package("repo", id, "1.0.0", 2, &[]);
        stage.publish("repo", 1, &[]);
        stage.project(&[("main", &server.url)], &[("acme.http", "^1"), (id, "^1")]);
        stage.update().ok();
        assert_eq!(stage.fetch().code(), code, "{id}");
        assert_eq!(stage.trust(), before, "{id}");
    }
    // Bound more narrowly: what is beside it is not free for others.
    let stage = Stage::new();
    let server = stage.usual();
    let pubkey = key(1).public().to_base64();
    stage.drift(&["trust", "add-key", "--namespace", "acme.http", "--pubkey", &pubkey]).ok();
    stage.package("repo", "acme.evil", "1.0.0", 2, &[]);
    stage.publish("repo", 1, &[]);
    stage.project(&[("main", &server.url)], &[("acme.evil", "^1")]);
    stage.resolve().ok();
    assert_eq!(stage.fetch().code(), "NAMESPACE_TAKEN");
    // A signer that does not show its key cannot be used the first time.
    let stage = Stage::new();
    let _server = stage.usual();
    let path = stage.shown("repo/acme.http-1.0.0-any.dmp");
    stage.drift(&["sign", &path, "--key", &stage.shown("key1")]).ok();
    stage.publish("repo", 1, &[]);
    stage.resolve().ok();
    assert_eq!(stage.fetch().code(), "FIRST_USE_NO_KEY");
}

#[test]
fn two_repositories_with_one_name() {
    let stage = Stage::new();
    stage.package("ours", "acme.secret", "1.0.0", 1, &[]);
    stage.publish("ours", 1, &[]);
    stage.package("theirs", "acme.secret", "9.0.0", 2, &[]);
    stage.package("theirs", "acme.open", "1.0.0", 2, &[("acme.secret", "*")]);
    stage.publish("theirs", 2, &[]);
    let (ours, theirs) = (Own::folder(&stage.path("ours")), Own::folder(&stage.path("theirs")));
    let repositories = [("ours", ours.url.as_str()), ("theirs", theirs.url.as_str())];
    stage.project(&repositories, &[("acme.secret", "*"), ("acme.open", "*")]);
    stage.resolve().ok();
    assert_eq!(stage.locked("acme.secret")["version"], "1.0.0");
    assert_eq!(stage.locked("acme.secret")["repository"], "ours");
    // What is gone from the one is not looked for in the other.
    copy(&stage.path("ours"), &stage.path("theirs"));
    fs::remove_file(stage.path("ours/acme.secret-1.0.0-any.dmp")).unwrap();
    let fetch = stage.drift(&["fetch", "--json", "--trust-on-first-use"]);
    assert_eq!(fetch.code(), "LOCK_ARTIFACT_MISSING");
    // A version that only the other has is impossible, not found there.
    stage.project(&repositories, &[("acme.secret", "^9")]);
    assert_eq!(stage.drift(&["update", "--json"]).code(), "RESOLUTION_IMPOSSIBLE");
}

/// Puts an index of other content into the repository, signed as it should be.
fn forge(stage: &Stage, change: impl Fn(String) -> String) {
    let path = stage.path("repo/drift-index.json");
    let text = change(fs::read_to_string(&path).unwrap());
    fs::write(&path, &text).unwrap();
    let statement = Statement {
        kind: "drift-index".into(),
        number: now(),
        created: now(),
        expires: now() + DAY,
        content: Content::of(text.as_bytes()),
        packed: None,
    };
    let statement = sign(&statement, &[&key(1)]);
    fs::write(stage.path("repo/drift-index.json.sig"), statement).unwrap();
}

#[test]
fn paths_that_lead_elsewhere() {
    for url in [
        "../../outside.dmp",
        "/etc/passwd",
        "a/../../b",
        "a//b",
        "a\\\\b",
        "file:///etc/passwd",
        "ftp://host/x",
        "http://user:password@host/x",
        "",
    ] {
        let stage = Stage::new();
        let _server = stage.usual();
        let real = "\"url\":\"acme.http-1.0.0-any.dmp\"";
        forge(&stage, |text| {
            assert!(text.contains(real), "{text}");
            text.replace(real, &format!("\"url\":\"{url}\""))
        });
        let code = stage.resolve().code();
        assert!(["REPOSITORY_URL", "INDEX_INVALID"].contains(&code.as_str()), "{url}: {code}");
        assert!(!stage.path("app/drift-project.lock.json").exists());
    }
    let stage = Stage::new();
    let _server = stage.usual();
    forge(&stage, |text| text.replace("\"base_url\":null", "\"base_url\":\"file:///etc\""));
    assert_eq!(stage.resolve().code(), "REPOSITORY_URL");
    // A lock of another's making does not reach further.
    let stage = Stage::new();
    let _server = stage.usual();
    stage.resolve().ok();
    let lock = stage.path("app/drift-project.lock.json");
    let text = fs::read_to_string(&lock).unwrap();
    fs::write(&lock, text.replace("\"acme.http-1.0.0-any.dmp\"", "\"file:///etc/passwd\""))
        .unwrap();
    assert_eq!(stage.fetch().code(), "REPOSITORY_URL");
}

#[test]
fn bombs() {
    // An index that is announced as larger than any.
    let stage = Stage::new();
    let _server = stage.usual();
    let statement = |size, packed: &[u8]| {
        let mut content = Content::of(b"x");
        content.size = size;
        let statement = Statement {
            kind: "drift-index".into(),
            number: now() + size,
            created: now(),
            expires: now() + DAY,
            content,
            packed: (!packed.is_empty()).then(|| Content::of(packed)),
        };
        fs::write(stage.path("repo/drift-index.json.zst"), packed).unwrap();
        let bytes = sign(&statement, &[&key(1)]);
        fs::write(stage.path("repo/drift-index.json.sig"), bytes).unwrap();
    };
    // A packed index of a gigabyte where a kilobyte was stated.
    let bomb = rle_bomb(1 << 30);
    assert!(bomb.len() < 100_000);
    statement(1000, &bomb);
    let problem = stage.resolve().json()["errors"][0].clone();
    assert_eq!(problem["code"], "INDEX_CONTENT_MISMATCH");
    assert!(problem["message"].as_str().unwrap().contains("more than 1000 bytes"), "{problem}");
    statement(1 << 40, b"");
    assert_eq!(stage.resolve().code(), "INDEX_TOO_LARGE");

    // A package that unpacks to more than packages may have.
    let stage = Stage::new();
    let _server = stage.usual();
    forge(&stage, |text| text.replace("\"packed_url\":null", "\"packed_url\":\"x.dmp.zst\""));
    stage.resolve().ok();
    let mut announced = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    announced.extend((1_u64 << 40).to_le_bytes());
    announced.extend(&rle_bomb(1 << 20)[6..]);
    fs::write(stage.path("repo/x.dmp.zst"), announced).unwrap();
    let code = stage.fetch().code();
    assert!(["ARTIFACT_TOO_LARGE", "ARTIFACT_DAMAGED"].contains(&code.as_str()), "{code}");
    fs::write(stage.path("repo/x.dmp.zst"), "no frame").unwrap();
    assert_eq!(stage.fetch().code(), "ARTIFACT_DAMAGED");
}

/// A frame of so many zeroes: four bytes for each 128 KiB.
fn rle_bomb(size: usize) -> Vec<u8> {
    const BLOCK: usize = 1 << 17;
    // No size in the header, a window of 8 MiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x68];
    let blocks = size / BLOCK;
    for number in 1..=blocks {
        let header = (BLOCK << 3) | (1 << 1) | usize::from(number == blocks);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn without_sources() {
    let stage = Stage::new();
    let refused = stage.drift(&["search", "http"]);
    assert_eq!((refused.exit, refused.stdout.as_str()), (2, ""));
    assert!(refused.stderr.contains("no discovery sources are configured"), "{}", refused.stderr);
    assert!(refused.stderr.contains("\nhint: ") && refused.stderr.contains("nothing is added"));
    assert_eq!(fs::read_dir(stage.path("app")).unwrap().count(), 0, "nothing was added");
    assert_eq!(stage.drift(&["search", "http", "--json"]).code(), "NO_SOURCES");

    stage.package("repo", "acme.http", "1.0.0", 1, &[]);
    stage.publish("repo", 1, &[]);
    let server = Own::folder(&stage.path("repo"));
    let list = json!({"format": "drift-sources", "version": 1, "sources": [{"id": "acme", "url": server.url}]});
    fs::write(stage.path("repo/list.json"), list.to_string()).unwrap();
    stage.drift(&["sources", "import", &format!("{}/list.json", server.url)]).ok();
    let search = ["search", "http", "--json"];
    assert_eq!(stage.drift(&search).code(), "FIRST_USE_REFUSED", "a list is no reason to trust");
    let found = stage.drift(&["search", "http", "--json", "--trust-on-first-use"]).ok().json();
    assert_eq!(found["packages"][0]["package_id"], "acme.http");
    stage.drift(&["sources", "remove", "acme"]).ok();
    assert_eq!(stage.drift(&search).code(), "NO_SOURCES");
}
