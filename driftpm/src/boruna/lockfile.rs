//! The lockfile: every package of a closure with its content hash and its dependencies.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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

/// A lockfile's content: owned when it was read, borrowed from a closure when it was computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lockfile<'a> {
    lockfile_version: u32,
    #[serde(deserialize_with = "distinct")]
    resolved: BTreeMap<Cow<'a, str>, LockedPackage<'a>>,
}

/// One package of a lockfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage<'a> {
    /// The content hash.
    pub integrity: Cow<'a, str>,
    /// Direct dependencies, name to version.
    #[serde(deserialize_with = "distinct_dependencies")]
    pub dependencies: Cow<'a, BTreeMap<String, String>>,
}

fn distinct_dependencies<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'static, BTreeMap<String, String>>, D::Error> {
    distinct(deserializer).map(Cow::Owned)
}

/// A map in which no key stands twice: which of two entries counts must not be a question.
fn distinct<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: From<String> + Ord,
    V: Deserialize<'de>,
{
    struct Distinct<K, V>(std::marker::PhantomData<(K, V)>);

    impl<'de, K: From<String> + Ord, V: Deserialize<'de>> Visitor<'de> for Distinct<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut out = BTreeMap::new();
            while let Some((key, value)) = map.next_entry::<String, V>()? {
                match out.entry(K::from(key.clone())) {
                    Entry::Vacant(free) => free.insert(value),
                    Entry::Occupied(_) => {
                        return Err(A::Error::custom(format!("'{key}' stands twice")));
                    }
                };
            }
            Ok(out)
        }
    }

    deserializer.deserialize_map(Distinct(std::marker::PhantomData))
}

impl<'a> Lockfile<'a> {
    /// The lockfile of a closure and its hashes.
    #[must_use]
    pub fn new(resolution: &'a Resolution, hashes: &'a BTreeMap<PackageId, Integrity>) -> Self {
        // Both are in id order, and as a rule of the same ids.
        let mut hashes = hashes.iter().peekable();
        let locked = |(id, manifest): (&'a PackageId, &'a PackageManifest)| {
            while hashes.next_if(|(hashed, _)| *hashed < id).is_some() {}
            let (_, hash) = hashes.next_if(|(hashed, _)| *hashed == id)?;
            let integrity = Cow::Borrowed(hash.as_str());
            let dependencies = Cow::Borrowed(&manifest.dependencies);
            Some((Cow::Borrowed(id.as_str()), LockedPackage { integrity, dependencies }))
        };
        let packages = resolution.packages.iter().map(|(id, manifest)| (id, &**manifest));
        let resolved = packages.filter_map(locked).collect();
        Self { lockfile_version: FORMAT, resolved }
    }

    /// The packages by id.
    #[must_use]
    pub fn packages(&self) -> &BTreeMap<Cow<'a, str>, LockedPackage<'a>> {
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
            for (name, version) in locked.dependencies.as_ref() {
                let dependency = format!("{name}@{version}");
                if !self.resolved.contains_key(dependency.as_str()) {
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
        let links: usize = self.resolved.values().map(|locked| locked.dependencies.len()).sum();
        let mut text = String::with_capacity(160 * self.resolved.len() + 64 * links + 64);
        text.push_str("{\n  \"lockfile_version\": ");
        text.push_str(&self.lockfile_version.to_string());
        text.push_str(",\n  \"resolved\": ");
        push_map(&mut text, "  ", &self.resolved, |text, locked| {
            text.push_str("{\n      \"integrity\": ");
            push_string(text, &locked.integrity);
            text.push_str(",\n      \"dependencies\": ");
            push_map(text, "      ", &locked.dependencies, |text, version| {
                push_string(text, version);
            });
            text.push_str("\n    }");
        });
        text.push_str("\n}");
        text
    }

    /// Writes the lockfile in one step. A file that says the same already is left alone: there
    /// is nothing to make durable, and its time of change goes on telling the truth.
    ///
    /// # Errors
    ///
    /// `write lockfile: …`.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let text = self.to_pretty_json();
        if files::says(path, text.as_bytes()) {
            return Ok(());
        }
        files::replace(path, text.as_bytes()).map_err(Error::io("write lockfile"))
    }

    /// What changes from `self` to `new`.
    #[must_use]
    pub fn difference(&self, new: &Lockfile<'_>) -> Difference {
        let only_in = |one: &Lockfile<'_>, other: &Lockfile<'_>| -> Vec<String> {
            let ids = one.resolved.keys().filter(|id| !other.resolved.contains_key(id.as_ref()));
            ids.map(ToString::to_string).collect()
        };
        Difference {
            added: only_in(new, self),
            removed: only_in(self, new),
            changed: self
                .resolved
                .iter()
                .filter(|(id, old)| new.resolved.get(id.as_ref()).is_some_and(|new| new != *old))
                .map(|(id, _)| id.to_string())
                .collect(),
        }
    }
}

/// A map, closed at the given indentation, as `serde_json` writes it prettily; thousands of
/// packages take a fourth of its time.
fn push_map<K: AsRef<str>, V>(
    text: &mut String,
    indentation: &str,
    map: &BTreeMap<K, V>,
    push_value: impl Fn(&mut String, &V),
) {
    text.push('{');
    let mut separator = "\n";
    for (key, value) in map {
        text.push_str(separator);
        text.push_str(indentation);
        text.push_str("  ");
        push_string(text, key.as_ref());
        text.push_str(": ");
        push_value(text, value);
        separator = ",\n";
    }
    if !map.is_empty() {
        text.extend(["\n", indentation]);
    }
    text.push('}');
}

fn push_string(text: &mut String, value: &str) {
    let odd = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // All bytes are looked at, without a way out on the way: many at once.
    if !value.bytes().fold(false, |found, byte| found | odd(byte)) {
        text.push('"');
        text.push_str(value);
        text.push('"');
    } else {
        text.push_str(&Value::from(value).to_string());
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
        let odd = lock(&[("a@1.0.0", HASH, ""), ("b@1.0.0", HASH, r#""a":"1.0.0""#)]);
        let odd = Lockfile::from_json(&odd).map(|mut lockfile| {
            let mut moved = std::mem::take(&mut lockfile.resolved);
            for id in ["a\n\"\u{1}é", "\\"] {
                let package = moved.pop_first().map(|(_, package)| package);
                lockfile.resolved.extend(package.map(|package| (id.into(), package)));
            }
            (lockfile.to_pretty_json(), serde_json::to_string_pretty(&lockfile).ok())
        });
        assert!(odd.is_ok_and(|(ours, plain)| Some(ours) == plain));
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
