//! The files of a catalog: what each of them says.
//!
//! They are read strictly, as all files that people write: a field that is not known is refused.

use std::collections::BTreeMap;

use crate::drift::project::{Fields, check_name};
use crate::drift::repository::Entry;
use crate::json::{Object, Value, object};
use crate::keys::PublicKey;
use crate::problem::Problem;

/// What is wrong with a file that is none of a catalog's.
pub(super) const INVALID: &str = "CATALOG_INVALID";

/// What all files begin with.
fn open<'a>(document: &'a Object, file: &'a str, format: &str) -> Result<Fields<'a>, Problem> {
    let fields = Fields::top(INVALID, file, document);
    let found = fields.text("format")?;
    if found != format {
        return Err(fields.wrong("format", format!("`{found}`, not `{format}`")));
    }
    fields.format("version", 0)?;
    Ok(fields)
}

/// The catalog itself, `index/index.v0.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub description: Option<String>,
    /// Where people find it.
    pub home: Option<String>,
    /// The URL to which URLs of packages are relative; absent: the index's own folder.
    pub base_url: Option<String>,
    /// The namespaces that have been given to somebody, sorted.
    pub namespaces: Vec<String>,
}

impl About {
    const FORMAT: &str = "drift-catalog";

    /// Reads it.
    ///
    /// # Errors
    /// `CATALOG_INVALID`
    pub fn from_json(document: &Object, file: &str) -> Result<Self, Problem> {
        let fields = open(document, file, Self::FORMAT)?;
        let about = Self {
            name: fields.name("name")?.to_owned(),
            description: fields.optional_text("description")?.map(str::to_owned),
            home: fields.optional_text("home")?.map(str::to_owned),
            base_url: fields.optional_text("base_url")?.map(str::to_owned),
            namespaces: fields.texts("namespaces")?,
        };
        fields.finish()?;
        Ok(about)
    }

    /// The same as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object([
            ("format", Self::FORMAT.into()),
            ("version", 0_usize.into()),
            ("name", self.name.as_str().into()),
            ("description", self.description.as_deref().into()),
            ("home", self.home.as_deref().into()),
            ("base_url", self.base_url.as_deref().into()),
            ("namespaces", self.namespaces.clone().into()),
        ])
    }
}

/// What people read of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// One line.
    pub description: Option<String>,
    /// Words by which it can be found.
    pub tags: Vec<String>,
}

/// A namespace, `index/namespaces/NAME.json`: whose it is, and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// The first part of its packages' ids.
    pub name: String,
    /// Who may change it, as those who review know them.
    pub owners: Vec<String>,
    /// The keys that sign for it, by id.
    pub keys: BTreeMap<String, PublicKey>,
    /// Ids of keys that do not any more, and why.
    pub revoked: BTreeMap<String, String>,
    /// Its packages, by id without the namespace.
    pub packages: BTreeMap<String, Described>,
}

impl Namespace {
    const FORMAT: &str = "drift-catalog-namespace";

    /// Reads it.
    ///
    /// # Errors
    /// `CATALOG_INVALID`
    pub fn from_json(document: &Object, file: &str) -> Result<Self, Problem> {
        let fields = open(document, file, Self::FORMAT)?;
        let mut namespace = Self {
            name: fields.name("namespace")?.to_owned(),
            owners: fields.texts("owners")?,
            ..Self::default()
        };
        for (kid, value) in fields.members("keys")? {
            let wrong = |message: String| fields.wrong("keys", format!("`{kid}`: {message}"));
            let text = value.as_str().ok_or_else(|| wrong("no string".to_owned()))?;
            let key = PublicKey::parse(text).map_err(|error| wrong(error.to_string()))?;
            if key.id() != kid {
                return Err(wrong(format!("the key's id is `{}`", key.id())));
            }
            namespace.keys.insert(kid.to_owned(), key);
        }
        for (kid, reason) in fields.members("revoked")? {
            let reason = reason.as_str().filter(|text| !text.is_empty()).ok_or_else(|| {
                fields.wrong("revoked", format!("`{kid}`: no reason, which is a string"))
            })?;
            namespace.revoked.insert(kid.to_owned(), reason.to_owned());
        }
        for (name, value) in fields.members("packages")? {
            check_name(name).map_err(|message| fields.wrong("packages", message))?;
            let below = fields.below("packages", value)?;
            let described = Described {
                description: below.optional_text("description")?.map(str::to_owned),
                tags: below.texts("tags")?,
            };
            below.finish()?;
            namespace.packages.insert(name.to_owned(), described);
        }
        fields.finish()?;
        Ok(namespace)
    }

