//! The check `trust`: can the gatekeeper use the trust store?

use std::path::Path;

use super::super::files::{self, FileError, MAX_SETTINGS};
use super::super::finding::Finding;
use super::super::json::{self, JsonError, Object, Value};
use super::super::keys::PublicKey;
use super::super::relpath::shown;
use super::super::trust::TrustStore;
use super::{Check, DoctorRequest, KnownTrust, Status, finding};

const ID: &str = "trust";

/// The check, and what of the project's and the user's stores can be read.
pub(super) fn check(request: &DoctorRequest) -> (Check, KnownTrust) {
    let path = &request.trust_store;
    let at = shown(path);
    let mut user_findings = Vec::new();
    let user = match &request.user_trust_store {
        Some(path) => user_store(path, &mut user_findings),
        None => TrustStore::default(),
    };
    let fail = |status, summary: &str, code, message: String, mut findings: Vec<Finding>| {
        findings.push(finding(code, message).at(&at));
        Check::new(ID, status, summary).with_findings(findings)
    };
    let bytes = match files::read(path, MAX_SETTINGS) {
        Ok(bytes) => bytes,
        Err(error) => {
            let (mut status, summary, code) = if error.is_missing() {
                (Status::Degraded, format!("no trust store `{at}`"), "TRUST_MISSING")
            } else {
                let summary = "the trust store cannot be read".to_owned();
                (Status::Fatal, summary, "TRUST_SCHEMA_INVALID")
            };
            if !user_findings.is_empty() {
                status = Status::Fatal;
            }
            let check = fail(status, &summary, code, error.to_string(), user_findings);
            return (check, user);
        }
    };
    let limit = usize::try_from(MAX_SETTINGS).unwrap_or(usize::MAX);
    let document = match json::parse(&bytes, limit) {
        Ok(Value::Object(document)) if document.is_format_zero("drift-trust") => document,
        other => {
            let (code, message) = match other {
                Err(error @ JsonError::Syntax(_)) => ("TRUST_PARSE_ERROR", error.to_string()),
                Err(error) => ("TRUST_SCHEMA_INVALID", error.to_string()),
                Ok(_) => ("TRUST_SCHEMA_INVALID", "no `drift-trust` of version 0".to_owned()),
            };
            let check =
                fail(Status::Fatal, "the trust store is invalid", code, message, user_findings);
            return (check, user);
        }
    };
    let map = |field| document.get(field).and_then(Value::as_object);
    let (Some(keys), Some(namespaces)) = (map("keys"), map("namespaces")) else {
        let message = "`keys` and `namespaces` must be objects".to_owned();
        let code = "TRUST_SCHEMA_INVALID";
        let check = fail(Status::Fatal, "the trust store is invalid", code, message, user_findings);
        return (check, user);
    };
    let mut fatal = user_findings;
    if let Some(other) = document.get("revoked")
        && !matches!(other, Value::Object(_) | Value::Array(_) | Value::Null)
    {
        let message = format!("`revoked` is {}, not an object or a list", other.kind());
        fatal.push(finding("TRUST_SCHEMA_INVALID", message).at(&at));
    }
    let mut findings = key_findings(keys);
    findings.extend(namespace_findings(namespaces));
    let mut findings: Vec<Finding> = findings.into_iter().map(|one| one.at(&at)).collect();
    let (status, summary) = match (fatal.is_empty(), findings.is_empty()) {
        (false, _) => (Status::Fatal, "the trust store is invalid"),
        (true, false) => (Status::Degraded, "the trust store has issues"),
        (true, true) => (Status::Ok, "trust store fine"),
    };
    findings.append(&mut fatal);
    let check = Check::new(ID, status, summary).with_findings(findings).with_data([
        ("key_count", keys.len().into()),
        ("namespace_count", namespaces.len().into()),
    ]);
    let project = TrustStore::parse(&bytes).unwrap_or_else(|_| revocations_only(&document));
    (check, project.merged_with(user))
}

/// Of a store that the gate refuses, the revocations still count here.
fn revocations_only(document: &Object) -> TrustStore {
    let mut store = TrustStore::default();
    match document.get("revoked") {
        Some(Value::Object(entries)) => {
            store.revoked.extend(entries.iter().map(|(kid, _)| kid.to_owned()));
        }
        Some(Value::Array(items)) => {
            store.revoked.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        _ => {}
    }
    store
}

/// The user's store: that it is missing is nothing to report, that it is broken is.
fn user_store(path: &Path, findings: &mut Vec<Finding>) -> TrustStore {
    let problem = match files::read(path, MAX_SETTINGS) {
        Err(FileError::Missing(_)) => return TrustStore::default(),
        Err(error) => ("TRUST_SCHEMA_INVALID", error.to_string()),
        Ok(bytes) => match TrustStore::parse(&bytes) {
            Ok(store) => return store,
            Err(error @ super::super::trust::TrustError::Json(JsonError::Syntax(_))) => {
                ("TRUST_PARSE_ERROR", error.to_string())
            }
            Err(error) => ("TRUST_SCHEMA_INVALID", error.to_string()),
        },
    };
    let (code, message) = problem;
    findings.push(finding(code, message).at(shown(path)));
    TrustStore::default()
}

fn key_findings(keys: &Object) -> Vec<Finding> {
    keys.iter()
        .filter_map(|(kid, entry)| {
            let problem = match entry.as_object() {
                None => format!("is {}, not an object", entry.kind()),
                Some(entry) if entry.get("algo").and_then(Value::as_str) != Some("ed25519") => {
                    "has another algorithm than `ed25519`".to_owned()
                }
                Some(entry) => match entry.text("pubkey").map(PublicKey::parse) {
                    None => "has no public key".to_owned(),
                    Some(Err(error)) => format!("has no usable public key: {error}"),
                    Some(Ok(key)) if key.id() != kid => {
                        format!("is the key whose id is `{}`", key.id())
                    }
                    Some(Ok(_)) => return None,
                },
            };
            Some(finding("TRUST_KEY_INVALID", format!("key `{kid}` {problem}")))
        })
        .collect()
}

fn namespace_findings(namespaces: &Object) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, kids) in namespaces.iter() {
        let mut wrong = |problem: &str| {
            let message = format!("namespace {name:?} {problem}");
            findings.push(finding("TRUST_NAMESPACE_INVALID", message));
        };
        if name.is_empty() {
            wrong("has no name");
        } else if name.contains([' ', '\t', '\n']) {
            wrong("contains white space");
        }
        if name.contains('*') && !name.ends_with(".*") && name != "*" {
            wrong("has a `*` that is not the end of a final `.*`");
        }
        if !kids.as_strings().is_some_and(|kids| kids.iter().all(|kid| !kid.is_empty())) {
            wrong("has no list of key ids");
        }
    }
    findings
}
