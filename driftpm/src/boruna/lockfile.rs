//! The lockfile: every package of a closure with its content hash and its dependencies.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::error::Error;
use super::files;
use super::hash::Integrity;
use super::manifest::PackageManifest;
use super::name::PackageId;
use super::resolve::Resolution;

/// The lockfile's name in the specification.
pub const LOCKFILE_NAME: &str = "ax.lock.json";

/// The name that the original writes.
pub const ORIGINAL_LOCKFILE_NAME: &str = "llm.lock.json";

/// The one version of the format there is.
const FORMAT: u32 = 1;

/// A lockfile's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lockfile {
    lockfile_version: u32,
    #[serde(deserialize_with = "distinct")]
    resolved: BTreeMap<String, LockedPackage>,
}

/// One package of a lockfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// The content hash.
    pub integrity: String,
    /// Direct dependencies, name to version.
    #[serde(deserialize_with = "distinct")]
    pub dependencies: BTreeMap<String, String>,
}

/// A map in which no key stands twice: which of two entries counts must not be a question.
fn distinct<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Distinct<V>(std::marker::PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Distinct<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut out = BTreeMap::new();
            while let Some((key, value)) = map.next_entry::<String, V>()? {
                if out.contains_key(&key) {
                    return Err(A::Error::custom(format!("'{key}' stands twice")));
                }
                out.insert(key, value);
            }
            Ok(out)
        }
    }

    deserializer.deserialize_map(Distinct(std::marker::PhantomData))
}

impl Lockfile {
    /// The lockfile of a closure and its hashes.
    #[must_use]
    pub fn new(resolution: &Resolution, hashes: &BTreeMap<PackageId, Integrity>) -> Self {
        let locked = |(id, manifest): (&PackageId, &PackageManifest)| {
            let integrity = hashes.get(id)?.to_string();
            let dependencies = manifest.dependencies.clone();
            Some((id.to_string(), LockedPackage { integrity, dependencies }))
        };
        let resolved = resolution.packages.iter().filter_map(locked).collect();
        Self { lockfile_version: FORMAT, resolved }
    }

    /// The packages by id.
    #[must_use]
    pub fn packages(&self) -> &BTreeMap<String, LockedPackage> {
        &self.resolved
    }

