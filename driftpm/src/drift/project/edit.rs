//! Changing `drift-project.json`: what was in it stays, in its order.

use std::path::Path;

use super::{
    Dependency, PROJECT_FILE, ProjectFile, TARGET_FILE, Target, check_name, read_document,
};
use crate::canonical_json::indented_as_read;
use crate::files;
use crate::json::{Object, Value, object};
use crate::problem::Problem;
use crate::relpath::shown;

/// Makes a project called `name` in `root`; with `target` also one target in `root`, a program or
/// a package.
///
/// # Errors
/// `PROJECT_EXISTS` if there is one; nothing is changed then. `PROJECT_INVALID`, `FILE_ERROR`
pub fn init(root: &Path, name: &str, kind: Option<super::Kind>) -> Result<Vec<String>, Problem> {
    check_name(name).map_err(|message| Problem::new("PROJECT_INVALID", message).at("name"))?;
    let project = root.join(PROJECT_FILE);
    let target = root.join(TARGET_FILE);
    let mut files = Vec::new();
    let mut document = Object::new();
    document.insert("format", Value::from(1_usize));
    document.insert("name", name);
    document.insert("repositories", Value::Array(Vec::new()));
    document.insert("deps", Object::new());
    if let Some(kind) = kind {
        let main = format!("{name}.main");
        let module = if kind == super::Kind::Exec { main.as_str() } else { name };
        let mut fields = Object::new();
        fields.insert("format", Value::from(1_usize));
        fields.insert("name", name);
        fields.insert("kind", kind.as_str());
        fields.insert("version", "0.1.0");
        fields.insert("modules", object([(module, format!("src/{module}.drift").into())]));
        if kind == super::Kind::Exec {
            fields.insert("entry", module);
        }
        fields.insert("uses", Value::Array(Vec::new()));
        Target::from_json(&fields, &shown(&target))?;
        document.insert("default_target", name);
        files.push((target, fields));
    }
    ProjectFile::from_json(&document, &shown(&project))?;
    files.push((project, document));
    files::create_dirs(root)?;
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
        let message = "exists and is not overwritten";
        return Err(Problem::new("PROJECT_EXISTS", message).in_file(shown(path)));
    }
    for (path, document) in &files {
        files::write_atomically(path, indented_as_read(&document.clone().into()).as_bytes())?;
    }
    Ok(files.iter().map(|(path, _)| shown(path)).collect())
}

/// Adds a dependency under `key`; with `replace` also where one is.
///
/// # Errors
/// `DEPENDENCY_EXISTS`, and whatever is wrong with the project
pub fn add(root: &Path, key: &str, dependency: &Dependency, replace: bool) -> Result<(), Problem> {
    change(root, |deps| {
        if deps.get(key).is_some() && !replace {
            let message = format!("there is a dependency `{key}` already");
            return Err(Problem::new("DEPENDENCY_EXISTS", message)
                .about(key)
                .hint("`--replace` takes its place"));
        }
        let constraint = dependency.constraint.as_str();
        if dependency.package == key && dependency.repository.is_none() {
            deps.insert(key, constraint);
            return Ok(());
        }
        let mut entry = Object::new();
        entry.insert("package", dependency.package.as_str());
        entry.insert("constraint", constraint);
        if let Some(repository) = &dependency.repository {
            entry.insert("repository", repository.as_str());
        }
        deps.insert(key, entry);
        Ok(())
    })
}

/// Removes the dependency under `key`.
///
/// # Errors
/// `DEPENDENCY_UNKNOWN`, and whatever is wrong with the project
pub fn remove(root: &Path, key: &str) -> Result<(), Problem> {
    change(root, |deps| match deps.remove(key) {
        Some(_) => Ok(()),
        None => {
            let known: Vec<String> = deps.iter().map(|(key, _)| format!("`{key}`")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("there is no dependency `{key}`; there are {known}");
            Err(Problem::new("DEPENDENCY_UNKNOWN", message).about(key))
        }
    })
}

/// Changes `deps` and writes the file, if what comes of it is a project.
fn change(
    root: &Path,
    change: impl FnOnce(&mut Object) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let path = root.join(PROJECT_FILE);
    let _guard = files::lock_directory(root)?;
    let project = super::Project::load(root)?;
    let mut document = read_document(&path, "PROJECT_MISSING", "PROJECT_INVALID")?;
    if project.file.deps.is_empty() {
        document.insert("deps", Object::new());
    }
    let Some(Value::Object(deps)) = document.get_mut("deps") else {
        let message = "not an object";
        return Err(Problem::new("PROJECT_INVALID", message).in_file(shown(&path)).at("deps"));
    };
    change(deps)?;
    ProjectFile::from_json(&document, &shown(&path))?;
    files::write_atomically(&path, indented_as_read(&document.into()).as_bytes())?;
    Ok(())
}
