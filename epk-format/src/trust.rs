//! Whose signatures count: keys, the names that each is trusted for, and keys that are revoked
//! (`spec/signature.md` §5 and §8).
//!
//! [`TrustedKeys`] decides about signatures. [`TrustStore`] is the file that `pkgtool trust` keeps,
//! [`Settings`] the one in which a machine or a user asks for signatures.
//!
//! ```
//! use epk_format::signature::SigningKey;
//! use epk_format::trust::{NamePrefix, Names, TrustedKeys};
//!
//! let id = SigningKey::from_seed(&[1; 32]).public().id();
//! let mut keys = TrustedKeys::default();
//! keys.trust(id.clone(), Names::Below([NamePrefix::parse("org.example")?].into()));
//! assert!(keys.trusts(&id, || Some("org.example.app".to_owned())));
//! assert!(!keys.trusts(&id, || Some("org.examples".to_owned())));
//! # Ok::<(), epk_format::trust::PrefixError>(())
//! ```

mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::signature::{KeyId, PublicKey};

pub use store::{Entry, KeyRevoked, NotTrusted, Revocation, Settings, TextError, TrustStore};

/// The beginning of packages' names, in whole parts: `org.example` covers itself and
/// `org.example.app`, but not `org.examples`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePrefix(String);

/// Why a text is no beginning of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// No characters.
    #[error("a prefix of names is not empty")]
    Empty,
    /// A control character.
    #[error("a prefix of names has no control characters")]
    Control,
    /// A `.` at the beginning or the end, or two in a row.
    #[error("a prefix of names is made of whole parts, without dots before, after and in a row")]
    EmptyPart,
    /// Somebody thinks of patterns.
    #[error("a prefix of names has no `*`: `org.example` is also for all names below it")]
    Star,
}

impl NamePrefix {
    /// Reads a prefix.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        if text.is_empty() {
            Err(PrefixError::Empty)
        } else if text.chars().any(char::is_control) {
            Err(PrefixError::Control)
        } else if text.contains('*') {
            Err(PrefixError::Star)
        } else if text.split('.').any(str::is_empty) {
            Err(PrefixError::EmptyPart)
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a package of this name is meant.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        name.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl TryFrom<String> for NamePrefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|error| format!("`{}`: {error}", text.escape_debug()))
    }
}

impl From<NamePrefix> for String {
    fn from(prefix: NamePrefix) -> Self {
        prefix.0
    }
}

impl fmt::Display for NamePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}

/// The names that a key is trusted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// All.
    All,
    /// Those that one of these covers.
    Below(BTreeSet<NamePrefix>),
}

impl Names {
    /// These and `other`.
    pub fn extend(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (Self::Below(_), Self::All) => *self = Self::All,
            (Self::Below(these), Self::Below(those)) => these.extend(those),
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all names"),
            Self::Below(prefixes) if prefixes.is_empty() => f.write_str("no names"),
            Self::Below(prefixes) => {
                for (at, prefix) in prefixes.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}`{prefix}`")?;
                }
                Ok(())
            }
        }
    }
}

/// The keys that the caller trusts, and those that it knows to be revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedKeys {
    trusted: BTreeMap<KeyId, Names>,
    revoked: BTreeSet<KeyId>,
}

