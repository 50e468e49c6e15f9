//! The texts: `trust.toml` and `epk.toml`.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::{NamePrefix, Names, TrustedKeys};
use crate::signature::{KeyId, Policy};

/// What stands above the keys in a file.
const HEAD: &str = "# Kept by `pkgtool trust`.\n\n";

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TextError {
    /// The line, from 1.
    pub line: usize,
    /// What was found there.
    pub message: String,
}

/// A key that is not trusted anew: it is revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is revoked")]
pub struct KeyRevoked(pub KeyId);

/// What cannot be taken away, because it is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTrusted {
    /// The key.
    #[error("`{0}` is not trusted here")]
    Key(KeyId),
    /// One of its names.
    #[error("`{id}` is trusted for {names}, not for `{prefix}` in particular")]
    Name {
        /// The key.
        id: KeyId,
        /// The names that it is trusted for.
        names: Names,
        /// What was to be taken away.
        prefix: NamePrefix,
    },
}

/// A file of trusted and revoked keys. One that stands on both sides is revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustStore {
    /// Keys that are trusted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trusted: BTreeMap<KeyId, Entry>,
    /// Keys that are not trusted by anybody any more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub revoked: BTreeMap<KeyId, Revocation>,
}

/// A trusted key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The names that it is trusted for; all, if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<BTreeSet<NamePrefix>>,
    /// Whose it is, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A revoked key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// When it was noted, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Entry {
    /// The names that the key is trusted for.
    #[must_use]
    pub fn names(&self) -> Names {
        self.names.clone().map_or(Names::All, Names::Below)
    }
}

impl TrustStore {
    /// Reads a file. Keys of the file that nobody knows are refused: one of them may be a
    /// revocation that somebody has misspelt.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        parse(text)
    }

    /// The file's text.
    ///
    /// # Errors
    /// What TOML cannot say.
    pub fn to_text(&self) -> Result<String, TextError> {
        let text = toml::to_string(self)
            .map_err(|error| TextError { line: 1, message: error.to_string() })?;
        Ok(format!("{HEAD}{text}"))
    }

    /// Trusts a key for `names`, too. A `comment` replaces the one that is there.
    ///
    /// # Errors
    /// [`KeyRevoked`]; the store is then unchanged.
    pub fn add(
        &mut self,
        id: &KeyId,
        names: Names,
        comment: Option<&str>,
    ) -> Result<(), KeyRevoked> {
        if self.revoked.contains_key(id) {
            return Err(KeyRevoked(id.clone()));
        }
        let nobody = || Entry { names: Some(BTreeSet::new()), comment: None };
        let entry = self.trusted.entry(id.clone()).or_insert_with(nobody);
        let mut all = entry.names();
        all.extend(names);
        entry.names = match all {
            Names::All => None,
            Names::Below(prefixes) => Some(prefixes),
        };
        if let Some(comment) = comment {
            entry.comment = Some(comment.to_owned());
        }
        Ok(())
    }

    /// Trusts a key no more, or no more for `prefixes` if there are any. A key without a name left
    /// goes as a whole. It is not revoked by that.
    ///
    /// # Errors
    /// [`NotTrusted`]; the store is then unchanged.
    pub fn remove(
        &mut self,
        id: &KeyId,
        prefixes: &BTreeSet<NamePrefix>,
    ) -> Result<(), NotTrusted> {
        let entry = self.trusted.get(id).ok_or_else(|| NotTrusted::Key(id.clone()))?;
        let known = entry.names.clone().unwrap_or_default();
        if let Some(prefix) = prefixes.difference(&known).next() {
            let (id, names, prefix) = (id.clone(), entry.names(), prefix.clone());
            return Err(NotTrusted::Name { id, names, prefix });
        }
        let left: BTreeSet<_> = known.difference(prefixes).cloned().collect();
        if prefixes.is_empty() || left.is_empty() {
            self.trusted.remove(id);
        } else if let Some(entry) = self.trusted.get_mut(id) {
            entry.names = Some(left);
        }
        Ok(())
    }

    /// Revokes a key, which need not be known. A time or reason that is noted already stays.
    pub fn revoke(&mut self, id: &KeyId, since: i64, reason: Option<&str>) {
        self.trusted.remove(id);
        let entry = self.revoked.entry(id.clone()).or_default();
        entry.since = entry.since.or(Some(since));
        if entry.reason.is_none() {
            entry.reason = reason.map(str::to_owned);
        }
    }

    /// What it says of signatures.
    #[must_use]
    pub fn keys(&self) -> TrustedKeys {
        let mut keys = TrustedKeys::default();
        self.trusted.iter().for_each(|(id, entry)| keys.trust(id.clone(), entry.names()));
        self.revoked.keys().for_each(|id| keys.revoke(id.clone()));
        keys
    }
}

/// A file of settings, `epk.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What signatures must be at least.
    #[serde(default, deserialize_with = "policy")]
    pub signature: Option<Policy>,
}

impl Settings {
    /// Reads a file. Keys that nobody knows are refused.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        parse(text)
    }
}

