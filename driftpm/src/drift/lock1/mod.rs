//! The lock of a project, `drift-project.lock.json`, format 1: exactly these packages, and why.
//!
//! It is authoritative: where it is, nothing is resolved, and whatever differs from it is an
//! error. Only `drift resolve` (where there is none), `drift update` and `drift lock migrate`
//! write it. Its bytes are a function of what was resolved, sorted and indented so that people can
//! read what changed, but for two fields that change when anything else does: `lock_rev`, which goes up by one, and `generated_at`.

mod migrate;
mod stale;

pub use migrate::{Migration, migrate};
pub use stale::{check_fresh, requests};

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::identity::Identity;
use super::platform::{Platform, Requirement};
use super::project::{Fields, check_name};
use crate::canonical_json::indented;
use crate::files::{self, FileError};
use crate::json::{self, Limit, Object, Value, object};
use crate::problem::Problem;
use crate::relpath::{package_file_name, shown};

/// The lock's name, beside the project's file.
pub const LOCK_FILE: &str = "drift-project.lock.json";
/// The only format.
const FORMAT: u64 = 1;

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectLock {
    /// How often its content has changed.
    pub rev: u64,
    /// When it last did, `YYYY-MM-DDTHH:MM:SS+00:00`.
    pub generated_at: String,
    /// The project's name.
    pub project: String,
    /// `newest` or `minimal`.
    pub order: String,
    /// For which platform it was resolved.
    pub platform: Platform,
    /// What the project asked for, by the key of the dependency.
    pub requests: BTreeMap<String, Request>,
    /// What it got, by package.
    pub packages: BTreeMap<String, Locked>,
}

/// What the project asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The package.
    pub package: String,
    /// The constraint as it is written.
    pub constraint: String,
    /// The repository that was named.
    pub repository: Option<String>,
}

/// One locked package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// What it is.
    pub identity: Identity,
    /// Hash of its file.
    pub sha256: String,
    /// Hash of its sidecar; none: it is used without.
    pub sig_sha256: Option<String>,
    /// Who the repository said has signed it.
    pub signer_kids: BTreeSet<String>,
    /// The repository.
    pub repository: String,
    /// Where it is there.
    pub path: String,
    /// Packages it needs, and the constraint on each.
    pub dependencies: BTreeMap<String, String>,
    /// Platforms on which it can be used.
    pub platform: Requirement,
    /// Whether it has native parts.
    pub native: bool,
}

impl Locked {
    /// Where the package lies below the cache's and the vendor directory: by what it is, since
    /// the paths of two repositories may be the same.
    ///
    /// # Errors
    /// `PROJECT_LOCK_INVALID` if its identity is no safe name; a lock that was read has none such.
    pub fn place(&self) -> Result<crate::relpath::RelPath, Problem> {
        let Identity { package_id, version, target } = &self.identity;
        let invalid = |error: &dyn ToString| {
            Problem::new("PROJECT_LOCK_INVALID", error.to_string()).about(package_id.as_str())
        };
        let name = package_file_name(package_id, version, target).map_err(|e| invalid(&e))?;
        crate::relpath::RelPath::parse(&format!("{package_id}/{version}/{name}"))
            .map_err(|e| invalid(&e))
    }
}

impl ProjectLock {
    /// Reads the lock of the project in `root`; `None` if there is none.
    ///
    /// # Errors
    /// `PROJECT_LOCK_INVALID`
    pub fn load(root: &Path) -> Result<Option<Self>, Problem> {
        let path = root.join(LOCK_FILE);
        let invalid =
            |message: String| Problem::new("PROJECT_LOCK_INVALID", message).in_file(shown(&path));
        match files::read(&path, Limit::INDEX.file()) {
            Ok(bytes) => Self::parse(&bytes, &shown(&path)).map(Some),
            Err(FileError::Missing(_)) => Ok(None),
            Err(error) => Err(invalid(error.to_string())),
        }
    }

