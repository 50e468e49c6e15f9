//! The statement and its signatures.

use std::collections::BTreeMap;

use epk_format::digest::Sha256;

use crate::canonical_json::canonical;
use crate::json::{self, JsonError, Limit, Object, Value, object};
use crate::keys::{PrivateKey, PublicKey, SignatureBytes, sha256_text};

/// What is signed begins with this line, so that the signature is good for nothing else.
const PREFIX: &[u8] = b"driftpm signed snapshot 1\n";
const FORMAT: &str = "signed-snapshot";

/// Size and hash of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Bytes.
    pub size: u64,
    /// Their hash.
    pub sha256: Sha256,
}

impl Content {
    /// Those of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { size, sha256: Sha256::of(bytes) }
    }

    fn to_json(&self) -> Value {
        object([
            ("size", Value::Number(self.size.into())),
            ("sha256", sha256_text(&self.sha256).into()),
        ])
    }
}

/// What a publisher says about one state of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What kind of file it is, for instance `drift-index`.
    pub kind: String,
    /// The state's number; each is above the one before.
    pub number: u64,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// From when on it must not be used any more, in seconds since 1970.
    pub expires: u64,
    /// The file.
    pub content: Content,
    /// The file packed with Zstandard, `<name>.zst`, if that is offered.
    pub packed: Option<Content>,
}

/// Why a statement is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedError {
    /// Not JSON.
    #[error("the statement is {0}")]
    Json(#[from] JsonError),
    /// JSON, but not of this format and version.
    #[error("it is no `{FORMAT}` of version 1")]
    Format,
    /// A field is missing or wrong.
    #[error("`{0}` of the statement is missing or wrong")]
    Field(&'static str),
    /// Of another kind of file.
    #[error("the statement is about a `{found}`, not a `{expected}`")]
    Kind {
        /// What it is about.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// No signature with an enclosed key verifies.
    #[error("no signature of the statement verifies")]
    NoValidSignature,
    /// The time is over.
    #[error("the statement expired at {expires}, it is {now} (seconds since 1970)")]
    Expired {
        /// When it expired.
        expires: u64,
        /// The time it is.
        now: u64,
    },
    /// The file is another one.
    #[error("the file has {found}, the statement says {expected}")]
    Content {
        /// Size and hash of the file.
        found: String,
        /// Size and hash in the statement.
        expected: String,
    },
}

impl SignedError {
    /// The stable code of reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Format | Self::Field(_) => "INDEX_STATEMENT_INVALID",
            Self::Kind { .. } => "INDEX_KIND",
            Self::NoValidSignature => "INDEX_SIGNATURE_INVALID",
            Self::Expired { .. } => "INDEX_EXPIRED",
            Self::Content { .. } => "INDEX_CONTENT_MISMATCH",
        }
    }
}

impl Statement {
    /// Fields that it does not know stay in the JSON value, so that they are under the signature.
    fn of_json(value: &Value) -> Result<Self, SignedError> {
        let fields = value.as_object().ok_or(SignedError::Field("statement"))?;
        let kind = fields.text("kind").ok_or(SignedError::Field("kind"))?.to_owned();
        let packed = match fields.get("packed") {
            None | Some(Value::Null) => None,
            Some(packed) => Some(content(packed, "packed")?),
        };
        Ok(Self {
            kind,
            number: integer(fields, "number")?,
            created: integer(fields, "created")?,
            expires: integer(fields, "expires")?,
            content: content(fields.get("content").unwrap_or(&Value::Null), "content")?,
            packed,
        })
    }

    fn to_json(&self) -> Value {
        let number = |number: u64| Value::Number(number.into());
        object([
            ("kind", self.kind.as_str().into()),
            ("number", number(self.number)),
            ("created", number(self.created)),
            ("expires", number(self.expires)),
            ("content", self.content.to_json()),
            ("packed", self.packed.as_ref().map_or(Value::Null, Content::to_json)),
        ])
    }

