//! The check `trust`: can the gatekeeper use the trust store?

use std::collections::BTreeSet;

use super::super::finding::Finding;
use super::{Check, DoctorRequest, OtherStore, Status, finding};
use crate::files::{self, FileError};
use crate::json::{self, JsonError, Limit, Object, Value};
use crate::keys::PublicKey;
use crate::relpath::shown;
use crate::transport::Location;
use crate::trust::{TrustError, TrustStore, is_reserved};

const ID: &str = "trust";

/// The check, and the ids of keys that any of the stores revokes.
pub(super) fn check(request: &DoctorRequest) -> (Check, BTreeSet<String>) {
    let path = &request.trust_store;
    let at = shown(path);
    let mut other_findings = Vec::new();
    let mut revoked = BTreeSet::new();
    for store in &request.other_stores {
        revoked.extend(other_store(store, &mut other_findings));
    }
    let fail = |status, summary: &str, code, message: String, mut findings: Vec<Finding>| {
        findings.push(finding(code, message).at(&at));
        Check::new(ID, status, summary).with_findings(findings)
    };
    let bytes = match files::read(path, Limit::SETTINGS.file()) {
        Ok(bytes) => bytes,
        Err(error) => {
            let (mut status, summary, code) = if error.is_missing() {
                (Status::Degraded, format!("no trust store `{at}`"), "TRUST_MISSING")
            } else {
                let summary = "the trust store cannot be read".to_owned();
                (Status::Fatal, summary, "TRUST_SCHEMA_INVALID")
            };
            if !other_findings.is_empty() {
                status = Status::Fatal;
            }
            let check = fail(status, &summary, code, error.to_string(), other_findings);
            return (check, revoked);
        }
    };
    let document = match json::parse(&bytes, Limit::SETTINGS) {
        Ok(Value::Object(document)) if document.is_format_zero("drift-trust") => document,
        other => {
            let (code, message) = match other {
                Err(error @ JsonError::Syntax(_)) => ("TRUST_PARSE_ERROR", error.to_string()),
                Err(error) => ("TRUST_SCHEMA_INVALID", error.to_string()),
                Ok(_) => ("TRUST_SCHEMA_INVALID", "no `drift-trust` of version 0".to_owned()),
            };
            let check =
                fail(Status::Fatal, "the trust store is invalid", code, message, other_findings);
            return (check, revoked);
        }
    };
    let map = |field| document.get(field).and_then(Value::as_object);
    let (Some(keys), Some(namespaces)) = (map("keys"), map("namespaces")) else {
        let message = "`keys` and `namespaces` must be objects".to_owned();
        let code = "TRUST_SCHEMA_INVALID";
        let check =
            fail(Status::Fatal, "the trust store is invalid", code, message, other_findings);
        return (check, revoked);
    };
    let mut fatal = other_findings;
    if let Some(other) = document.get("revoked")
        && !matches!(other, Value::Object(_) | Value::Array(_) | Value::Null)
    {
        let message = format!("`revoked` is {}, not an object or a list", other.kind());
        fatal.push(finding("TRUST_SCHEMA_INVALID", message).at(&at));
    }
    let none = Object::new();
    let repositories = match document.get("repositories") {
        Some(Value::Object(repositories)) => repositories,
        Some(other) if other.is_truthy() => {
            let message = format!("`repositories` is {}, not an object", other.kind());
            fatal.push(finding("TRUST_SCHEMA_INVALID", message).at(&at));
            &none
        }
        _ => &none,
    };
    // Of a store that the gate refuses for its keys, the revocations still say something.
    match document.get("revoked") {
        Some(Value::Object(entries)) => {
            revoked.extend(entries.iter().map(|(kid, _)| kid.to_owned()));
        }
        Some(Value::Array(items)) => {
            revoked.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        _ => {}
    }
    let mut findings = key_findings(keys);
    findings.extend(namespace_findings(namespaces));
    findings.extend(repository_findings(repositories, &revoked));
    let mut findings: Vec<Finding> = findings.into_iter().map(|one| one.at(&at)).collect();
    let (status, summary) = match (fatal.is_empty(), findings.is_empty()) {
        (false, _) => (Status::Fatal, "the trust store is invalid"),
        (true, false) => (Status::Degraded, "parts of the trust store mean nothing"),
        (true, true) => (Status::Ok, "trust store fine"),
    };
    findings.append(&mut fatal);
    let check = Check::new(ID, status, summary).with_findings(findings).with_data([
        ("key_count", keys.len().into()),
        ("namespace_count", namespaces.len().into()),
    ]);
    // The two numbers are what others know; a third one only where there is something to count.
    let check = if repositories.is_empty() {
        check
    } else {
        check.counting("repository_count", repositories.len())
    };
    (check, revoked)
}

/// Revocations of the user's store or the toolchain's: that one is missing is nothing to report
/// unless somebody named it, that one is broken is.
fn other_store(store: &OtherStore, findings: &mut Vec<Finding>) -> BTreeSet<String> {
    let (code, message) = match files::read(&store.path, Limit::SETTINGS.file()) {
        Err(FileError::Missing(_)) if !store.must_exist => return BTreeSet::new(),
        Err(error @ FileError::Missing(_)) => ("TRUST_MISSING", error.to_string()),
        Err(error) => ("TRUST_SCHEMA_INVALID", error.to_string()),
        Ok(bytes) => match TrustStore::parse(&bytes) {
            Ok(store) => return store.revoked,
            Err(error @ TrustError::Json(JsonError::Syntax(_))) => {
                ("TRUST_PARSE_ERROR", error.to_string())
            }
            Err(error) => ("TRUST_SCHEMA_INVALID", error.to_string()),
        },
    };
    findings.push(finding(code, message).at(shown(&store.path)));
    BTreeSet::new()
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
        if is_reserved(name.strip_suffix(".*").unwrap_or(name)) {
            wrong("is reserved for the toolchain, whose keys are not in this store");
        }
        if !kids.as_strings().is_some_and(|kids| kids.iter().all(|kid| !kid.is_empty())) {
            wrong("has no list of key ids");
        }
    }
    findings
}

/// What is bound to repositories: a URL as repositories are known by, and keys of which one at
/// least may sign.
fn repository_findings(repositories: &Object, revoked: &BTreeSet<String>) -> Vec<Finding> {
    let problem = |place: &str, kids: &Value| -> Option<(&'static str, String)> {
        let invalid = |problem: String| Some(("TRUST_REPOSITORY_INVALID", problem));
        match Location::parse(place) {
            Err(error) => return invalid(format!("is no URL of one: {error}")),
            Ok(location) if location.to_string().trim_end_matches('/') != place => {
                let known = location.to_string();
                let known = known.trim_end_matches('/');
                return invalid(format!("is never asked for: it is known as `{known}`"));
            }
            Ok(_) => {}
        }
        let Some(kids) = kids.as_strings().filter(|kids| kids.iter().all(|kid| !kid.is_empty()))
        else {
            return invalid("has no list of key ids".to_owned());
        };
        if kids.is_empty() || !kids.iter().all(|kid| revoked.contains(*kid)) {
            return None;
        }
        Some((
            "TRUST_REPOSITORY_REVOKED",
            "has revoked keys only; `drift trust rotate` puts another one in their place"
                .to_owned(),
        ))
    };
    let finding = |(place, kids): (&str, &Value)| {
        let (code, problem) = problem(place, kids)?;
        Some(finding(code, format!("repository {place:?} {problem}")))
    };
    repositories.iter().filter_map(finding).collect()
}
