//! The signature over a package's PackageHash, and the keys that make and check it
//! (`spec/signature.md`).
//!
//! A blob carries the key that verifies it, so a valid signature alone proves only that
//! somebody signed. Trust comes from keys that the caller brings:
//! [`TrustedKeys`](crate::trust::TrustedKeys).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, Verifier as _};
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::digest::Sha256;
use crate::layout::signature::{
    ALGORITHM_ED25519, ALGORITHM_NONE, BlobHeader, MAGIC, SIZE, VERSION,
};

/// Bytes of a blob with one Ed25519 key and signature.
pub const BLOB_BYTES: usize = SIZE + KEY_BYTES + SIGNATURE_BYTES;
/// Bytes of an Ed25519 public key and of a seed.
pub const KEY_BYTES: usize = 32;
/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Why a blob is not a valid signature. EXOS's status numbers are in `spec/signature.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The blob breaks a rule of its layout.
    #[error("malformed signature blob: {0}")]
    Format(String),
    /// An algorithm that cannot be checked.
    #[error("signature algorithm {0}, only 1 (Ed25519) can be checked")]
    UnsupportedAlgorithm(u32),
    /// The signature was not made by this key over this PackageHash.
    #[error("the signature does not fit the package and its key")]
    Invalid,
}

/// A public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// A key from its 32 bytes; whether they are a point is seen when it verifies.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads standard, padded base64 of 32 bytes; surrounding white space is ignored.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text.trim()).ok()?.try_into().ok().map(Self)
    }

    /// Standard, padded base64 of the 32 bytes.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The key's name: `ed25519:` and the base64 of its SHA-256.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(format!("ed25519:{}", STANDARD.encode(Sha256::of(&self.0).0)))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_base64())
    }
}

/// The name of a public key, `ed25519:` and 44 characters of base64.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl TryFrom<String> for KeyId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no key id"))
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

impl KeyId {
    /// Reads a name as [`PublicKey::id`] writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hash = STANDARD.decode(text.strip_prefix("ed25519:")?).ok()?;
        (hash.len() == 32).then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A private key. Its bytes are wiped when it is dropped, and never printed.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A key from its 32-byte seed (RFC 8032 calls it the private key).
    #[must_use]
    pub fn from_seed(seed: &[u8; KEY_BYTES]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads a key file: standard, padded base64 of the seed, white space around it ignored.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let seed: [u8; KEY_BYTES] = STANDARD.decode(text.trim()).ok()?.try_into().ok()?;
        Some(Self::from_seed(&seed))
    }

    /// The text of a key file: base64 of the seed and a line feed.
    #[must_use]
    pub fn to_base64(&self) -> String {
        format!("{}\n", STANDARD.encode(self.0.to_bytes()))
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The blob that signs a package: Ed25519 over the 32 bytes of its PackageHash.
    #[must_use]
    pub fn sign(&self, package_hash: &Sha256) -> Vec<u8> {
        blob(&self.public(), &self.0.sign(package_hash.as_bytes()).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {})", self.public().to_base64())
    }
}

/// The usual blob: head, key, signature, 144 bytes.
#[must_use]
pub fn blob(key: &PublicKey, signature: &[u8; SIGNATURE_BYTES]) -> Vec<u8> {
    let header = BlobHeader {
        magic: MAGIC.into(),
        version: VERSION.into(),
        algorithm: ALGORITHM_ED25519.into(),
        reserved: 0.into(),
        public_key_offset: (SIZE as u64).into(),
        public_key_size: (KEY_BYTES as u64).into(),
        signature_offset: ((SIZE + KEY_BYTES) as u64).into(),
        signature_size: (SIGNATURE_BYTES as u64).into(),
    };
    [header.as_bytes(), key.as_bytes(), signature].concat()
}

/// A blob that keeps the rules of its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blob {
    /// Algorithm 0: says nothing, proves nothing.
    None,
    /// An Ed25519 key and signature, not yet verified.
    Ed25519 {
        /// The key that the blob carries.
        key: PublicKey,
        /// The signature.
        signature: [u8; SIGNATURE_BYTES],
    },
}

impl Blob {
    /// Reads a blob, checking in EXOS's order.
    ///
    /// # Errors
    /// [`SignatureError::Format`] and [`SignatureError::UnsupportedAlgorithm`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        let format = |detail: String| Err(SignatureError::Format(detail));
        let Ok((header, _)) = BlobHeader::read_from_prefix(bytes) else {
            return format(format!("{} bytes, at least {SIZE} are needed", bytes.len()));
        };
        if header.magic != MAGIC {
            return format(format!("magic {:#010x}, not {MAGIC:#010x}", header.magic));
        }
        if header.version != VERSION {
            return format(format!("version {}, only {VERSION} is known", header.version));
        }
        if header.reserved != 0 {
            return format(format!("reserved field is {}, not 0", header.reserved));
        }
        let key_size = header.public_key_size.get();
        let signature_size = header.signature_size.get();
        let key = part(bytes, "public key", header.public_key_offset.get(), key_size)?;
        let signature = part(bytes, "signature", header.signature_offset.get(), signature_size)?;
        if header.algorithm == ALGORITHM_NONE {
            if key_size != 0 || signature_size != 0 {
                return format("algorithm none with a key or a signature".into());
            }
            return Ok(Self::None);
        }
        if key.is_empty() || signature.is_empty() {
            return format("empty key or signature".into());
        }
        if header.algorithm != ALGORITHM_ED25519 {
            return Err(SignatureError::UnsupportedAlgorithm(header.algorithm.get()));
        }
        match (key.try_into(), signature.try_into()) {
            (Ok(key), Ok(signature)) => Ok(Self::Ed25519 { key: PublicKey(key), signature }),
            _ => format(format!(
                "key of {key_size} and signature of {signature_size} bytes, Ed25519 has \
                 {KEY_BYTES} and {SIGNATURE_BYTES}"
            )),
        }
    }
}

