//! What a verifier knows of a trust store v0.

use std::collections::{BTreeMap, BTreeSet};

use super::namespace::{allowed_keys, is_bound, skeleton};
use crate::json::{self, JsonError, Limit, Object, Value};
use crate::keys::{KeyError, PublicKey};

/// Why a trust store is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Not JSON.
    #[error("the trust store is {0}")]
    Json(#[from] JsonError),
    /// JSON, but no object of this format and version.
    #[error("the trust store is no `drift-trust` of version 0")]
    Format,
    /// A map is something else.
    #[error("`{field}` of the trust store is {found}, not an object")]
    NotObject {
        /// Which map.
        field: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// `revoked` cannot be understood, and nothing may be trusted before it is.
    #[error("`revoked` of the trust store is {found}, not an object, a list or null")]
    Revoked {
        /// What it is.
        found: &'static str,
    },
    /// A public key is none.
    #[error("key `{kid}` of the trust store: {error}")]
    Key {
        /// Its id in the store.
        kid: String,
        /// What is wrong.
        error: KeyError,
    },
}

/// Keys, namespaces and revocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustStore {
    /// Public keys by the id under which the store has them; `drift::trust::verify` uses only
    /// those whose id is derived from the key.
    pub keys: BTreeMap<String, PublicKey>,
    /// Key ids by namespace pattern.
    pub namespaces: BTreeMap<String, BTreeSet<String>>,
    /// Ids of the keys that may sign the index of a repository, by its URL.
    pub repositories: BTreeMap<String, BTreeSet<String>>,
    /// Ids of revoked keys.
    pub revoked: BTreeSet<String>,
}

/// Reads the JSON of a trust store and checks format and version.
pub(super) fn open(bytes: &[u8]) -> Result<Object, TrustError> {
    match json::parse(bytes, Limit::SETTINGS)? {
        Value::Object(document) if document.is_format_zero("drift-trust") => Ok(document),
        _ => Err(TrustError::Format),
    }
}

