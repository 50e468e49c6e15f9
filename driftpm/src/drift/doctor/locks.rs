//! The check `lock`: is the lock whole, do its places exist, may its signers still sign?

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use epk_format::digest::Sha256;

use super::super::finding::Finding;
use super::super::lock::{Lock, LockError, LockedPackage};
use super::super::sources::Source;
use super::super::transfer::read_sidecar;
use super::inspect::{Inspection, Inspector, Place};
use super::{Check, DoctorRequest, Status, finding};
use crate::files::{self, FileError};
use crate::json::{JsonError, Limit};
use crate::keys::sha256_text;
use crate::relpath::{RelPath, shown};

const ID: &str = "lock";

/// The lock, or why there is none.
pub(super) enum Loaded {
    Missing,
    Invalid(Finding),
    Lock(Lock),
}

impl Loaded {
    /// The locked packages, if there is a lock.
    pub(super) fn packages(&self) -> Option<&BTreeMap<String, LockedPackage>> {
        match self {
            Self::Lock(lock) => Some(lock.packages()),
            _ => None,
        }
    }
}

/// Reads the lock.
pub(super) fn load(path: &Path) -> Loaded {
    let bytes = match files::read(path, Limit::INDEX.file()) {
        Ok(bytes) => bytes,
        Err(FileError::Missing(_)) => return Loaded::Missing,
        Err(error) => {
            return Loaded::Invalid(
                finding("LOCK_SCHEMA_INVALID", error.to_string()).at(shown(path)),
            );
        }
    };
    match Lock::parse(&bytes) {
        Ok(lock) => Loaded::Lock(lock),
        Err(error) => {
            let code = match error {
                LockError::Json(JsonError::Syntax(_)) => "LOCK_PARSE_ERROR",
                _ => "LOCK_SCHEMA_INVALID",
            };
            Loaded::Invalid(finding(code, error.to_string()).at(shown(path)))
        }
    }
}

/// The source and path of a locked package, if both are known.
fn place(package: &LockedPackage, sources: Option<&[Source]>) -> Option<Place> {
    let source = sources?.iter().find(|source| source.id == package.source_id)?;
    Some((source.path.clone(), RelPath::parse(&package.path).ok()?))
}

/// The files of all locked packages in their sources.
pub(super) fn places(lock: &Loaded, sources: Option<&[Source]>) -> BTreeSet<Place> {
    let packages = lock.packages().into_iter().flat_map(BTreeMap::values);
    packages.filter_map(|package| place(package, sources)).collect()
}

/// The check.
pub(super) fn check(
    lock: &Loaded,
    request: &DoctorRequest,
    sources: Option<&[Source]>,
    revoked: &BTreeSet<String>,
    inspector: &Inspector,
) -> Check {
    let packages = match lock {
        Loaded::Missing => {
            let summary = format!("no lock `{}`", shown(&request.lock));
            return Check::new(ID, Status::Info, summary);
        }
        Loaded::Invalid(finding) => {
            let check = Check::new(ID, Status::Fatal, "the lock is invalid");
            return check.with_findings(vec![finding.clone()]);
        }
        Loaded::Lock(lock) => lock.packages(),
    };
    let lock_path = shown(&request.lock);
    let mut fatal = Vec::new();
    let mut degraded = Vec::new();
    for package in packages.values() {
        if let Some(finding) = judge(package, &lock_path, sources, request.deep, inspector) {
            fatal.push(complete(finding, package));
        }
        if let Some((finding, all)) = revoked_signers(package, revoked) {
            let list = if all { &mut fatal } else { &mut degraded };
            list.push(complete(finding.at(&lock_path), package));
        }
    }
    let (status, summary) = match (fatal.is_empty(), degraded.is_empty()) {
        (false, _) => (Status::Fatal, "the lock cannot be relied on"),
        (true, false) => (Status::Degraded, "some signers in the lock are revoked"),
        (true, true) => (Status::Ok, "lock fine"),
    };
    fatal.append(&mut degraded);
    Check::new(ID, status, summary)
        .with_findings(fatal)
        .with_data([("package_count", packages.len().into()), ("deep", request.deep.into())])
}

