//! Every reader of files against documents that are nearly right: whole, valid files with bytes
//! changed, cut, doubled and inserted. Nothing may panic, and what is refused is refused with the
//! reader's own error.

use epk_format::digest::Sha256;
use proptest::prelude::*;
use proptest::sample::Index as Place;

use super::container::{module_ids, read_full, read_identity, read_light};
use super::index::{Entry, Index, Strictness};
use super::lock::Lock;
use super::lock1::ProjectLock;
use super::metadata::{KEY, Metadata};
use super::project::{ProjectFile, Target};
use super::sidecar::{Draft, check_for_publishing, parse_for_gate, parse_for_publishing};
use super::sources;
use super::testing::package;
use super::trust::verify::{Trust, verify_package};
use crate::json::{self, JsonError, Limit, Object};
use crate::keys::PrivateKey;
use crate::keys::testing::key;
use crate::trust::{TrustFile, TrustStore};

/// One valid document of each kind.
fn documents() -> Vec<Vec<u8>> {
    let mut sidecar = Draft::new(&Sha256::of(b"abc"));
    sidecar.sign(&key(1), b"abc", true);
    sidecar.sign(&key(2), b"abc", false);
    let mut trust = TrustFile::empty();
    for namespace in ["acme.*", "acme"] {
        trust.add_key(namespace, &key(1).public().to_base64(), None).unwrap();
    }
    trust.revoke("k", "2026-11-20T13:00:00+00:00", Some("because"));
    let entry = "\"package_version\":\"1\",\"target\":\"any\",\"sha256\":\"sha256:00\",\
                 \"filename\":\"a/p.dmp\",\"signers\":[\"k\"],\"unsigned\":false";
    vec![
        sidecar.to_bytes(),
        trust.to_bytes(),
        format!("{{\"format\":\"drift-index\",\"version\":0,\"packages\":{{\"p\":{{{entry}}}}}}}")
            .into_bytes(),
        b"{\"format\":\"drift-sources\",\"version\":0,\"sources\":[{\"kind\":\"dir\",\"id\":\"m\",\
          \"priority\":-1,\"path\":\"repo\"}]}"
            .to_vec(),
        b"{\"format\":\"drift-lock\",\"version\":0,\"packages\":{\"p\":{\"version\":\"1\",\
          \"target\":\"any\",\"observed_identity\":{\"package_id\":\"p\",\"version\":\"1\",\
          \"target\":\"any\"},\"pkg_sha256\":\"sha256:00\",\"sig_sha256\":null,\"sig_kids\":[\"k\"],\
          \"modules\":[\"p\"],\"source_id\":\"m\",\"path\":\"p.dmp\",\"x\":{}}}}"
            .to_vec(),
        key(1).to_file_text().into_bytes(),
        package("p", "1", "any", &["p", "p.q"]),
        br#"{"format":1,"name":"demo","repositories":[{"name":"main","type":"dir","url":"repo"}],
            "deps":{"http":{"package":"acme.http","constraint":"^1","repository":"main"},"a":"*"},
            "trust":{"store":"t.json","allow_unsigned_from":["a"]},"default_target":"app"}"#
            .to_vec(),
        br#"{"format":1,"name":"app","kind":"package","version":"1.0.0","modules":{"a":"a.drift"},
            "uses":["http"],"platform":{"os":["linux"],"libc":{"name":"glibc","min_version":"2"}},
            "native":[{"name":"z","tool":"gcc","sources":["z.c"],"headers":["z.h"],
            "defines":{"A":"1"},"link":["m"]}]}"#
            .to_vec(),
        br#"{"lock_format":1,"lock_rev":1,"generated_at":"now","project":"demo","order":"newest",
            "platform":{"os":"linux","arch":"x86_64","abi":"gnu","libc":null,"capabilities":["a"]},
            "requests":{"p":{"package":"p","constraint":"*","repository":null}},
            "packages":{"p":{"version":"1.0.0","target":"any",
            "sha256":"sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "sig_sha256":null,"signer_kids":["k"],"repository":"main","path":"p.dmp",
            "dependencies":{},"platform":{},"native":false}}}"#
            .to_vec(),
        br#"{"drift_package":{"format":1,"dependencies":{"p":"^1"},"platform":{"arch":["x86_64"]},
            "native":[{"name":"z","tool":"clang","sources":["z.c"]}],"files":{"z.c":"sha256:1"}}}"#
            .to_vec(),
    ]
}