    /// Reads and checks a lockfile's text.
    ///
    /// # Errors
    ///
    /// `parse lockfile: …`, `unsupported lockfile version: …`, or the entry that is wrong.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let lockfile: Self = serde_json::from_str(text).map_err(|error| Error::Parse {
            what: "lockfile".to_string(),
            reason: error.to_string(),
        })?;
        lockfile.check().map_err(Error::Lockfile)?;
        Ok(lockfile)
    }

    fn check(&self) -> Result<(), String> {
        if self.lockfile_version != FORMAT {
            return Err(format!("unsupported lockfile version: {}", self.lockfile_version));
        }
        for (id, locked) in &self.resolved {
            if PackageId::parse(id).is_none() {
                return Err(format!("invalid package id '{id}' in the lockfile"));
            }
            if locked.integrity.is_empty() {
                return Err(format!("package '{id}' has no integrity hash"));
            }
            if Integrity::parse(&locked.integrity).is_none() {
                return Err(format!(
                    "package '{id}' has integrity '{}': must be sha256: and 64 lower-case \
                     hexadecimal digits",
                    locked.integrity
                ));
            }
            for (name, version) in &locked.dependencies {
                let dependency = format!("{name}@{version}");
                if !self.resolved.contains_key(&dependency) {
                    return Err(format!(
                        "package '{id}' depends on '{dependency}' which is not in lockfile"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Reads and checks a lockfile.
    ///
    /// # Errors
    ///
    /// `read lockfile: …` and those of [`Lockfile::from_json`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = files::read_text(path).map_err(Error::io("read lockfile"))?;
        Self::from_json(&text)
    }

    /// The file's text: two-space indentation, no newline at the end.
    #[must_use]
    pub fn to_pretty_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Writes the lockfile in one step. A file that says the same already is left alone: there
    /// is nothing to make durable, and its time of change goes on telling the truth.
    ///
    /// # Errors
    ///
    /// `write lockfile: …`.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let text = self.to_pretty_json();
        if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        files::replace(path, text.as_bytes()).map_err(Error::io("write lockfile"))
    }

    /// What changes from `self` to `new`.
    #[must_use]
    pub fn difference(&self, new: &Self) -> Difference {
        let missing_in = |other: &Self, id: &&String| !other.resolved.contains_key(*id);
        Difference {
            added: new.resolved.keys().filter(|id| missing_in(self, id)).cloned().collect(),
            removed: self.resolved.keys().filter(|id| missing_in(new, id)).cloned().collect(),
            changed: self
                .resolved
                .iter()
                .filter(|(id, old)| new.resolved.get(*id).is_some_and(|new| new != *old))
                .map(|(id, _)| id.clone())
                .collect(),
        }
    }
}

/// How two lockfiles differ, by package id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Only in the second.
    pub added: Vec<String>,
    /// Only in the first.
    pub removed: Vec<String>,
    /// In both, with another hash or other dependencies.
    pub changed: Vec<String>,
}

impl Difference {
    /// Whether there is no difference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let kinds =
            [("added", &self.added), ("removed", &self.removed), ("changed", &self.changed)];
        kinds
            .iter()
            .flat_map(|(word, ids)| ids.iter().map(move |id| format!("  {word}: {id}")))
            .collect()
    }

    pub(super) fn to_json(&self) -> Value {
        json!({ "added": self.added, "removed": self.removed, "changed": self.changed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256:643acdf9f1afcfbbfbf1dbd7986fa5ff2de4c6ab7f17bc0986793838ba5c68fb";

    fn lock(entries: &[(&str, &str, &str)]) -> String {
        let entries: Vec<_> = entries
            .iter()
            .map(|(id, hash, deps)| {
                format!(r#""{id}":{{"integrity":"{hash}","dependencies":{{{deps}}}}}"#)
            })
            .collect();
        format!(r#"{{"lockfile_version":1,"resolved":{{{}}}}}"#, entries.join(","))
    }

    #[test]
    fn written_form() {
        let text = lock(&[("b@1.0.0", HASH, r#""a":"1.0.0""#), ("a@1.0.0", HASH, "")]);
        let written = Lockfile::from_json(&text).map(|lockfile| lockfile.to_pretty_json());
        let expected = format!(
            "{{\n  \"lockfile_version\": 1,\n  \"resolved\": {{\n    \"a@1.0.0\": {{\n      \
             \"integrity\": \"{HASH}\",\n      \"dependencies\": {{}}\n    }},\n    \"b@1.0.0\": \
             {{\n      \"integrity\": \"{HASH}\",\n      \"dependencies\": {{\n        \"a\": \
             \"1.0.0\"\n      }}\n    }}\n  }}\n}}"
        );
        assert_eq!(written.map_err(|error| error.to_string()), Ok(expected));
        let empty = Lockfile::from_json(&lock(&[])).map(|lockfile| lockfile.to_pretty_json());
        assert_eq!(
            empty.map_err(|error| error.to_string()).as_deref(),
            Ok("{\n  \"lockfile_version\": 1,\n  \"resolved\": {}\n}")
        );
    }

    #[test]
    fn broken_lockfiles() {
        for (text, message) in [
            (lock(&[]).replace(":1,", ":2,"), "unsupported lockfile version: 2"),
            (lock(&[("a@1.0.0", "", "")]), "package 'a@1.0.0' has no integrity hash"),
            (
                lock(&[("a@1.0.0", HASH, r#""b":"1.0.0""#)]),
                "package 'a@1.0.0' depends on 'b@1.0.0' which is not in lockfile",
            ),
            (lock(&[("../a@1.0.0", HASH, "")]), "invalid package id '../a@1.0.0' in the lockfile"),
            (
                lock(&[("a@1.0.0", HASH, ""), ("a@1.0.0", HASH, "")]),
                "parse lockfile: 'a@1.0.0' stands twice at line 1 column 266",
            ),
            ("{".to_string(), "parse lockfile: EOF while parsing an object at line 1 column 1"),
        ] {
            let error = Lockfile::from_json(&text).map_err(|error| error.to_string());
            let error = error.err().unwrap_or_default();
            assert!(error.starts_with(message), "{text}: {error}");
        }
        let short = Lockfile::from_json(&lock(&[("a@1.0.0", "sha256:00", "")]));
        assert!(short.is_err());
    }

    #[test]
    fn differences() -> Result<(), Error> {
        let other = HASH.replace("643", "000");
        let old = Lockfile::from_json(&lock(&[("a@1.0.0", HASH, ""), ("b@1.0.0", HASH, "")]))?;
        let new = Lockfile::from_json(&lock(&[("b@1.0.0", &other, ""), ("c@1.0.0", HASH, "")]))?;
        let difference = old.difference(&new);
        assert_eq!(
            difference.lines(),
            ["  added: c@1.0.0", "  removed: a@1.0.0", "  changed: b@1.0.0"]
        );
        assert!(old.difference(&old).is_empty());
        Ok(())
    }
}