fn complete(finding: Finding, package: &LockedPackage) -> Finding {
    finding.about(&package.identity).from_source(&package.source_id).signed_by(&package.sig_kids)
}

/// Whether signers of a locked package are revoked, and whether all are: then the gate will not
/// take the package any more.
fn revoked_signers(package: &LockedPackage, revoked: &BTreeSet<String>) -> Option<(Finding, bool)> {
    let revoked: Vec<&str> =
        package.sig_kids.iter().filter(|kid| revoked.contains(*kid)).map(String::as_str).collect();
    if revoked.is_empty() {
        return None;
    }
    let all = revoked.len() == package.sig_kids.len();
    let (code, rest) = if all {
        ("LOCK_SIGNER_REVOKED", "and nobody else has signed the package")
    } else {
        ("LOCK_SIGNER_PARTLY_REVOKED", "others have signed the package too")
    };
    let message = format!("signed by the revoked `{}`; {rest}", revoked.join("`, `"));
    Some((finding(code, message), all))
}

/// The first thing wrong with a locked package: source, path; then, if the bytes are read, there,
/// hash, container, identity, sidecar there, sidecar's hash.
fn judge(
    package: &LockedPackage,
    lock_path: &str,
    sources: Option<&[Source]>,
    deep: bool,
    inspector: &Inspector,
) -> Option<Finding> {
    if let Some(sources) = sources
        && !sources.iter().any(|source| source.id == package.source_id)
    {
        let message =
            format!("the lock names the source `{}`, which is unknown", package.source_id);
        return Some(finding("LOCK_SOURCE_UNKNOWN", message).at(lock_path));
    }
    if let Err(error) = RelPath::parse(&package.path) {
        let message = format!("the path `{}` of the lock {error}", package.path);
        return Some(finding("LOCK_PATH_INVALID", message).at(lock_path));
    }
    if !deep {
        return None;
    }
    let place = place(package, sources)?;
    let (root, path) = &place;
    let found = match inspector.at(&place) {
        Inspection::Missing => {
            Some(finding("LOCK_ARTIFACT_MISSING", "the locked package is missing in its source"))
        }
        Inspection::Unreadable(error) => {
            Some(finding("LOCK_PKG_FORMAT_INVALID", error.to_string()))
        }
        Inspection::Read { sha256, .. } if *sha256 != package.pkg_sha256 => {
            let message = "the package has other bytes than the lock says";
            Some(finding("LOCK_SHA_MISMATCH", message).hashes(&package.pkg_sha256, sha256))
        }
        Inspection::Read { light: Err(error), .. } => {
            Some(finding("LOCK_PKG_FORMAT_INVALID", error.to_string()))
        }
        Inspection::Read { light: Ok(observed), .. } if *observed != package.identity => {
            let message = "the package says it is another one than the lock says";
            let found = finding("LOCK_IDENTITY_MISMATCH", message);
            Some(found.identities(&package.identity, observed))
        }
        Inspection::Read { full: Err(error), .. } => {
            Some(finding("LOCK_PKG_FORMAT_INVALID", error.to_string()))
        }
        Inspection::Read { .. } => judge_sidecar(package, root, path),
    };
    found.map(|found| found.at(shown(&path.below(root))))
}

fn judge_sidecar(package: &LockedPackage, root: &Path, path: &RelPath) -> Option<Finding> {
    let expected = package.sig_sha256.as_deref()?;
    match read_sidecar(root, path) {
        Ok(Some(bytes)) => {
            let got = sha256_text(&Sha256::of(&bytes));
            let message = "the signature sidecar has other bytes than the lock says";
            (got != expected)
                .then(|| finding("LOCK_SIG_SHA_MISMATCH", message).hashes(expected, &got))
        }
        Ok(None) => {
            Some(finding("LOCK_SIGNATURE_MISSING", "the locked signature sidecar is missing"))
        }
        Err(error) => Some(finding("LOCK_SIGNATURE_MISSING", error.to_string())),
    }
}
