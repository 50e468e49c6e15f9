//! The lock v0: exactly these bytes from exactly that place. Unknown fields are refused, except
//! the object `x`.

use std::collections::{BTreeMap, BTreeSet};

use super::identity::Identity;
use crate::canonical_json::canonical;
use crate::json::{self, JsonError, Limit, Object, Value, object};

/// Why a lock is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Not JSON.
    #[error("the lock is {0}")]
    Json(#[from] JsonError),
    /// JSON, but no object of this format and version.
    #[error("the lock is no `drift-lock` of version 0")]
    Format,
    /// A field that version 0 does not have.
    #[error("the lock has the unknown field `{0}`")]
    UnknownField(String),
    /// `x` is no object.
    #[error("`x` of the lock is no object")]
    Extension,
    /// `packages` is no object.
    #[error("the lock has no object `packages`")]
    NoPackages,
    /// An entry under the empty id.
    #[error("the lock has a package without a name")]
    EmptyId,
    /// Something is wrong with an entry.
    #[error("the lock's entry `{package_id}` {problem}")]
    Entry {
        /// Whose entry.
        package_id: String,
        /// What is wrong.
        problem: LockEntryProblem,
    },
}

/// What is wrong with a lock entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockEntryProblem {
    /// It is no object.
    #[error("is no object")]
    NotObject,
    /// A field that version 0 does not have.
    #[error("has the unknown field `{0}`")]
    UnknownField(String),
    /// A string is missing, empty or of another type.
    #[error("has no string `{0}`")]
    Text(&'static str),
    /// The observed identity is another than the entry's.
    #[error("has an `observed_identity` that is not the entry's own")]
    ObservedIdentity,
    /// A hash does not start with `sha256:`.
    #[error("has a `{0}` that does not start with `sha256:`")]
    Hash(&'static str),
    /// A list of strings is something else.
    #[error("has no list of strings `{0}`")]
    Texts(&'static str),
    /// No usable source id.
    #[error("is missing source_id: a string that is neither empty nor `unknown`")]
    SourceId,
    /// `x` is no object.
    #[error("has an `x` that is no object")]
    Extension,
}

/// One locked package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedPackage {
    /// What it is.
    pub identity: Identity,
    /// Hash of the package file.
    pub pkg_sha256: String,
    /// Hash of the sidecar file, or nothing if there was none.
    pub sig_sha256: Option<String>,
    /// Who signed it.
    pub sig_kids: Vec<String>,
    /// Its modules.
    pub modules: Vec<String>,
    /// The source it comes from.
    pub source_id: String,
    /// Its path there, not yet normalised.
    pub path: String,
}

/// A lock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    packages: BTreeMap<String, LockedPackage>,
    /// The entries' `x` objects, and the lock's own under the empty id, which no package has.
    extensions: BTreeMap<String, Object>,
}

const TOP_FIELDS: [&str; 4] = ["format", "version", "packages", "x"];
const ENTRY_FIELDS: [&str; 10] = [
    "version",
    "target",
    "observed_identity",
    "pkg_sha256",
    "sig_sha256",
    "sig_kids",
    "modules",
    "source_id",
    "path",
    "x",
];

fn unknown_field(object: &Object, known: &[&str]) -> Option<String> {
    object.iter().map(|(key, _)| key).find(|key| !known.contains(key)).map(str::to_owned)
}

