//! The decision about one package: does somebody trusted vouch for exactly these bytes, for
//! every one of its modules? Pure: bytes in, verdict out.

use std::collections::BTreeSet;

use epk_format::digest::Sha256;

use super::super::sidecar::{GateSidecar, SidecarError, parse_for_gate};
use crate::trust::{TrustStore, is_reserved};

/// The stores that decide.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The project's store, merged with the user's.
    pub project: TrustStore,
    /// The toolchain's keys: the only ones that speak for reserved namespaces, and for nothing
    /// else.
    pub toolchain: TrustStore,
}

impl Trust {
    /// Whether any of the stores revokes `kid`.
    #[must_use]
    pub fn revokes(&self, kid: &str) -> bool {
        self.project.revoked.contains(kid) || self.toolchain.revoked.contains(kid)
    }
}

/// Why a package is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// No modules: nobody can be asked whether the signer speaks for them.
    #[error("the package has no modules, and nobody vouches for nothing")]
    NoModules,
    /// No sidecar, and unsigned packages are not accepted here.
    #[error("missing signature sidecar, and the package is not accepted without")]
    Unsigned,
    /// An unsigned package with a module that only the toolchain may sign.
    #[error("module `{0}` is reserved for the toolchain, and the package is unsigned")]
    UnsignedReserved(String),
    /// The sidecar is unusable.
    #[error(transparent)]
    Sidecar(SidecarError),
    /// The sidecar is for other bytes.
    #[error("{0}")]
    OtherPackage(SidecarError),
    /// Every signature is by a revoked key.
    #[error("the signing key `{0}` is revoked")]
    Revoked(String),
    /// A trust store has a key under an id that is not the key's.
    #[error("the trust store has another key under `{0}` than the one of that id")]
    OtherKey(String),
    /// No signature by a known key verifies.
    #[error("no valid signatures by keys that are known and not revoked")]
    NoValidSignature,
    /// Nobody may speak for a module.
    #[error("no key is trusted for module `{0}`")]
    NamespaceUnknown(String),
    /// Those who signed may not speak for a module.
    #[error("the signers are not trusted for module '{0}'")]
    SignerNotTrusted(String),
    /// A reserved module that no toolchain key has signed.
    #[error("module `{0}` is reserved for the toolchain, and no toolchain key has signed it")]
    Reserved(String),
}

impl Distrust {
    /// The stable code, see `spec/drift.md`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoModules => "NO_MODULES",
            Self::Unsigned => "SIGNATURE_MISSING",
            Self::Sidecar(_) => "SIDECAR_INVALID",
            Self::OtherPackage(_) => "SIDECAR_SHA_MISMATCH",
            Self::Revoked(_) => "SIGNER_REVOKED",
            Self::OtherKey(_) => "TRUST_KEY_ID_MISMATCH",
            Self::NoValidSignature => "NO_VALID_SIGNATURE",
            Self::NamespaceUnknown(_) => "NAMESPACE_UNTRUSTED",
            Self::SignerNotTrusted(_) => "SIGNER_NOT_TRUSTED",
            Self::Reserved(_) | Self::UnsignedReserved(_) => "NAMESPACE_RESERVED",
        }
    }
}

/// Decides about the package `bytes` with `modules`. `allow_unsigned` says whether it would do
/// without a sidecar; one that is there is enforced in any case. Returns the ids of the keys
/// that the decision rests on, none for an unsigned package.
///
/// # Errors
/// [`Distrust`]
pub fn verify_package(
    bytes: &[u8],
    modules: &[String],
    sidecar: Option<&[u8]>,
    trust: &Trust,
    allow_unsigned: bool,
) -> Result<BTreeSet<String>, Distrust> {
    if modules.is_empty() {
        return Err(Distrust::NoModules);
    }
    let Some(sidecar) = sidecar else {
        if !allow_unsigned {
            return Err(Distrust::Unsigned);
        }
        return match modules.iter().find(|module| is_reserved(module)) {
            Some(module) => Err(Distrust::UnsignedReserved(module.clone())),
            None => Ok(BTreeSet::new()),
        };
    };
    let sidecar = parse_for_gate(sidecar).map_err(Distrust::Sidecar)?;
    sidecar.check_package(&Sha256::of(bytes)).map_err(Distrust::OtherPackage)?;
    let verified = verified_keys(bytes, &sidecar, trust)?;
    let mut accepted = BTreeSet::new();
    for module in modules {
        let (store, known) = if is_reserved(module) {
            (&trust.toolchain, &verified.toolchain)
        } else {
            (&trust.project, &verified.project)
        };
        let allowed = store.allowed_keys(module);
        let mut speakers = known.iter().copied().filter(|kid| allowed.contains(kid)).peekable();
        if speakers.peek().is_none() {
            return Err(if is_reserved(module) {
                Distrust::Reserved(module.clone())
            } else if allowed.is_empty() {
                Distrust::NamespaceUnknown(module.clone())
            } else {
                Distrust::SignerNotTrusted(module.clone())
            });
        }
        accepted.extend(speakers.map(str::to_owned));
    }
    Ok(accepted)
}

/// Key ids with a valid signature, by the store that has the key.
#[derive(Default)]
struct Verified<'a> {
    project: BTreeSet<&'a str>,
    toolchain: BTreeSet<&'a str>,
}

