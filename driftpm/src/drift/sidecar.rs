//! The signature sidecar v0, `PACKAGE.sig`: who vouches for exactly these bytes.
//!
//! Three readers, since three users want different things of it: [`Draft::parse`] keeps every
//! field for `sign`, [`parse_for_publishing`] wants each entry well formed, and
//! [`parse_for_gate`] takes the entries that a verifier can use and passes over the rest.

use epk_format::digest::Sha256;

use crate::canonical_json::ascii_compact;
use crate::json::{self, JsonError, Limit, Object, Value};
use crate::keys::{KeyError, PrivateKey, PublicKey, SignatureBytes, sha256_text};

const FORMAT: &str = "dmir-pkg-sig";

/// Why a sidecar is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SidecarError {
    /// Not JSON.
    #[error("invalid JSON in the signature sidecar: {0}")]
    Json(#[from] JsonError),
    /// JSON, but no object of this format and version.
    #[error("the sidecar is no `{FORMAT}` of version 0")]
    Format,
    /// `package_sha256` is missing or no `sha256:` string.
    #[error("the sidecar has no `package_sha256` that starts with `sha256:`")]
    NoPackageHash,
    /// It belongs to other bytes.
    #[error("package_sha256 mismatch: the sidecar is for {found}, the package is {expected}")]
    OtherPackage {
        /// What the sidecar says.
        found: String,
        /// The package's hash.
        expected: String,
    },
    /// `signatures` is no list.
    #[error("the sidecar has no list `signatures`")]
    NoSignatures,
    /// A field of one entry is wrong.
    #[error("signature {at}: `{field}` {problem}")]
    Entry {
        /// Place in the list.
        at: usize,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// No entry can be used.
    #[error("the sidecar has no signature that can be used")]
    NothingUsable,
}

/// What is wrong with a field of a signature entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// The entry itself is no object.
    #[error("is missing: the entry is no object")]
    NotObject,
    /// Another algorithm.
    #[error("is not `ed25519`")]
    Algorithm,
    /// Missing, empty or no string.
    #[error("is no string that is not empty")]
    NotText,
    /// Not a key or signature.
    #[error("is wrong: {0}")]
    Key(#[from] KeyError),
    /// A public key that is not the one of the key id.
    #[error("is the key `{0}`, not the one that `kid` names")]
    OtherKey(String),
    /// The enclosed key does not verify the signature.
    #[error("does not verify with the key enclosed")]
    DoesNotVerify,
}

/// A sidecar with all its fields, to be extended.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft(Object);

impl Draft {
    /// A sidecar without signatures for the package of this hash.
    #[must_use]
    pub fn new(package: &Sha256) -> Self {
        Self(Object::from([
            ("format", FORMAT.into()),
            ("version", 0_usize.into()),
            ("package_sha256", sha256_text(package).into()),
            ("signatures", Value::Array(Vec::new())),
        ]))
    }

    /// Reads a sidecar that belongs to the package of this hash; its entries are not looked at.
    ///
    /// # Errors
    /// [`SidecarError`]
    pub fn parse(bytes: &[u8], package: &Sha256) -> Result<Self, SidecarError> {
        let document = open(bytes)?;
        let found = document.text("package_sha256").ok_or(SidecarError::NoPackageHash)?;
        check_hash(found, package)?;
        signatures(&document)?;
        Ok(Self(document))
    }

    /// Appends `key`'s signature over `message`, with the public key if `include_key`.
    pub fn sign(&mut self, key: &PrivateKey, message: &[u8], include_key: bool) {
        let mut entry = Object::from([
            ("algo", "ed25519".into()),
            ("kid", key.public().id().into()),
            ("sig", key.sign(message).to_base64().into()),
        ]);
        if include_key {
            entry.insert("pubkey", key.public().to_base64());
        }
        if let Some(Value::Array(signatures)) = self.0.get_mut("signatures") {
            signatures.push(entry.into());
        }
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        ascii_compact(&Value::Object(self.0.clone())).into_bytes()
    }
}

/// A signature that a verifier can try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsableSignature {
    /// The id of the key that is said to have made it.
    pub kid: String,
    /// The signature.
    pub signature: SignatureBytes,
}

/// What the gatekeeper takes from a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSidecar {
    /// The package's hash as the sidecar spells it.
    pub package_sha256: String,
    /// At least one signature.
    pub signatures: Vec<UsableSignature>,
}

impl GateSidecar {
    /// Whether the sidecar belongs to the package of this hash.
    ///
    /// # Errors
    /// [`SidecarError::OtherPackage`]
    pub fn check_package(&self, package: &Sha256) -> Result<(), SidecarError> {
        check_hash(&self.package_sha256, package)
    }
}

