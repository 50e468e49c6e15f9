//! Registries of containers: packages and whole repositories, pushed and fetched, and attacked.

#[path = "../../driftpm/tests/servers/mod.rs"]
mod servers;
mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use epk_format::digest::Sha256;
use serde_json::{Value, json};
use servers::{Answer, Own, registry};
use support::repository::{add_source, command, forget, installed, pack, pkgtool, published, same};
use support::{Place, Ran, noise};

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn a_package_is_pushed_and_fetched() {
    let Some(server) = registry(None, false) else { return };
    let place = Place::app();
    pack(&place, "1", &noise(300_000));
    let to = format!("{}/team/app", server.url);
    let push = |more: &[&str]| pkgtool(&place, &[&["push"], more].concat());
    // Without a tag, the version is it.
    let pushed = push(&["1.epk", &to, "--json"]).ok().json();
    let size = fs::metadata(place.path("1.epk")).expect("there").len();
    assert_eq!(text(&pushed, "reference"), format!("{to}:1"));
    assert_eq!((&pushed["sent"], &pushed["size"]), (&size.into(), &size.into()));
    let again = push(&["1.epk", &to, "--json"]).ok().json();
    assert_eq!((&again["sent"], &again["was_there"]), (&0.into(), &true.into()));
    assert_eq!(again["digest"], pushed["digest"]);
    assert!(push(&["1.epk", &to]).ok().stdout.contains(&format!("is `{to}:1`")));
    // Another tag for the same bytes sends none of them.
    let latest = format!("{to}:latest");
    assert_eq!(push(&["1.epk", &latest, "--json"]).ok().json()["sent"], 0);

    let tagged = format!("{to}:1");
    let fetch = |more: &[&str]| pkgtool(&place, &[&["fetch"], more].concat());
    let dry = fetch(&[&tagged, "--dry-run", "--json"]).ok().json();
    assert_eq!((&dry["fetched"], &dry["source"]), (&size.into(), &tagged.as_str().into()));
    assert!(!installed(&place, "1").exists());
    let fetched = fetch(&[&tagged, "--json"]).ok().json();
    assert_eq!((&fetched["fetched"], &fetched["reused"]), (&size.into(), &0.into()));
    assert!(same(&installed(&place, "1"), &place.path("1.epk")));
    assert_eq!(pkgtool(&place, &["run", "org.example.app"]).ok().stdout, "hello\n");
    assert_eq!(fetch(&[&tagged]).ok().stdout, "org.example.app@1: is installed\n");
    // By the digest of its manifest, into an empty store.
    forget(&place);
    let exact = format!("{to}@{}", text(&pushed, "digest"));
    fetch(&[&exact]).ok();
    assert!(same(&installed(&place, "1"), &place.path("1.epk")));

    // A version has one package, and a tag stays where it is, unless it is told to go.
    let mut library = noise(300_000);
    library[200_000] ^= 1;
    pack(&place, "2", &library);
    push(&["2.epk", &latest]).fails(1, &["is something else", "--force"]);
    push(&["2.epk", &latest, "--force"]).ok();
    // By difference: five of six blocks are here.
    let fetched = fetch(&[&latest, "--json"]).ok().json();
    assert!(fetched["reused"].as_u64() > Some(200_000), "{fetched}");
    assert!(same(&installed(&place, "2"), &place.path("2.epk")));
}

#[test]
fn what_is_not_there_or_makes_no_sense() {
    let Some(server) = registry(None, false) else { return };
    let place = Place::app();
    pack(&place, "1.0+local", b"x");
    let to = format!("{}/app", server.url);
    for (arguments, code, said) in [
        (&["fetch", &format!("{to}:none")][..], 3, "TRANSPORT_NOT_FOUND"),
        (&["fetch", &format!("{to}@sha256:{}", "0".repeat(64))], 3, "TRANSPORT_NOT_FOUND"),
        (&["fetch", &to], 2, "neither a tag nor a digest"),
        (&["fetch", &format!("{to}:x"), "--from", "things"], 2, "--from"),
        (&["fetch", "oci://H/A:x"], 2, "lower-case"),
        (&["push", "1.0+local.epk", &to], 2, "`1.0+local` cannot be a tag"),
        (&["push", "1.0+local.epk", &format!("{to}:1.0+local")], 2, "expected a tag"),
        (&["push", "1.0+local.epk", &format!("{to}@sha256:{}", "0".repeat(64))], 2, "digest"),
        (&["push", "1.0+local.epk", "https://example.org/x"], 2, "oci://"),
        (&["push", "nothing", &to], 3, "nothing"),
        (&["push", "app/manifest.toml", &to], 4, "manifest.toml"),
        (&["push", "1.0+local.epk", &to, "--signature", "required", "--trust", "/dev/null"], 5, ""),
        (&["push", "1.0+local.epk", "oci://127.0.0.1:1/app:x"], 3, "TRANSPORT_NETWORK"),
        (&["source", "add", "x", &format!("{to}:x"), "--key", KEY], 2, "epk-index"),
        (&["repo", "push", "nowhere", &to], 3, "nowhere"),
    ] {
        pkgtool(&place, arguments).fails(code, &[said]);
    }
    // Named by hand it goes.
    pkgtool(&place, &["push", "1.0+local.epk", &format!("{to}:local")]).ok();
    pkgtool(&place, &["fetch", &format!("{to}:local")]).ok();
    assert!(same(&installed(&place, "1.0+local"), &place.path("1.0+local.epk")));
}