fn verified_keys<'a>(
    bytes: &[u8],
    sidecar: &'a GateSidecar,
    trust: &Trust,
) -> Result<Verified<'a>, Distrust> {
    let mut verified = Verified::default();
    let mut revoked = BTreeSet::new();
    let mut misnamed = None;
    for entry in &sidecar.signatures {
        let kid = entry.kid.as_str();
        if trust.revokes(kid) {
            revoked.insert(kid);
            continue;
        }
        for (store, known) in
            [(&trust.project, &mut verified.project), (&trust.toolchain, &mut verified.toolchain)]
        {
            let Some(key) = store.keys.get(kid) else { continue };
            // A key under a second name would survive the revocation of its first.
            if key.id() != kid {
                misnamed = Some(kid);
            } else if key.verifies(bytes, &entry.signature) {
                known.insert(kid);
            }
        }
    }
    if !verified.project.is_empty() || !verified.toolchain.is_empty() {
        return Ok(verified);
    }
    Err(match (revoked.first(), misnamed) {
        (Some(kid), _) if revoked.len() == sidecar.signatures.len() => {
            Distrust::Revoked((*kid).to_owned())
        }
        (_, Some(kid)) => Distrust::OtherKey(kid.to_owned()),
        _ => Distrust::NoValidSignature,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::sidecar::Draft;
    use super::*;
    use crate::keys::PrivateKey;
    use crate::keys::testing::key;

    const PACKAGE: &[u8] = b"the bytes of a package";

    fn store(bindings: &[(&str, &PrivateKey)]) -> TrustStore {
        let mut store = TrustStore::default();
        for (namespace, key) in bindings {
            let kid = key.public().id();
            store.keys.insert(kid.clone(), key.public());
            store.namespaces.entry((*namespace).to_owned()).or_default().insert(kid);
        }
        store
    }

    fn signed_by(keys: &[&PrivateKey]) -> Vec<u8> {
        let mut draft = Draft::new(&Sha256::of(PACKAGE));
        for key in keys {
            draft.sign(key, PACKAGE, false);
        }
        draft.to_bytes()
    }

    fn verify(
        modules: &[&str],
        sidecar: Option<&[u8]>,
        trust: &Trust,
    ) -> Result<usize, &'static str> {
        let modules: Vec<String> = modules.iter().map(|module| (*module).to_owned()).collect();
        verify_package(PACKAGE, &modules, sidecar, trust, sidecar.is_none())
            .map(|kids| kids.len())
            .map_err(|distrust| distrust.code())
    }

    #[test]
    fn signers_speak_for_their_modules_only() {
        let trust =
            Trust { project: store(&[("a.*", &key(1)), ("b", &key(2))]), ..Trust::default() };
        let one = signed_by(&[&key(1)]);
        let both = signed_by(&[&key(3), &key(1), &key(2)]);
        assert_eq!(verify(&["a", "a.x"], Some(&one), &trust), Ok(1));
        assert_eq!(verify(&["a", "b"], Some(&both), &trust), Ok(2));
        assert_eq!(verify(&["a", "b"], Some(&one), &trust), Err("SIGNER_NOT_TRUSTED"));
        assert_eq!(verify(&["c"], Some(&one), &trust), Err("NAMESPACE_UNTRUSTED"));
        assert_eq!(verify(&["a"], Some(&signed_by(&[&key(3)])), &trust), Err("NO_VALID_SIGNATURE"));
        assert_eq!(verify(&[], Some(&one), &trust), Err("NO_MODULES"));
        assert_eq!(verify(&[], None, &trust), Err("NO_MODULES"));
    }

    #[test]
    fn revocation_wins_wherever_it_is_noted() {
        let one = signed_by(&[&key(1)]);
        for in_toolchain in [false, true] {
            let mut trust = Trust { project: store(&[("a", &key(1))]), ..Trust::default() };
            let list = if in_toolchain {
                &mut trust.toolchain.revoked
            } else {
                &mut trust.project.revoked
            };
            list.insert(key(1).public().id());
            assert_eq!(verify(&["a"], Some(&one), &trust), Err("SIGNER_REVOKED"));
            let twice = signed_by(&[&key(1), &key(1)]);
            assert_eq!(verify(&["a"], Some(&twice), &trust), Err("NO_VALID_SIGNATURE"));
        }
    }

    #[test]
    fn a_key_under_another_name_verifies_nothing() {
        let mut trust = Trust { project: store(&[("a", &key(1))]), ..Trust::default() };
        // The key of a revoked id, smuggled in under a second name.
        trust.project.revoked.insert(key(1).public().id());
        trust.project.keys.insert("alias".into(), key(1).public());
        trust.project.namespaces.entry("a".into()).or_default().insert("alias".into());
        let sidecar = String::from_utf8(signed_by(&[&key(1)])).unwrap();
        let sidecar = sidecar.replace(&key(1).public().id(), "alias");
        assert_eq!(verify(&["a"], Some(sidecar.as_bytes()), &trust), Err("TRUST_KEY_ID_MISMATCH"));
    }

    #[test]
    fn reserved_names_belong_to_the_toolchain() {
        let one = signed_by(&[&key(1)]);
        let project =
            Trust { project: store(&[("std.*", &key(1)), ("a", &key(1))]), ..Trust::default() };
        let toolchain =
            Trust { toolchain: store(&[("std.*", &key(1)), ("a", &key(1))]), ..Trust::default() };
        for module in ["std", "std.io"] {
            assert_eq!(verify(&[module], Some(&one), &project), Err("NAMESPACE_RESERVED"));
            assert_eq!(verify(&[module], Some(&one), &toolchain), Ok(1));
            assert_eq!(verify(&["a", module], None, &toolchain), Err("NAMESPACE_RESERVED"));
        }
        assert_eq!(verify(&["a"], Some(&one), &toolchain), Err("NAMESPACE_UNTRUSTED"));
        assert_eq!(verify(&["a"], None, &toolchain), Ok(0));
    }
}
