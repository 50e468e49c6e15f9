//! Package names and ids. A [`PackageId`] is proof that name and version were checked, so a
//! path can be built from it.

use std::fmt;
use std::sync::Arc;

use super::error::Error;
use super::version::is_version;

/// Whether `text` matches `^[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)*$`.
#[must_use]
pub fn is_package_name(text: &str) -> bool {
    text.split('.').all(|part| {
        let mut bytes = part.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_lowercase())
            && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

/// The checks on a name and a version where both come from outside a manifest.
///
/// # Errors
///
/// The texts of a manifest's dependency errors, all of them, joined.
pub fn check_dependency(name: &str, version: &str) -> Result<PackageId, Error> {
    let mut problems = Vec::new();
    dependency_problems(name, version, &mut problems);
    match PackageId::new(name, version) {
        Some(id) => Ok(id),
        None => Err(Error::Invalid(problems)),
    }
}

pub(super) fn dependency_problems(name: &str, version: &str, problems: &mut Vec<String>) {
    if !is_package_name(name) {
        problems.push(format!("invalid dependency name '{name}'"));
    }
    if !is_version(version) {
        problems.push(format!("dependency '{name}' version '{version}' is not valid semver"));
    }
}

/// `name@version`, both valid. Ordered by the bytes of the whole text, which is the order of
/// a lockfile's keys: `a.b@…`, `a1@…`, `a@…`, `aa@…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId {
    // Shared: an id stands in many tables at once.
    text: Arc<str>,
    at: usize,
}

impl PackageId {
    /// The id of a name and a version, if both are valid.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Option<Self> {
        let valid = is_package_name(name) && is_version(version);
        valid.then(|| Self { text: [name, "@", version].concat().into(), at: name.len() })
    }

    /// Reads `name@version`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, version) = text.split_once('@')?;
        Self::new(name, version)
    }

    /// The package name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.text.get(self.at + 1..).unwrap_or_default()
    }

    /// `name@version`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for text in ["a", "std", "a.b", "a1.b2", "lib.units", &"x".repeat(500)] {
            assert!(is_package_name(text), "{text}");
        }
        for text in [
            "", "Std", "a-b", "a_b", "1a", "a.1b", "a..b", ".a", "a.", "a b", "é", "a/b", "..",
            ".", "a\0", "a@b", "../x",
        ] {
            assert!(!is_package_name(text), "{text}");
        }
    }

    #[test]
    fn ids_sort_by_the_bytes_of_the_whole_text() {
        let mut ids: Vec<_> = [("aa", "1.0.0"), ("a", "1.0.0"), ("a1", "1.0.0"), ("a.b", "1.0.0")]
            .iter()
            .filter_map(|(name, version)| PackageId::new(name, version))
            .collect();
        ids.sort();
        let texts: Vec<_> = ids.iter().map(PackageId::as_str).collect();
        assert_eq!(texts, ["a.b@1.0.0", "a1@1.0.0", "a@1.0.0", "aa@1.0.0"]);
    }

    #[test]
    fn ids_come_apart_again() {
        let id = PackageId::parse("lib.a@1.2.3");
        assert_eq!(id.as_ref().map(PackageId::name), Some("lib.a"));
        assert_eq!(id.as_ref().map(PackageId::version), Some("1.2.3"));
        for text in ["lib.a", "@1.0.0", "lib.a@", "lib.a@1.0.0@1.0.0", "../x@1.0.0", "a@../1"] {
            assert_eq!(PackageId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_bad_dependency_names_every_fault() {
        let error = check_dependency("BAD NAME", "").map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("invalid dependency name 'BAD NAME'; \
                 dependency 'BAD NAME' version '' is not valid semver"
                .to_string())
        );
    }
}
