//! The index v0: one version of each package, in a repository or in the cache.

use std::collections::BTreeSet;

use super::identity::{Identity, PartialIdentity};
use crate::canonical_json::canonical;
use crate::json::{self, JsonError, Limit, Object, Value};
use crate::relpath::{RelPath, RelPathError};

/// The index's name in a repository and in the cache.
pub const FILE_NAME: &str = "index.json";

/// Why an index is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Not JSON.
    #[error("the index is {0}")]
    Json(#[from] JsonError),
    /// JSON, but no object.
    #[error("the index is {0}, not an object")]
    NotObject(&'static str),
    /// Another format or version.
    #[error("the index is no `drift-index` of version 0")]
    Format,
    /// No map of packages.
    #[error("the index has no object `packages`")]
    NoPackages,
}

/// An index with all its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Index(Object);

/// Why an entry is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It is no object.
    #[error("the index entry is {0}, not an object")]
    NotObject(&'static str),
    /// A field is missing, of another type, or empty.
    #[error("the index entry has no string `{0}`")]
    Field(&'static str),
    /// `signers` is no list of strings.
    #[error("`signers` of the index entry is no list of strings")]
    Signers,
    /// `unsigned` says neither yes nor no.
    #[error("`unsigned` of the index entry is {0}, not a boolean")]
    Unsigned(&'static str),
    /// The path is none.
    #[error("the path `{path}` of the index entry {error}")]
    Path {
        /// As it stands in the entry.
        path: String,
        /// What is wrong.
        error: RelPathError,
    },
}

/// An entry, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the index says the package is.
    pub identity: Identity,
    /// The hash of the package file, as the index spells it.
    pub sha256: String,
    /// Where the package lies: `path`, else `filename`.
    pub path: RelPath,
    /// Key ids in the order of the index.
    pub signers: Vec<String>,
    /// Whether the index calls the package unsigned.
    pub unsigned: bool,
}

/// How much of an entry must be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Every required string must be there and not empty, as fetching needs.
    Filled,
    /// Every required string must be there, as `doctor` reports.
    Present,
}

impl Entry {
    /// Checks the entry `value` of `package_id`.
    ///
    /// # Errors
    /// [`EntryError`]
    pub fn parse(
        package_id: &str,
        value: &Value,
        strictness: Strictness,
    ) -> Result<Self, EntryError> {
        let entry = value.as_object().ok_or(EntryError::NotObject(value.kind()))?;
        let string = |field: &'static str| {
            entry
                .get(field)
                .and_then(Value::as_str)
                .filter(|text| strictness == Strictness::Present || !text.is_empty())
                .ok_or(EntryError::Field(field))
        };
        let version = string("package_version")?.to_owned();
        let target = string("target")?.to_owned();
        let sha256 = string("sha256")?.to_owned();
        let filename = string("filename")?;
        let signers = signers(entry).ok_or(EntryError::Signers)?;
        let unsigned = match entry.get("unsigned") {
            None => false,
            Some(flag @ (Value::Null | Value::Bool(_) | Value::Number(_))) => flag.is_truthy(),
            Some(other) => return Err(EntryError::Unsigned(other.kind())),
        };
        let path = entry.text("path").unwrap_or(filename);
        let path = RelPath::parse(path)
            .map_err(|error| EntryError::Path { path: path.to_owned(), error })?;
        let identity = Identity { package_id: package_id.to_owned(), version, target };
        Ok(Self { identity, sha256, path, signers, unsigned })
    }
}

/// The strings of `signers`, none if it is absent or null; `None` if it is something else.
fn signers(entry: &Object) -> Option<Vec<String>> {
    match entry.get("signers") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(list) => Some(list.as_strings()?.into_iter().map(str::to_owned).collect()),
    }
}

/// An entry to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// What the package is.
    pub identity: Identity,
    /// The hash of its file.
    pub sha256: String,
    /// Its file's name.
    pub filename: String,
    /// Who signed it; sorted and made unique on writing.
    pub signers: Vec<String>,
    /// Whether it is unsigned.
    pub unsigned: bool,
    /// In the cache, the source it came from; its path is then the file name.
    pub source_id: Option<String>,
}

