//! What a package asks of a platform. What it does not mention does not matter to it.

use std::collections::BTreeSet;

use super::super::project::Fields;
use super::{LibcVersion, Platform, is_word, not_a_word, words};
use crate::json::{Object, Value};
use crate::problem::Problem;

/// A requirement; the empty one is met everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// One of these; empty: any.
    pub os: BTreeSet<String>,
    /// One of these; empty: any.
    pub arch: BTreeSet<String>,
    /// One of these; empty: any.
    pub abi: BTreeSet<String>,
    /// This C library.
    pub libc: Option<LibcRequirement>,
    /// All of these.
    pub capabilities: BTreeSet<String>,
}

/// A C library, perhaps from some version on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibcRequirement {
    /// Its name.
    pub name: String,
    /// The first version that will do.
    pub min_version: Option<LibcVersion>,
}

impl Requirement {
    /// Reads a requirement and looks that nothing else is in the object: one that is not
    /// understood could not be met.
    ///
    /// # Errors
    /// With the code of `fields`
    pub(in crate::drift) fn from_json(fields: &Fields<'_>) -> Result<Self, Problem> {
        let one_of = |key| -> Result<BTreeSet<String>, Problem> {
            let words = words(fields, key)?;
            if words.is_empty() && fields.get(key).is_some() {
                return Err(fields.wrong(key, "an empty list, which nothing can meet"));
            }
            Ok(words)
        };
        let requirement = Self {
            os: one_of("os")?,
            arch: one_of("arch")?,
            abi: one_of("abi")?,
            libc: match fields.get("libc") {
                None => None,
                Some(value) => Some(libc(&fields.below("libc", value)?)?),
            },
            capabilities: words(fields, "capabilities")?,
        };
        fields.finish()?;
        Ok(requirement)
    }

    /// The JSON object of files, without what does not matter.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Object::new();
        for (key, words) in [
            ("os", &self.os),
            ("arch", &self.arch),
            ("abi", &self.abi),
            ("capabilities", &self.capabilities),
        ] {
            if !words.is_empty() {
                object.insert(key, words.iter().cloned().collect::<Vec<_>>());
            }
        }
        if let Some(libc) = &self.libc {
            let mut fields = Object::from([("name", libc.name.as_str().into())]);
            if let Some(version) = &libc.min_version {
                fields.insert("min_version", version.to_string());
            }
            object.insert("libc", fields);
        }
        object.into()
    }

    /// Whether it is met everywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How much is asked: of two packages that fit, the one that asks more was made for this
    /// platform rather than for all.
    #[must_use]
    pub fn weight(&self) -> usize {
        let lists = [&self.os, &self.arch, &self.abi];
        let asked = lists.into_iter().filter(|list| !list.is_empty()).count();
        let libc = match &self.libc {
            None => 0,
            Some(libc) if libc.min_version.is_none() => 1,
            Some(_) => 2,
        };
        asked.saturating_add(libc).saturating_add(self.capabilities.len())
    }

    /// What `platform` lacks, for people; nothing if it will do.
    #[must_use]
    pub fn unmet_by(&self, platform: &Platform) -> Option<String> {
        let list =
            |words: &BTreeSet<String>| words.iter().cloned().collect::<Vec<_>>().join(" or ");
        for (what, wanted, found) in [
            ("os", &self.os, &platform.os),
            ("arch", &self.arch, &platform.arch),
            ("abi", &self.abi, &platform.abi),
        ] {
            if !wanted.is_empty() && !wanted.contains(found) {
                return Some(format!("{what} {} is needed, this is {found}", list(wanted)));
            }
        }
        if let Some(wanted) = &self.libc {
            let least = wanted
                .min_version
                .as_ref()
                .map_or_else(String::new, |version| format!(" {version} or later"));
            let found = match &platform.libc {
                None => "none".to_owned(),
                Some(found)
                    if found.name == wanted.name
                        && wanted.min_version.as_ref().is_none_or(|min| found.version >= *min) =>
                {
                    String::new()
                }
                Some(found) => format!("{} {}", found.name, found.version),
            };
            if !found.is_empty() {
                return Some(format!("libc {}{least} is needed, this is {found}", wanted.name));
            }
        }
        let lacking: Vec<&str> =
            self.capabilities.difference(&platform.capabilities).map(String::as_str).collect();
        if lacking.is_empty() {
            return None;
        }
        Some(format!("capability {} is needed and lacking", lacking.join(", ")))
    }
}

fn libc(fields: &Fields<'_>) -> Result<LibcRequirement, Problem> {
    let name = fields.text("name")?;
    if !is_word(name) {
        return Err(fields.wrong("name", not_a_word(name)));
    }
    let min_version = match fields.optional_text("min_version")? {
        None => None,
        Some(text) => Some(LibcVersion::parse(text).ok_or_else(|| {
            fields.wrong("min_version", format!("`{text}` is no number with dots"))
        })?),
    };
    fields.finish()?;
    Ok(LibcRequirement { name: name.to_owned(), min_version })
}
