//! Where repositories can be found: `drift-sources.json`, the index of indexes.
//!
//! Version 0 lists directories for `drift fetch --sources`; version 1 lists repositories with a
//! signed index. Both can be searched, only version 1 is written. A list says where something is,
//! never that it can be trusted.

use std::path::{Path, PathBuf};

use super::project::check_name;
use super::sources::{self, Source};
use crate::canonical_json::canonical;
use crate::files::{self, FileError};
use crate::json::{self, Limit, Object, Value, object};
use crate::problem::Problem;
use crate::relpath::shown;
use crate::transport::Location;

/// The list's name in a project.
pub const SOURCES_FILE: &str = "drift-sources.json";
/// The largest list that is fetched, in bytes.
pub const MAX_LIST: u64 = 1 << 20;

/// A list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceList {
    /// Directories, of version 0.
    directories: Vec<Source>,
    /// Repositories: name and URL, of version 1.
    repositories: Vec<(String, String)>,
}

/// A repository on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Where its index is; absent: it is a directory.
    pub url: Option<String>,
    /// The directory.
    pub folder: PathBuf,
}

/// Reads the list at `path`; `None` if there is none.
///
/// # Errors
/// `SOURCES_INVALID`, `FILE_ERROR`
pub fn read(path: &Path) -> Result<Option<SourceList>, Problem> {
    match files::read(path, Limit::SETTINGS.file()) {
        Ok(bytes) => SourceList::parse(&bytes, &shown(path)).map(Some),
        Err(FileError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes `list` to `path`.
///
/// # Errors
/// `SOURCES_INVALID` for a list of version 0, `FILE_ERROR`
pub fn write(path: &Path, list: &SourceList) -> Result<(), Problem> {
    if !list.directories.is_empty() {
        let message = "it is of version 0, a list of directories for `drift fetch --sources`";
        return Err(Problem::new("SOURCES_INVALID", message)
            .in_file(shown(path))
            .hint("`--sources` names another list"));
    }
    let document = object([
        ("format", "drift-sources".into()),
        ("version", Value::from(1_usize)),
        ("sources", list.to_json()),
    ]);
    files::create_dirs(files::parent_of(path))?;
    Ok(files::write_atomically(path, (canonical(&document) + "\n").as_bytes())?)
}

impl SourceList {
    /// Reads a list of either version; `file` is its name in complaints.
    ///
    /// # Errors
    /// `SOURCES_INVALID`
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, Problem> {
        let wrong = |message: String| Problem::new("SOURCES_INVALID", message).in_file(file);
        let value = json::parse(bytes, Limit::SETTINGS).map_err(|e| wrong(e.to_string()))?;
        let fields = value.as_object().filter(|top| top.text("format") == Some("drift-sources"));
        let fields = fields.ok_or_else(|| wrong("it is no `drift-sources`".to_owned()))?;
        if fields.is_format_zero("drift-sources") {
            let directories = sources::parse(bytes).map_err(|error| wrong(error.to_string()))?;
            return Ok(Self { directories, repositories: Vec::new() });
        }
        if !matches!(fields.get("version"), Some(Value::Number(n)) if n.as_u64() == Some(1)) {
            return Err(wrong("it is neither of version 0 nor of version 1".to_owned()));
        }
        let listed = fields.get("sources").and_then(Value::as_array);
        let listed = listed.ok_or_else(|| wrong("it has no list `sources`".to_owned()))?;
        let mut list = Self::default();
        for (at, entry) in listed.iter().enumerate() {
            let text = |key| {
                let text = entry.as_object().and_then(|entry: &Object| entry.text(key));
                text.ok_or_else(|| wrong(format!("source {at} has no text `{key}`")))
            };
            let added = list.add(text("id")?, text("url")?);
            added.map_err(|problem| wrong(format!("source {at}: {}", problem.message)))?;
        }
        Ok(list)
    }

    /// Everything on it.
    #[must_use]
    pub fn found(&self) -> Vec<Found> {
        let directories = self.directories.iter().map(|source| Found {
            name: source.id.clone(),
            url: None,
            folder: source.path.clone(),
        });
        let repositories = self.repositories.iter().map(|(name, url)| Found {
            name: name.clone(),
            url: Some(url.clone()),
            folder: PathBuf::new(),
        });
        directories.chain(repositories).collect()
    }

    /// The repositories as in the file.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let entry = |(name, url): &(String, String)| {
            object([("id", name.as_str().into()), ("url", url.as_str().into())])
        };
        Value::Array(self.repositories.iter().map(entry).collect())
    }

    /// Adds a repository.
    ///
    /// # Errors
    /// `SOURCES_INVALID`: no name, no URL, or the name is taken
    pub fn add(&mut self, name: &str, url: &str) -> Result<(), Problem> {
        let wrong = |message: String| Problem::new("SOURCES_INVALID", message).about(name);
        check_name(name).map_err(&wrong)?;
        Location::parse(url).map_err(|error| wrong(error.to_string()))?;
        if self.repositories.iter().any(|(known, _)| known == name) {
            return Err(wrong(format!("there is a source `{name}` already")));
        }
        self.repositories.push((name.to_owned(), url.to_owned()));
        Ok(())
    }

    /// Takes a repository off the list.
    ///
    /// # Errors
    /// `SOURCES_INVALID`: there is none of that name
    pub fn remove(&mut self, name: &str) -> Result<(), Problem> {
        let before = self.repositories.len();
        self.repositories.retain(|(known, _)| known != name);
        if self.repositories.len() < before {
            return Ok(());
        }
        let message = format!("there is no source `{name}`");
        Err(Problem::new("SOURCES_INVALID", message).about(name))
    }

    /// Adds what `theirs`, which came from `from`, has and this list has not. Gives how many.
    ///
    /// # Errors
    /// `SOURCES_INVALID`: another repository has one of the names, or a URL is of a weaker scheme
    /// than `from`
    pub fn import(&mut self, theirs: &Self, from: &Location) -> Result<usize, Problem> {
        let mut list = self.clone();
        let mut added = 0;
        for (name, url) in &theirs.repositories {
            if list.repositories.iter().any(|(_, known)| known == url) {
                continue;
            }
            let wrong =
                |message: String| Problem::new("SOURCES_INVALID", message).about(name.as_str());
            let location = Location::parse(url).map_err(|error| wrong(error.to_string()))?;
            if !from.scheme().may_lead_to(location.scheme()) {
                return Err(wrong(format!(
                    "`{from}` does not lead to `{url}`: the scheme is weaker"
                )));
            }
            list.add(name, url)?;
            added += 1;
        }
        *self = list;
        Ok(added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(sources: &str) -> Result<SourceList, Problem> {
        let text =
            format!("{{\"format\":\"drift-sources\",\"sources\":[{sources}],\"version\":1}}");
        SourceList::parse(text.as_bytes(), "f")
    }

    #[test]
    fn lists_are_read_and_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/drift-sources.json");
        assert_eq!(read(&path).unwrap(), None);
        let mut list = SourceList::default();
        list.add("one", "https://h/r/").unwrap();
        list.add("two", "s3://b/").unwrap();
        assert!(list.add("one", "https://other/").is_err());
        write(&path, &list).unwrap();
        assert_eq!(read(&path).unwrap(), Some(list.clone()));
        list.remove("one").unwrap();
        assert!(list.remove("one").is_err());
        let old = br#"{"format":"drift-sources","version":0,"sources":[{"kind":"dir","id":"d","priority":1,"path":"repo"}]}"#;
        let old = SourceList::parse(old, "f").unwrap();
        assert_eq!(old.found()[0].folder, Path::new("repo"));
        assert!(write(&path, &old).is_err());
    }

    #[test]
    fn others_lists_are_taken_with_care() {
        for sources in
            [r#"{"id":"a"}"#, r#"{"id":"../a","url":"https://h/"}"#, r#"{"id":"a","url":"x"}"#, "1"]
        {
            assert_eq!(parse(sources).unwrap_err().code, "SOURCES_INVALID", "{sources}");
        }
        let from = Location::parse("https://h/list.json").unwrap();
        let mut list = parse(r#"{"id":"a","url":"https://a/"}"#).unwrap();
        let theirs =
            parse(r#"{"id":"x","url":"https://a/"},{"id":"b","url":"https://b/"}"#).unwrap();
        assert_eq!(list.import(&theirs, &from), Ok(1));
        for bad in [
            r#"{"id":"c","url":"https://c/"},{"id":"a","url":"https://evil/"}"#,
            r#"{"id":"c","url":"http://c/"}"#,
            r#"{"id":"c","url":"file:///etc/"}"#,
        ] {
            let before = list.clone();
            assert!(list.import(&parse(bad).unwrap(), &from).is_err(), "{bad}");
            assert_eq!(list, before);
        }
    }
}
