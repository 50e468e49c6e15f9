//! Whether bytes are the locked package.

use epk_format::digest::Sha256;

use super::super::container::{self, Full};
use super::super::lock1::{LOCK_FILE, Locked};
use super::super::metadata::Metadata;
use super::super::platform::Platform;
use crate::keys::sha256_text;
use crate::problem::Problem;

/// Checks that a package and its sidecar are the locked ones: hash, container, identity, the
/// sidecar's hash, and that the lock says about the package what it says itself. `from` is where
/// they lie, for messages.
///
/// # Errors
/// `LOCK_SHA_MISMATCH`, `LOCK_PKG_FORMAT_INVALID`, `LOCK_IDENTITY_MISMATCH`,
/// `LOCK_SIGNATURE_MISSING`, `LOCK_SIG_SHA_MISMATCH`, `LOCK_METADATA_MISMATCH`
pub fn check_locked(
    locked: &Locked,
    package: &[u8],
    sidecar: Option<&[u8]>,
    from: &str,
) -> Result<Full, Problem> {
    let problem = |code, message: String| {
        Problem::new(code, message).in_file(from).about(locked.identity.package_id.as_str())
    };
    let got = sha256_text(&Sha256::of(package));
    if got != locked.sha256 {
        let message = format!("the package's hash is {got}, {} is locked", locked.sha256);
        return Err(problem("LOCK_SHA_MISMATCH", message));
    }
    let full = container::read_full(package)
        .map_err(|error| problem("LOCK_PKG_FORMAT_INVALID", error.to_string()))?;
    let identity = container::read_identity(&full.manifest)
        .map_err(|error| problem("LOCK_PKG_FORMAT_INVALID", error.to_string()))?;
    if identity != locked.identity {
        let message = format!("the package is {identity}, {} is locked", locked.identity);
        return Err(problem("LOCK_IDENTITY_MISMATCH", message));
    }
    if let Some(expected) = &locked.sig_sha256 {
        let Some(sidecar) = sidecar else {
            let message = "the locked signature sidecar is missing".to_owned();
            return Err(problem("LOCK_SIGNATURE_MISSING", message));
        };
        let got = sha256_text(&Sha256::of(sidecar));
        if got != *expected {
            let message = format!("the sidecar's hash is {got}, {expected} is locked");
            return Err(problem("LOCK_SIG_SHA_MISMATCH", message));
        }
    }
    let metadata = Metadata::of_manifest(&full.manifest, from)?;
    let what = if metadata.dependencies != locked.dependencies {
        "dependencies"
    } else if metadata.platform != locked.platform {
        "platform"
    } else if metadata.native.is_empty() == locked.native {
        "native"
    } else {
        return Ok(full);
    };
    let message = format!("the package says something else about `{what}` than `{LOCK_FILE}`");
    Err(problem("LOCK_METADATA_MISMATCH", message).at(what))
}

/// Checks that all packages can be used on `platform`.
///
/// # Errors
/// `PLATFORM_MISMATCH`
pub fn check_platform<'a>(
    packages: impl IntoIterator<Item = &'a Locked>,
    platform: &Platform,
) -> Result<(), Problem> {
    for locked in packages {
        if let Some(lacking) = locked.platform.unmet_by(platform) {
            let message = format!("{} cannot be used here: {lacking}", locked.identity);
            return Err(Problem::new("PLATFORM_MISMATCH", message)
                .about(locked.identity.package_id.as_str())
                .hint("`drift update --keep` looks for versions that can"));
        }
    }
    Ok(())
}
