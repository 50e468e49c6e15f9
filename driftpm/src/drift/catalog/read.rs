//! Reading a catalog: every file that belongs to it, and what is wrong with any of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use semver::Version;

use super::document::{About, INVALID, Namespace, Release};
use super::{CATALOG_FILE, NAMESPACES, PACKAGES};
use crate::canonical_json::indented;
use crate::drift::project::check_name;
use crate::files;
use crate::json::{self, Limit, Object, Value};
use crate::problem::Problem;
use crate::relpath::{RelPath, shown};

/// A catalog, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// What it is.
    pub about: About,
    /// Namespaces by name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Published versions: by package, then by version as text.
    pub releases: BTreeMap<String, BTreeMap<String, Release>>,
}

impl Catalog {
    /// How many versions of packages it has.
    #[must_use]
    pub fn versions(&self) -> usize {
        self.releases.values().map(BTreeMap::len).sum()
    }
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// The catalog, without the files that cannot be used.
    pub catalog: Catalog,
    /// What is wrong with files, in the order of their paths.
    pub problems: Vec<Problem>,
    /// Files that say what they should in another spelling, with the one they should have.
    pub misspelt: Vec<(RelPath, String)>,
}

/// Reads the catalog at `root`.
///
/// # Errors
/// `CATALOG_MISSING`, `CATALOG_INVALID`, `FILE_ERROR`: without the catalog's own file nothing can be
/// said. Everything else is in [`Read::problems`].
pub fn read(root: &Path) -> Result<Read, Problem> {
    let mut read = Read::default();
    let path = RelPath::parse(CATALOG_FILE).map_err(|error| invalid(CATALOG_FILE, error))?;
    if !path.below(root).exists() {
        return Err(Problem::new("CATALOG_MISSING", "there is no such file")
            .in_file(shown(&path.below(root)))
            .hint("`drift catalog init NAME` begins a catalog"));
    }
    let about = read.document(root, &path, About::from_json, About::to_json)?;
    if !about.namespaces.is_sorted() {
        read.problems.push(invalid(CATALOG_FILE, "not sorted").at("namespaces"));
    }
    read.catalog.about = about;
    for (path, is_folder) in read.entries(root, "index")? {
        if path.as_str() != CATALOG_FILE && !(is_folder && path.as_str() == NAMESPACES) {
            read.unexpected(&path);
        }
    }
    for (path, is_folder) in read.entries(root, NAMESPACES)? {
        match stem(&path).filter(|_| !is_folder) {
            Some(name) => read.namespace(root, &path, name),
            None => read.unexpected(&path),
        }
    }
    for (namespace, is_folder) in read.entries(root, PACKAGES)? {
        if !is_folder {
            read.unexpected(&namespace);
            continue;
        }
        for (package, is_folder) in read.entries(root, namespace.as_str())? {
            if !is_folder {
                read.unexpected(&package);
                continue;
            }
            for (path, is_folder) in read.entries(root, package.as_str())? {
                match stem(&path).filter(|_| !is_folder) {
                    Some(version) => read.release(root, &path, version),
                    None => read.unexpected(&path),
                }
            }
        }
    }
    Ok(read)
}

fn invalid(file: &str, error: impl std::fmt::Display) -> Problem {
    Problem::new(INVALID, error.to_string()).in_file(file)
}

/// The name of a JSON file without its ending.
fn stem(path: &RelPath) -> Option<&str> {
    path.components().last()?.strip_suffix(".json").filter(|stem| !stem.is_empty())
}

impl Read {
    fn unexpected(&mut self, path: &RelPath) {
        let message = "nothing of a catalog has this name or kind here";
        self.problems.push(Problem::new("CATALOG_FILE_UNEXPECTED", message).in_file(path.as_str()));
    }