/// An entry is there already, and it is another package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Another version or target.
    #[error("{new} is not added: the index has {old}; `--force` replaces it")]
    Identity {
        /// What the index has.
        old: String,
        /// What was to be added.
        new: String,
    },
    /// The same identity, other bytes.
    #[error(
        "{new} is not added: the index has it with {old_sha256}, this one is {sha256}; `--force` replaces it"
    )]
    Bytes {
        /// What was to be added.
        new: String,
        /// Hash in the index.
        old_sha256: String,
        /// Hash of the new package.
        sha256: String,
    },
}

impl Index {
    /// An index without packages.
    #[must_use]
    pub fn empty() -> Self {
        Self(Object::from([
            ("format", "drift-index".into()),
            ("version", Value::from(0_usize)),
            ("packages", Object::new().into()),
        ]))
    }

    /// Reads an index; entries are not looked at.
    ///
    /// # Errors
    /// [`IndexError`]
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        let document = match json::parse(bytes, Limit::INDEX)? {
            Value::Object(document) => document,
            other => return Err(IndexError::NotObject(other.kind())),
        };
        if !document.is_format_zero("drift-index") {
            return Err(IndexError::Format);
        }
        match document.get("packages") {
            Some(Value::Object(_)) => Ok(Self(document)),
            _ => Err(IndexError::NoPackages),
        }
    }

    /// The map of packages.
    #[must_use]
    pub fn packages(&self) -> Option<&Object> {
        self.0.get("packages").and_then(Value::as_object)
    }

    /// Entries in the order of the file.
    #[must_use]
    pub fn entries(&self) -> Vec<(&str, &Value)> {
        self.packages().map(Object::in_file_order).unwrap_or_default()
    }

    /// The raw entry of `package_id`.
    #[must_use]
    pub fn entry(&self, package_id: &str) -> Option<&Value> {
        self.packages()?.get(package_id)
    }

    /// Removes the entry of `package_id`.
    pub fn remove(&mut self, package_id: &str) {
        if let Some(Value::Object(packages)) = self.0.get_mut("packages") {
            packages.remove(package_id);
        }
    }

    /// Whether `new` may take its place; see [`Conflict`].
    ///
    /// # Errors
    /// [`Conflict`]
    pub fn check(&self, new: &NewEntry) -> Result<(), Conflict> {
        let Some(old) = self.entry(&new.identity.package_id) else { return Ok(()) };
        let field = |key| old.as_object().and_then(|entry| entry.get(key)?.as_str());
        if field("package_version") != Some(&new.identity.version)
            || field("target") != Some(&new.identity.target)
        {
            let old = PartialIdentity::of_entry(&new.identity.package_id, old).to_string();
            return Err(Conflict::Identity { old, new: new.identity.to_string() });
        }
        match field("sha256").filter(|sha256| !sha256.is_empty()) {
            Some(old_sha256) if old_sha256 != new.sha256 => Err(Conflict::Bytes {
                new: new.identity.to_string(),
                old_sha256: old_sha256.to_owned(),
                sha256: new.sha256.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Puts `new` in its place; the old entry, unknown fields included, is gone.
    pub fn replace(&mut self, new: &NewEntry) {
        let signers: BTreeSet<&String> = new.signers.iter().collect();
        let mut entry = Object::from([
            ("package_version", new.identity.version.as_str().into()),
            ("target", new.identity.target.as_str().into()),
            ("sha256", new.sha256.as_str().into()),
            ("filename", new.filename.as_str().into()),
            ("signers", Value::from(signers.into_iter().cloned().collect::<Vec<_>>())),
            ("unsigned", new.unsigned.into()),
        ]);
        if let Some(source_id) = &new.source_id {
            entry.insert("source_id", source_id.as_str());
            entry.insert("path", new.filename.as_str());
        }
        if let Some(Value::Object(packages)) = self.0.get_mut("packages") {
            packages.insert(new.identity.package_id.as_str(), entry);
        }
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(&Value::Object(self.0.clone())).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn new_entry(version: &str, sha256: &str) -> NewEntry {
        NewEntry {
            identity: Identity {
                package_id: "p".into(),
                version: version.into(),
                target: "any".into(),
            },
            sha256: sha256.into(),
            filename: "p.dmp".into(),
            signers: vec!["zz".into(), "aa".into(), "zz".into()],
            unsigned: false,
            source_id: None,
        }
    }

    #[test]
    fn entries_are_checked() {
        let good =
            "\"package_version\":\"1\",\"target\":\"any\",\"sha256\":\"s\",\"filename\":\"f\"";
        for (text, filled, present) in [
            (format!("{{{good}}}"), true, true),
            ("5".into(), false, false),
            (format!("{{{good},\"target\":null}}"), false, false),
            (format!("{{{good},\"package_version\":1}}"), false, false),
            (format!("{{{good},\"sha256\":\"\"}}"), false, true),
            (format!("{{{good},\"filename\":\"\",\"path\":\"x\"}}"), false, true),
            (format!("{{{good},\"path\":\"../x\"}}"), false, false),
            (format!("{{{good},\"path\":\"\"}}"), true, true),
            (format!("{{{good},\"signers\":\"ab\"}}"), false, false),
            (format!("{{{good},\"signers\":[1]}}"), false, false),
            (format!("{{{good},\"unsigned\":1}}"), true, true),
            (format!("{{{good},\"unsigned\":\"false\"}}"), false, false),
        ] {
            let value = json::parse(text.as_bytes(), Limit::INDEX).unwrap();
            for (strictness, ok) in [(Strictness::Filled, filled), (Strictness::Present, present)] {
                assert_eq!(
                    Entry::parse("p", &value, strictness).is_ok(),
                    ok,
                    "{strictness:?} {text}"
                );
            }
        }
    }

    #[test]
    fn replacing_needs_a_reason() {
        let mut index = Index::empty();
        index.check(&new_entry("1", "a")).unwrap();
        index.replace(&new_entry("1", "a"));
        index.check(&new_entry("1", "a")).unwrap();
        assert!(matches!(index.check(&new_entry("2", "a")), Err(Conflict::Identity { .. })));
        assert!(matches!(index.check(&new_entry("1", "b")), Err(Conflict::Bytes { .. })));
        assert_eq!(
            String::from_utf8(index.to_bytes()).unwrap(),
            "{\"format\":\"drift-index\",\"packages\":{\"p\":{\"filename\":\"p.dmp\",\
             \"package_version\":\"1\",\"sha256\":\"a\",\"signers\":[\"aa\",\"zz\"],\
             \"target\":\"any\",\"unsigned\":false}},\"version\":0}"
        );
    }

    #[test]
    fn refuses_other_documents() {
        for text in [
            "[]",
            "{",
            "{\"format\":\"drift-index\",\"version\":7,\"packages\":{}}",
            "{\"format\":\"drift-index\",\"version\":0}",
            "{\"format\":\"drift-index\",\"version\":0,\"packages\":[]}",
        ] {
            assert!(Index::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(
            text in ".{0,60}",
            fields in "(\"(package_version|target|sha256|filename|path|signers|unsigned)\":(\"[./a]{0,4}\"|1|null|\\[\\]),?){0,7}",
        ) {
            let _ = Index::parse(text.as_bytes());
            let document = format!(
                "{{\"format\":\"drift-index\",\"version\":0,\"packages\":{{\"p\":{{{fields}}}}}}}"
            );
            if let Ok(index) = Index::parse(document.as_bytes()) {
                for (id, entry) in index.entries() {
                    if let Ok(entry) = Entry::parse(id, entry, Strictness::Filled) {
                        prop_assert!(!entry.path.as_str().contains(".."), "{:?}", entry.path);
                    }
                }
            }
        }
    }
}
