//! Rules 35 and 36, and our own on signatures: what the policy asks for.

use std::ops::Range;

use crate::digest::Sha256;
use crate::error::{Location, Reject, RejectCode};
use crate::layout::header::Header;
use crate::limits;
use crate::manifest::Manifest;
use crate::package::OpenOptions;
use crate::signature::{Blob, KeyId, Policy, SignatureState, Strength, verify};

/// Judges the signature. `blob` is `None` when it is larger than our limit. The `manifest` says
/// what the package is called; in one that is wrong it is called nothing.
pub(crate) fn check(
    header: &Header,
    range: &Range<u64>,
    blob: Option<&[u8]>,
    manifest: &[u8],
    options: &OpenOptions,
) -> Result<SignatureState, Reject> {
    let at = || Location::Offset(range.start);
    let failed = |detail: String| Reject::new(RejectCode::SignatureFailed, at(), detail);
    let revoked = |id: &KeyId| {
        let detail = format!("signed by `{id}`, which is revoked");
        Reject::new(RejectCode::SignatureRevoked, at(), detail)
    };
    let required = options.signature == Policy::Required;

    if header.signature_size == 0 {
        if required {
            return Err(failed("no signature, and one is required".into()));
        }
        return Ok(SignatureState::Unsigned);
    }
    if options.signature == Policy::Disabled {
        // Whether the key has really signed makes no difference: nobody wants to seem to be it.
        return match blob.map(Blob::parse) {
            Some(Ok(Blob::Ed25519 { key, .. })) if options.trust.is_revoked(&key.id()) => {
                Err(revoked(&key.id()))
            }
            _ => Ok(SignatureState::NotChecked),
        };
    }
    let Some(blob) = blob else {
        return Err(Reject::new(
            RejectCode::SignatureTooLarge,
            at(),
            format!(
                "signature blob of {} bytes, at most {} are read",
                header.signature_size,
                limits::SIGNATURE_BYTES
            ),
        ));
    };
    match Blob::parse(blob).map_err(|error| failed(error.to_string()))? {
        Blob::None if required => Err(Reject::new(
            RejectCode::SignatureAlgorithmNone,
            at(),
            "signature of algorithm 0 (none), and a signature is required",
        )),
        Blob::None => Ok(SignatureState::Unsigned),
        Blob::Ed25519 { key, signature } => {
            let strength = verify(&key, &signature, &Sha256(header.package_hash))
                .map_err(|error| failed(error.to_string()))?;
            if strength == Strength::Weak {
                return Err(Reject::new(
                    RejectCode::SignatureWeakKey,
                    at(),
                    "key of small order or not in canonical form: its signature proves nothing",
                ));
            }
            let id = key.id();
            if options.trust.is_revoked(&id) {
                return Err(revoked(&id));
            }
            // Read only for a key that is not trusted for every name.
            let name = || Manifest::parse(manifest).ok().map(|manifest| manifest.name);
            if options.trust.trusts(&id, name) {
                return Ok(SignatureState::Valid(id));
            }
            if !required {
                return Ok(SignatureState::Untrusted(id));
            }
            let why = match options.trust.names_of(&id) {
                None => "which is not a trusted key".to_owned(),
                Some(names) => match name() {
                    None => format!("which is trusted for {names} only, and the manifest is wrong"),
                    Some(name) => format!(
                        "which is trusted for {names} only, not for `{}`",
                        name.escape_debug()
                    ),
                },
            };
            let detail = format!("valid signature by `{id}`, {why}");
            Err(Reject::new(RejectCode::SignatureUntrusted, at(), detail))
        }
    }
}