    /// What is in a folder, sorted, and whether it is a folder itself. Links and special files are
    /// problems; a folder that is not there is empty.
    fn entries(&mut self, root: &Path, folder: &str) -> Result<Vec<(RelPath, bool)>, Problem> {
        let at = root.join(folder);
        let failed = |error: std::io::Error| {
            Problem::new("FILE_ERROR", format!("cannot read `{}`: {error}", shown(&at)))
        };
        let listed = match fs::read_dir(&at) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in listed {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let name = entry.file_name();
            let path = name.to_str().map(|name| RelPath::parse(&format!("{folder}/{name}")));
            let Some(Ok(path)) = path else {
                let message = format!("{name:?} is no name that a catalog has");
                self.problems
                    .push(Problem::new("CATALOG_FILE_UNEXPECTED", message).in_file(folder));
                continue;
            };
            if kind.is_file() || kind.is_dir() {
                found.push((path, kind.is_dir()));
            } else {
                self.unexpected(&path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Reads one file; notes how it should be spelt if it is not spelt like that.
    fn document<T>(
        &mut self,
        root: &Path,
        path: &RelPath,
        parse: impl Fn(&Object, &str) -> Result<T, Problem>,
        to_json: impl Fn(&T) -> Value,
    ) -> Result<T, Problem> {
        let file = path.as_str();
        let bytes = files::read_below(root, path, Limit::SETTINGS.file())
            .map_err(|error| invalid(file, error))?;
        let document = match json::parse(&bytes, Limit::SETTINGS) {
            Ok(Value::Object(document)) => document,
            Ok(other) => return Err(invalid(file, format!("{}, not an object", other.kind()))),
            Err(error) => return Err(invalid(file, error)),
        };
        let parsed = parse(&document, file)?;
        let right = to_json(&parsed);
        let text = indented(&right);
        if text.as_bytes() != bytes {
            if without_nulls(&right) != without_nulls(&document.into()) {
                let message = "it has fields that format 0 does not have, or lists out of order";
                return Err(invalid(file, message));
            }
            self.misspelt.push((path.clone(), text));
        }
        Ok(parsed)
    }

    fn namespace(&mut self, root: &Path, path: &RelPath, name: &str) {
        match self.document(root, path, Namespace::from_json, Namespace::to_json) {
            Ok(namespace) if namespace.name == name => {
                self.catalog.namespaces.insert(name.to_owned(), namespace);
            }
            Ok(namespace) => {
                let message = format!("`{}`, in the file of `{name}`", namespace.name);
                self.problems.push(invalid(path.as_str(), message).at("namespace"));
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    fn release(&mut self, root: &Path, path: &RelPath, version: &str) {
        let mut components = path.components().skip(1);
        let (namespace, name) = (components.next(), components.next());
        let id = format!("{}.{}", namespace.unwrap_or_default(), name.unwrap_or_default());
        let named = check_name(&id)
            .and_then(|()| Version::parse(version).map(|_| ()).map_err(|error| error.to_string()));
        if let Err(message) = named {
            self.problems
                .push(Problem::new("CATALOG_FILE_UNEXPECTED", message).in_file(path.as_str()));
            return;
        }
        match self.document(root, path, Release::from_json, Release::to_json) {
            Ok(release) if release.package_id == id && release.version == version => {
                self.catalog.releases.entry(id).or_default().insert(version.to_owned(), release);
            }
            Ok(release) => {
                let message = format!(
                    "it is about {} {}, its name about {id} {version}",
                    release.package_id, release.version
                );
                self.problems.push(invalid(path.as_str(), message));
            }
            Err(problem) => self.problems.push(problem),
        }
    }
}

/// The value without members that count as absent: null, false, and empty lists and
/// objects.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut kept = Object::new();
            for (key, member) in members.iter() {
                let member = without_nulls(member);
                let empty = match &member {
                    Value::Null => true,
                    Value::Object(members) => members.is_empty(),
                    Value::Array(items) => items.is_empty(),
                    Value::Bool(flag) => !flag,
                    Value::Number(_) | Value::String(_) => false,
                };
                if !empty {
                    kept.insert(key, member);
                }
            }
            kept.into()
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}
