//! Repositories on servers, from both ends, with the real `drift`: the way it goes, and every way
//! in which somebody could want it to go.

mod servers;
mod stage;

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use driftpm::drift::repository::{Access, SignRequest, sign_index};
use driftpm::drift::resolve::VersionSource as _;
use driftpm::drift::trust::verify::Trust;
use driftpm::drift::trust::{Consent, FirstUse};
use driftpm::index::{Content, Seen, Statement, sign};
use driftpm::progress::Progress;
use driftpm::transport::{Client, Settings};
use serde_json::json;
use servers::{Own, nginx, put, s3};
use stage::{DAY, Stage, copy, key, now, package};

/// One repository with `acme.http` 1.0.0 by key 1, which also signs the index.
fn usual(stage: &Stage) -> Own {
    stage.package("repo", "acme.http", "1.0.0", 1, &[]);
    stage.publish("repo", 1, &[]);
    let server = Own::folder(&stage.path("repo"));
    stage.project(&[("main", &server.url)], &[("acme.http", "^1")]);
    server
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
    let _server = usual(&stage);
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
    let _server = usual(&stage);
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
    let _server = usual(&stage);
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
    let _server = usual(&stage);
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
    let _server = usual(&stage);
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
    let server = usual(&stage);
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
    let _server = usual(&stage);
    stage.resolve().ok();
    stage.drift(&["trust", "revoke", "--kid", &key(1).public().id()]).ok();
    assert_eq!(stage.fetch().code(), "SIGNER_REVOKED");
    // In the user's store it counts as well, even before anything was used.
    let stage = Stage::new();
    let _server = usual(&stage);
    let store = stage.shown("home/.config/drift/trust.json");
    let kid = key(1).public().id();
    stage.drift(&["trust", "revoke", "--trust-store", &store, "--kid", &kid]).ok();
    assert_eq!(stage.resolve().code(), "SIGNER_REVOKED");
    assert!(!stage.path("app/drift").exists());
}

#[test]
fn another_signer_of_a_package() {
    let stage = Stage::new();
    let _server = usual(&stage);
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
        let server = usual(&stage);
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
    let server = usual(&stage);
    let pubkey = key(1).public().to_base64();
    stage.drift(&["trust", "add-key", "--namespace", "acme.http", "--pubkey", &pubkey]).ok();
    stage.package("repo", "acme.evil", "1.0.0", 2, &[]);
    stage.publish("repo", 1, &[]);
    stage.project(&[("main", &server.url)], &[("acme.evil", "^1")]);
    stage.resolve().ok();
    assert_eq!(stage.fetch().code(), "NAMESPACE_TAKEN");
    // A signer that does not show its key cannot be used the first time.
    let stage = Stage::new();
    let _server = usual(&stage);
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
        let _server = usual(&stage);
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
    let _server = usual(&stage);
    forge(&stage, |text| text.replace("\"base_url\":null", "\"base_url\":\"file:///etc\""));
    assert_eq!(stage.resolve().code(), "REPOSITORY_URL");
    // A lock of another's making does not reach further.
    let stage = Stage::new();
    let _server = usual(&stage);
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
    let _server = usual(&stage);
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
    let _server = usual(&stage);
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

/// Bytes are told as they come, those of the index and those of packages.
#[test]
fn bytes_are_told() {
    #[derive(Default)]
    struct Told {
        begun: Mutex<Vec<(String, Option<u64>)>>,
        bytes: AtomicU64,
    }
    impl Progress for Told {
        fn begin(&self, _: &str, _: usize) {}
        fn step(&self) {}
        fn begin_bytes(&self, what: &str, total: Option<u64>) {
            self.begun.lock().unwrap().push((what.to_owned(), total));
        }
        fn bytes(&self, count: u64) {
            self.bytes.fetch_add(count, Ordering::Relaxed);
        }
        fn end(&self) {}
    }

    let stage = Stage::new();
    let server = usual(&stage);
    let told = Arc::new(Told::default());
    let store = stage.path("app/drift/trust.json");
    let access = Access {
        client: Arc::new(Client::new(Settings::default()).unwrap()),
        trust: Arc::new(FirstUse::new(store, Trust::default(), Consent::Always)),
        seen: Seen::in_folder(&stage.path("seen")),
        cache: stage.path("cache"),
        now: now(),
        progress: told.clone(),
    };
    let size = |name: &str| fs::metadata(stage.path("repo").join(name)).unwrap().len();
    let source = access.open("main", &server.url).unwrap();
    let offers = source.offers("acme.http").unwrap();
    let index = size("drift-index.json");
    assert_eq!(*told.begun.lock().unwrap(), [("index of main".to_owned(), Some(index))]);
    assert_eq!(told.bytes.swap(0, Ordering::Relaxed), index);
    source.fetch(&offers[0].path, &offers[0].sha256).unwrap();
    let package = size("acme.http-1.0.0-any.dmp");
    let sidecar = size("acme.http-1.0.0-any.dmp.sig");
    let came = told.bytes.load(Ordering::Relaxed);
    assert!([package, package + sidecar].contains(&came), "{came} of {package} and {sidecar}");
}