/// Shows the bytes to every reader, whatever they were meant for.
fn show_to_all(bytes: &[u8]) {
    let _ = Draft::parse(bytes, &Sha256::of(b"abc")).map(|draft| draft.to_bytes());
    let _ = parse_for_publishing(bytes);
    let _ = check_for_publishing(bytes, b"abc");
    let _ = parse_for_gate(bytes);
    let modules = ["acme".to_owned()];
    let _ = verify_package(b"abc", &modules, Some(bytes), &Trust::default(), true);
    if let Ok(store) = TrustStore::parse(bytes) {
        let _ = store.allowed_keys("acme.http");
    }
    if let Ok(mut file) = TrustFile::parse(bytes) {
        file.revoke("k", "now", None);
        let _ = file.add_key("acme.*", &key(3).public().to_base64(), None);
        TrustFile::parse(&file.to_bytes()).unwrap();
    }
    if let Ok(index) = Index::parse(bytes) {
        for (id, value) in index.entries() {
            let _ = Entry::parse(id, value, Strictness::Filled);
        }
        assert_eq!(Index::parse(&index.to_bytes()).unwrap(), index);
    }
    if let Ok(lock) = Lock::parse(bytes) {
        Lock::parse(&lock.to_bytes()).unwrap();
    }
    let _ = sources::parse(bytes);
    if let Ok(json::Value::Object(document)) = json::parse(bytes, Limit::SETTINGS) {
        let _ = ProjectFile::from_json(&document, "file");
        let _ = Target::from_json(&document, "file");
        if let Ok(metadata) = Metadata::of_manifest(&document, "file") {
            let again = [(KEY, metadata.to_json())];
            assert_eq!(Metadata::of_manifest(&Object::from(again), "file").unwrap(), metadata);
        }
    }
    if let Ok(lock) = ProjectLock::parse(bytes, "file") {
        assert_eq!(ProjectLock::parse(&lock.to_bytes(), "file").unwrap(), lock);
        for locked in lock.packages.values() {
            assert!(!locked.place().unwrap().as_str().contains(".."));
        }
    }
    let _ = std::str::from_utf8(bytes).map(PrivateKey::parse_file);
    let _ = read_light(bytes);
    if let Ok(full) = read_full(bytes) {
        let _ = read_identity(&full.manifest);
        assert!(module_ids(&full.manifest).len() <= full.modules.len());
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Set(Place, u8),
    Cut(Place),
    Double(Place, Place),
    Insert(Place, &'static [u8]),
}

fn damage() -> impl Strategy<Value = Damage> {
    let texts: &[&[u8]] = &[
        b"null",
        b"\"\"",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b"1e400",
        b"-0",
        b"\\ud800",
        b"\xff",
        b"\"x\":1,",
        b"\"version\":0,",
        b"\"revoked\":[],",
        b"..",
        b"/",
        b"\0",
    ];
    prop_oneof![
        4 => (any::<Place>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => any::<Place>().prop_map(Damage::Cut),
        2 => (any::<Place>(), any::<Place>()).prop_map(|(a, b)| Damage::Double(a, b)),
        4 => (any::<Place>(), prop::sample::select(texts.to_vec()))
            .prop_map(|(at, text)| Damage::Insert(at, text)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let at = |place: &Place| place.index(bytes.len());
    match damage {
        Damage::Set(place, byte) => {
            let at = at(place);
            bytes[at] = *byte;
        }
        Damage::Cut(place) => bytes.truncate(at(place)),
        Damage::Double(a, b) => {
            let (start, end) = (at(a).min(at(b)), at(a).max(at(b)));
            let piece = bytes[start..end].to_vec();
            bytes.splice(end..end, piece);
        }
        Damage::Insert(place, text) => {
            let at = at(place);
            bytes.splice(at..at, text.iter().copied());
        }
    }
}

#[test]
fn the_documents_are_valid() {
    let documents = documents();
    parse_for_gate(&documents[0]).unwrap();
    TrustStore::parse(&documents[1]).unwrap();
    Index::parse(&documents[2]).unwrap();
    sources::parse(&documents[3]).unwrap();
    let object = |at: usize| match json::parse(&documents[at], Limit::SETTINGS).unwrap() {
        json::Value::Object(document) => document,
        other => panic!("{other:?}"),
    };
    ProjectFile::from_json(&object(7), "file").unwrap();
    Target::from_json(&object(8), "file").unwrap();
    ProjectLock::parse(&documents[9], "file").unwrap();
    assert!(!Metadata::of_manifest(&object(10), "file").unwrap().is_empty());
    Lock::parse(&documents[4]).unwrap();
    read_full(&documents[6]).unwrap();
    documents.iter().for_each(|document| show_to_all(document));
}

#[test]
fn size_is_bounded_before_anything_is_built() {
    // Twenty times the memory of their text, if they were built.
    let many = format!("[{}0]", "0,".repeat(Limit::SIDECAR.values));
    assert_eq!(
        json::parse(many.as_bytes(), Limit::SIDECAR),
        Err(JsonError::TooMany { allowed: Limit::SIDECAR.values })
    );
    let long = vec![b' '; Limit::SIDECAR.bytes + 1];
    assert!(matches!(
        parse_for_gate(&long),
        Err(super::sidecar::SidecarError::Json(JsonError::TooLarge { .. }))
    ));
    for deep in ["[".repeat(100_000), "{\"a\":".repeat(100_000)] {
        assert!(matches!(json::parse(deep.as_bytes(), Limit::SIDECAR), Err(JsonError::Syntax(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn damaged_documents_are_refused_or_read(
        kind in 0_usize..11,
        damages in prop::collection::vec(damage(), 1..5),
    ) {
        let mut bytes = documents().swap_remove(kind);
        for damage in &damages {
            apply(&mut bytes, damage);
        }
        show_to_all(&bytes);
    }

    #[test]
    fn damaged_sidecars_and_packages_are_never_accepted(
        damages in prop::collection::vec(damage(), 1..4),
        of_package in any::<bool>(),
    ) {
        let package = package("p", "1", "any", &["p"]);
        let mut sidecar = Draft::new(&Sha256::of(&package));
        sidecar.sign(&key(1), &package, false);
        let mut store = TrustFile::empty();
        store.add_key("p", &key(1).public().to_base64(), None).unwrap();
        let project = TrustStore::parse(&store.to_bytes()).unwrap();
        let trust = Trust { project, ..Trust::default() };
        let (mut bytes, mut signatures) = (package.clone(), sidecar.to_bytes());
        for damage in &damages {
            apply(if of_package { &mut bytes } else { &mut signatures }, damage);
        }
        let accepted =
            verify_package(&bytes, &["p".to_owned()], Some(&signatures), &trust, true).is_ok();
        // A sidecar may be spelt in other ways and still hold the signature.
        prop_assert!(!accepted || bytes == package);
    }
}
