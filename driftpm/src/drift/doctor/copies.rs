//! The checks `vendor_consistency` and `cache_consistency`: are the copies of the locked packages
//! and of their sidecars the locked ones?

use std::collections::BTreeMap;
use std::path::Path;

use epk_format::digest::Sha256;
use rayon::prelude::*;

use super::super::cache;
use super::super::finding::Finding;
use super::super::index::Index;
use super::super::lock::LockedPackage;
use super::super::transfer::read_sidecar;
use super::{Check, DoctorRequest, Status, finding};
use crate::files::{MAX_PACKAGE, read_below};
use crate::json::Value;
use crate::keys::sha256_text;
use crate::progress::Progress;
use crate::relpath::{RelPath, shown};

type Packages<'a> = Option<&'a BTreeMap<String, LockedPackage>>;

/// The codes of one place of copies.
struct Codes {
    missing: &'static str,
    other_bytes: &'static str,
    sidecar_missing: &'static str,
    sidecar_other_bytes: &'static str,
    sidecar_unexpected: &'static str,
}

const VENDOR: Codes = Codes {
    missing: "VENDOR_MISSING_ARTIFACT",
    other_bytes: "VENDOR_SHA_MISMATCH",
    sidecar_missing: "VENDOR_SIGNATURE_MISSING",
    sidecar_other_bytes: "VENDOR_SIG_SHA_MISMATCH",
    sidecar_unexpected: "VENDOR_SIGNATURE_UNEXPECTED",
};

const CACHE: Codes = Codes {
    missing: "CACHE_MISSING_ARTIFACT",
    other_bytes: "LOCK_CACHE_DIVERGENCE",
    sidecar_missing: "CACHE_SIGNATURE_MISSING",
    sidecar_other_bytes: "CACHE_SIG_SHA_MISMATCH",
    sidecar_unexpected: "CACHE_SIGNATURE_UNEXPECTED",
};

/// Why the copies are not looked at, if they are not.
fn skipped(id: &'static str, request: &DoctorRequest, packages: Packages<'_>) -> Option<Check> {
    let reason = match (request.deep, packages) {
        (false, _) => "not looked at without --deep",
        (true, None) => "not looked at: no usable lock",
        (true, Some(_)) => return None,
    };
    Some(Check::new(id, Status::Info, reason).with_data([("deep", request.deep.into())]))
}

/// The check `vendor_consistency`.
pub(super) fn check_vendor(
    request: &DoctorRequest,
    packages: Packages<'_>,
    progress: &dyn Progress,
) -> Check {
    const ID: &str = "vendor_consistency";
    if let Some(check) = skipped(ID, request, packages) {
        return check;
    }
    let packages = packages.into_iter().flatten();
    let packages: Vec<&LockedPackage> = packages.map(|(_, package)| package).collect();
    let dir = &request.vendor_dir;
    let data = [
        ("deep", true.into()),
        ("package_count", packages.len().into()),
        ("vendor_dir", shown(dir).into()),
    ];
    if !dir.exists() {
        let found = finding("VENDOR_DIR_MISSING", "there is no vendor directory").at(shown(dir));
        return Check::new(ID, Status::Degraded, "no vendor directory")
            .with_findings(vec![found])
            .with_data(data);
    }
    progress.begin("checking vendored packages", packages.len());
    let findings = packages.par_iter().flat_map_iter(|package| {
        progress.step();
        match RelPath::parse(&package.path) {
            Ok(path) => judge_copy(package, dir, &path, &VENDOR),
            Err(_) => Vec::new(),
        }
    });
    finish(ID, findings.collect()).with_data(data)
}