const KEY: &str = "ed25519:b6ba+242h2Xj8Rvj0cJ18tf0pxDCfQoqboegikzwqzU=";

#[test]
fn signatures_are_asked_for_as_of_files() {
    let Some(server) = registry(None, false) else { return };
    let place = Place::app();
    let key = place.run(&["keygen", "key"]).ok();
    fs::write(place.path("trusted"), &key.stdout).expect("written");
    place.run(&["keygen", "other"]).ok();
    place.pack(&["--sign", "key"]).ok();
    let to = format!("{}/signed", server.url);
    pkgtool(&place, &["push", "app.epk", &to]).ok();
    place.pack(&["--sign", "other"]).ok();
    let other = format!("{}/other", server.url);
    pkgtool(&place, &["push", "app.epk", &other]).ok();
    let fetch = |name: &str| {
        let trust = ["--signature", "required", "--trust", "trusted"];
        pkgtool(&place, &[&["fetch", name], &trust[..]].concat())
    };
    fetch(&format!("{other}:1.2.3")).fails(5, &["signature"]);
    assert_eq!(pkgtool(&place, &["list"]).ok().stdout, "");
    fetch(&format!("{to}:1.2.3")).ok();
}

#[test]
fn a_repository_lives_in_a_registry() {
    let Some(server) = registry(None, false) else { return };
    let (place, key) = published();
    let to = format!("{}/things/all", server.url);
    let push = || pkgtool(&place, &["repo", "push", "repo", &to, "--json"]);
    let pushed = push().ok().json();
    assert_eq!(text(&pushed, "reference"), format!("{to}:epk-index"));
    assert_eq!((&pushed["packages"], &pushed["pushed"]), (&1.into(), &1.into()));
    let again = push().ok().json();
    assert_eq!((&again["pushed"], &again["sent"]), (&0.into(), &0.into()));
    assert_eq!(again["digest"], pushed["digest"]);
    // Each package is one that can be fetched by itself.
    let alone = format!("{to}:org.example.app__1");
    pkgtool(&place, &["fetch", &alone, "--dry-run"]).ok();

    add_source(&place, &to, &key);
    let listed = pkgtool(&place, &["source", "list", "--json"]).ok().json();
    assert_eq!(text(&listed, "url"), to);
    pkgtool(&place, &["fetch", "org.example.app"]).ok();
    assert!(same(&installed(&place, "1"), &place.path("1.epk")));
    let mut library = noise(300_000);
    library[200_000] ^= 1;
    let file = pack(&place, "2", &library);
    pkgtool(&place, &["repo", "add", "repo", &file, "--sign", "repo.key"]).ok();
    // Nobody sees it before it is pushed.
    assert_eq!(pkgtool(&place, &["outdated"]).ok().stdout, "");
    let pushed = push().ok().json();
    assert_eq!((&pushed["number"], &pushed["pushed"]), (&2.into(), &1.into()));
    let found = pkgtool(&place, &["search", "example"]).ok();
    assert_eq!(found.stdout, "org.example.app@2 (things): An <b>example</b>\n");
    assert_eq!(pkgtool(&place, &["outdated"]).ok().stdout, "org.example.app@1: `things` has 2\n");
    let updated = pkgtool(&place, &["update", "--json"]).ok().json();
    assert!(updated["reused"].as_u64() > Some(200_000), "{updated}");
    assert!(same(&installed(&place, "2"), &place.path("2.epk")));

    // Another key.
    let other = place.run(&["keygen", "--json", "other.key"]).ok().json();
    pkgtool(&place, &["source", "remove", "things"]).ok();
    add_source(&place, &to, text(&other, "key_id"));
    pkgtool(&place, &["search"]).fails(5, &["SIGNER_CHANGED", &key]);
    pkgtool(&place, &["source", "remove", "things"]).ok();
    add_source(&place, &to, &key);

    // An older state, or another one of the same number, is not put over a newer one.
    let state = |suffix: &str| place.path(&format!("repo/epk-index.json{suffix}"));
    let kept: Vec<_> = ["", ".zst", ".sig"]
        .map(|suffix| (state(suffix), fs::read(state(suffix)).expect("there")))
        .into();
    pkgtool(&place, &["repo", "sign", "repo", "--sign", "repo.key"]).ok();
    push().ok();
    pkgtool(&place, &["search"]).ok();
    kept.iter().for_each(|(path, bytes)| fs::write(path, bytes).expect("written"));
    push().fails(5, &["INDEX_ROLLBACK", "--number 4"]);
    let sign = ["repo", "sign", "repo", "--sign", "repo.key", "--valid-for", "7"];
    pkgtool(&place, &sign).ok();
    push().fails(5, &["INDEX_EQUIVOCATION"]);
    // Somebody with the registry's password moves the tag back.
    let host = server.url.trim_start_matches("oci://");
    let manifest = |name: &str| format!("/v2/things/all/manifests/{name}");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let old = http(host, "GET", &manifest(text(&pushed, "digest")), &format!("Accept: {kind}"), "");
    http(host, "PUT", &manifest("epk-index"), &format!("Content-Type: {kind}"), &old);
    pkgtool(&place, &["search"]).fails(5, &["INDEX_ROLLBACK"]);

    // What is not signed, or not what the index says, is not pushed.
    let package = place.path("repo/packages/org.example.app@2.epk");
    let good = fs::read(&package).expect("there");
    let other = format!("{}/other", server.url);
    let push = || pkgtool(&place, &["repo", "push", "repo", &other]);
    fs::write(&package, &good[1..]).expect("written");
    push().fails(5, &["PACKAGE_MISMATCH"]);
    fs::write(&package, &good).expect("written");
    let index = fs::read_to_string(state("")).expect("there");
    fs::write(state(""), index.replace("Things", "Others")).expect("written");
    push().fails(5, &["INDEX_CONTENT_MISMATCH", "repo sign"]);
    fs::remove_file(state(".sig")).expect("removed");
    push().fails(5, &["INDEX_SIGNATURE_MISSING", "repo sign"]);
}

