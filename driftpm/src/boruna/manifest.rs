//! `package.ax.json`: reading, checking, writing, and the form that is hashed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::capability;
use super::error::Error;
use super::files;
use super::name::{PackageId, dependency_problems, is_package_name};
use super::version::is_version;

/// The manifest's file name.
pub const MANIFEST_NAME: &str = "package.ax.json";

/// A manifest, fields in the order in which they are written.
///
/// Any text can stand in the fields; [`PackageManifest::validate`] checks them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageManifest {
    /// Dotted lower-case identifiers.
    pub name: String,
    /// Exact version.
    pub version: String,
    /// One line for people; not empty.
    pub description: String,
    /// Name to exact version.
    #[serde(default)]
    pub dependencies: BTreeMap<String, String>,
    /// Capability names or aliases, as written.
    #[serde(default)]
    pub required_capabilities: Vec<String>,
    /// Modules that others may import; each has a file `src/<module>.ax`.
    pub exposed_modules: Vec<String>,
    /// The content hash, set by publishing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<String>,
}

/// The fields of a manifest that its hash covers: all but `integrity`.
#[derive(Serialize)]
struct Hashed<'a> {
    name: &'a str,
    version: &'a str,
    description: &'a str,
    dependencies: &'a BTreeMap<String, String>,
    required_capabilities: &'a [String],
    exposed_modules: &'a [String],
}

impl PackageManifest {
    /// Reads a manifest from JSON text.
    ///
    /// # Errors
    ///
    /// `parse manifest: …` with the place.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| parse_error(&error))
    }

    /// Reads a manifest file.
    ///
    /// # Errors
    ///
    /// `read manifest: …` or `parse manifest: …`.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = files::read_text(path).map_err(Error::io("read manifest"))?;
        Self::from_json(&text)
    }

    /// Every rule that the manifest breaks.
    ///
    /// # Errors
    ///
    /// The broken rules in the specification's order.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        if !is_package_name(&self.name) {
            problems.push(format!(
                "invalid package name '{}': must be dotted lowercase identifiers",
                self.name
            ));
        }
        if !is_version(&self.version) {
            problems.push(format!("invalid version '{}': must be MAJOR.MINOR.PATCH", self.version));
        }
        if self.description.is_empty() {
            problems.push("description must not be empty".to_string());
        }
        for (name, version) in &self.dependencies {
            dependency_problems(name, version, &mut problems);
        }
        for name in &self.required_capabilities {
            if capability::canonical(name).is_none() {
                problems.push(format!("unknown capability '{name}'"));
            }
        }
        if self.exposed_modules.is_empty() {
            problems.push("exposed_modules must contain at least one entry".to_string());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// [`PackageManifest::validate`] and the id it proves.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with the broken rules.
    pub fn checked_id(&self) -> Result<PackageId, Error> {
        self.validate().map_err(Error::Invalid)?;
        PackageId::new(&self.name, &self.version)
            .ok_or_else(|| Error::Invalid(vec![format!("invalid package '{}'", self.label())]))
    }

    /// `name@version` as written, valid or not.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// The ids of the dependencies in name order; those that are not valid are left out, and
    /// a validated manifest has none such.
    pub fn dependency_ids(&self) -> impl Iterator<Item = PackageId> + '_ {
        self.dependencies.iter().filter_map(|(name, version)| PackageId::new(name, version))
    }

    /// The text of a manifest file: two-space indentation, no newline at the end.
    #[must_use]
    pub fn to_pretty_json(&self) -> String {
        // Maps with text keys and plain fields: serialising them cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The text that the content hash covers: one line, without `integrity`.
    #[must_use]
    pub fn hashed_json(&self) -> String {
        let hashed = Hashed {
            name: &self.name,
            version: &self.version,
            description: &self.description,
            dependencies: &self.dependencies,
            required_capabilities: &self.required_capabilities,
            exposed_modules: &self.exposed_modules,
        };
        // Room for most, so that it is not moved as it grows.
        let lists = self.required_capabilities.len() + self.exposed_modules.len();
        let room = 256 + self.description.len() + 32 * (self.dependencies.len() + lists);
        let mut text = Vec::with_capacity(room);
        // As above; and what it writes is UTF-8.
        let _ = serde_json::to_writer(&mut text, &hashed);
        String::from_utf8(text).unwrap_or_default()
    }
}

