//! `drift-project.json`

use std::collections::BTreeMap;

use super::super::resolve::Constraint;
use super::{FORMAT, Fields, check_name};
use crate::json::{Object, Value};
use crate::problem::Problem;
use crate::relpath::RelPath;

/// What the project's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFile {
    /// The project's name.
    pub name: String,
    /// The label of the line of builds this belongs to; compilers write it as `build_epoch`.
    pub epoch: Option<String>,
    /// Where packages come from, best first.
    pub repositories: Vec<RepositorySpec>,
    /// What is needed of others, by the key under which targets use it.
    pub deps: BTreeMap<String, Dependency>,
    /// Who is trusted.
    pub trust: TrustSettings,
    /// The target that is meant when none is named.
    pub default_target: Option<String>,
}

/// What kind of thing a repository is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RepositoryKind {
    /// What the toolchain ships.
    Toolchain,
    /// Over HTTP or HTTPS.
    Http,
    /// Over the protocol of S3.
    S3,
    /// A directory.
    Dir,
}

impl RepositoryKind {
    /// The name in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Toolchain => "toolchain",
            Self::Http => "http",
            Self::S3 => "s3",
            Self::Dir => "dir",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Toolchain, Self::Http, Self::S3, Self::Dir]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// One repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositorySpec {
    /// Its name in dependencies and locks.
    pub name: String,
    /// What it is.
    pub kind: RepositoryKind,
    /// Where it is: a URL, of `dir` a path from the project's root. `toolchain` may do without.
    pub url: Option<String>,
    /// Lower wins; of equals the one that comes first in the file.
    pub priority: i64,
}

/// One dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The package's id.
    pub package: String,
    /// Which versions will do.
    pub constraint: Constraint,
    /// The only repository from which it may come.
    pub repository: Option<String>,
}

/// Who is trusted, and what is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustSettings {
    /// The trust store; absent: `drift/trust.json`.
    pub store: Option<RelPath>,
    /// Accept nothing unsigned.
    pub require_signatures: bool,
    /// Folders from which unsigned packages are accepted too.
    pub allow_unsigned_from: Vec<RelPath>,
}

impl ProjectFile {
    /// Reads a document; `file` is its name in complaints.
    ///
    /// # Errors
    /// `PROJECT_INVALID`
    pub fn from_json(document: &Object, file: &str) -> Result<Self, Problem> {
        let fields = Fields::top("PROJECT_INVALID", file, document);
        fields.format("format", FORMAT)?;
        let name = fields.name("name")?.to_owned();
        let epoch = fields.optional_text("epoch")?.map(str::to_owned);
        let repositories = repositories(&fields)?;
        let deps = deps(&fields, &repositories)?;
        let trust = trust(&fields)?;
        let default_target = fields.optional_text("default_target")?.map(str::to_owned);
        fields.finish()?;
        Ok(Self { name, epoch, repositories, deps, trust, default_target })
    }

    /// The repository of that name.
    #[must_use]
    pub fn repository(&self, name: &str) -> Option<&RepositorySpec> {
        self.repositories.iter().find(|repository| repository.name == name)
    }
}

fn repositories(fields: &Fields<'_>) -> Result<Vec<RepositorySpec>, Problem> {
    let mut list: Vec<RepositorySpec> = Vec::new();
    for (at, item) in fields.items("repositories")?.iter().enumerate() {
        let fields = fields.below(&format!("repositories[{at}]"), item)?;
        let name = fields.name("name")?.to_owned();
        let kind = fields.text("type")?;
        let kind = RepositoryKind::parse(kind).ok_or_else(|| {
            fields.wrong("type", format!("`{kind}`; `toolchain`, `http`, `s3` and `dir` are known"))
        })?;
        let url = fields.optional_text("url")?;
        let schemes: &[&str] = match kind {
            RepositoryKind::Http => &["http://", "https://"],
            RepositoryKind::S3 => &["s3://"],
            RepositoryKind::Toolchain | RepositoryKind::Dir => &[],
        };
        match url {
            None if kind != RepositoryKind::Toolchain => return Err(fields.wrong("url", "missing")),
            Some(url)
                if !schemes.is_empty() && !schemes.iter().any(|scheme| url.starts_with(scheme)) =>
            {
                let message = format!("`{url}` does not start with {}", schemes.join(" or "));
                return Err(fields.wrong("url", message));
            }
            _ => {}
        }
        let priority = fields.integer("priority")?.unwrap_or(0);
        if list.iter().any(|other| other.name == name) {
            return Err(fields.wrong("name", format!("another repository is called `{name}`")));
        }
        fields.finish()?;
        list.push(RepositorySpec { name, kind, url: url.map(str::to_owned), priority });
    }
    list.sort_by_key(|repository| repository.priority);
    Ok(list)
}

fn deps(
    fields: &Fields<'_>,
    repositories: &[RepositorySpec],
) -> Result<BTreeMap<String, Dependency>, Problem> {
    let mut deps: BTreeMap<String, Dependency> = BTreeMap::new();
    for (key, value) in fields.members("deps")? {
        let place = format!("deps.{key}");
        check_name(key).map_err(|message| fields.wrong(&place, message))?;
        let dependency = match value {
            // What people know from elsewhere: the key is the package's id.
            Value::String(text) => Dependency {
                package: key.to_owned(),
                constraint: Constraint::parse(text)
                    .map_err(|error| fields.wrong(&place, error.to_string()))?,
                repository: None,
            },
            value => {
                let fields = fields.below(&place, value)?;
                let package = match fields.get("package") {
                    Some(_) => fields.name("package")?,
                    None => key,
                };
                let constraint = Constraint::parse(fields.text("constraint")?)
                    .map_err(|error| fields.wrong("constraint", error.to_string()))?;
                let repository = fields.optional_text("repository")?;
                if let Some(name) = repository
                    && !repositories.iter().any(|repository| repository.name == name)
                {
                    let message = format!("no repository of the project is called `{name}`");
                    return Err(fields.wrong("repository", message));
                }
                fields.finish()?;
                let repository = repository.map(str::to_owned);
                Dependency { package: package.to_owned(), constraint, repository }
            }
        };
        // One package comes from one place, whatever it is called here.
        let other = deps.iter().find(|(_, other)| {
            other.package == dependency.package && other.repository != dependency.repository
        });
        if let Some((other, _)) = other {
            let message = format!("the package is that of `deps.{other}`, the repository is not");
            return Err(fields.wrong(&place, message));
        }
        deps.insert(key.to_owned(), dependency);
    }
    Ok(deps)
}

fn trust(fields: &Fields<'_>) -> Result<TrustSettings, Problem> {
    let Some(value) = fields.get("trust") else { return Ok(TrustSettings::default()) };
    let fields = fields.below("trust", value)?;
    let settings = TrustSettings {
        store: fields
            .optional_text("store")?
            .map(|text| fields.relative("store", text))
            .transpose()?,
        require_signatures: fields.flag("require_signatures")?,
        allow_unsigned_from: fields.paths("allow_unsigned_from")?,
    };
    fields.finish()?;
    Ok(settings)
}
