//! Tables of small cases.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use driftpm::canonical_json::{ascii_compact, canonical};
use driftpm::json;
use driftpm::keys::{PublicKey, SignatureBytes, decode_base64};
use driftpm::relpath::RelPath;
use driftpm::trust::TrustStore;
use serde_json::Value;

use super::departures;
use super::{conclude, read, read_json, text, vectors};

#[test]
fn path_normalization() {
    let Some(root) = vectors() else { return };
    let list = read_json(&root.join("tables/path_normalization.json"));
    let list = list.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in list {
        let ours = RelPath::parse(text(case, "in")).ok();
        if ours.as_ref().map(RelPath::as_str) != case["out"].as_str() {
            wrong.push(format!("{case}: {ours:?}"));
        }
    }
    conclude("path normalization", list.len(), &wrong);
}

#[test]
fn json_encoding() {
    let Some(root) = vectors() else { return };
    let bytes = read(&root.join("tables/json_encoding.json"));
    let document = json::parse(&bytes, json::Limit::SETTINGS).unwrap();
    let rows = document.as_object().unwrap().get("rows").unwrap().as_array().unwrap();
    let mut wrong = Vec::new();
    for row in rows {
        let row = row.as_object().unwrap();
        let value = row.get("value").unwrap();
        let field = |key| row.get(key).unwrap().as_str().unwrap();
        if hex::encode(canonical(value)) != field("canonical_hex") {
            wrong.push(format!("canonical: {}", canonical(value)));
        }
        if ascii_compact(value) != format!("{}\n", field("ascii_compact_text")) {
            wrong.push(format!("ascii: {}", ascii_compact(value)));
        }
    }
    conclude("JSON encodings", rows.len(), &wrong);
}

#[test]
fn base64() {
    let Some(root) = vectors() else { return };
    let list = read_json(&root.join("tables/base64.json"))["rows"].clone();
    let list = list.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in list {
        let input = text(case, "in");
        let ours = decode_base64(input).ok().map(hex::encode);
        let refused = departures::BASE64_REFUSED.contains(&input);
        let recorded = case["hex"].as_str().filter(|_| !refused);
        if ours.as_deref() != recorded {
            wrong.push(format!("{case}: {ours:?}"));
        }
    }
    conclude("base64", list.len(), &wrong);
}

#[test]
fn ed25519_edges() {
    let Some(root) = vectors() else { return };
    let list = read_json(&root.join("tables/ed25519_edge.json"))["rows"].clone();
    let list = list.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in list {
        let bytes = |key| hex::decode(text(case, key)).unwrap();
        let key = PublicKey(bytes("pubkey_hex").try_into().unwrap());
        // A signature of another length is none.
        let ours = <[u8; 64]>::try_from(bytes("sig_hex"))
            .is_ok_and(|sig| key.verifies(&bytes("message_hex"), &SignatureBytes(sig)));
        let refused = departures::ED25519_REFUSED.contains(&text(case, "name"));
        if ours != (case["upstream"]["ok"].as_bool().unwrap() && !refused) {
            wrong.push(format!("{}: {ours}", text(case, "name")));
        }
    }
    conclude("Ed25519 edges", list.len(), &wrong);
}

fn store_of(namespaces: &Value) -> TrustStore {
    let document = serde_json::json!({
        "format": "drift-trust", "version": 0, "namespaces": namespaces,
    });
    TrustStore::parse(document.to_string().as_bytes()).unwrap()
}

#[test]
fn namespace_matching() {
    let Some(root) = vectors() else { return };
    let list = read_json(&root.join("tables/namespace_matching.json"))["rows"].clone();
    let list = list.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in list {
        let store = store_of(&case["namespaces"]);
        for (module, recorded) in case["results"].as_object().unwrap() {
            let ours: Vec<&str> = store.allowed_keys(module).into_iter().collect();
            if serde_json::json!(ours) != *recorded {
                wrong.push(format!("{module} in {}: {ours:?}", case["namespaces"]));
            }
        }
    }
    conclude("namespace matching", list.len(), &wrong);
}