impl Lock {
    /// Reads a lock.
    ///
    /// # Errors
    /// [`LockError`]
    pub fn parse(bytes: &[u8]) -> Result<Self, LockError> {
        let document = match json::parse(bytes, Limit::INDEX)? {
            Value::Object(document) if document.is_format_zero("drift-lock") => document,
            _ => return Err(LockError::Format),
        };
        if let Some(field) = unknown_field(&document, &TOP_FIELDS) {
            return Err(LockError::UnknownField(field));
        }
        let mut lock = Self::default();
        match document.get("x") {
            None => {}
            Some(Value::Object(extension)) => {
                lock.extensions.insert(String::new(), extension.clone());
            }
            Some(_) => return Err(LockError::Extension),
        }
        let packages =
            document.get("packages").and_then(Value::as_object).ok_or(LockError::NoPackages)?;
        for (package_id, entry) in packages.iter() {
            if package_id.is_empty() {
                return Err(LockError::EmptyId);
            }
            let (package, extension) = parse_entry(package_id, entry).map_err(|problem| {
                LockError::Entry { package_id: package_id.to_owned(), problem }
            })?;
            lock.packages.insert(package_id.to_owned(), package);
            if let Some(extension) = extension {
                lock.extensions.insert(package_id.to_owned(), extension);
            }
        }
        Ok(lock)
    }

    /// The locked packages by id.
    #[must_use]
    pub fn packages(&self) -> &BTreeMap<String, LockedPackage> {
        &self.packages
    }

    /// Adds or replaces a package; an extension of its old entry is dropped.
    pub fn insert(&mut self, package: LockedPackage) {
        self.extensions.remove(&package.identity.package_id);
        self.packages.insert(package.identity.package_id.clone(), package);
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut packages = Object::new();
        for (package_id, package) in &self.packages {
            let mut entry = entry_json(package);
            if let Some(extension) = self.extensions.get(package_id) {
                entry.insert("x", extension.clone());
            }
            packages.insert(package_id.as_str(), entry);
        }
        let mut document = Object::from([
            ("format", "drift-lock".into()),
            ("version", Value::from(0_usize)),
            ("packages", packages.into()),
        ]);
        if let Some(extension) = self.extensions.get("") {
            document.insert("x", extension.clone());
        }
        canonical(&document.into()).into_bytes()
    }
}

