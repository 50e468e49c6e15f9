//! Relative paths inside sources, cache and vendor folder, and file names made of identities.

use std::fmt;
use std::path::{Component, Path, PathBuf};

/// A normalised relative path: components joined by `/`, none of them empty, `.` or `..`, no
/// control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(String);

/// Why a text is no relative path of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelPathError {
    /// It starts with `/` or `\`.
    #[error("is absolute, only relative paths are allowed")]
    Absolute,
    /// Nothing is left after normalising.
    #[error("names nothing")]
    Empty,
    /// It has a component `..`.
    #[error("climbs with `..`")]
    Climbs,
    /// It has a control character.
    #[error("has a control character")]
    Control,
}

impl RelPath {
    /// Normalises `text`: `\` counts as `/`, empty components and `.` vanish.
    ///
    /// # Errors
    /// [`RelPathError`]
    pub fn parse(text: &str) -> Result<Self, RelPathError> {
        if text.starts_with(['/', '\\']) {
            return Err(RelPathError::Absolute);
        }
        let mut path = String::with_capacity(text.len());
        for component in text.split(['/', '\\']) {
            match component {
                "" | "." => continue,
                ".." => return Err(RelPathError::Climbs),
                _ if component.chars().any(char::is_control) => return Err(RelPathError::Control),
                _ => {}
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(component);
        }
        if path.is_empty() { Err(RelPathError::Empty) } else { Ok(Self(path)) }
    }

    /// The normalised text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the signature sidecar that lies beside this one.
    #[must_use]
    pub fn sidecar(&self) -> Self {
        Self(format!("{}.sig", self.0))
    }

    /// The components, none of them special.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// This path below `root`.
    #[must_use]
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(&self.0)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path as reports print it: as given, without `.` components and doubled or closing slashes.
#[must_use]
pub fn shown(path: &Path) -> String {
    let tidy: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if tidy.as_os_str().is_empty() { ".".to_owned() } else { tidy.to_string_lossy().into_owned() }
}

/// The path of the sidecar beside the package at `path`.
#[must_use]
pub fn sidecar_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// Why an identity cannot become a file name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsafeName {
    /// One part of the identity has a character or sequence that file names must not have.
    #[error("{field} {text:?} cannot become a file name: it {problem}")]
    Part {
        /// Which of the three parts.
        field: &'static str,
        /// What it says.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The whole name is longer than file systems take.
    #[error("the file name would have {found} bytes, at most {allowed} are allowed")]
    TooLong {
        /// Bytes of the name with `.sig`.
        found: usize,
        /// Bytes allowed.
        allowed: usize,
    },
}

/// The longest file name that Linux file systems take, in bytes.
const NAME_MAX: usize = 255;

/// The file name under which a package is published: `ID-VERSION-TARGET.dmp`.
///
/// # Errors
/// [`UnsafeName`] if a part is empty or `.`, contains `..`, a slash, a backslash or a control
/// character, or if the name and its sidecar's would be too long.
pub fn package_file_name(id: &str, version: &str, target: &str) -> Result<RelPath, UnsafeName> {
    for (field, text) in [("package_id", id), ("package_version", version), ("target", target)] {
        let problem = match text {
            "" => "is empty",
            "." => "is `.`",
            _ if text.contains("..") => "contains `..`",
            _ if text.contains(['/', '\\']) => "contains a slash or backslash",
            _ if text.chars().any(char::is_control) => "contains a control character",
            _ => continue,
        };
        return Err(UnsafeName::Part { field, text: text.to_owned(), problem });
    }
    let name = format!("{id}-{version}-{target}.dmp");
    let found = name.len().saturating_add(".sig".len());
    if found > NAME_MAX {
        return Err(UnsafeName::TooLong { found, allowed: NAME_MAX });
    }
    // One component that is neither empty nor special: the name is normalised as it is.
    Ok(RelPath(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises() {
        for (text, expected) in [
            ("a.dmp", Ok("a.dmp")),
            ("./a//b\\c.dmp", Ok("a/b/c.dmp")),
            ("a/b/", Ok("a/b")),
            ("C:\\x", Ok("C:/x")),
            ("a/..b", Ok("a/..b")),
            ("...", Ok("...")),
            (" a ", Ok(" a ")),
            ("/a", Err(RelPathError::Absolute)),
            ("\\a", Err(RelPathError::Absolute)),
            ("", Err(RelPathError::Empty)),
            ("./.", Err(RelPathError::Empty)),
            ("..", Err(RelPathError::Climbs)),
            ("a\\..\\b", Err(RelPathError::Climbs)),
            ("a\0b", Err(RelPathError::Control)),
            ("a/\u{9b}b", Err(RelPathError::Control)),
        ] {
            let result = RelPath::parse(text);
            assert_eq!(result.as_ref().map(RelPath::as_str).map_err(|e| *e), expected, "{text:?}");
        }
    }

    #[test]
    fn shows_paths_as_given() {
        for (path, expected) in
            [("./repo/a", "repo/a"), ("repo//a/", "repo/a"), (".", "."), ("/x/./y", "/x/y")]
        {
            assert_eq!(shown(Path::new(path)), expected);
        }
    }

    #[test]
    fn names_files_safely() {
        let name = package_file_name("acme.http", "1.4.0", "any").unwrap();
        assert_eq!(name.as_str(), "acme.http-1.4.0-any.dmp");
        assert!(package_file_name("uni.naïve", "1", "any").is_ok());
        for (id, version, target) in [
            ("../evil", "1", "any"),
            ("a/b", "1", "any"),
            ("a\\b", "1", "any"),
            ("a", "..", "any"),
            ("a", "1..2", "any"),
            ("a", "1", "any\0"),
            ("a\n", "1", "any"),
            (".", "1", "any"),
            ("", "1", "any"),
            (&"x".repeat(250), "1", "any"),
        ] {
            assert!(
                package_file_name(id, version, target).is_err(),
                "{id:?} {version:?} {target:?}"
            );
        }
    }
}