fn part<'b>(
    bytes: &'b [u8],
    what: &str,
    offset: u64,
    size: u64,
) -> Result<&'b [u8], SignatureError> {
    // As everywhere in format 1.0, offsets and sizes fit 32 bits.
    let start = u32::try_from(offset).ok().and_then(|v| usize::try_from(v).ok());
    let size = u32::try_from(size).ok().and_then(|v| usize::try_from(v).ok());
    start.zip(size).and_then(|(start, size)| bytes.get(start..start.checked_add(size)?)).ok_or_else(
        || {
            SignatureError::Format(format!(
                "{what} at {offset} leaves the blob of {} bytes",
                bytes.len()
            ))
        },
    )
}

/// How strong a signature is that verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// Only this key's owner can have made it.
    Strong,
    /// The key has a small order or an encoding that is not canonical: EXOS accepts it, but
    /// one signature fits many messages, so it proves nothing.
    Weak,
}

/// Verifies an Ed25519 signature (RFC 8032, no context, no prehash) over the 32 bytes of a
/// PackageHash.
///
/// # Errors
/// [`SignatureError::Invalid`].
pub fn verify(
    key: &PublicKey,
    signature: &[u8; SIGNATURE_BYTES],
    package_hash: &Sha256,
) -> Result<Strength, SignatureError> {
    let parsed = ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes())
        .map_err(|_| SignatureError::Invalid)?;
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    parsed.verify(package_hash.as_bytes(), &signature).map_err(|_| SignatureError::Invalid)?;
    let strict = parsed.verify_strict(package_hash.as_bytes(), &signature).is_ok()
        && parsed.to_edwards().compress().as_bytes() == key.as_bytes();
    Ok(if strict { Strength::Strong } else { Strength::Weak })
}

/// What a package's signature must be to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Policy {
    /// Signatures are not verified; a revoked key is refused all the same.
    Disabled,
    /// A signature that is there must be valid.
    #[default]
    Optional,
    /// There must be a valid signature by a trusted key.
    Required,
}

impl Policy {
    /// Reads the word for it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Disabled, Self::Optional, Self::Required]
            .into_iter()
            .find(|policy| policy.word() == word)
    }

    /// The word for it, on command lines and in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// What was found out about a package's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureState {
    /// There is none, or one of algorithm "none", which says as little.
    Unsigned,
    /// Valid, by a trusted key.
    Valid(KeyId),
    /// Valid, by a key that nobody said to trust.
    Untrusted(KeyId),
    /// Present and not verified.
    NotChecked,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&std::array::from_fn(|i| u8::try_from(i).expect("below 32")))
    }

    #[test]
    fn a_signature_fits_its_package_only() {
        let hash = Sha256::of(b"package");
        let bytes = key().sign(&hash);
        assert_eq!(bytes.len(), BLOB_BYTES);
        let Ok(Blob::Ed25519 { key: embedded, signature }) = Blob::parse(&bytes) else {
            panic!("an Ed25519 blob");
        };
        assert_eq!(embedded, key().public());
        assert_eq!(verify(&embedded, &signature, &hash), Ok(Strength::Strong));
        let other = Sha256::of(b"other");
        assert_eq!(verify(&embedded, &signature, &other), Err(SignatureError::Invalid));
    }

    #[test]
    fn any_flipped_bit_of_a_blob_is_noticed() {
        let hash = Sha256::of(b"package");
        let good = key().sign(&hash);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let verdict = match Blob::parse(&bad) {
                Ok(Blob::Ed25519 { key, signature }) => verify(&key, &signature, &hash).is_ok(),
                Ok(Blob::None) => true,
                Err(_) => false,
            };
            assert!(!verdict, "bit {bit}");
        }
    }

    #[test]
    fn key_files_round_trip() {
        let text = key().to_base64();
        assert_eq!(text.len(), 45);
        let again = SigningKey::from_base64(&text).expect("a key file");
        assert_eq!(again.public(), key().public());
        assert!(SigningKey::from_base64("AAAA").is_none());
    }

    #[test]
    fn the_private_key_is_not_printed() {
        assert!(!format!("{:?}", key()).contains(key().to_base64().trim()));
    }
}