    /// The same, where there must be one.
    ///
    /// # Errors
    /// `PROJECT_LOCK_MISSING`, `PROJECT_LOCK_INVALID`
    pub fn require(root: &Path) -> Result<Self, Problem> {
        Self::load(root)?.ok_or_else(|| {
            Problem::new("PROJECT_LOCK_MISSING", "there is no such file")
                .in_file(shown(&root.join(LOCK_FILE)))
                .hint("`drift resolve` writes it")
        })
    }

    /// Reads a lock; `file` is its name in complaints. Unknown fields are refused, except `x`.
    ///
    /// # Errors
    /// `PROJECT_LOCK_INVALID`
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, Problem> {
        let invalid = |message: String| Problem::new("PROJECT_LOCK_INVALID", message).in_file(file);
        let document = match json::parse(bytes, Limit::INDEX).map_err(|e| invalid(e.to_string()))? {
            Value::Object(document) => document,
            other => return Err(invalid(format!("the file is {}, not an object", other.kind()))),
        };
        let fields = Fields::top("PROJECT_LOCK_INVALID", file, &document);
        fields.format("lock_format", FORMAT)?;
        let rev = fields.integer("lock_rev")?.and_then(|rev| u64::try_from(rev).ok());
        let rev = rev.filter(|rev| *rev > 0);
        let rev = rev.ok_or_else(|| fields.wrong("lock_rev", "not a positive integer"))?;
        let generated_at = fields.text("generated_at")?.to_owned();
        let project = fields.name("project")?.to_owned();
        let order = fields.text("order")?.to_owned();
        let platform = match fields.get("platform") {
            Some(value) => Platform::from_json(&fields.below("platform", value)?)?,
            None => return Err(fields.wrong("platform", "missing")),
        };
        let mut requests = BTreeMap::new();
        for (key, value) in fields.members("requests")? {
            let fields = fields.below(&format!("requests.{key}"), value)?;
            let request = Request {
                package: fields.name("package")?.to_owned(),
                constraint: fields.text("constraint")?.to_owned(),
                repository: fields.optional_text("repository")?.map(str::to_owned),
            };
            fields.finish()?;
            requests.insert(key.to_owned(), request);
        }
        let mut packages = BTreeMap::new();
        for (id, value) in fields.members("packages")? {
            let fields = fields.below(&format!("packages.{id}"), value)?;
            check_name(id).map_err(|message| fields.wrong("", message))?;
            let locked = locked(id, &fields)?;
            locked.place().map_err(|problem| fields.wrong("version", problem.message.as_str()))?;
            packages.insert(id.to_owned(), locked);
        }
        fields.finish()?;
        let lock = Self { rev, generated_at, project, order, platform, requests, packages };
        lock.check_closed(&invalid)?;
        Ok(lock)
    }

    /// Every package that something in the lock needs is in the lock.
    fn check_closed(&self, invalid: &dyn Fn(String) -> Problem) -> Result<(), Problem> {
        let asked =
            self.requests.iter().map(|(key, one)| (format!("requests.{key}"), &one.package));
        let needed = self.packages.iter().flat_map(|(id, locked)| {
            locked.dependencies.keys().map(move |need| (format!("packages.{id}"), need))
        });
        for (field, package) in asked.chain(needed) {
            if !self.packages.contains_key(package) {
                return Err(invalid(format!("`{package}` is needed and not in it")).at(field));
            }
        }
        Ok(())
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut requests = Object::new();
        for (key, request) in &self.requests {
            requests.insert(
                key.as_str(),
                object([
                    ("package", request.package.as_str().into()),
                    ("constraint", request.constraint.as_str().into()),
                    ("repository", request.repository.as_deref().into()),
                ]),
            );
        }
        let mut packages = Object::new();
        for (id, locked) in &self.packages {
            packages.insert(id.as_str(), locked_json(locked));
        }
        let document = object([
            ("lock_format", Value::from(1_usize)),
            ("lock_rev", Value::Number(self.rev.into())),
            ("generated_at", self.generated_at.as_str().into()),
            ("project", self.project.as_str().into()),
            ("order", self.order.as_str().into()),
            ("platform", self.platform.to_json()),
            ("requests", requests.into()),
            ("packages", packages.into()),
        ]);
        indented(&document).into_bytes()
    }

