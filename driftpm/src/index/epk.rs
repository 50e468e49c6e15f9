//! The index of a repository of EPK packages: `epk-index.json` (`spec/repository.md` §2).
//!
//! It says of each version what a package that claims to be it must be, and enough to choose one
//! without fetching it. Whether it may be believed is the business of [`Signed`](super::Signed).

use std::collections::BTreeMap;

use epk_format::digest::Sha256;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::relpath::RelPath;

/// The index's name in a repository.
pub const EPK_INDEX: &str = "epk-index.json";
/// What statements call it, and what it calls itself.
pub const EPK_KIND: &str = "epk-index";
/// The most bytes of an index.
pub const MAX_EPK_INDEX: u64 = 256 << 20;
/// The most bytes of a name, a version and other words (`spec/manifest.md` §1).
const MAX_WORD: usize = 254;
/// The most bytes of a description, and of a file's name.
const MAX_TEXT: usize = 1022;

/// An index. Its fields and those below stand in the order of their names, so that the text is
/// canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpkIndex {
    format: String,
    /// By name, then by version.
    pub packages: BTreeMap<String, BTreeMap<String, Release>>,
    /// What the repository is called.
    pub title: String,
    version: u64,
}

/// What the index says of one version of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The manifest's `arch`.
    pub arch: String,
    /// Names of commands.
    pub commands: Vec<String>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The file, relative to the index.
    pub file: String,
    /// The format's version: `1.0` or `2.0`.
    pub format: String,
    /// How many bytes at the file's beginning name all its blocks, so that only the blocks that
    /// are not there yet need fetching; absent where the format does not allow that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_size: Option<u64>,
    /// The manifest's `kernel_api`.
    pub kernel_api: String,
    /// Who has signed the package.
    pub key_ids: Vec<String>,
    /// PackageHash, 64 hexadecimal digits.
    pub package_hash: String,
    /// When it was added, in seconds since 1970.
    pub published: u64,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// The file's size in bytes.
    pub size: u64,
}

impl EpkIndex {
    /// An index without packages.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self {
            format: EPK_KIND.to_owned(),
            packages: BTreeMap::new(),
            title: title.to_owned(),
            version: 1,
        }
    }

    /// Reads an index and checks every field. Keys that are not known are passed over.
    ///
    /// # Errors
    /// `INDEX_INVALID`
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let invalid = |message: String| Problem::new("INDEX_INVALID", message);
        let index: Self = serde_json::from_slice(bytes)
            .map_err(|error| invalid(format!("it is no `{EPK_KIND}`: {error}")))?;
        if (index.format.as_str(), index.version) != (EPK_KIND, 1) {
            let Self { format, version, .. } = &index;
            let found = format!("it is `{format}` of version {version}");
            return Err(invalid(format!("{found}, `{EPK_KIND}` of version 1 is read")));
        }
        check_text("title", &index.title, 0, MAX_TEXT).map_err(invalid)?;
        for (name, releases) in &index.packages {
            check_text("name", name, 1, MAX_WORD).map_err(invalid)?;
            for (version, release) in releases {
                check_text("version", version, 1, MAX_WORD)
                    .and_then(|()| release.check())
                    .map_err(|message| invalid(message).about(format!("{name}@{version}")))?;
            }
        }
        Ok(index)
    }

    /// Canonical JSON and a newline.
    ///
    /// # Errors
    /// `INDEX_INVALID`: a package that no index can hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Problem> {
        let mut bytes = serde_json::to_vec(self)
            .map_err(|error| Problem::new("INDEX_INVALID", error.to_string()))?;
        bytes.push(b'\n');
        // What is written can be read: nothing else is published.
        Self::parse(&bytes)?;
        Ok(bytes)
    }
}

impl Release {
    pub(super) fn check(&self) -> Result<(), String> {
        for (field, text) in [("arch", &self.arch), ("kernel_api", &self.kernel_api)] {
            check_text(field, text, 1, MAX_WORD)?;
        }
        check_text("description", self.description.as_deref().unwrap_or(""), 0, MAX_TEXT)?;
        check_text("file", &self.file, 1, MAX_TEXT)?;
        if self.file.contains("://") || RelPath::parse(&self.file).is_err() {
            return Err(format!("`file` is `{}`, no relative path below the index", self.file));
        }
        for (field, hash) in [("package_hash", &self.package_hash), ("sha256", &self.sha256)] {
            if Sha256::from_hex(hash).is_none() {
                return Err(format!("`{field}` is `{hash}`, not 64 lower-case hexadecimal digits"));
            }
        }
        if self.head_size.is_some_and(|head| head > self.size) {
            return Err(format!("`head_size` is more than the {} bytes of the file", self.size));
        }
        self.commands.iter().try_for_each(|command| check_text("commands", command, 1, 62))?;
        self.key_ids.iter().try_for_each(|key| check_text("key_ids", key, 1, MAX_WORD))
    }
}

/// Checks a name and a version.
pub(super) fn check_identity(name: &str, version: &str) -> Result<(), String> {
    check_text("name", name, 1, MAX_WORD)?;
    check_text("version", version, 1, MAX_WORD)
}

fn check_text(field: &str, text: &str, least: usize, most: usize) -> Result<(), String> {
    if !(least..=most).contains(&text.len()) {
        let found = text.len();
        return Err(format!("`{field}` has {found} bytes, {least} to {most} are allowed"));
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(format!("`{field}` has the control character {}", control.escape_unicode()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical_json::canonical;
    use crate::json::{self, Limit};

    fn index() -> EpkIndex {
        let release = Release {
            arch: "x86-64".into(),
            commands: vec!["a".into()],
            description: Some("words".into()),
            file: "packages/app@1.epk".into(),
            format: "2.0".into(),
            head_size: Some(512),
            kernel_api: "1.0".into(),
            key_ids: vec!["ed25519:x".into()],
            package_hash: "0".repeat(64),
            published: 7,
            sha256: "1".repeat(64),
            size: 1024,
        };
        let mut index = EpkIndex::new("Things");
        index.packages.entry("app".into()).or_default().insert("1".into(), release);
        index
    }

    #[test]
    fn what_is_written_is_canonical_and_reads_back() {
        let bytes = index().to_bytes().unwrap();
        assert_eq!(EpkIndex::parse(&bytes).unwrap(), index());
        let value = json::parse(&bytes, Limit::SIDECAR).unwrap();
        assert_eq!(canonical(&value) + "\n", String::from_utf8(bytes).unwrap());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = String::from_utf8(index().to_bytes().unwrap()).unwrap();
        for (from, to, said) in [
            ("\"version\":1", "\"version\":2", "of version 2"),
            ("epk-index", "other", "`other`"),
            ("\"app\"", "\"\"", "`name` has 0 bytes"),
            ("words", "a\\nb", "control character"),
            (&"1".repeat(64), "11", "`sha256` is `11`"),
            ("\"head_size\":512", "\"head_size\":2000", "`head_size`"),
            ("packages/app", "../app", "`file` is `../app@1.epk`"),
            ("packages/app", "file:///app", "`file` is `file:///app@1.epk`"),
            ("\"arch\":\"x86-64\",", "", "missing field `arch`"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let problem = EpkIndex::parse(changed.as_bytes()).unwrap_err();
            assert!(problem.message.contains(said), "{problem}");
        }
        // Something that a later version may say.
        let more = text.replacen("\"arch\"", "\"apt\":true,\"arch\"", 1);
        assert_eq!(EpkIndex::parse(more.as_bytes()).unwrap(), index());
    }
}
