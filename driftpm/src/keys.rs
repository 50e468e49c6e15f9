//! Ed25519 keys: the seed file, the public key text, the key id, signing and verifying.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use epk_format::digest::Sha256;

/// Why a text is no key or signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not base64 in its one canonical spelling.
    #[error("invalid base64: the one canonical spelling is read")]
    Base64,
    /// Another number of bytes.
    #[error("{what} must be {expected} bytes, these are {found}")]
    Length {
        /// What it should have been.
        what: &'static str,
        /// Bytes there are.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
}

/// Decodes standard base64 strictly: padding required, nothing else inside, no stray bits, so
/// that one value has one spelling.
///
/// # Errors
/// [`KeyError::Base64`]
pub fn decode_base64(text: &str) -> Result<Vec<u8>, KeyError> {
    STANDARD.decode(text).map_err(|_| KeyError::Base64)
}

fn decode_array<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], KeyError> {
    let bytes = decode_base64(text)?;
    let found = bytes.len();
    bytes.try_into().map_err(|_| KeyError::Length { what, found, expected: N })
}

/// The text of a SHA-256 value in Drift's files: `sha256:` and 64 lower-case hex digits.
#[must_use]
pub fn sha256_text(hash: &Sha256) -> String {
    format!("sha256:{hash}")
}

/// An Ed25519 public key: 32 bytes, not yet known to be a point of the curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Reads canonical base64 of 32 bytes; whitespace is not stripped.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        decode_array("pubkey", text).map(Self)
    }

    /// Canonical base64.
    #[must_use]
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    /// The key's only id: `ed25519:` and the base64 of the key's SHA-256.
    #[must_use]
    pub fn id(self) -> String {
        format!("ed25519:{}", STANDARD.encode(Sha256::of(&self.0).as_bytes()))
    }

    /// Whether `signature` is this key's over `message`, by the strict rules: no malleable
    /// scalar, no non-canonical point, no key of small order.
    #[must_use]
    pub fn verifies(self, message: &[u8], signature: &SignatureBytes) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(message, &Signature::from_bytes(&signature.0)).is_ok()
        })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

/// An Ed25519 signature: 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignatureBytes(pub [u8; 64]);

impl SignatureBytes {
    /// Reads canonical base64 of 64 bytes.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        decode_array("signature", text).map(Self)
    }

    /// Canonical base64.
    #[must_use]
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Debug for SignatureBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

/// A private key. Its bytes are wiped when it is dropped, and never printed.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// The key whose seed is these 32 bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads a key file: canonical base64 of the seed, whitespace around it allowed.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn parse_file(text: &str) -> Result<Self, KeyError> {
        decode_array("seed", text.trim()).map(|seed| Self::from_seed(&seed))
    }

    /// The text of a key file: canonical base64 of the seed and a newline, 45 bytes.
    #[must_use]
    pub fn to_file_text(&self) -> String {
        STANDARD.encode(self.0.as_bytes()) + "\n"
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` (pure Ed25519, RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> SignatureBytes {
        SignatureBytes(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey of {}", self.public().id())
    }
}

/// Keys for the unit tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::PrivateKey;

    /// A key whose seed is 32 times `byte`.
    pub(crate) fn key(byte: u8) -> PrivateKey {
        PrivateKey::from_seed(&[byte; 32])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];

    #[test]
    fn signs_as_the_rfc_says() {
        let key = PrivateKey::from_seed(&SEED);
        assert_eq!(key.public().to_base64(), "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        assert_eq!(key.public().id(), "ed25519:If4x36FUomFia/hUBG/SJxt77UtqvkWqWId+9H+XIbk=");
        let signature = key.sign(b"");
        assert_eq!(
            signature.to_base64(),
            "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw=="
        );
        assert!(key.public().verifies(b"", &signature));
        assert!(!key.public().verifies(b"x", &signature));
    }

    #[test]
    fn refuses_keys_of_small_order() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!PublicKey(identity).verifies(b"drift", &SignatureBytes(signature)));
    }

    #[test]
    fn decodes_one_spelling_only() {
        for (text, expected) in [
            ("AA==", Some(&b"\0"[..])),
            ("", Some(b"")),
            ("AB==", None),
            ("AAB=", None),
            ("AAAA====", None),
            ("AA", None),
            ("AA=", None),
            ("AA==\n", None),
            (" AA==", None),
            ("A-==", None),
            ("A_==", None),
            ("AA==AA==", None),
            ("é===", None),
        ] {
            assert_eq!(decode_base64(text).ok().as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn key_files_hold_a_seed_and_a_newline() {
        let text = PrivateKey::from_seed(&SEED).to_file_text();
        assert_eq!(text.len(), 45);
        let again = PrivateKey::parse_file(&format!(" {text}\t")).unwrap();
        assert_eq!(again.to_file_text(), text);
        let hex = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        for (text, expected) in [
            ("", KeyError::Length { what: "seed", found: 0, expected: 32 }),
            ("!", KeyError::Base64),
            (hex, KeyError::Length { what: "seed", found: 48, expected: 32 }),
        ] {
            assert_eq!(PrivateKey::parse_file(text).unwrap_err(), expected, "{text}");
        }
    }
}