/// The ids in `revoked`: an object's keys or a list's strings; nothing or null is none.
///
/// # Errors
/// [`TrustError::Revoked`] for anything else: to pass over it would trust revoked keys.
pub(super) fn revoked_ids(document: &Object) -> Result<BTreeSet<String>, TrustError> {
    match document.get("revoked") {
        None | Some(Value::Null) => Ok(BTreeSet::new()),
        Some(Value::Object(entries)) => Ok(entries.iter().map(|(kid, _)| kid.to_owned()).collect()),
        Some(Value::Array(items)) => {
            Ok(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        Some(other) => Err(TrustError::Revoked { found: other.kind() }),
    }
}

/// A map that may be absent or empty in whatever type.
fn map<'a>(document: &'a Object, field: &'static str) -> Result<Option<&'a Object>, TrustError> {
    match document.get(field) {
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(other) if other.is_truthy() => {
            Err(TrustError::NotObject { field, found: other.kind() })
        }
        _ => Ok(None),
    }
}

impl TrustStore {
    /// Reads a store as the gatekeeper does. Keys of other algorithms, keys without text and
    /// namespaces without a list are passed over; a key that cannot be decoded and a `revoked`
    /// that cannot be understood make the whole store unusable.
    ///
    /// # Errors
    /// [`TrustError`]
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let document = open(bytes)?;
        let mut store = Self { revoked: revoked_ids(&document)?, ..Self::default() };
        for (kid, entry) in map(&document, "keys")?.into_iter().flat_map(Object::iter) {
            let Some(entry) = entry.as_object() else { continue };
            let (Some("ed25519"), Some(key)) =
                (entry.text("algo"), entry.get("pubkey").and_then(Value::as_str))
            else {
                continue;
            };
            let key = PublicKey::parse(key)
                .map_err(|error| TrustError::Key { kid: kid.to_owned(), error })?;
            store.keys.insert(kid.to_owned(), key);
        }
        for (pattern, kids) in map(&document, "namespaces")?.into_iter().flat_map(Object::iter) {
            let Some(kids) = kids.as_array() else { continue };
            let kids = kids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            store.namespaces.insert(pattern.to_owned(), kids);
        }
        for (place, kids) in map(&document, "repositories")?.into_iter().flat_map(Object::iter) {
            let Some(kids) = kids.as_array() else { continue };
            let kids = kids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            store.repositories.insert(place.to_owned(), kids);
        }
        Ok(store)
    }

    /// This store with `other` added: for a key id that both have, this one's key stays; key ids
    /// of a namespace unite, and so do revocations.
    #[must_use]
    pub fn merged_with(mut self, other: Self) -> Self {
        for (kid, key) in other.keys {
            self.keys.entry(kid).or_insert(key);
        }
        for (pattern, kids) in other.namespaces {
            self.namespaces.entry(pattern).or_default().extend(kids);
        }
        for (place, kids) in other.repositories {
            self.repositories.entry(place).or_default().extend(kids);
        }
        self.revoked.extend(other.revoked);
        self
    }

    /// Whether anything is said about who may speak for `module`, be it that nobody may.
    #[must_use]
    pub fn is_bound(&self, module: &str) -> bool {
        is_bound(&self.namespaces, module)
    }

    /// The first part of a namespace with a binding that is `first`, or that people could take for
    /// it.
    #[must_use]
    pub fn relative_of(&self, first: &str) -> Option<&str> {
        let parts = || self.namespaces.keys().filter_map(|pattern| pattern.split('.').next());
        let wanted = skeleton(first);
        parts()
            .find(|part| *part == first)
            .or_else(|| parts().find(|part| skeleton(part) == wanted))
    }

    /// The key ids that may speak for `module`.
    #[must_use]
    pub fn allowed_keys(&self, module: &str) -> BTreeSet<&str> {
        allowed_keys(&self.namespaces, module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::testing::key;
    use proptest::prelude::*;

    fn parse(fields: &str) -> Result<TrustStore, TrustError> {
        TrustStore::parse(
            format!("{{\"format\":\"drift-trust\",\"version\":0{fields}}}").as_bytes(),
        )
    }

    #[test]
    fn passes_over_what_it_does_not_know() {
        let pubkey = key(1).public().to_base64();
        let store = parse(&format!(
            ",\"keys\":{{\"a\":{{\"algo\":\"ed25519\",\"pubkey\":\"{pubkey}\"}},\
             \"b\":{{\"algo\":\"rsa\",\"pubkey\":\"x\"}},\"c\":1,\"d\":{{\"algo\":\"ed25519\"}}}},\
             \"namespaces\":{{\"n\":[\"a\",5],\"m\":\"a\",\"e\":[]}},\"revoked\":[\"r\",5]"
        ))
        .unwrap();
        assert_eq!(store.keys.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(store.namespaces.keys().collect::<Vec<_>>(), ["e", "n"]);
        assert_eq!(store.revoked.into_iter().collect::<Vec<_>>(), ["r"]);
    }

    #[test]
    fn refuses_what_could_hide_a_revocation() {
        for revoked in ["\"k\"", "1", "true", "false", "0", "\"\""] {
            let result = parse(&format!(",\"revoked\":{revoked}"));
            assert!(matches!(result, Err(TrustError::Revoked { .. })), "{revoked}");
        }
        for revoked in ["null", "[]", "{}"] {
            assert!(parse(&format!(",\"revoked\":{revoked}")).is_ok(), "{revoked}");
        }
    }

    #[test]
    fn refuses_broken_stores() {
        for fields in [
            ",\"keys\":[1]",
            ",\"namespaces\":[\"a\"]",
            ",\"keys\":{\"a\":{\"algo\":\"ed25519\",\"pubkey\":\"!!!\"}}",
            ",\"keys\":{\"a\":{\"algo\":\"ed25519\",\"pubkey\":\"AAAA\"}}",
            ",\"version\":1",
            ",\"version\":0.0",
            ",\"version\":false",
            ",\"format\":\"x\"",
        ] {
            assert!(parse(fields).is_err(), "{fields}");
        }
        assert!(parse(",\"keys\":[],\"namespaces\":null").is_ok());
        for bytes in [&b"[]"[..], b"{", b"", b"\xff", b"\xef\xbb\xbf{}"] {
            assert!(TrustStore::parse(bytes).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(
            text in ".{0,60}",
            fields in "(,\"(keys|namespaces|revoked)\":(\\{(\"[a-c]\":(\\[\"x\"\\]|1|null|\\{\\}),?){0,2}\\}|\\[1\\]|1|\"\")){0,3}",
        ) {
            let _ = TrustStore::parse(text.as_bytes());
            let _ = parse(&fields);
        }
    }
}
