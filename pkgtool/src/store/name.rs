//! Names and versions as names of files, and as users write them.

use std::fmt::{self, Write as _};

use crate::exit::Failure;

/// What packages of the store end with.
const SUFFIX: &str = ".epk";

/// A text as one path component: every byte but ASCII letters, digits, `-`, `_`, `+` and `.`
/// becomes `%XX`, a leading `.` too. Different texts have different components.
pub(crate) fn escape(text: &str) -> String {
    let mut component = String::new();
    for (at, byte) in text.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || b"-_+".contains(&byte) || (byte == b'.' && at > 0) {
            component.push(char::from(byte));
        } else {
            let _ = write!(component, "%{byte:02X}");
        }
    }
    component
}

/// The text that [`escape`] made the component of; `None` for any other component.
fn unescape(component: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = component.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after.get(2..)?;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    // Only one spelling counts.
    String::from_utf8(bytes).ok().filter(|text| escape(text) == component)
}

/// A package's name and version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// What the names of the files of a package's versions begin with, and no others.
pub(super) fn beginning(name: &str) -> String {
    escape(name) + "@"
}

impl Identity {
    /// The name of its file.
    pub(crate) fn file_name(&self) -> String {
        format!("{}{}{SUFFIX}", beginning(&self.name), escape(&self.version))
    }

    /// Whose file this is the name of; `None` if the store gives no such name.
    pub(crate) fn of_file_name(file: &str) -> Option<Self> {
        let (name, version) = file.strip_suffix(SUFFIX)?.split_once('@')?;
        let (name, version) = (unescape(name)?, unescape(version)?);
        (!name.is_empty() && !version.is_empty()).then_some(Self { name, version })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name.escape_debug(), self.version.escape_debug())
    }
}

/// `NAME` or `NAME@VERSION`, as users write them. A name may have an `@`, so the last one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// Any, without one.
    pub(crate) version: Option<String>,
}

impl Wanted {
    /// Reads what a user wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let (name, version) = match text.rsplit_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        if name.is_empty() || version.is_some_and(str::is_empty) {
            return Err(Failure::usage(format!(
                "`{}` names no package: expected `NAME` or `NAME@VERSION`",
                text.escape_debug()
            )));
        }
        Ok(Self { name: name.to_owned(), version: version.map(str::to_owned) })
    }

    /// Whether a package is meant.
    pub(crate) fn is(&self, identity: &Identity) -> bool {
        self.name == identity.name
            && self.version.as_ref().is_none_or(|version| *version == identity.version)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name.escape_debug())?;
        self.version.iter().try_for_each(|version| write!(f, "@{}", version.escape_debug()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_single_components_and_back() {
        let cases = [
            ("org.example.app", "org.example.app"),
            ("..", "%2E."),
            (".", "%2E"),
            ("a/b", "a%2Fb"),
            ("a@b", "a%40b"),
            ("a%2Fb", "a%252Fb"),
            ("ü x", "%C3%BC%20x"),
        ];
        for (text, component) in cases {
            assert_eq!(escape(text), component);
            assert_eq!(unescape(component).as_deref(), Some(text));
        }
        for other in ["a/b", ".a", "%61", "%2f", "%", "%F", "%FF", "a b"] {
            assert_eq!(unescape(other), None, "{other}");
        }
    }

    #[test]
    fn file_names() {
        let identity = Identity { name: "a@b".into(), version: "1.0/2".into() };
        assert_eq!(identity.file_name(), "a%40b@1.0%2F2.epk");
        assert_eq!(Identity::of_file_name(&identity.file_name()), Some(identity));
        for other in ["a.epk", "@1.epk", "a@.epk", "a@1", "a@b@1.epk", ".a@1.epk", "a@1.epk.part"] {
            assert_eq!(Identity::of_file_name(other), None, "{other}");
        }
    }

    #[test]
    fn what_users_write() {
        let parse = |text| Wanted::parse(text).map(|wanted| (wanted.name, wanted.version)).ok();
        assert_eq!(parse("app"), Some(("app".into(), None)));
        assert_eq!(parse("a@b@1"), Some(("a@b".into(), Some("1".into()))));
        assert_eq!(parse("@1"), None);
        assert_eq!(parse("app@"), None);
    }
}
