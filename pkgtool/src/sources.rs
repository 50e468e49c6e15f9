//! Sources: where packages may be fetched from, and by whose word (`spec/repository.md` §4).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use driftpm::files;
use driftpm::index::{INDEX_TAG, Release, locate};
use driftpm::keys::{PublicKey, decode_base64};
use driftpm::problem::Problem;
use driftpm::transport::Location;
use driftpm::transport::oci::Reference;
use epk_format::digest::Sha256;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::input::config_home;

/// The system's sources.
const SYSTEM: &str = "/etc/epk/sources.toml";
/// The most bytes of such a file.
const LIMIT: u64 = 1 << 20;

/// A repository that somebody has decided to believe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// The folder with the index.
    pub(crate) url: String,
    /// Key ids; one of these must have signed the index.
    pub(crate) keys: Vec<String>,
}

impl Source {
    /// Where it is.
    pub(crate) fn location(&self) -> Result<Location, Failure> {
        match self.reference() {
            Some(reference) => Ok(Location::of_artifact(&reference?)),
            None => Location::parse(&self.url).map_err(Failure::environment),
        }
    }

    /// Where a package of it is. Registries know their files by hash, others by name.
    pub(crate) fn file(&self, base: &Location, release: &Release) -> Result<Location, Problem> {
        let hash = Sha256::from_hex(&release.sha256);
        match (self.reference(), hash) {
            (Some(Ok(reference)), Some(hash)) => Ok(Location::of_blob(&reference, &hash)),
            _ => locate(base, &release.file),
        }
    }

    /// The index, if it is in a registry.
    fn reference(&self) -> Option<Result<Reference, Failure>> {
        let index = |text| Reference::parse(text)?.with_tag(INDEX_TAG);
        Reference::is_meant(&self.url).then(|| index(&self.url).map_err(Failure::environment))
    }
}

/// The sources of one file, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    path: PathBuf,
    pub(crate) by_name: BTreeMap<String, Source>,
}

impl Sources {
    /// The user's.
    pub(crate) fn user() -> Result<Self, Failure> {
        let config = config_home().ok_or_else(|| {
            Failure::environment("neither XDG_CONFIG_HOME nor HOME is an absolute path")
        })?;
        Self::read(&config.join("epk").join("sources.toml"))
    }

    /// The system's.
    pub(crate) fn system() -> Result<Self, Failure> {
        Self::read(Path::new(SYSTEM))
    }

    /// All, the user's before the system's of the same name.
    pub(crate) fn all() -> Result<BTreeMap<String, Source>, Failure> {
        let mut all = Self::system()?.by_name;
        all.extend(Self::user()?.by_name);
        Ok(all)
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let text = match files::read(path, LIMIT) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.is_missing() => String::new(),
            Err(error) => return Err(Failure::environment(error)),
        };
        let by_name = toml::from_str(&text).map_err(|error| {
            Failure::environment(format!("`{}`: {}", path.display(), error.message()))
        })?;
        Ok(Self { path: path.to_owned(), by_name })
    }

    /// Writes the file.
    pub(crate) fn save(&self) -> Result<(), Failure> {
        let text = toml::to_string(&self.by_name).map_err(Failure::environment)?;
        if let Some(folder) = self.path.parent() {
            files::create_dirs(folder).map_err(Failure::environment)?;
        }
        files::write_atomically(&self.path, text.as_bytes()).map_err(Failure::environment)
    }
}

/// The URL of what a user wrote: a URL, or a folder.
pub(crate) fn parse_url(text: &str) -> Result<String, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::usage(error);
    if Reference::is_meant(text) {
        return repository_in_registry(text).map(|reference| reference.to_string());
    }
    if text.contains("://") {
        return Ok(Location::parse(text).map_err(|error| usage(&error))?.to_string());
    }
    let folder = std::fs::canonicalize(text)
        .map_err(|error| Failure::environment(format!("`{text}`: {error}")))?;
    Ok(Location::of_directory(&folder).map_err(|error| usage(&error))?.to_string())
}

/// A repository of packages in a registry, as a user wrote it.
pub(crate) fn repository_in_registry(text: &str) -> Result<Reference, Failure> {
    let reference = Reference::parse(text).map_err(Failure::usage)?;
    if reference.pointer().is_some() {
        return Err(Failure::usage(format!("`{reference}` has a tag or a digest")).hint(format!(
            "the index of a repository has the tag `{INDEX_TAG}`, which is not named"
        )));
    }
    Ok(reference)
}

/// The key id of what a user wrote: a key id, a public key, or a line with both, as `keygen` prints.
pub(crate) fn parse_key(text: &str) -> Result<String, String> {
    let words = text.split_ascii_whitespace().map(parse_word);
    let mut ids = words.collect::<Option<Vec<_>>>().unwrap_or_default();
    ids.dedup();
    match <[String; 1]>::try_from(ids) {
        Ok([id]) => Ok(id),
        Err(ids) if ids.is_empty() => {
            Err("expected a key id (`ed25519:…`) or a public key in base64".to_owned())
        }
        Err(ids) => Err(format!("expected one key, this is {}", ids.join(" and "))),
    }
}

fn parse_word(word: &str) -> Option<String> {
    match word.strip_prefix("ed25519:") {
        Some(digits) => {
            let bytes = decode_base64(digits).ok().filter(|bytes| bytes.len() == 32);
            bytes.map(|_| word.to_owned())
        }
        None => PublicKey::parse(word).ok().map(PublicKey::id),
    }
}

/// Checks the name of a source.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=62).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 62 letters, digits, `-`, `_` and `.`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_reads_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/sources.toml");
        let mut sources = Sources::read(&path).expect("none");
        assert!(sources.by_name.is_empty());
        let source = Source { url: "https://example.org/r".into(), keys: vec!["ed25519:x".into()] };
        sources.by_name.insert("a.b".into(), source);
        sources.save().expect("saved");
        assert_eq!(Sources::read(&path).expect("read"), sources);
        std::fs::write(&path, "[a]\nurl = 1\n").expect("written");
        let failure = Sources::read(&path).expect_err("refused");
        assert!(failure.message().contains("sources.toml"), "{}", failure.message());
    }

    #[test]
    fn keys_have_several_spellings() {
        let id = "ed25519:b6ba+242h2Xj8Rvj0cJ18tf0pxDCfQoqboegikzwqzU=";
        assert_eq!(parse_key(id).as_deref(), Ok(id));
        let public = "7rw7MJAWPauJfxqYJUrlUC5MHsSSIfsuHaHS7QjgETY=";
        assert_eq!(parse_key(public).as_deref(), Ok(id));
        assert_eq!(parse_key(&format!("{public} {id}\n")).as_deref(), Ok(id));
        let other = "ed25519:0b2ZtOmCbYbXsriFhE6KICxHFeqTwLEeceZfQ5cFyGM=";
        let both = parse_key(&format!("{public} {other}"));
        assert_eq!(both, Err(format!("expected one key, this is {id} and {other}")));
        for wrong in ["", "ed25519:", "ed25519:AAAA", "rsa:x", "x"] {
            assert!(parse_key(wrong).is_err(), "{wrong}");
        }
    }
}
