//! Who a package is: an id, a version and a target, three opaque strings.

use std::fmt;

use crate::json::{Object, Value, object};

/// A complete identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The package's name.
    pub package_id: String,
    /// Its version; no syntax is asked for.
    pub version: String,
    /// The target it was compiled for; no syntax is asked for.
    pub target: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}, {})", self.package_id, self.version, self.target)
    }
}

/// As much of an identity as is known, as reports show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialIdentity {
    /// The package's name.
    pub package_id: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its target.
    pub target: Option<String>,
}

impl PartialIdentity {
    /// What the index entry `value` of `package_id` says about its identity, in whatever type.
    #[must_use]
    pub fn of_entry(package_id: &str, value: &Value) -> Self {
        let part = |key| value.as_object().and_then(|entry| loose_text(entry.get(key)?));
        Self {
            package_id: Some(package_id.to_owned()),
            version: part("package_version"),
            target: part("target"),
        }
    }

    /// What a manifest says about its identity, in whatever type.
    #[must_use]
    pub fn of_manifest(manifest: &Object) -> Self {
        let part = |key| loose_text(manifest.get(key)?);
        Self {
            package_id: part("package_id"),
            version: part("package_version"),
            target: part("target"),
        }
    }

    /// The JSON object of reports.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object([
            ("package_id", self.package_id.as_deref().into()),
            ("version", self.version.as_deref().into()),
            ("target", self.target.as_deref().into()),
        ])
    }
}

/// A string as it is, a number in its spelling; anything else is no part of an identity.
fn loose_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl From<&Identity> for PartialIdentity {
    fn from(identity: &Identity) -> Self {
        Self {
            package_id: Some(identity.package_id.clone()),
            version: Some(identity.version.clone()),
            target: Some(identity.target.clone()),
        }
    }
}

impl fmt::Display for PartialIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "None".to_owned());
        write!(f, "({}, {}, {})", part(&self.package_id), part(&self.version), part(&self.target))
    }
}