    /// Whether it may be used at `now`.
    ///
    /// # Errors
    /// [`SignedError::Expired`]
    pub fn check_time(&self, now: u64) -> Result<(), SignedError> {
        if now < self.expires {
            return Ok(());
        }
        Err(SignedError::Expired { expires: self.expires, now })
    }

    /// Whether `bytes` are the file.
    ///
    /// # Errors
    /// [`SignedError::Content`]
    pub fn check_content(&self, bytes: &[u8]) -> Result<(), SignedError> {
        let found = Content::of(bytes);
        if found == self.content {
            return Ok(());
        }
        let text = |content: &Content| format!("{} bytes, sha256:{}", content.size, content.sha256);
        Err(SignedError::Content { found: text(&found), expected: text(&self.content) })
    }
}

fn integer(fields: &Object, key: &'static str) -> Result<u64, SignedError> {
    match fields.get(key) {
        Some(Value::Number(number)) => number.as_u64().ok_or(SignedError::Field(key)),
        _ => Err(SignedError::Field(key)),
    }
}

fn content(value: &Value, key: &'static str) -> Result<Content, SignedError> {
    let wrong = || SignedError::Field(key);
    let fields = value.as_object().ok_or_else(wrong)?;
    let size = integer(fields, "size").map_err(|_| wrong())?;
    let sha256 = fields.text("sha256").and_then(|text| text.strip_prefix("sha256:"));
    let sha256 = sha256.and_then(Sha256::from_hex).ok_or_else(wrong)?;
    Ok(Content { size, sha256 })
}

/// The bytes under the signature.
fn message(statement: &Value) -> Vec<u8> {
    [PREFIX, canonical(statement).as_bytes()].concat()
}

/// The file with `statement`, signed by all of `keys`: canonical JSON and a newline.
#[must_use]
pub fn sign(statement: &Statement, keys: &[&PrivateKey]) -> Vec<u8> {
    let statement = statement.to_json();
    let message = message(&statement);
    let signature = |key: &&PrivateKey| {
        object([
            ("algo", "ed25519".into()),
            ("kid", key.public().id().into()),
            ("pubkey", key.public().to_base64().into()),
            ("sig", key.sign(&message).to_base64().into()),
        ])
    };
    let document = object([
        ("format", FORMAT.into()),
        ("version", Value::from(1_usize)),
        ("statement", statement),
        ("signatures", Value::Array(keys.iter().map(signature).collect())),
    ]);
    (canonical(&document) + "\n").into_bytes()
}

/// A statement with at least one signature that verifies by the key it encloses. Nobody has said
/// yet that this key is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What was stated.
    pub statement: Statement,
    /// Hash of the statement.
    pub statement_sha256: Sha256,
    /// Who has signed: key id and key, of the signatures that verify.
    pub signers: BTreeMap<String, PublicKey>,
}

impl Signed {
    /// Reads a statement about a file of this kind and verifies its signatures. Signatures of
    /// other algorithms, and those that do not verify, are passed over.
    ///
    /// # Errors
    /// [`SignedError`]
    pub fn parse(bytes: &[u8], kind: &str) -> Result<Self, SignedError> {
        let document = match json::parse(bytes, Limit::SIDECAR)? {
            Value::Object(document) => document,
            _ => return Err(SignedError::Format),
        };
        let version =
            matches!(document.get("version"), Some(Value::Number(n)) if n.as_u64() == Some(1));
        if document.text("format") != Some(FORMAT) || !version {
            return Err(SignedError::Format);
        }
        let value = document.get("statement").ok_or(SignedError::Field("statement"))?;
        let statement = Statement::of_json(value)?;
        let message = message(value);
        let listed = document.get("signatures").and_then(Value::as_array);
        let listed = listed.ok_or(SignedError::Field("signatures"))?;
        let signers: BTreeMap<String, PublicKey> =
            listed.iter().filter_map(|entry| signer(entry, &message)).collect();
        if signers.is_empty() {
            return Err(SignedError::NoValidSignature);
        }
        if statement.kind != kind {
            let (found, expected) = (statement.kind, kind.to_owned());
            return Err(SignedError::Kind { found, expected });
        }
        Ok(Self { statement, statement_sha256: Sha256::of(&message), signers })
    }
}