/// The check `cache_consistency`.
pub(super) fn check_cache(
    request: &DoctorRequest,
    packages: Packages<'_>,
    progress: &dyn Progress,
) -> Check {
    const ID: &str = "cache_consistency";
    if let Some(check) = skipped(ID, request, packages) {
        return check;
    }
    let packages = packages.into_iter().flatten();
    let packages: Vec<&LockedPackage> = packages.map(|(_, package)| package).collect();
    let dir = &request.cache_dir;
    let index_path = shown(&cache::index_path(dir));
    let data = [
        ("deep", true.into()),
        ("package_count", packages.len().into()),
        ("cache_dir", shown(dir).into()),
    ];
    let unusable = |summary: &str, found: Finding| {
        Check::new(ID, Status::Degraded, summary).with_findings(vec![found]).with_data(data.clone())
    };
    if !dir.exists() {
        return unusable(
            "no cache",
            finding("CACHE_MISSING", "there is no cache directory").at(shown(dir)),
        );
    }
    let index = match cache::read_index(dir) {
        Ok(Some(index)) => index,
        Ok(None) => {
            let found = finding("CACHE_INDEX_MISSING", "the cache has no index").at(index_path);
            return unusable("no cache index", found);
        }
        Err(error) => {
            let found = finding("CACHE_INDEX_INVALID", error.to_string()).at(index_path);
            return unusable("the cache's index is unusable", found);
        }
    };
    progress.begin("checking cached packages", packages.len());
    let findings = packages.par_iter().flat_map_iter(|package| {
        progress.step();
        match cached_path(package, &index) {
            Ok(path) => judge_copy(package, &cache::packages_dir(dir), &path, &CACHE),
            Err(finding) => vec![complete(finding, package).at(&index_path)],
        }
    });
    finish(ID, findings.collect()).with_data(data)
}

fn finish(id: &'static str, findings: Vec<Finding>) -> Check {
    let (status, summary) = if findings.is_empty() {
        (Status::Ok, "copies fine")
    } else {
        (Status::Degraded, "some copies are missing or not the locked ones")
    };
    Check::new(id, status, summary).with_findings(findings)
}

fn complete(finding: Finding, package: &LockedPackage) -> Finding {
    finding.about(&package.identity).from_source(&package.source_id).signed_by(&package.sig_kids)
}

/// Where the cache's index says that the package is.
fn cached_path(package: &LockedPackage, index: &Index) -> Result<RelPath, Finding> {
    let none = |message: &str| finding("LOCK_CACHE_MISSING_ENTRY", message);
    let entry = index
        .entry(&package.identity.package_id)
        .and_then(Value::as_object)
        .ok_or_else(|| none("the cache's index does not have the locked package"))?;
    let path = entry
        .text("path")
        .or_else(|| entry.text("filename"))
        .ok_or_else(|| none("the cache's entry has no path"))?;
    RelPath::parse(path).map_err(|error| {
        let message = format!("the path `{path}` of the cache's index {error}");
        finding("CACHE_INDEX_INVALID", message)
    })
}

/// What is wrong with the copy of `package` at `path` below `root`: with the package, or else
/// with its sidecar.
fn judge_copy(package: &LockedPackage, root: &Path, path: &RelPath, codes: &Codes) -> Vec<Finding> {
    let at = shown(&path.below(root));
    let found = match read_below(root, path, MAX_PACKAGE) {
        Err(error) => Some(finding(codes.missing, error.to_string())),
        Ok(bytes) => {
            let got = sha256_text(&Sha256::of(&bytes));
            let message = "the copy has other bytes than the locked package";
            if got == package.pkg_sha256 {
                judge_sidecar(package, root, path, codes)
            } else {
                Some(finding(codes.other_bytes, message).hashes(&package.pkg_sha256, &got))
            }
        }
    };
    found.map(|found| complete(found, package).at(at)).into_iter().collect()
}

fn judge_sidecar(
    package: &LockedPackage,
    root: &Path,
    path: &RelPath,
    codes: &Codes,
) -> Option<Finding> {
    match (read_sidecar(root, path), package.sig_sha256.as_deref()) {
        (Err(error), _) => Some(finding(codes.sidecar_missing, error.to_string())),
        (Ok(None), None) => None,
        (Ok(None), Some(_)) => {
            Some(finding(codes.sidecar_missing, "the copy's signature sidecar is missing"))
        }
        (Ok(Some(_)), None) => {
            let message = "the copy has a signature sidecar, the locked package has none";
            Some(finding(codes.sidecar_unexpected, message))
        }
        (Ok(Some(bytes)), Some(expected)) => {
            let got = sha256_text(&Sha256::of(&bytes));
            let message = "the copy's signature sidecar has other bytes than the locked one";
            (got != expected)
                .then(|| finding(codes.sidecar_other_bytes, message).hashes(expected, &got))
        }
    }
}
