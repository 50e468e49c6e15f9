//! Packages, containers and sidecars.

use std::collections::BTreeSet;
use std::path::Path;

use driftpm::drift::container::{read_full, read_light};
use driftpm::drift::container_write::{BlobKind, NewBlob, write_container};
use driftpm::drift::sidecar::parse_for_publishing;
use driftpm::drift::trust::verify::{Trust, verify_package};
use driftpm::trust::TrustStore;
use epk_format::digest::Sha256;
use serde_json::{Value, json};

use super::departures;
use super::{conclude, read, read_json, text, vectors};

/// What the full reader sees is what was recorded, and the writer makes the same bytes of it.
#[test]
fn packages() {
    let Some(root) = vectors() else { return };
    let list = read_json(&root.join("packages/packages.json"));
    let list = list.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in list {
        let file = text(case, "file");
        let bytes = read(&root.join("packages").join(file));
        let full = match read_full(&bytes) {
            Ok(full) => full,
            Err(error) => {
                wrong.push(format!("{file}: {error}"));
                continue;
            }
        };
        let toc: Vec<Value> = full
            .blobs
            .iter()
            .map(|blob| {
                let padded: Vec<u8> = blob.name.iter().copied().chain([0; 24]).take(24).collect();
                json!({
                    "blob_sha256": blob.sha256.to_hex(), "offset": blob.offset,
                    "length": blob.length, "type": blob.kind, "flags": 0,
                    "name_len": blob.name.len(), "name_prefix_hex": hex::encode(padded),
                })
            })
            .collect();
        let mut recorded = case["toc"].clone();
        for entry in recorded.as_array_mut().unwrap() {
            entry.as_object_mut().unwrap().remove("name");
        }
        if json!(toc) != recorded {
            wrong.push(format!("{file}: the table differs"));
        }
        let blobs: Vec<NewBlob> = full
            .blobs
            .iter()
            .map(|blob| {
                let start = usize::try_from(blob.offset).unwrap();
                let length = usize::try_from(blob.length).unwrap();
                NewBlob {
                    kind: if blob.kind == 1 { BlobKind::Payload } else { BlobKind::Interface },
                    name: blob.name.clone(),
                    bytes: bytes[start..start + length].to_vec(),
                }
            })
            .collect();
        if write_container(&full.manifest, &blobs).unwrap() != bytes {
            wrong.push(format!("{file}: the writer makes other bytes"));
        }
    }
    conclude("packages", list.len(), &wrong);
}

#[test]
fn containers() {
    let Some(root) = vectors() else { return };
    let list = read_json(&root.join("containers/cases.json"))["cases"].clone();
    let list = list.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in list {
        let file = text(case, "file");
        let bytes = read(&root.join("containers").join(file));
        let light = match read_light(&bytes) {
            Ok(light) => json!({"ok": true, "identity": {
                "package_id": light.identity.package_id,
                "version": light.identity.version,
                "target": light.identity.target,
            }}),
            Err(_) => json!({"ok": false}),
        };
        let full = match read_full(&bytes) {
            Ok(full) => {
                let modules: BTreeSet<_> = full.modules.into_iter().collect();
                json!({"ok": true, "modules": modules, "toc_len": full.blobs.len()})
            }
            Err(_) => json!({"ok": false}),
        };
        for (reader, ours) in [("drift_reader", light), ("driftc_loader", full)] {
            let mut recorded = case[reader].clone();
            for detail in ["error", "exception"] {
                recorded.as_object_mut().unwrap().remove(detail);
            }
            if ours != recorded {
                wrong.push(format!("{file}: {reader}: {ours}, recorded {recorded}"));
            }
        }
    }
    conclude("containers", list.len(), &wrong);
}

/// The code that goes with an error text of the original.
fn code_of(error: &str) -> &'static str {
    for (part, code) in [
        ("missing signature sidecar for", "SIGNATURE_MISSING"),
        ("package_sha256 mismatch", "SIDECAR_SHA_MISMATCH"),
        ("revoked", "SIGNER_REVOKED"),
        ("no valid signatures", "NO_VALID_SIGNATURE"),
        ("no trusted keys configured", "NAMESPACE_UNTRUSTED"),
        ("not trusted for module", "SIGNER_NOT_TRUSTED"),
    ] {
        if error.contains(part) {
            return code;
        }
    }
    "SIDECAR_INVALID"
}

#[test]
fn sidecars() {
    let Some(root) = vectors() else { return };
    let list = read_json(&root.join("sidecars/cases.json"))["cases"].clone();
    let list = list.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in list {
        let name = text(case, "name");
        let sidecar = case["sidecar"].as_str().map(|path| read(&root.join(path)));
        let ours = gate(&root, case, sidecar.as_deref());
        let departure = departures::SIDECARS.iter().find(|(id, _)| *id == name);
        let recorded = match (departure, case["verify"]["ok"].as_bool().unwrap()) {
            (Some((_, code)), _) => Err(*code),
            (None, true) => Ok(()),
            (None, false) => Err(code_of(text(&case["verify"], "error"))),
        };
        if ours != recorded {
            wrong.push(format!("{name}: {ours:?}, should be {recorded:?}"));
        }
        if let (Some(sidecar), Some(recorded)) = (sidecar, case.get("publish_side_parse")) {
            let ours = match parse_for_publishing(&sidecar) {
                Ok(kids) => json!({"ok": true, "kids": kids}),
                Err(_) => json!({"ok": false, "error": recorded["error"]}),
            };
            if ours != *recorded {
                wrong.push(format!("{name}: publisher: {ours}, recorded {recorded}"));
            }
        }
    }
    conclude("sidecars", list.len(), &wrong);
}

fn gate(root: &Path, case: &Value, sidecar: Option<&[u8]>) -> Result<(), &'static str> {
    let package = read(&root.join(text(case, "package")));
    let full = read_full(&package).unwrap();
    let project = match case["trust"].as_str() {
        Some(path) => {
            TrustStore::parse(&read(&root.join(path))).map_err(|_| "TRUST_STORE_INVALID")?
        }
        None => TrustStore::default(),
    };
    let marked = full.manifest.get("unsigned").is_some_and(driftpm::json::Value::is_truthy);
    let allow_unsigned = case["package_root_allows_unsigned"].as_bool().unwrap()
        && !case["require_signatures"].as_bool().unwrap()
        && marked;
    let trust = Trust { project, ..Trust::default() };
    verify_package(&package, &full.modules, sidecar, &trust, allow_unsigned)
        .map(|_| ())
        .map_err(|distrust| distrust.code())
}

/// The recorded sidecars are the ones that our keys make.
#[test]
fn known_answers() {
    let Some(root) = vectors() else { return };
    let list = read_json(&root.join("tables/ed25519_kat.json"));
    let list = list.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in list {
        let seed = String::from_utf8(read(&root.join(format!("keys/{}.seed", text(case, "key")))));
        let key = driftpm::keys::PrivateKey::parse_file(&seed.unwrap()).unwrap();
        let message = match text(case, "message") {
            "empty" => Vec::new(),
            "abc" => b"abc".to_vec(),
            package => read(&root.join("packages").join(package)),
        };
        assert_eq!(Sha256::of(&message).to_hex(), text(case, "message_sha256"));
        let ours = [key.sign(&message).to_base64(), key.public().to_base64(), key.public().id()];
        if ours != [text(case, "sig_b64"), text(case, "pubkey_b64"), text(case, "kid")] {
            wrong.push(format!("{} over {}: {ours:?}", text(case, "key"), text(case, "message")));
        }
    }
    conclude("known answers", list.len(), &wrong);
}