fn namespaces_json(store: &TrustStore) -> Value {
    serde_json::json!(store.namespaces)
}

#[test]
fn trust_store_parsing() {
    let Some(root) = vectors() else { return };
    let list = read_json(&root.join("tables/trust_store_parsing.json"));
    let list = list.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in list {
        let name = text(case, "name");
        let bytes = match &case["input"] {
            // The table is UTF-8 and stands U+FFFD in for the byte that was not.
            Value::String(text) if name == "not-utf8" => {
                let marked: Vec<u8> = text.replace('\u{fffd}', "\u{1}").into_bytes();
                marked.into_iter().map(|byte| if byte == 1 { 0xff } else { byte }).collect()
            }
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        let ours = TrustStore::parse(&bytes).ok().map(|store| {
            serde_json::json!({
                "ok": true,
                "keys": store.keys.keys().collect::<Vec<_>>(),
                "namespaces": namespaces_json(&store),
                "revoked": store.revoked,
            })
        });
        let recorded = Some(sorted_kids(&case["driftc_load"]))
            .filter(|load| load["ok"] == true && !departures::TRUST_REFUSED.contains(&name));
        if ours != recorded {
            wrong.push(format!("{name}: gate: {ours:?}, recorded {recorded:?}"));
        }
        if let Some(problem) = doctor_differs(name, &bytes, &case["doctor"]) {
            wrong.push(format!("{name}: doctor: {problem}"));
        }
    }
    conclude("trust stores", list.len(), &wrong);
}

/// The recorded result with its sets sorted.
fn sorted_kids(load: &Value) -> Value {
    let mut load = load.clone();
    for set in load["namespaces"].as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
        let kids: BTreeSet<String> = serde_json::from_value(set.clone()).unwrap();
        *set = serde_json::json!(kids);
    }
    load
}

/// What the binary's `doctor` says about a project with this store, against the recorded status
/// and codes.
fn doctor_differs(name: &str, store: &[u8], recorded: &Value) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("drift")).unwrap();
    std::fs::write(folder.path().join("drift/trust.json"), store).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_drift"))
        .args(["doctor", "--json"])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let trust = checks.iter().find(|check| check["check_id"] == "trust").unwrap();
    let status = text(trust, "status");
    let departure = departures::TRUST_DOCTOR.iter().find(|(id, _)| *id == name);
    if let Some((_, expected)) = departure {
        return (status != *expected).then(|| format!("{status}, should be {expected}"));
    }
    let findings = trust["findings"].as_array().unwrap();
    let mut ours: Vec<&str> = findings.iter().map(|found| text(found, "reason_code")).collect();
    let recorded_findings = recorded["findings"].as_array().unwrap();
    let mut codes: Vec<&str> =
        recorded_findings.iter().map(|found| found[0].as_str().unwrap()).collect();
    ours.sort_unstable();
    codes.sort_unstable();
    (status != text(recorded, "status") || ours != codes)
        .then(|| format!("{status} {ours:?}, recorded {recorded}"))
}

#[test]
fn trust_store_merging() {
    let Some(root) = vectors() else { return };
    let list = read_json(&root.join("tables/trust_store_merge.json"))["rows"].clone();
    let list = list.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in list {
        let store = |key: &str| TrustStore::parse(case[key].to_string().as_bytes()).unwrap();
        let merged = store("project").merged_with(store("user"));
        let keys: BTreeMap<&String, String> =
            merged.keys.iter().map(|(kid, key)| (kid, key.to_base64())).collect();
        let ours = serde_json::json!({
            "keys": keys, "namespaces": namespaces_json(&merged), "revoked": merged.revoked,
        });
        if ours != sorted_kids(&case["merged"]) {
            wrong.push(format!("{}: {ours}", text(case, "name")));
        }
    }
    conclude("trust store merging", list.len(), &wrong);
}
