//! `[sandbox]`: from how much of the host a package wants to be kept. EXOS ignores the table.

use toml::de::DeValue;

use super::{Keys, ManifestError, ManifestStatus};

/// How much of the host an application is kept from (`spec/runtime.md` §13), the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// The host's files as they are.
    Host,
    /// The same, but for the homes, which are empty.
    HomeHidden,
    /// Nothing of the host but the runtime.
    Sealed,
}

impl Isolation {
    /// Every level, the least strict first.
    pub const ALL: [Self; 3] = [Self::Host, Self::HomeHidden, Self::Sealed];

    /// The name, as manifests and command lines have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::HomeHidden => "home-hidden",
            Self::Sealed => "sealed",
        }
    }
}

impl Keys<'_, '_> {
    /// `sandbox.isolation`. A level that nobody knows is refused: it may be a stricter one.
    pub(super) fn isolation(&self) -> Result<Option<Isolation>, ManifestError> {
        let wrong = |detail: String| Err(ManifestError::new(ManifestStatus::InvalidToml, detail));
        for value in self.values("sandbox").map(toml::Spanned::get_ref) {
            let DeValue::Table(table) = value else {
                return wrong(format!("`sandbox` is {}, not a table", value.type_str()));
            };
            let Some(value) = table.get("isolation").map(toml::Spanned::get_ref) else { continue };
            let Some(name) = value.as_str() else {
                return wrong(format!("`isolation` is {}, not a string", value.type_str()));
            };
            if name.is_empty() {
                continue;
            }
            let known = Isolation::ALL.map(Isolation::name);
            return match Isolation::ALL.into_iter().find(|level| level.name() == name) {
                Some(level) => Ok(Some(level)),
                None => wrong(format!(
                    "isolation `{}`, known are {}",
                    name.escape_debug(),
                    known.join(", ")
                )),
            };
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Manifest;
    use super::*;

    #[test]
    fn a_package_may_ask_for_a_level() {
        let minimal = "name = \"n\"\nversion = \"1\"\narch = \"x86-64\"\nkernel_api = \"1.0\"\n\
                       entry = \"/a\"\n";
        let read = |tail: &str| {
            let manifest = Manifest::parse(format!("{minimal}{tail}\n").as_bytes());
            manifest.map(|manifest| manifest.isolation).map_err(|error| error.status)
        };
        for level in Isolation::ALL {
            let name = level.name();
            assert_eq!(read(&format!("[sandbox]\nisolation = \"{name}\"")), Ok(Some(level)));
        }
        for (tail, expected) in [
            ("", Ok(None)),
            ("[sandbox]", Ok(None)),
            ("[sandbox]\nfuture = 1", Ok(None)),
            ("[sandbox]\nisolation = \"\"", Ok(None)),
            ("[package.sandbox]\nisolation = \"sealed\"", Ok(Some(Isolation::Sealed))),
            ("[sandbox]\nisolation = \"Sealed\"", Err(ManifestStatus::InvalidToml)),
            ("[sandbox]\nisolation = 1", Err(ManifestStatus::InvalidToml)),
            ("sandbox = \"sealed\"", Err(ManifestStatus::InvalidToml)),
            ("[[sandbox]]\nisolation = \"sealed\"", Err(ManifestStatus::InvalidToml)),
        ] {
            assert_eq!(read(tail), expected, "{tail}");
        }
    }
}