impl TrustedKeys {
    /// Reads a trust file: a key a line, as base64 of the public key or as its name
    /// (`ed25519:…`); what follows the first white space is a comment, as are lines that begin
    /// with `#`. The keys are trusted for all names.
    ///
    /// # Errors
    /// The number of the line (from 1) that is neither.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut keys = Self::default();
        for (number, line) in text.lines().enumerate() {
            match line.split_whitespace().next() {
                None => {}
                Some(word) if word.starts_with('#') => {}
                Some(word) => {
                    let id = KeyId::parse(word)
                        .or_else(|| PublicKey::from_base64(word).map(|key| key.id()));
                    keys.trust(id.ok_or(number + 1)?, Names::All);
                }
            }
        }
        Ok(keys)
    }

    /// Trusts a key for these names, too.
    pub fn trust(&mut self, id: KeyId, names: Names) {
        let known = self.trusted.entry(id).or_insert_with(|| Names::Below(BTreeSet::new()));
        known.extend(names);
    }

    /// Revokes a key: no trust counts any more, whoever has it.
    pub fn revoke(&mut self, id: KeyId) {
        self.revoked.insert(id);
    }

    /// Adds what `other` trusts and what it revokes.
    pub fn extend(&mut self, other: Self) {
        other.trusted.into_iter().for_each(|(id, names)| self.trust(id, names));
        self.revoked.extend(other.revoked);
    }

    /// Adds what `other` revokes.
    pub fn extend_revoked(&mut self, other: Self) {
        self.revoked.extend(other.revoked);
    }

    /// Whether a key is revoked.
    #[must_use]
    pub fn is_revoked(&self, id: &KeyId) -> bool {
        self.revoked.contains(id)
    }

    /// The names that a key is trusted for; `None` if it is not trusted, or revoked.
    #[must_use]
    pub fn names_of(&self, id: &KeyId) -> Option<&Names> {
        self.trusted.get(id).filter(|_| !self.is_revoked(id))
    }

    /// Whether a key is trusted for a package. `name` is asked for only if the answer depends on it;
    /// a package without a name is covered by keys for all names only.
    #[must_use]
    pub fn trusts(&self, id: &KeyId, name: impl FnOnce() -> Option<String>) -> bool {
        match self.names_of(id) {
            None => false,
            Some(Names::All) => true,
            Some(Names::Below(prefixes)) => {
                name().is_some_and(|name| prefixes.iter().any(|prefix| prefix.covers(&name)))
            }
        }
    }

    /// The keys that are trusted, revoked ones left out.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.trusted.keys().filter(|id| !self.is_revoked(id))
    }

    /// The keys that are trusted for exactly this name, revoked ones left out: whoever wrote that
    /// meant this package.
    pub fn bound_to(&self, name: &str) -> impl Iterator<Item = &KeyId> {
        self.trusted.iter().filter_map(move |(id, names)| match names {
            Names::Below(prefixes) if prefixes.iter().any(|prefix| prefix.0 == name) => {
                Some(id).filter(|id| !self.is_revoked(id))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::SigningKey;

    fn id(seed: u8) -> KeyId {
        SigningKey::from_seed(&[seed; 32]).public().id()
    }

    fn below(prefixes: &[&str]) -> Names {
        let parse = |text: &&str| NamePrefix::parse(text).expect("a prefix");
        Names::Below(prefixes.iter().map(parse).collect())
    }

    fn trusts(keys: &TrustedKeys, id: &KeyId, name: &str) -> bool {
        keys.trusts(id, || Some(name.to_owned()))
    }

    #[test]
    fn prefixes_are_whole_parts() {
        for (prefix, name, covered) in [
            ("org.example", "org.example", true),
            ("org.example", "org.example.app", true),
            ("org.example", "org.example.", true),
            ("org.example", "org.examples", false),
            ("org.example", "org", false),
            ("org.example", "Org.example.app", false),
            ("org.example", "x.org.example", false),
            ("hi", "hi", true),
            ("an app", "an app", true),
        ] {
            let prefix = NamePrefix::parse(prefix).expect("a prefix");
            assert_eq!(prefix.covers(name), covered, "{prefix} {name}");
        }
        for (text, error) in [
            ("", PrefixError::Empty),
            ("a\n", PrefixError::Control),
            ("org.*", PrefixError::Star),
            ("*", PrefixError::Star),
            (".org", PrefixError::EmptyPart),
            ("org.", PrefixError::EmptyPart),
            ("a..b", PrefixError::EmptyPart),
        ] {
            assert_eq!(NamePrefix::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn trust_files() {
        let public = SigningKey::from_seed(&[1; 32]).public();
        for line in [public.to_base64(), public.id().to_string()] {
            let keys = TrustedKeys::parse(&format!("# keys\n\n{line} founder\n")).expect("keys");
            assert!(trusts(&keys, &public.id(), "any"));
            assert!(keys.trusts(&public.id(), || None));
            assert_eq!(keys.ids().collect::<Vec<_>>(), [&public.id()]);
        }
        assert_eq!(TrustedKeys::parse("\nnonsense\n").err(), Some(2));
    }

    #[test]
    fn trust_adds_up_and_revocation_wins() {
        let mut keys = TrustedKeys::default();
        keys.trust(id(1), below(&["a", "c.d"]));
        keys.trust(id(1), below(&["b"]));
        for (name, trusted) in
            [("a", true), ("a.x", true), ("b", true), ("c", false), ("c.d.e", true)]
        {
            assert_eq!(trusts(&keys, &id(1), name), trusted, "{name}");
            assert!(!trusts(&keys, &id(2), name));
        }
        assert!(!keys.trusts(&id(1), || None));
        assert_eq!(keys.bound_to("a").collect::<Vec<_>>(), [&id(1)]);
        assert_eq!(keys.bound_to("a.x").count(), 0);
        let mut all = TrustedKeys::default();
        all.trust(id(1), Names::All);
        all.trust(id(1), below(&["a"]));
        keys.extend(all);
        assert!(trusts(&keys, &id(1), "c"));
        let mut others = TrustedKeys::default();
        others.revoke(id(1));
        others.trust(id(3), Names::All);
        keys.extend_revoked(others);
        assert!(keys.is_revoked(&id(1)) && !trusts(&keys, &id(1), "a"));
        assert!(!trusts(&keys, &id(3), "a"));
        assert_eq!((keys.names_of(&id(1)), keys.ids().count()), (None, 0));
        assert_eq!(keys.bound_to("a").count(), 0);
    }
}
