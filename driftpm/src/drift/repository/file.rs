//! The index as a file. What is read at once is small: of each package its name, description and
//! tags, and where in the text its versions are.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::entry::Entry;
use crate::json::{self, Limit};
use crate::problem::Problem;

/// The index's name in a repository.
pub const INDEX_NAME: &str = "drift-index.json";
/// What statements call it, and what it calls itself.
pub const KIND: &str = "drift-index";
/// The only version of this format; version 0 is `index.json`.
const VERSION: u64 = 1;
/// The largest index that is read, in bytes.
pub(super) const MAX_INDEX: u64 = 1 << 30;

/// What the index says of a package as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The package's id.
    pub id: String,
    /// One line for people.
    pub description: Option<String>,
    /// Words by which it can be found.
    pub tags: Vec<String>,
    /// Where in the text its versions are.
    versions: Range<usize>,
}

/// An index.
#[derive(Clone, PartialEq, Eq)]
pub struct Index {
    text: String,
    base_url: Option<String>,
    /// By id ascending.
    packages: Vec<Head>,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("packages", &self.packages.len()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
    version: u64,
    #[serde(borrow, default)]
    base_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    packages: Packages<'a>,
}

#[derive(Deserialize)]
struct Package<'a> {
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(borrow)]
    versions: &'a RawValue,
}

struct Packages<'a>(Vec<(String, Package<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Packages<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ascending;

        impl<'de> Visitor<'de> for Ascending {
            type Value = Packages<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of packages")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut found: Vec<(String, Package<'de>)> = Vec::new();
                while let Some((id, package)) = map.next_entry::<String, Package<'de>>()? {
                    // Which of two packages of one name counts must not be a question.
                    if found.last().is_some_and(|(last, _)| *last >= id) {
                        return Err(A::Error::custom(format!("`{id}` stands twice or unsorted")));
                    }
                    found.push((id, package));
                }
                Ok(Packages(found))
            }
        }

        deserializer.deserialize_map(Ascending)
    }
}

impl Index {
    /// Reads an index; of versions only that they are JSON.
    ///
    /// # Errors
    /// `INDEX_INVALID`
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Problem> {
        let text = String::from_utf8(bytes).map_err(|error| {
            invalid(format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
        })?;
        let document: Document<'_> =
            serde_json::from_str(&text).map_err(|error| invalid(format!("no index: {error}")))?;
        if document.format != KIND || document.version != VERSION {
            let (format, version) = (&document.format, document.version);
            let message = format!("a `{format}` of version {version}, not a `{KIND}` of 1");
            return Err(invalid(message));
        }
        let base_url = document.base_url.map(Cow::into_owned);
        let begin = text.as_ptr().addr();
        let packages = document.packages.0.into_iter().map(|(id, package)| {
            let raw = package.versions.get();
            let start = raw.as_ptr().addr().saturating_sub(begin);
            let versions = start..start.saturating_add(raw.len());
            Head { id, description: package.description, tags: package.tags, versions }
        });
        let packages = packages.collect();
        Ok(Self { text, base_url, packages })
    }

    /// The URL to which paths of packages are relative; absent: the index's own folder.
    #[must_use]
    pub fn base_url(&self) -> Option<&str> {
        self.base_url.as_deref()
    }

    /// All packages, by id ascending.
    #[must_use]
    pub fn packages(&self) -> &[Head] {
        &self.packages
    }

    /// The package of that id.
    #[must_use]
    pub fn head(&self, id: &str) -> Option<&Head> {
        let at = self.packages.binary_search_by(|head| head.id.as_str().cmp(id)).ok()?;
        self.packages.get(at)
    }

    /// All versions of a package, in the order of the index.
    ///
    /// # Errors
    /// `INDEX_INVALID`
    pub fn entries(&self, head: &Head) -> Result<Vec<Entry>, Problem> {
        let wrong = |message: String| invalid(message).about(head.id.as_str());
        let text = self.text.get(head.versions.clone()).unwrap_or_default();
        let value = json::parse(text.as_bytes(), Limit::INDEX)
            .map_err(|error| wrong(format!("its versions are {error}")))?;
        let list = value.as_array().ok_or_else(|| wrong("`versions` is no list".to_owned()))?;
        let entries = list.iter().enumerate().map(|(at, value)| {
            Entry::parse(&head.id, value)
                .map_err(|problem| wrong(format!("version {at}: {problem}")))
        });
        entries.collect()
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Problem {
    Problem::new("INDEX_INVALID", message).in_file(INDEX_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(packages: &str) -> Result<Index, Problem> {
        let text =
            format!("{{\"format\":\"drift-index\",\"packages\":{{{packages}}},\"version\":1}}");
        Index::parse(text.into_bytes())
    }

    #[test]
    fn heads_now_versions_later() {
        let index = parse(
            r#""a":{"versions":[]},"b":{"description":"B","later":[1],"tags":["x"],"versions":[ {} ]}"#,
        )
        .unwrap();
        let ids: Vec<&str> = index.packages().iter().map(|head| head.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(index.entries(index.head("a").unwrap()).unwrap(), []);
        let problem = index.entries(index.head("b").unwrap()).unwrap_err();
        assert_eq!((problem.code, problem.subject.as_deref()), ("INDEX_INVALID", Some("b")));
        assert_eq!(index.head("c"), None);
    }

    #[test]
    fn other_documents_are_refused() {
        for packages in [
            r#""a":{}"#,
            r#""a":1"#,
            r#""b":{"versions":[]},"a":{"versions":[]}"#,
            r#""a":{"versions":[]},"a":{"versions":[]}"#,
            r#""a":{"versions":[}"#,
        ] {
            assert_eq!(parse(packages).unwrap_err().code, "INDEX_INVALID", "{packages}");
        }
        for text in ["", "[]", "{}", "{\"format\":\"drift-index\",\"packages\":{},\"version\":0}"] {
            assert!(Index::parse(text.as_bytes().to_vec()).is_err(), "{text}");
        }
        assert!(Index::parse(b"\xff".to_vec()).is_err());
    }
}
