//! A project directory: loading it, starting one, and changing its dependencies.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use super::error::Error;
use super::files;
use super::manifest::{MANIFEST_NAME, PackageManifest};
use super::name::check_dependency;
use super::policy::POLICY_KEYS;
use super::source_tree::SOURCE_DIRECTORY;

/// A directory with a manifest.
#[derive(Debug, Clone)]
pub struct Project {
    /// Where it is.
    pub directory: PathBuf,
    /// Its manifest, unchecked.
    pub manifest: PackageManifest,
    /// The manifest's text, which may also state a policy.
    pub text: String,
}

impl Project {
    /// Reads a project's manifest.
    ///
    /// # Errors
    ///
    /// `read manifest: …` or `parse manifest: …`.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        let text =
            files::read_text(&directory.join(MANIFEST_NAME)).map_err(Error::io("read manifest"))?;
        let manifest = PackageManifest::from_json(&text)?;
        Ok(Self { directory: directory.to_path_buf(), manifest, text })
    }

    /// [`Project::load`] of a manifest that breaks no rule.
    ///
    /// # Errors
    ///
    /// Those of [`Project::load`] and [`Error::Invalid`].
    pub fn load_checked(directory: &Path) -> Result<Self, Error> {
        let project = Self::load(directory)?;
        project.manifest.checked_id()?;
        Ok(project)
    }

    /// Rewrites the manifest file: known fields only, and the policy if it states one.
    fn save(&self) -> Result<(), Error> {
        let text = rewritten(&self.manifest, &self.text)?;
        write_manifest(&self.directory, &text)
    }
}

/// A manifest's new text. The original drops every field it does not know; a policy must not
/// vanish because someone adds a dependency, so its keys are carried over, last.
fn rewritten(manifest: &PackageManifest, old: &str) -> Result<String, Error> {
    #[derive(Serialize)]
    struct WithPolicy<'a> {
        #[serde(flatten)]
        manifest: &'a PackageManifest,
        #[serde(flatten)]
        policy: Map<String, Value>,
    }

    let old: Value =
        serde_json::from_str(old).map_err(|error| super::manifest::parse_error(&error))?;
    let mut policy = Map::new();
    if let Value::Object(fields) = old {
        let stated = fields.into_iter().filter(|(key, _)| POLICY_KEYS.contains(&key.as_str()));
        policy.extend(stated);
    }
    if policy.is_empty() {
        return Ok(manifest.to_pretty_json());
    }
    let whole = WithPolicy { manifest, policy };
    Ok(serde_json::to_string_pretty(&whole).unwrap_or_default())
}

fn write_manifest(directory: &Path, text: &str) -> Result<(), Error> {
    files::replace(&directory.join(MANIFEST_NAME), text.as_bytes())
        .map_err(Error::io("write manifest"))
}

/// The package name that a directory suggests: its last component in lower case with `-` and
/// `_` as dots, and `my.package` where there is none, as for `.`.
#[must_use]
pub fn suggested_name(directory: &Path) -> String {
    directory.file_name().map_or_else(
        || "my.package".to_string(),
        |name| name.to_string_lossy().replace(['-', '_'], ".").to_lowercase(),
    )
}

/// Writes the manifest of a new package and makes its `src/`. Gives the package's name.
///
/// # Errors
///
/// A manifest is there already, the name is not a package name, `write manifest: …`,
/// `create src dir: …`.
pub fn init(directory: &Path, name: Option<&str>) -> Result<String, Error> {
    if files::occupied(&directory.join(MANIFEST_NAME)) {
        return Err(Error::Request(format!("{MANIFEST_NAME} already exists")));
    }
    let manifest = PackageManifest {
        name: name.map_or_else(|| suggested_name(directory), str::to_string),
        version: "0.1.0".to_string(),
        description: "A new package".to_string(),
        dependencies: std::collections::BTreeMap::new(),
        required_capabilities: Vec::new(),
        exposed_modules: vec!["core".to_string()],
        integrity: None,
    };
    manifest.checked_id()?;
    write_manifest(directory, &manifest.to_pretty_json())?;
    match fs::create_dir(directory.join(SOURCE_DIRECTORY)) {
        Err(reason) if !directory.join(SOURCE_DIRECTORY).is_dir() => {
            // Nothing half-made stays; the error that matters is the first.
            let _ = fs::remove_file(directory.join(MANIFEST_NAME));
            Err(Error::Io { action: "create src dir".to_string(), reason })
        }
        _ => Ok(manifest.name),
    }
}

/// Adds a dependency or sets its version.
///
/// # Errors
///
/// Those of [`Project::load`], a name or version that no registry can have, a package that
/// would depend on itself, `write manifest: …`.
pub fn add(directory: &Path, name: &str, version: &str) -> Result<(), Error> {
    let mut project = Project::load(directory)?;
    let id = check_dependency(name, version)?;
    if id.as_str() == project.manifest.label() {
        return Err(Error::Request(format!("package {id} cannot depend on itself")));
    }
    project.manifest.dependencies.insert(name.to_string(), version.to_string());
    project.save()
}

/// Removes a dependency.
///
/// # Errors
///
/// Those of [`Project::load`], `dependency '…' not found`, `write manifest: …`.
pub fn remove(directory: &Path, name: &str) -> Result<(), Error> {
    let mut project = Project::load(directory)?;
    if project.manifest.dependencies.remove(name).is_none() {
        return Err(Error::Request(format!("dependency '{name}' not found")));
    }
    project.save()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_directories() {
        for (directory, name) in [
            (".", "my.package"),
            ("..", "my.package"),
            ("/", "my.package"),
            ("foo-bar_baz", "foo.bar.baz"),
            ("x/Foo/", "foo"),
            ("tail/.", "tail"),
            ("a/..", "my.package"),
            ("9Lives", "9lives"),
            ("ÀB", "àb"),
        ] {
            assert_eq!(suggested_name(Path::new(directory)), name, "{directory}");
        }
    }

    #[test]
    fn a_failed_start_leaves_nothing() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("src"), "")?;
        let error = init(dir.path(), Some("app")).map_err(|error| error.to_string());
        assert_eq!(error, Err("create src dir: File exists (os error 17)".to_string()));
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_policy_survives_a_change_and_other_unknown_fields_do_not() -> Result<(), Error> {
        let text = r#"{"policy":{"denied_capabilities":["net"]},"x":1,"name":"app","version":"1.0.0","description":"d","exposed_modules":["core"]}"#;
        let manifest = PackageManifest::from_json(text)?;
        let new = rewritten(&manifest, text)?;
        assert!(!new.contains("\"x\""), "{new}");
        assert!(new.starts_with("{\n  \"name\": \"app\",\n"), "{new}");
        assert!(
            new.ends_with(
                "],\n  \"policy\": {\n    \"denied_capabilities\": [\n      \"net\"\n    ]\n  }\n}"
            ),
            "{new}"
        );
        assert_eq!(PackageManifest::from_json(&new)?, manifest);
        Ok(())
    }
}