/// Of the signatures over `message`, those that enclose their key and verify by it: id and key, in
/// the order of the sidecar. Whether anybody trusts them is another question.
#[must_use]
pub fn enclosed_signers(sidecar: &[u8], message: &[u8]) -> Vec<(String, PublicKey)> {
    let signer = |entry: &Value| {
        let entry = entry.as_object().filter(|entry| entry.text("algo") == Some("ed25519"))?;
        let key = PublicKey::parse(entry.text("pubkey")?).ok()?;
        let signature = SignatureBytes::parse(entry.text("sig")?).ok()?;
        let own_name = entry.text("kid") == Some(key.id().as_str());
        (own_name && key.verifies(message, &signature)).then(|| (key.id(), key))
    };
    let Ok(document) = open(sidecar) else { return Vec::new() };
    signatures(&document).unwrap_or_default().iter().filter_map(signer).collect()
}

fn open(bytes: &[u8]) -> Result<Object, SidecarError> {
    match json::parse(bytes, Limit::SIDECAR)? {
        Value::Object(document) if document.is_format_zero(FORMAT) => Ok(document),
        _ => Err(SidecarError::Format),
    }
}

fn signatures(document: &Object) -> Result<&[Value], SidecarError> {
    document.get("signatures").and_then(Value::as_array).ok_or(SidecarError::NoSignatures)
}

fn check_hash(found: &str, package: &Sha256) -> Result<(), SidecarError> {
    let expected = sha256_text(package);
    if found == expected {
        Ok(())
    } else {
        Err(SidecarError::OtherPackage { found: found.to_owned(), expected })
    }
}

/// Reads a sidecar as the gatekeeper does. Entries that are no objects, of another algorithm,
/// without key id or without a signature string are passed over; a signature or public key that
/// is not what it should be makes the whole sidecar unusable.
///
/// # Errors
/// [`SidecarError`]
pub fn parse_for_gate(bytes: &[u8]) -> Result<GateSidecar, SidecarError> {
    let document = open(bytes)?;
    let package_sha256 = document
        .text("package_sha256")
        .filter(|text| text.starts_with("sha256:"))
        .ok_or(SidecarError::NoPackageHash)?
        .to_owned();
    let mut usable = Vec::new();
    for (at, entry) in signatures(&document)?.iter().enumerate() {
        let Some(entry) = entry.as_object() else { continue };
        let (Some("ed25519"), Some(kid), Some(signature)) =
            (entry.text("algo"), entry.text("kid"), entry.get("sig").and_then(Value::as_str))
        else {
            continue;
        };
        let wrong = |field| move |e: KeyError| SidecarError::Entry { at, field, problem: e.into() };
        let signature = SignatureBytes::parse(signature).map_err(wrong("sig"))?;
        if let Some(key) = entry.get("pubkey").and_then(Value::as_str) {
            PublicKey::parse(key).map_err(wrong("pubkey"))?;
        }
        usable.push(UsableSignature { kid: kid.to_owned(), signature });
    }
    if usable.is_empty() {
        return Err(SidecarError::NothingUsable);
    }
    Ok(GateSidecar { package_sha256, signatures: usable })
}

/// Reads a sidecar as a publisher does and returns the signers' key ids in order: every entry
/// must be well formed, but nothing is decoded and nothing compared.
///
/// # Errors
/// [`SidecarError`]
pub fn parse_for_publishing(bytes: &[u8]) -> Result<Vec<String>, SidecarError> {
    let document = open(bytes)?;
    document.text("package_sha256").ok_or(SidecarError::NoPackageHash)?;
    let mut kids = Vec::new();
    for (at, entry) in signatures(&document)?.iter().enumerate() {
        let wrong = |field, problem| SidecarError::Entry { at, field, problem };
        let entry = entry.as_object().ok_or(wrong("algo", EntryProblem::NotObject))?;
        if entry.get("algo").and_then(Value::as_str) != Some("ed25519") {
            return Err(wrong("algo", EntryProblem::Algorithm));
        }
        let kid = entry.text("kid").ok_or(wrong("kid", EntryProblem::NotText))?;
        entry.text("sig").ok_or(wrong("sig", EntryProblem::NotText))?;
        if entry.get("pubkey").is_some() && entry.text("pubkey").is_none() {
            return Err(wrong("pubkey", EntryProblem::NotText));
        }
        kids.push(kid.to_owned());
    }
    Ok(kids)
}