fn signer(entry: &Value, message: &[u8]) -> Option<(String, PublicKey)> {
    let entry = entry.as_object().filter(|entry| entry.text("algo") == Some("ed25519"))?;
    let key = PublicKey::parse(entry.text("pubkey")?).ok()?;
    let signature = SignatureBytes::parse(entry.text("sig")?).ok()?;
    // A key under a second name would survive the revocation of its first.
    let own_name = entry.text("kid") == Some(key.id().as_str());
    (own_name && key.verifies(message, &signature)).then(|| (key.id(), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(&[seed; 32])
    }

    fn statement() -> Statement {
        Statement {
            kind: "drift-index".into(),
            number: 7,
            created: 1_000,
            expires: 2_000,
            content: Content::of(b"index"),
            packed: Some(Content::of(b"packed")),
        }
    }

    #[test]
    fn what_was_signed_reads_back() {
        let bytes = sign(&statement(), &[&key(1), &key(2)]);
        let signed = Signed::parse(&bytes, "drift-index").unwrap();
        assert_eq!(signed.statement, statement());
        assert_eq!(signed.signers.len(), 2);
        signed.statement.check_content(b"index").unwrap();
        signed.statement.check_time(1_999).unwrap();
        assert_eq!(signed.statement.check_time(2_000).unwrap_err().code(), "INDEX_EXPIRED");
        let error = signed.statement.check_content(b"other").unwrap_err();
        assert_eq!(error.code(), "INDEX_CONTENT_MISMATCH");
        assert_eq!(Signed::parse(&bytes, "epk-index").unwrap_err().code(), "INDEX_KIND");
    }

    #[test]
    fn no_byte_of_a_statement_can_change() {
        let bytes = sign(&statement(), &[&key(1)]);
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [
            ("\"number\":7", "\"number\":8"),
            ("\"expires\":2000", "\"expires\":9000"),
            ("\"size\":5", "\"size\":6"),
            ("\"kind\":\"drift-index\"", "\"kind\":\"drift-index\",\"new\":1"),
            (&key(1).public().id(), &key(2).public().id()),
            (&key(1).public().to_base64(), &key(2).public().to_base64()),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let error = Signed::parse(changed.as_bytes(), "drift-index").unwrap_err();
            assert_eq!(error.code(), "INDEX_SIGNATURE_INVALID", "{from}");
        }
        // Fields that are not known are under the signature, and do no harm.
        let mut more = statement().to_json();
        if let Value::Object(fields) = &mut more {
            fields.insert("later", true);
        }
        let signature = key(1).sign(&message(&more)).to_base64();
        let document = object([
            ("format", FORMAT.into()),
            ("version", Value::from(1_usize)),
            ("statement", more),
            (
                "signatures",
                Value::Array(vec![object([
                    ("algo", "ed25519".into()),
                    ("kid", key(1).public().id().into()),
                    ("pubkey", key(1).public().to_base64().into()),
                    ("sig", signature.into()),
                ])]),
            ),
        ]);
        assert!(Signed::parse(canonical(&document).as_bytes(), "drift-index").is_ok());
    }

    #[test]
    fn other_documents_are_refused() {
        for text in [
            "",
            "[]",
            "{\"format\":\"signed-snapshot\",\"version\":2}",
            "{\"format\":\"signed-snapshot\",\"version\":1}",
            "{\"format\":\"signed-snapshot\",\"version\":1,\"statement\":{},\"signatures\":[]}",
        ] {
            let error = Signed::parse(text.as_bytes(), "drift-index").unwrap_err();
            assert_eq!(error.code(), "INDEX_STATEMENT_INVALID", "{text}");
        }
    }
}