pub(super) fn parse_error(error: &serde_json::Error) -> Error {
    Error::Parse { what: "manifest".to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        r#"{"name":"app","version":"0.1.0","description":"d","exposed_modules":["core"]}"#;

    fn parse(text: &str) -> Result<PackageManifest, String> {
        PackageManifest::from_json(text).map_err(|error| error.to_string())
    }

    #[test]
    fn shapes_that_are_read() {
        let plain = parse(PLAIN);
        assert!(plain.is_ok());
        for text in [
            r#"["app","0.1.0","d",{},[],["core"]]"#,
            r#" {"name":"app","version":"0.1.0","description":"d","exposed_modules":["core"],"x":1} "#,
            r#"{"exposed_modules":["core"],"integrity":null,"name":"app","version":"0.1.0","description":"d"}"#,
        ] {
            assert_eq!(parse(text), plain, "{text}");
        }
    }

    #[test]
    fn the_last_of_two_equal_dependencies_wins() {
        let text =
            PLAIN.replace("\"exposed", r#""dependencies":{"a":"1.0.0","a":"2.0.0"},"exposed"#);
        let manifest = parse(&text);
        assert_eq!(
            manifest.map(|manifest| manifest.dependencies),
            Ok(BTreeMap::from([("a".to_string(), "2.0.0".to_string())]))
        );
    }

    #[test]
    fn texts_of_parse_errors() {
        for (text, message) in [
            ("", "parse manifest: EOF while parsing a value at line 1 column 0"),
            ("{", "parse manifest: EOF while parsing an object at line 1 column 1"),
            ("\u{feff}{}", "parse manifest: expected value at line 1 column 1"),
            ("{}", "parse manifest: missing field `name` at line 1 column 2"),
            (&format!("{PLAIN}x"), "parse manifest: trailing characters at line 1 column 78"),
            (
                r#"{"name":"a","name":"b"}"#,
                "parse manifest: duplicate field `name` at line 1 column 18",
            ),
            (
                &PLAIN.replace("\"exposed", "\"dependencies\":null,\"exposed"),
                "parse manifest: invalid type: null, expected a map at line 1 column 69",
            ),
        ] {
            assert_eq!(parse(text), Err(message.to_string()), "{text}");
        }
    }

    #[test]
    fn every_broken_rule_is_named_in_order() {
        let manifest = parse(
            r#"{"name":"BAD","version":"nope","description":"","dependencies":{"z":"*","Bad-dep":"^1.0.0"},"required_capabilities":["no","net","no"],"exposed_modules":[]}"#,
        );
        assert_eq!(
            manifest.map(|manifest| manifest.validate()),
            Ok(Err(vec![
                "invalid package name 'BAD': must be dotted lowercase identifiers".to_string(),
                "invalid version 'nope': must be MAJOR.MINOR.PATCH".to_string(),
                "description must not be empty".to_string(),
                "invalid dependency name 'Bad-dep'".to_string(),
                "dependency 'Bad-dep' version '^1.0.0' is not valid semver".to_string(),
                "dependency 'z' version '*' is not valid semver".to_string(),
                "unknown capability 'no'".to_string(),
                "unknown capability 'no'".to_string(),
                "exposed_modules must contain at least one entry".to_string(),
            ]))
        );
    }

    #[test]
    fn written_and_hashed_forms() {
        let manifest = parse(
            r#"{"integrity":"sha256:feed","name":"app","version":"1.0.0","description":"caf\u00e9 \u0001\t\"\/\u2028\u007f","exposed_modules":["b","a"]}"#,
        );
        let written = manifest.as_ref().map(PackageManifest::to_pretty_json);
        assert_eq!(
            written.as_deref(),
            Ok(
                "{\n  \"name\": \"app\",\n  \"version\": \"1.0.0\",\n  \"description\": \"café \\u0001\\t\\\"/\u{2028}\u{7f}\",\n  \"dependencies\": {},\n  \"required_capabilities\": [],\n  \"exposed_modules\": [\n    \"b\",\n    \"a\"\n  ],\n  \"integrity\": \"sha256:feed\"\n}"
            )
        );
        let hashed = manifest.as_ref().map(PackageManifest::hashed_json);
        assert_eq!(
            hashed.as_deref(),
            Ok(
                "{\"name\":\"app\",\"version\":\"1.0.0\",\"description\":\"café \\u0001\\t\\\"/\u{2028}\u{7f}\",\"dependencies\":{},\"required_capabilities\":[],\"exposed_modules\":[\"b\",\"a\"]}"
            )
        );
    }
}