/// A request to a server, and the body of its answer.
fn http(host: &str, method: &str, path: &str, header: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(host).expect("connected");
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\nContent-Length: {length}");
    write!(stream, "{head}\r\nConnection: close\r\n\r\n{body}").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
}

#[test]
fn logins_are_those_of_docker_and_podman() {
    let Some(server) = registry(None, true) else { return };
    let place = Place::app();
    pack(&place, "1", b"x");
    let to = format!("{}/app", server.url);
    let host = server.url.trim_start_matches("oci://");
    let push = || {
        let mut command = command(&place, "home", &["push", "1.epk", &to]);
        command.env("XDG_RUNTIME_DIR", place.path("runtime"));
        Ran::new(&command.output().expect("ran"))
    };
    push().fails(3, &["TRANSPORT_DENIED", "docker login"]);
    let write = |path: &str, auth: &str| {
        let text = json!({ "auths": { host: { "auth": auth } } }).to_string();
        place.file(path, text.as_bytes(), 0o600);
    };
    // me:guess, me:secret
    write("home/docker/config.json", "bWU6Z3Vlc3M=");
    let ran = push();
    assert!(!ran.stderr.contains("guess") && !ran.stderr.contains("bWU6"), "{}", ran.stderr);
    ran.fails(3, &["TRANSPORT_DENIED"]);
    place.file("home/docker/config.json", b"{\"auths\":{}}", 0o600);
    write("runtime/containers/auth.json", "bWU6c2VjcmV0");
    push().ok();
    write("home/docker/config.json", "bWU6c2VjcmV0");
    pkgtool(&place, &["fetch", &format!("{to}:1")]).ok();
    place.file("home/docker/config.json", b"bWU6c2VjcmV0", 0o600);
    forget_store(&place);
    let ran = pkgtool(&place, &["fetch", &format!("{to}:1")]);
    ran.fails(3, &["config.json", "line 1"]);
}