/// Checks what can be checked of a sidecar without a trust store: it belongs to `package`, its
/// signatures are signatures, and those that enclose their key verify with it.
///
/// # Errors
/// [`SidecarError`]
pub fn check_for_publishing(bytes: &[u8], package: &[u8]) -> Result<(), SidecarError> {
    let document = open(bytes)?;
    let found = document.text("package_sha256").ok_or(SidecarError::NoPackageHash)?;
    check_hash(found, &Sha256::of(package))?;
    let entries = signatures(&document)?;
    if entries.is_empty() {
        return Err(SidecarError::NothingUsable);
    }
    for (at, entry) in entries.iter().filter_map(Value::as_object).enumerate() {
        let wrong = |field, problem| SidecarError::Entry { at, field, problem };
        let signature = SignatureBytes::parse(entry.text("sig").unwrap_or_default())
            .map_err(|e| wrong("sig", e.into()))?;
        let Some(key) = entry.text("pubkey") else { continue };
        let key = PublicKey::parse(key).map_err(|e| wrong("pubkey", e.into()))?;
        if entry.text("kid") != Some(&key.id()) {
            return Err(wrong("pubkey", EntryProblem::OtherKey(key.id())));
        }
        if !key.verifies(package, &signature) {
            return Err(wrong("sig", EntryProblem::DoesNotVerify));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::testing::key;
    use proptest::prelude::*;

    fn signed(message: &[u8]) -> Draft {
        let mut draft = Draft::new(&Sha256::of(message));
        draft.sign(&key(1), message, true);
        draft.sign(&key(2), message, false);
        draft
    }

    #[test]
    fn a_signed_sidecar_reads_back() {
        let bytes = signed(b"abc").to_bytes();
        assert!(bytes.ends_with(b"\n") && bytes.is_ascii());
        let kids = [key(1).public().id(), key(2).public().id()];
        assert_eq!(parse_for_publishing(&bytes).unwrap(), kids);
        let gate = parse_for_gate(&bytes).unwrap();
        gate.check_package(&Sha256::of(b"abc")).unwrap();
        assert!(gate.check_package(&Sha256::of(b"abd")).is_err());
        assert!(key(1).public().verifies(b"abc", &gate.signatures[0].signature));
        assert_eq!(Draft::parse(&bytes, &Sha256::of(b"abc")).unwrap().to_bytes(), bytes);
        check_for_publishing(&bytes, b"abc").unwrap();
    }

    /// What each of the readers says about one broken sidecar.
    #[test]
    fn readers_differ_as_the_contract_says() {
        let hash = sha256_text(&Sha256::of(b"abc"));
        let sig = key(1).sign(b"abc").to_base64();
        let good = format!("{{\"algo\":\"ed25519\",\"kid\":\"k\",\"sig\":\"{sig}\"}}");
        for (what, hash, entries, publish, gate) in [
            ("good", hash.as_str(), good.clone(), true, true),
            ("no entries", &hash, String::new(), true, false),
            ("hash of another package", "sha256:00", good.clone(), true, true),
            ("hash without prefix", "00", good.clone(), true, false),
            ("no hash", "", good.clone(), false, false),
            ("entry no object", &hash, format!("5,{good}"), false, true),
            ("foreign algorithm", &hash, format!("{{\"algo\":\"rsa\"}},{good}"), false, true),
            ("no kid", &hash, good.replace("\"k\"", "\"\""), false, false),
            ("short signature", &hash, good.replace(&sig, "AAAA"), true, false),
            ("signature no base64", &hash, good.replace(&sig, "!"), true, false),
            (
                "pubkey no base64",
                &hash,
                good.replace("\"kid\"", "\"pubkey\":\"!\",\"kid\""),
                true,
                false,
            ),
            ("pubkey null", &hash, good.replace("\"kid\"", "\"pubkey\":null,\"kid\""), false, true),
        ] {
            let text = format!(
                "{{\"format\":\"dmir-pkg-sig\",\"version\":0,\"package_sha256\":\"{hash}\",\
                 \"signatures\":[{entries}]}}"
            );
            assert_eq!(parse_for_publishing(text.as_bytes()).is_ok(), publish, "{what}");
            assert_eq!(parse_for_gate(text.as_bytes()).is_ok(), gate, "{what}");
        }
    }

    #[test]
    fn publishing_compares_and_verifies() {
        let bytes = signed(b"abc").to_bytes();
        assert!(matches!(
            check_for_publishing(&bytes, b"abd"),
            Err(SidecarError::OtherPackage { .. })
        ));
        let mut forged = Draft::new(&Sha256::of(b"abd"));
        forged.sign(&key(1), b"abc", true);
        assert_eq!(
            check_for_publishing(&forged.to_bytes(), b"abd"),
            Err(SidecarError::Entry { at: 0, field: "sig", problem: EntryProblem::DoesNotVerify })
        );
        let swapped = String::from_utf8(bytes)
            .unwrap()
            .replace(&key(1).public().to_base64(), &key(3).public().to_base64());
        assert!(matches!(
            check_for_publishing(swapped.as_bytes(), b"abc"),
            Err(SidecarError::Entry { problem: EntryProblem::OtherKey(_), .. })
        ));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(
            text in ".{0,80}",
            entries in "(\\{(\"(algo|kid|sig|pubkey)\":(\"[a-z0-9=]{0,9}\"|null|1),?){0,3}\\},?){0,3}",
        ) {
            let document = format!(
                "{{\"format\":\"dmir-pkg-sig\",\"version\":0,\"package_sha256\":\"sha256:0\",\
                 \"signatures\":[{entries}]}}"
            );
            for bytes in [text.as_bytes(), document.as_bytes()] {
                let _ = Draft::parse(bytes, &Sha256::of(b""));
                let _ = parse_for_publishing(bytes);
                let _ = check_for_publishing(bytes, b"");
                if let Ok(sidecar) = parse_for_gate(bytes) {
                    prop_assert!(!sidecar.signatures.is_empty());
                }
            }
        }
    }
}
