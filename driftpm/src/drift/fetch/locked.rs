//! Picking by the lock: exactly what it says, from exactly there. No index is read.

use super::super::finding::{Finding, Mode};
use super::super::lock::{Lock, LockedPackage};
use super::super::sources::Source;
use super::pick::{Pick, Pin};
use crate::relpath::RelPath;

/// The locked packages sorted by id; an error stands in the place of its package.
pub(super) fn picks(lock: &Lock, sources: &[Source]) -> Vec<Result<Pick, Finding>> {
    lock.packages().values().map(|package| pick(package, sources)).collect()
}

fn pick(package: &LockedPackage, sources: &[Source]) -> Result<Pick, Finding> {
    let wrong = |code, message: String| {
        Finding::new(Mode::Lock, code, message)
            .about(&package.identity)
            .from_source(&package.source_id)
            .signed_by(&package.sig_kids)
    };
    let source = sources.iter().find(|source| source.id == package.source_id).ok_or_else(|| {
        let message =
            format!("the lock names the source `{}`, which is unknown", package.source_id);
        wrong("LOCK_SOURCE_UNKNOWN", message)
    })?;
    let path = RelPath::parse(&package.path).map_err(|error| {
        wrong("LOCK_PATH_INVALID", format!("the path `{}` of the lock {error}", package.path))
    })?;
    Ok(Pick {
        identity: package.identity.clone(),
        source_id: source.id.clone(),
        source_dir: source.path.clone(),
        path,
        sha256: package.pkg_sha256.clone(),
        signers: package.sig_kids.clone(),
        pin: Pin::Lock { sig_sha256: package.sig_sha256.clone() },
    })
}