fn forget_store(place: &Place) {
    fs::remove_dir_all(place.path("home/data")).expect("removed");
}

/// What a registry of the test's own says: a manifest and a blob.
#[derive(Clone)]
struct Told {
    manifest: String,
    blob: Vec<u8>,
}

/// A registry with one package, as pushed to a real one and changed by `change`.
fn liar(told: Arc<Mutex<Told>>) -> Own {
    Own::of_requests(move |head, _| {
        let told = told.lock().expect("unharmed").clone();
        if head.starts_with("GET") && head.contains("/blobs/") {
            return Answer::Cut(told.blob, "\"tag\"", 200_000);
        }
        let body = told.manifest;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}");
        Answer::Raw(format!("{head}\r\nConnection: close\r\n\r\n{body}").into_bytes())
    })
}

#[test]
fn registries_that_lie() {
    let place = Place::app();
    pack(&place, "1", &noise(300_000));
    let bytes = fs::read(place.path("1.epk")).expect("there");
    let verified = place.run(&["verify", "--json", "1.epk"]).ok().json();
    let manifest = |hash: &str| {
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.epk.package.v1",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                "size": 2,
            },
            "layers": [{
                "mediaType": "application/vnd.epk.package.file.v1",
                "digest": format!("sha256:{}", Sha256::of(&bytes)),
                "size": bytes.len(),
            }],
            "annotations": {
                "vnd.epk.name": "org.example.app",
                "vnd.epk.version": "1",
                "vnd.epk.arch": "x86-64",
                "vnd.epk.kernel-api": "1.0",
                "vnd.epk.format": "2.0",
                "vnd.epk.key-ids": "",
                "vnd.epk.package-hash": hash,
            },
        })
    };
    let good = manifest(text(&verified, "package_hash")).to_string();
    let told = Arc::new(Mutex::new(Told { manifest: good.clone(), blob: bytes.clone() }));
    let server = liar(told.clone());
    let base = server.url.replace("http://", "oci+http://");
    let fetch = |rest: &str| pkgtool(&place, &["fetch", &format!("{base}/{rest}")]);
    let nothing = || assert_eq!(pkgtool(&place, &["list"]).ok().stdout, "");
    let say = |manifest: &str, blob: &[u8]| {
        let (manifest, blob) = (manifest.to_owned(), blob.to_owned());
        *told.lock().expect("unharmed") = Told { manifest, blob };
    };
    // Another manifest than the one that was asked for.
    fetch(&format!("n@sha256:{}", "0".repeat(64))).fails(5, &["TRANSPORT_WRONG_CONTENT"]);
    // Another file than the manifest says: by a byte, by its length.
    let mut changed = bytes.clone();
    changed[150_000] ^= 1;
    say(&good, &changed);
    fetch("n:1").fails(5, &["PACKAGE_MISMATCH", "SHA-256"]);
    nothing();
    say(&good, &bytes[1..]);
    fetch("n:1").fails(3, &["TRANSPORT_WRONG_SIZE"]);
    // Another package than the manifest says.
    for (from, to, code, said) in [
        ("org.example.app", "org.example.bank", 5, "the package says that it is"),
        ("\"version\":\"1\"", "\"version\":\"2\"", 5, "the package says that it is"),
        (text(&verified, "package_hash"), &format!("sha256:{}", "0".repeat(64)), 5, "PackageHash"),
        ("key-ids\":\"", "key-ids\":\"ed25519:x", 5, "signed by nobody"),
        ("epk.package.v1", "epk.other.v1", 1, "ARTIFACT_INVALID"),
        ("vnd.epk.arch", "vnd.epk.arches", 1, "vnd.epk.arch"),
        ("schemaVersion\":2", "schemaVersion\":1", 5, "no image manifest"),
    ] {
        let from = from.replace("\"version", "\"vnd.epk.version");
        let to = to.replace("\"version", "\"vnd.epk.version");
        let changed = good.replacen(&from, &to, 1);
        assert_ne!(changed, good, "{from}");
        say(&changed, &bytes);
        fetch("n:1").fails(code, &[said]);
        nothing();
    }
    // And one that is honest, over a line that breaks.
    say(&good, &bytes);
    fetch("n:1").ok();
    assert!(same(&installed(&place, "1"), &place.path("1.epk")));
}