fn policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Policy>, D::Error> {
    let word = String::deserialize(deserializer)?;
    Policy::parse(&word).map(Some).ok_or_else(|| {
        let word = word.escape_debug();
        serde::de::Error::custom(format!(
            "`{word}` is no policy: expected `disabled`, `optional` or `required`"
        ))
    })
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, TextError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        TextError { line, message: error.message().to_owned() }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signature::SigningKey;

    fn id(seed: u8) -> KeyId {
        SigningKey::from_seed(&[seed; 32]).public().id()
    }

    fn prefixes(texts: &[&str]) -> BTreeSet<NamePrefix> {
        texts.iter().map(|text| NamePrefix::parse(text).expect("a prefix")).collect()
    }

    fn below(texts: &[&str]) -> Names {
        Names::Below(prefixes(texts))
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut store = TrustStore::default();
        assert_eq!(TrustStore::parse(&store.to_text().expect("text")), Ok(store.clone()));
        store.add(&id(1), below(&["org.example"]), Some("\"Example\"\n")).expect("good");
        store.add(&id(2), Names::All, None).expect("good");
        store.revoke(&id(3), 1_795_184_020, Some("stolen"));
        let text = store.to_text().expect("text");
        assert_eq!(TrustStore::parse(&text), Ok(store.clone()));
        let expected =
            format!("[revoked.\"{}\"]\nsince = 1795184020\nreason = \"stolen\"\n", id(3));
        assert!(text.starts_with("# Kept by") && text.contains(&expected), "{text}");
        let keys = store.keys();
        assert_eq!(keys.names_of(&id(1)), Some(&below(&["org.example"])));
        assert_eq!(keys.names_of(&id(2)), Some(&Names::All));
        assert!(keys.is_revoked(&id(3)));
    }

    #[test]
    fn by_hand() {
        let text = format!("[trusted]\n'{}' = {{}}\n[revoked.'{}']\n", id(1), id(2));
        let store = TrustStore::parse(&text).expect("good");
        assert_eq!(store.trusted[&id(1)].names(), Names::All);
        assert_eq!(store.revoked[&id(2)], Revocation::default());
        assert_eq!(TrustStore::parse(""), Ok(TrustStore::default()));
        let key = id(1);
        for (text, line, message) in [
            ("revokd = 1", 1, "unknown field `revokd`, expected `trusted` or `revoked`".to_owned()),
            ("\n[trusted.key]\n", 2, "`key` is no key id".to_owned()),
            (
                &format!("[trusted.\"{key}\"]\nnames = [\"org.*\"]"),
                2,
                "`org.*`: a prefix of names has no `*`: `org.example` is also for all names below \
                 it"
                .to_owned(),
            ),
            (
                &format!("[trusted.\"{key}\"]\nname = []"),
                2,
                "unknown field `name`, expected `names` or `comment`".to_owned(),
            ),
            (
                &format!("[revoked]\n\"{key}\" = true"),
                2,
                "invalid type: boolean `true`, expected struct Revocation".to_owned(),
            ),
        ] {
            assert_eq!(TrustStore::parse(text), Err(TextError { line, message }), "{text}");
        }
    }

    #[test]
    fn names_come_and_go() {
        let mut store = TrustStore::default();
        store.add(&id(1), below(&["a"]), Some("one")).expect("good");
        store.add(&id(1), below(&["b"]), None).expect("good");
        assert_eq!(store.trusted[&id(1)].names(), below(&["a", "b"]));
        assert_eq!(store.trusted[&id(1)].comment.as_deref(), Some("one"));
        let error = store.remove(&id(1), &prefixes(&["a", "c"])).expect_err("refused");
        assert!(error.to_string().ends_with("for `a`, `b`, not for `c` in particular"), "{error}");
        store.remove(&id(1), &prefixes(&["a"])).expect("there");
        assert_eq!(store.trusted[&id(1)].names(), below(&["b"]));
        store.add(&id(1), Names::All, None).expect("good");
        store.add(&id(1), below(&["a"]), None).expect("good");
        assert_eq!(store.trusted[&id(1)].names(), Names::All);
        assert!(store.remove(&id(1), &prefixes(&["a"])).is_err());
        store.remove(&id(1), &BTreeSet::new()).expect("there");
        assert_eq!(store.remove(&id(1), &BTreeSet::new()), Err(NotTrusted::Key(id(1))));
        store.add(&id(1), below(&["a"]), None).expect("good");
        store.remove(&id(1), &prefixes(&["a"])).expect("there");
        assert_eq!(store, TrustStore::default());
    }

    #[test]
    fn the_first_revocation_counts() {
        let mut store = TrustStore::default();
        store.add(&id(1), Names::All, None).expect("good");
        store.revoke(&id(1), 7, None);
        store.revoke(&id(1), 8, Some("late"));
        store.revoke(&id(1), 9, Some("later"));
        let entry = Revocation { since: Some(7), reason: Some("late".into()) };
        assert_eq!(store.revoked[&id(1)], entry);
        assert!(store.trusted.is_empty());
        assert_eq!(store.add(&id(1), Names::All, None), Err(KeyRevoked(id(1))));
    }

    #[test]
    fn settings() {
        let parse = |text: &str| Settings::parse(text).map(|settings| settings.signature);
        assert_eq!(parse(""), Ok(None));
        for policy in [Policy::Disabled, Policy::Optional, Policy::Required] {
            assert_eq!(parse(&format!("signature = \"{}\"\n", policy.word())), Ok(Some(policy)));
        }
        for (text, message) in [
            ("signatures = 1", "line 1: unknown field `signatures`, expected `signature`"),
            (
                "# x\nsignature = 'strict'",
                "line 2: `strict` is no policy: expected `disabled`, `optional` or `required`",
            ),
            ("signature = 1", "line 1: invalid type: integer `1`, expected a string"),
        ] {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(message.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in "(\\[|\\]|\"|trusted|revoked|\\.|=|\n|names|a|ed25519:){0,30}") {
            let _ = TrustStore::parse(&text);
            let _ = Settings::parse(&text);
        }
    }
}
