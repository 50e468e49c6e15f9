//! The sources file v0: the directories from which packages come.

use std::path::PathBuf;

use crate::json::{self, JsonError, Limit, Value};

/// Why a sources file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourcesError {
    /// Not JSON.
    #[error("the sources file is {0}")]
    Json(#[from] JsonError),
    /// JSON, but no object of this format and version.
    #[error("the sources file is no `drift-sources` of version 0")]
    Format,
    /// `sources` is no list.
    #[error("the sources file has no list `sources`")]
    NoSources,
    /// An entry is no object.
    #[error("source {0} is no object")]
    NotObject(usize),
    /// A field of an entry is wrong.
    #[error("source {at}: `{field}` is not {allowed}")]
    Field {
        /// Place in the list.
        at: usize,
        /// Which field.
        field: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
}

/// One source: a directory with an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in locks.
    pub id: String,
    /// Lower wins.
    pub priority: i64,
    /// The directory, as given: relative to the working directory.
    pub path: PathBuf,
}

/// Reads a sources file; equal ids are the reader's business.
///
/// # Errors
/// [`SourcesError`]
pub fn parse(bytes: &[u8]) -> Result<Vec<Source>, SourcesError> {
    let document = match json::parse(bytes, Limit::SETTINGS)? {
        Value::Object(document) if document.is_format_zero("drift-sources") => document,
        _ => return Err(SourcesError::Format),
    };
    let list = document.get("sources").and_then(Value::as_array).ok_or(SourcesError::NoSources)?;
    list.iter().enumerate().map(|(at, entry)| parse_source(at, entry)).collect()
}

fn parse_source(at: usize, entry: &Value) -> Result<Source, SourcesError> {
    let entry = entry.as_object().ok_or(SourcesError::NotObject(at))?;
    let wrong = |field, allowed| SourcesError::Field { at, field, allowed };
    if entry.get("kind").and_then(Value::as_str) != Some("dir") {
        return Err(wrong("kind", "`dir`, the only kind of source"));
    }
    let id = entry.text("id").ok_or(wrong("id", "a string that is not empty"))?;
    let priority = match entry.get("priority") {
        Some(Value::Number(number)) => number.as_i64(),
        _ => None,
    }
    .ok_or(wrong("priority", "an integer"))?;
    let path = entry.text("path").ok_or(wrong("path", "a string that is not empty"))?;
    if path.contains('\0') {
        return Err(wrong("path", "a path: it has a NUL"));
    }
    Ok(Source { id: id.to_owned(), priority, path: PathBuf::from(path) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(fields: &str) -> Result<Vec<Source>, SourcesError> {
        parse(
            format!(
                "{{\"format\":\"drift-sources\",\"version\":0,\"sources\":[{{\"kind\":\"dir\",\
                 \"id\":\"main\",\"priority\":1,\"path\":\"repo\"{fields}}}]}}"
            )
            .as_bytes(),
        )
    }

    #[test]
    fn reads_sources() {
        assert_eq!(one(",\"extra\":1").unwrap()[0].path, PathBuf::from("repo"));
        assert_eq!(one(",\"priority\":-3").unwrap()[0].priority, -3);
        for fields in [
            ",\"kind\":\"http\"",
            ",\"id\":\"\"",
            ",\"id\":1",
            ",\"priority\":1.5",
            ",\"priority\":true",
            ",\"priority\":\"1\"",
            ",\"path\":\"\"",
            ",\"path\":null",
            ",\"path\":\"a\\u0000b\"",
        ] {
            assert!(matches!(one(fields), Err(SourcesError::Field { at: 0, .. })), "{fields}");
        }
    }

    #[test]
    fn refuses_other_documents() {
        for text in [
            "[]",
            "",
            "{\"format\":\"drift-sources\",\"version\":1,\"sources\":[]}",
            "{\"format\":\"drift-sources\",\"version\":0,\"sources\":{}}",
            "{\"format\":\"drift-sources\",\"version\":0,\"sources\":[1]}",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(
            text in ".{0,60}",
            fields in "(,\"(kind|id|priority|path)\":(\"[a-z/]{0,3}\"|-?[0-9]{1,30}|null|\\{\\})){0,4}",
        ) {
            let _ = parse(text.as_bytes());
            let _ = one(&fields);
        }
    }
}