    /// The same as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut keys = Object::new();
        for (kid, key) in &self.keys {
            keys.insert(kid.as_str(), key.to_base64());
        }
        let mut revoked = Object::new();
        for (kid, reason) in &self.revoked {
            revoked.insert(kid.as_str(), reason.as_str());
        }
        let mut packages = Object::new();
        for (name, described) in &self.packages {
            let described = object([
                ("description", described.description.as_deref().into()),
                ("tags", described.tags.clone().into()),
            ]);
            packages.insert(name.as_str(), described);
        }
        object([
            ("format", Self::FORMAT.into()),
            ("version", 0_usize.into()),
            ("namespace", self.name.as_str().into()),
            ("owners", self.owners.clone().into()),
            ("keys", keys.into()),
            ("revoked", revoked.into()),
            ("packages", packages.into()),
        ])
    }

    /// Whether a key signs for the namespace.
    #[must_use]
    pub fn has_signer(&self, kid: &str) -> bool {
        self.keys.contains_key(kid) && !self.revoked.contains_key(kid)
    }
}

/// A published version, `packages/NAMESPACE/NAME/VERSION.json`, for one target or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The package's whole id.
    pub package_id: String,
    /// The version.
    pub version: String,
    /// Its files, by target.
    pub artifacts: Vec<Entry>,
}

impl Release {
    const FORMAT: &str = "drift-catalog-release";

    /// Reads it.
    ///
    /// # Errors
    /// `CATALOG_INVALID`
    pub fn from_json(document: &Object, file: &str) -> Result<Self, Problem> {
        let fields = open(document, file, Self::FORMAT)?;
        let package_id = fields.name("package_id")?.to_owned();
        let version = fields.version("package_version")?.to_string();
        let mut artifacts = Vec::new();
        for (place, value) in fields.items("artifacts")?.iter().enumerate() {
            let at = format!("artifacts[{place}]");
            let artifact = Entry::parse(&package_id, value).map_err(|problem| {
                let at = problem.field.as_ref().map_or_else(|| at.clone(), |f| format!("{at}.{f}"));
                problem.coded(INVALID).in_file(file).at(at)
            })?;
            if !artifact.understood {
                let message = "it is none that is understood";
                return Err(fields.wrong(&format!("{at}.platform_requirements"), message));
            }
            if artifact.offer.identity.version != version {
                let message =
                    format!("`{}`, in the file of {version}", artifact.offer.identity.version);
                return Err(fields.wrong(&format!("{at}.version"), message));
            }
            artifacts.push(artifact);
        }
        fields.finish()?;
        Ok(Self { package_id, version, artifacts })
    }

    /// The same as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object([
            ("format", Self::FORMAT.into()),
            ("version", 0_usize.into()),
            ("package_id", self.package_id.as_str().into()),
            ("package_version", self.version.as_str().into()),
            ("artifacts", Value::Array(self.artifacts.iter().map(Entry::to_json).collect())),
        ])
    }

    /// Whether all of it is withdrawn.
    #[must_use]
    pub fn is_yanked(&self) -> bool {
        self.artifacts.iter().all(|artifact| artifact.offer.yanked)
    }
}

/// The namespace of a package and the rest of its id.
#[must_use]
pub(super) fn split(package_id: &str) -> Option<(&str, &str)> {
    package_id.split_once('.').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
}