fn parse_entry(
    package_id: &str,
    entry: &Value,
) -> Result<(LockedPackage, Option<Object>), LockEntryProblem> {
    use LockEntryProblem as Problem;
    let entry = entry.as_object().ok_or(Problem::NotObject)?;
    if let Some(field) = unknown_field(entry, &ENTRY_FIELDS) {
        return Err(Problem::UnknownField(field));
    }
    let text = |field| entry.text(field).map(str::to_owned).ok_or(Problem::Text(field));
    let identity = Identity {
        package_id: package_id.to_owned(),
        version: text("version")?,
        target: text("target")?,
    };
    let observed = entry
        .get("observed_identity")
        .and_then(Value::as_object)
        .ok_or(Problem::ObservedIdentity)?;
    let agrees = observed.text("package_id") == Some(package_id)
        && observed.text("version") == Some(&identity.version)
        && observed.text("target") == Some(&identity.target);
    if !agrees {
        return Err(Problem::ObservedIdentity);
    }
    let hash = |field| match entry.get(field).and_then(Value::as_str) {
        Some(text) if text.starts_with("sha256:") => Ok(text.to_owned()),
        _ => Err(Problem::Hash(field)),
    };
    let pkg_sha256 = hash("pkg_sha256")?;
    let sig_sha256 = match entry.get("sig_sha256") {
        None | Some(Value::Null) => None,
        Some(_) => Some(hash("sig_sha256")?),
    };
    let texts = |field| {
        let list = entry.get(field).and_then(Value::as_strings).ok_or(Problem::Texts(field))?;
        if list.iter().any(|text| text.is_empty()) {
            return Err(Problem::Texts(field));
        }
        Ok(list.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let sig_kids = texts("sig_kids")?;
    let modules = texts("modules")?;
    let source_id =
        entry.text("source_id").filter(|id| *id != "unknown").ok_or(Problem::SourceId)?.to_owned();
    let path = text("path")?;
    let extension = match entry.get("x") {
        None => None,
        Some(Value::Object(extension)) => Some(extension.clone()),
        Some(_) => return Err(Problem::Extension),
    };
    let package =
        LockedPackage { identity, pkg_sha256, sig_sha256, sig_kids, modules, source_id, path };
    Ok((package, extension))
}

fn entry_json(package: &LockedPackage) -> Object {
    let sorted = |texts: &[String]| -> Value {
        let texts: BTreeSet<&String> = texts.iter().collect();
        texts.into_iter().cloned().collect::<Vec<_>>().into()
    };
    let identity = &package.identity;
    Object::from([
        ("version", identity.version.as_str().into()),
        ("target", identity.target.as_str().into()),
        (
            "observed_identity",
            object([
                ("package_id", identity.package_id.as_str().into()),
                ("version", identity.version.as_str().into()),
                ("target", identity.target.as_str().into()),
            ]),
        ),
        ("pkg_sha256", package.pkg_sha256.as_str().into()),
        ("sig_sha256", package.sig_sha256.as_deref().into()),
        ("sig_kids", sorted(&package.sig_kids)),
        ("modules", sorted(&package.modules)),
        ("source_id", package.source_id.as_str().into()),
        ("path", package.path.as_str().into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENTRY: &str = "\"version\":\"1\",\"target\":\"any\",\"observed_identity\":{\
        \"package_id\":\"p\",\"version\":\"1\",\"target\":\"any\",\"more\":1},\
        \"pkg_sha256\":\"sha256:0\",\"sig_kids\":[],\"modules\":[],\"source_id\":\"main\",\
        \"path\":\"p.dmp\"";

    fn lock(top: &str, id: &str, entry: &str) -> Result<Lock, LockError> {
        let text = format!(
            "{{\"format\":\"drift-lock\",\"version\":0,\"packages\":{{\"{id}\":{{{ENTRY}{entry}}}}}{top}}}"
        );
        Lock::parse(text.as_bytes())
    }

    #[test]
    fn knows_every_field_or_refuses() {
        for (top, id, entry, ok) in [
            ("", "p", "", true),
            (",\"x\":{\"a\":1}", "p", ",\"x\":{}", true),
            ("", "p", ",\"sig_sha256\":null", true),
            ("", "p", ",\"sig_sha256\":\"sha256:1\"", true),
            (",\"y\":1", "p", "", false),
            (",\"x\":1", "p", "", false),
            (",\"version\":1", "p", "", false),
            (",\"packages\":[]", "p", "", false),
            ("", "", "", false),
            ("", "q", "", false),
            ("", "p", ",\"y\":1", false),
            ("", "p", ",\"x\":[]", false),
            ("", "p", ",\"version\":\"\"", false),
            ("", "p", ",\"target\":1", false),
            ("", "p", ",\"observed_identity\":null", false),
            ("", "p", ",\"pkg_sha256\":\"00\"", false),
            ("", "p", ",\"sig_sha256\":5", false),
            ("", "p", ",\"sig_kids\":\"k\"", false),
            ("", "p", ",\"sig_kids\":[\"\"]", false),
            ("", "p", ",\"modules\":[1]", false),
            ("", "p", ",\"source_id\":\"unknown\"", false),
            ("", "p", ",\"source_id\":\"\"", false),
            ("", "p", ",\"path\":\"\"", false),
        ] {
            let result = lock(top, id, entry);
            assert_eq!(result.is_ok(), ok, "{top} {id} {entry}: {result:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let lock = lock(",\"x\":{\"a\":1}", "p", ",\"x\":{\"b\":2}").unwrap();
        assert_eq!(Lock::parse(&lock.to_bytes()).unwrap(), lock);
        assert!(!lock.to_bytes().ends_with(b"\n"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(
            text in ".{0,60}",
            entry in "(,\"(version|target|pkg_sha256|sig_sha256|sig_kids|modules|source_id|path|x)\":(\"[a:]{0,3}\"|1|null|\\[\\]|\\{\\})){0,3}",
        ) {
            let _ = Lock::parse(text.as_bytes());
            if let Ok(lock) = lock("", "p", &entry) {
                prop_assert_eq!(Lock::parse(&lock.to_bytes()).unwrap(), lock);
            }
        }
    }
}
