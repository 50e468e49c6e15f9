//! Which versions will do, in the words of Cargo: `^1.2`, `~1.2`, `=1.2.3`, `>=1, <3`, `1.*`.

use std::fmt;

use semver::{Version, VersionReq};

/// A constraint and its spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Constraint {
    text: String,
    rule: VersionReq,
}

/// A text that is no constraint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no constraint on versions: {reason}; for instance `^1.2` or `>=1.2, <3` is")]
pub struct ConstraintError {
    text: String,
    reason: String,
}

impl Constraint {
    /// Reads a constraint. A version alone is meant with `^`.
    ///
    /// # Errors
    /// [`ConstraintError`]
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        match VersionReq::parse(text) {
            Ok(rule) => Ok(Self { text: text.trim().to_owned(), rule }),
            Err(error) => Err(ConstraintError { text: text.to_owned(), reason: error.to_string() }),
        }
    }

    /// Every version but pre-releases.
    #[must_use]
    pub fn any() -> Self {
        Self { text: "*".to_owned(), rule: VersionReq::STAR }
    }

    /// Versions compatible with `version`, from it on.
    #[must_use]
    pub fn compatible(version: &Version) -> Self {
        let version = Version { build: semver::BuildMetadata::EMPTY, ..version.clone() };
        let text = format!("^{version}");
        Self::parse(&text).unwrap_or_else(|_| Self::any())
    }

    /// Whether `version` will do. A pre-release does only where the constraint names a pre-release
    /// of the same three numbers; what follows `+` does not matter.
    #[must_use]
    pub fn matches(&self, version: &Version) -> bool {
        self.rule.matches(version)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_cargo_reads() {
        for (constraint, yes, no) in [
            ("^1.2", "1.2.0 1.9.9 1.2.3+x", "1.1.9 2.0.0 2.0.0-a 1.3.0-a 0.9.0"),
            ("1.2", "1.2.0 1.9.9", "2.0.0"),
            ("^0.3", "0.3.0 0.3.9", "0.4.0 0.2.0"),
            ("^0.0.3", "0.0.3", "0.0.4"),
            ("~1.2", "1.2.0 1.2.9", "1.3.0"),
            ("~1", "1.0.0 1.9.0", "2.0.0"),
            ("=1.2.3", "1.2.3 1.2.3+b", "1.2.4 1.2.3-a"),
            (">=1.2, <3", "1.2.0 2.9.9", "3.0.0 1.0.0 3.0.0-a"),
            ("*", "0.0.1 9.0.0", "1.0.0-a"),
            ("1.*", "1.0.0 1.9.0", "2.0.0"),
            ("^1.2.3-b", "1.2.3-b 1.2.3-c 1.2.3 1.5.0", "1.2.3-a 1.2.4-b"),
            (">1.0.0-a, <1.0.0", "1.0.0-b", "1.0.0-a 1.0.0 0.9.0"),
        ] {
            let constraint = Constraint::parse(constraint).unwrap();
            for (list, expected) in [(yes, true), (no, false)] {
                for version in list.split(' ') {
                    let found = constraint.matches(&Version::parse(version).unwrap());
                    assert_eq!(found, expected, "{constraint} {version}");
                }
            }
        }
        for bad in ["", "v1", "^", "1.2.3.4", ">=1 <3", "1 || 2", "^1.2,", "latest"] {
            assert!(Constraint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn compatible_versions_begin_with_the_given_one() {
        for (version, text) in [("1.2.3", "^1.2.3"), ("0.1.0-a+b", "^0.1.0-a")] {
            let version = Version::parse(version).unwrap();
            let constraint = Constraint::compatible(&version);
            assert_eq!(constraint.as_str(), text);
            assert!(constraint.matches(&version));
        }
    }
}