    /// Writes the lock into `root`, one revision after `before`; if nothing but revision and time
    /// would change, nothing is written. Returns whether it was.
    ///
    /// # Errors
    /// `FILE_ERROR`
    pub fn save(&mut self, root: &Path, before: Option<&Self>) -> Result<bool, Problem> {
        if let Some(before) = before {
            let now = std::mem::replace(&mut self.generated_at, before.generated_at.clone());
            self.rev = before.rev;
            if self == before {
                return Ok(false);
            }
            self.generated_at = now;
            self.rev = before.rev.saturating_add(1);
        }
        files::write_atomically(&root.join(LOCK_FILE), &self.to_bytes())?;
        Ok(true)
    }

    /// The packages that `package` needs, however far, and itself: sorted by id.
    #[must_use]
    pub fn closure<'a>(&'a self, packages: impl IntoIterator<Item = &'a str>) -> Vec<&'a Locked> {
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        let mut waiting: Vec<&str> = packages.into_iter().collect();
        while let Some(id) = waiting.pop() {
            if let Some(locked) = self.packages.get(id)
                && wanted.insert(id)
            {
                waiting.extend(locked.dependencies.keys().map(String::as_str));
            }
        }
        wanted.into_iter().filter_map(|id| self.packages.get(id)).collect()
    }
}

fn locked(id: &str, fields: &Fields<'_>) -> Result<Locked, Problem> {
    let hash = |key: &'static str| -> Result<Option<String>, Problem> {
        match fields.optional_text(key)? {
            None => Ok(None),
            Some(text) if is_hash(text) => Ok(Some(text.to_owned())),
            Some(text) => Err(fields.wrong(key, format!("`{text}` is no hash `sha256:…`"))),
        }
    };
    let identity = Identity {
        package_id: id.to_owned(),
        version: fields.text("version")?.to_owned(),
        target: fields.text("target")?.to_owned(),
    };
    let sha256 = hash("sha256")?.ok_or_else(|| fields.wrong("sha256", "missing"))?;
    let sig_sha256 = hash("sig_sha256")?;
    let mut dependencies = BTreeMap::new();
    for (package, constraint) in fields.members("dependencies")? {
        let text = constraint.as_str().ok_or_else(|| {
            fields.wrong("dependencies", format!("the constraint on `{package}` is no string"))
        })?;
        dependencies.insert(package.to_owned(), text.to_owned());
    }
    let platform = match fields.get("platform") {
        None => Requirement::default(),
        Some(value) => Requirement::from_json(&fields.below("platform", value)?)?,
    };
    let locked = Locked {
        identity,
        sha256,
        sig_sha256,
        signer_kids: fields.texts("signer_kids")?.into_iter().collect(),
        repository: fields.name("repository")?.to_owned(),
        path: fields.text("path")?.to_owned(),
        dependencies,
        platform,
        native: fields.flag("native")?,
    };
    fields.finish()?;
    Ok(locked)
}

fn locked_json(locked: &Locked) -> Value {
    let mut dependencies = Object::new();
    for (package, constraint) in &locked.dependencies {
        dependencies.insert(package.as_str(), constraint.as_str());
    }
    object([
        ("version", locked.identity.version.as_str().into()),
        ("target", locked.identity.target.as_str().into()),
        ("sha256", locked.sha256.as_str().into()),
        ("sig_sha256", locked.sig_sha256.as_deref().into()),
        ("signer_kids", locked.signer_kids.iter().cloned().collect::<Vec<_>>().into()),
        ("repository", locked.repository.as_str().into()),
        ("path", locked.path.as_str().into()),
        ("dependencies", dependencies.into()),
        ("platform", locked.platform.to_json()),
        ("native", locked.native.into()),
    ])
}

/// Whether `text` is `sha256:` and 64 hexadecimal digits in lower case.
fn is_hash(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}
