//! The trust store file with all its fields, for `drift trust`.

use super::namespace::{NamespaceError, check_namespace};
use super::store::{TrustError, open, revoked_ids};
use crate::canonical_json::ascii_compact;
use crate::json::{Object, Value};
use crate::keys::{KeyError, PublicKey};
use crate::problem::Problem;

/// A trust store that keeps the fields it does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustFile {
    keys: Object,
    namespaces: Object,
    /// An object, or a list in the old spelling.
    revoked: Value,
    /// All other fields.
    rest: Object,
}

/// Why a key is not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddKeyError {
    /// The key is none.
    #[error("the public key: {0}")]
    Key(#[from] KeyError),
    /// The key id given is another key's.
    #[error("the key id given is `{given}`, but the key's id is `{derived}`")]
    OtherKid {
        /// What was given.
        given: String,
        /// What the key's id is.
        derived: String,
    },
    /// The store has something else under the key's id.
    #[error("the trust store has another key under `{0}`")]
    Taken(String),
    /// The namespace is not one that a user binds.
    #[error("the namespace `{namespace}` {error}")]
    Namespace {
        /// What was given.
        namespace: String,
        /// What is wrong with it.
        error: NamespaceError,
    },
    /// The store is broken where the key has to go.
    #[error(transparent)]
    Store(#[from] TrustError),
}

/// Why keys are not replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotateError {
    /// The key is none.
    #[error("the public key: {0}")]
    Key(#[from] KeyError),
    /// The new key is revoked.
    #[error("`{0}` is revoked")]
    Revoked(String),
    /// The store has something else under the key's id.
    #[error("the trust store has another key under `{0}`")]
    Taken(String),
    /// Nothing is bound to the name yet.
    #[error("nobody speaks for `{0}` yet; `drift trust add-key` lets somebody")]
    Unbound(String),
}

impl TrustFile {
    /// A store without keys, namespaces and revocations.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            keys: Object::new(),
            namespaces: Object::new(),
            revoked: Object::new().into(),
            rest: Object::from([("format", "drift-trust".into()), ("version", 0_usize.into())]),
        }
    }

    /// Reads a store and fills in the maps that are missing.
    ///
    /// # Errors
    /// [`TrustError`]: not JSON, another format, or maps of another type.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let mut rest = open(bytes)?;
        revoked_ids(&rest)?;
        let mut map = |field| match rest.remove(field) {
            None => Ok(Object::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(other) => Err(TrustError::NotObject { field, found: other.kind() }),
        };
        let (keys, namespaces) = (map("keys")?, map("namespaces")?);
        let revoked = match rest.remove("revoked") {
            None | Some(Value::Null) => Object::new().into(),
            Some(revoked) => revoked,
        };
        Ok(Self { keys, namespaces, revoked, rest })
    }

    /// The store as a JSON value.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut document = self.rest.clone();
        document.insert("keys", self.keys.clone());
        document.insert("namespaces", self.namespaces.clone());
        document.insert("revoked", self.revoked.clone());
        document.into()
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        ascii_compact(&self.to_json()).into_bytes()
    }

    /// Binds the public key of this text to `namespace`. What is there already stays as it is.
    ///
    /// # Errors
    /// [`AddKeyError`]; the store is then unchanged.
    pub fn add_key(
        &mut self,
        namespace: &str,
        pubkey: &str,
        kid: Option<&str>,
    ) -> Result<(), AddKeyError> {
        let key = PublicKey::parse(pubkey.trim())?;
        let derived = key.id();
        if let Some(given) = kid.filter(|given| *given != derived) {
            return Err(AddKeyError::OtherKid { given: given.to_owned(), derived });
        }
        check_namespace(namespace)
            .map_err(|error| AddKeyError::Namespace { namespace: namespace.to_owned(), error })?;
        let known = self.keys.get(&derived).map(Value::as_object);
        if known.is_some_and(|entry| entry.and_then(|e| e.text("pubkey")) != Some(&key.to_base64()))
        {
            return Err(AddKeyError::Taken(derived));
        }
        let mut kids = match self.namespaces.get(namespace) {
            None => Vec::new(),
            Some(Value::Array(kids)) => kids.clone(),
            Some(other) => {
                let found = other.kind();
                return Err(TrustError::NotObject { field: "namespaces", found }.into());
            }
        };
        if !kids.iter().any(|known| known.as_str() == Some(&derived)) {
            kids.push(derived.as_str().into());
        }
        self.namespaces.insert(namespace, Value::Array(kids));
        if self.keys.get(&derived).is_none() {
            let entry =
                Object::from([("algo", "ed25519".into()), ("pubkey", key.to_base64().into())]);
            self.keys.insert(derived, entry);
        }
        Ok(())
    }

    /// Lets `key` sign the index of the repository at `place`.
    ///
    /// # Errors
    /// `TRUST_STORE_INVALID`; the store is then unchanged.
    pub fn bind_repository(&mut self, place: &str, key: &PublicKey) -> Result<(), Problem> {
        let invalid = |message: String| Problem::new("TRUST_STORE_INVALID", message);
        let mut places = match self.rest.get("repositories") {
            None => Object::new(),
            Some(Value::Object(places)) => places.clone(),
            Some(other) => {
                let found = other.kind();
                let error = TrustError::NotObject { field: "repositories", found };
                return Err(invalid(error.to_string()));
            }
        };
        let mut kids = match places.get(place) {
            Some(Value::Array(kids)) => kids.clone(),
            _ => Vec::new(),
        };
        if !kids.iter().any(|known| known.as_str() == Some(&key.id())) {
            kids.push(key.id().into());
        }
        places.insert(place, Value::Array(kids));
        self.rest.insert("repositories", places);
        self.keep_key(key);
        Ok(())
    }

    fn keep_key(&mut self, key: &PublicKey) {
        if self.keys.get(&key.id()).is_none() {
            let entry =
                Object::from([("algo", "ed25519".into()), ("pubkey", key.to_base64().into())]);
            self.keys.insert(key.id(), entry);
        }
    }

    /// Puts the public key of this text in the place of all keys that are bound to `name`, a
    /// namespace or a repository's URL. Gives the ids of those.
    ///
    /// # Errors
    /// [`RotateError`]; the store is then unchanged.
    pub fn rotate(&mut self, name: &str, pubkey: &str) -> Result<Vec<String>, RotateError> {
        let key = PublicKey::parse(pubkey.trim())?;
        let revoked = match &self.revoked {
            Value::Object(revoked) => revoked.get(&key.id()).is_some(),
            Value::Array(kids) => kids.iter().any(|kid| kid.as_str() == Some(&key.id())),
            _ => false,
        };
        if revoked {
            return Err(RotateError::Revoked(key.id()));
        }
        let known = self.keys.get(&key.id()).map(Value::as_object);
        let own =
            |entry: Option<&Object>| entry.and_then(|e| e.text("pubkey")) == Some(&key.to_base64());
        if known.is_some_and(|entry| !own(entry)) {
            return Err(RotateError::Taken(key.id()));
        }
        let list = match self.rest.get_mut("repositories") {
            Some(Value::Object(places)) if places.get(name).is_some() => places.get_mut(name),
            _ => self.namespaces.get_mut(name),
        };
        let list = list.ok_or_else(|| RotateError::Unbound(name.to_owned()))?;
        let before = std::mem::replace(list, Value::Array(vec![key.id().into()]));
        self.keep_key(&key);
        let before = before.as_array().unwrap_or_default().iter().filter_map(Value::as_str);
        Ok(before.filter(|kid| *kid != key.id()).map(str::to_owned).collect())
    }

    /// Revokes `kid`, which need not be known. A time or reason that is noted already stays.
    /// `now` is the time in the file's spelling.
    pub fn revoke(&mut self, kid: &str, now: &str, reason: Option<&str>) {
        let mut revoked = match std::mem::replace(&mut self.revoked, Value::Null) {
            Value::Object(revoked) => revoked,
            // The old spelling; entries of the new one know nothing about these keys.
            Value::Array(kids) => {
                let mut revoked = Object::new();
                for kid in kids.iter().filter_map(Value::as_str) {
                    revoked.insert(kid, Object::new());
                }
                revoked
            }
            _ => Object::new(),
        };
        let mut entry = match revoked.get(kid) {
            Some(Value::Object(entry)) => entry.clone(),
            _ => Object::new(),
        };
        if entry.get("revoked_at").is_none() {
            entry.insert("revoked_at", now);
        }
        if let Some(reason) = reason
            && entry.get("reason").is_none()
        {
            entry.insert("reason", reason);
        }
        revoked.insert(kid, entry);
        self.revoked = revoked.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::testing::key;

    const NOW: &str = "2026-11-20T13:00:00+00:00";

    #[test]
    fn adding_twice_changes_nothing() {
        let mut file = TrustFile::empty();
        let pubkey = key(1).public().to_base64();
        file.add_key("acme.*", &format!(" {pubkey}\n"), None).unwrap();
        let once = file.clone();
        file.add_key("acme.*", &pubkey, Some(&key(1).public().id())).unwrap();
        assert_eq!(file, once);
        assert_eq!(TrustFile::parse(&file.to_bytes()).unwrap(), file);
    }

    #[test]
    fn refuses_keys_under_other_names() {
        let mut file = TrustFile::empty();
        let pubkey = key(1).public().to_base64();
        for kid in ["", "bogus", key(2).public().id().as_str()] {
            let error = file.add_key("acme.*", &pubkey, Some(kid)).unwrap_err();
            assert!(matches!(error, AddKeyError::OtherKid { .. }), "{error}");
        }
        assert!(file.add_key("std.*", &pubkey, None).is_err());
        assert!(file.add_key("acme", "!", None).is_err());
        assert_eq!(file, TrustFile::empty());
        let kid = key(1).public().id();
        let bogus = format!(
            "{{\"format\":\"drift-trust\",\"version\":0,\"keys\":{{\"{kid}\":{{\"algo\":\"ed25519\",\
             \"pubkey\":\"{}\"}}}}}}",
            key(2).public().to_base64()
        );
        let mut file = TrustFile::parse(bogus.as_bytes()).unwrap();
        assert_eq!(file.add_key("acme", &pubkey, None), Err(AddKeyError::Taken(kid)));
    }

    #[test]
    fn the_first_revocation_counts() {
        let mut file = TrustFile::parse(
            b"{\"format\":\"drift-trust\",\"version\":0,\"zz\":1,\"revoked\":[\"old\",5]}",
        )
        .unwrap();
        file.revoke("k", NOW, Some(""));
        file.revoke("k", "later", Some("second"));
        assert_eq!(
            String::from_utf8(file.to_bytes()).unwrap(),
            "{\"format\":\"drift-trust\",\"keys\":{},\"namespaces\":{},\"revoked\":{\"k\":\
             {\"reason\":\"\",\"revoked_at\":\"2026-11-20T13:00:00+00:00\"},\"old\":{}},\
             \"version\":0,\"zz\":1}\n"
        );
    }

    #[test]
    fn refuses_a_store_it_would_damage() {
        for fields in ["\"keys\":[]", "\"namespaces\":1", "\"revoked\":\"k\"", "\"version\":1"] {
            let text = format!("{{\"format\":\"drift-trust\",\"version\":0,{fields}}}");
            assert!(TrustFile::parse(text.as_bytes()).is_err(), "{fields}");
        }
    }
}
