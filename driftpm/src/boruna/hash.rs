//! The content hash of a package, byte for byte the original's.
//!
//! SHA-256 over three parts without separators:
//!
//! ```text
//! files     for each file below src/, component by component: its path, its bytes
//! manifest  "MANIFEST:" and the manifest as one line of JSON, without integrity
//! deps      for each dependency with a hash, by name: "DEP:" name "=" hash
//! ```
//!
//! The costly parts come first and need nothing but the package itself, so [`ContentState`]
//! can be computed for many packages at once and finished from the bottom of the graph up.

use std::fmt;

use epk_format::digest::{Hasher, Sha256};

use super::error::Error;
use super::folder::Folder;
use super::manifest::PackageManifest;
use super::source_tree::{self, SOURCE_DIRECTORY};

/// A content hash; its text is `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Integrity(String);

impl Integrity {
    /// Reads the text of a hash; one value has one spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix("sha256:").and_then(Sha256::from_hex).map(Self::new)
    }

    fn new(hash: Sha256) -> Self {
        let mut digits = [0; 64];
        // Two digits a byte: it fits. `hex::encode` goes character by character.
        let _ = hex::encode_to_slice(hash.as_bytes(), &mut digits);
        let mut text = String::with_capacity("sha256:".len() + digits.len());
        text.push_str("sha256:");
        text.push_str(str::from_utf8(&digits).unwrap_or_default());
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The hash of a package's files and manifest, still open for its dependencies.
#[derive(Clone)]
pub struct ContentState(Hasher);

impl ContentState {
    /// Hashes the files below `src` of the package at `package` (empty or ending in `/`) in a
    /// folder, and then `manifest`.
    ///
    /// # Errors
    ///
    /// `read src/…` or `read dir …`.
    pub fn read(folder: &Folder, package: &str, manifest: &PackageManifest) -> Result<Self, Error> {
        Self::read_with(folder, package, &manifest.hashed_json())
    }

    /// The same with a manifest in the form that is hashed.
    pub(super) fn read_with(folder: &Folder, package: &str, hashed: &str) -> Result<Self, Error> {
        let mut state = Self(Hasher::new());
        let (tree, sources) = source_tree::open(folder, package, SOURCE_DIRECTORY)?;
        for file in &tree.files {
            state.0.update(file.as_bytes());
            let below = file.strip_prefix(SOURCE_DIRECTORY).and_then(|path| path.strip_prefix('/'));
            let (Some(sources), Some(path)) = (&sources, below) else { continue };
            sources
                .read_regular(path, |piece| state.0.update(piece))
                .map_err(|reason| Error::Io { action: format!("read {file}"), reason })?;
        }
        Ok(state.with_manifest(hashed))
    }

    /// The same of files in memory: their paths, `src/…`, and bytes, in the order in which
    /// [`source_tree::list`] gives them.
    #[must_use]
    pub fn of<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        manifest: &PackageManifest,
    ) -> Self {
        let mut state = Self(Hasher::new());
        for (path, bytes) in files {
            state.0.update(path.as_bytes());
            state.0.update(bytes);
        }
        state.with_manifest(&manifest.hashed_json())
    }

    fn with_manifest(mut self, hashed: &str) -> Self {
        self.0.update(b"MANIFEST:");
        self.0.update(hashed.as_bytes());
        self
    }

    /// The hash with the direct dependencies' hashes, given by name in byte order.
    #[must_use]
    pub fn finish<'a>(
        self,
        dependencies: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Integrity {
        let Self(mut hasher) = self;
        for (name, hash) in dependencies {
            for part in ["DEP:", name, "=", hash] {
                hasher.update(part.as_bytes());
            }
        }
        Integrity::new(hasher.finish())
    }
}

impl fmt::Debug for ContentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentState")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"name":"lib.a","version":"1.0.0","description":"d","dependencies":{},"required_capabilities":[],"exposed_modules":["core"]}"#;

    #[test]
    fn worked_example() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("src"))?;
        std::fs::write(dir.path().join("src/core.ax"), "fn one() -> Int { 1 }\n")?;
        let manifest = PackageManifest::from_json(MANIFEST)?;
        let hash =
            ContentState::read(&Folder::open(dir.path())?, "", &manifest)?.finish([("", ""); 0]);
        let text = "sha256:643acdf9f1afcfbbfbf1dbd7986fa5ff2de4c6ab7f17bc0986793838ba5c68fb";
        assert_eq!(hash.to_string(), text);
        assert_eq!(Integrity::parse(text), Some(hash));
        assert_eq!(Integrity::parse(&text.to_uppercase()), None);
        Ok(())
    }

    #[test]
    fn dependencies_come_last() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let manifest = PackageManifest::from_json(MANIFEST)?;
        let hash = ContentState::read(&Folder::open(dir.path())?, "", &manifest)?
            .finish([("a.b", "X"), ("c", "Y")]);
        let bytes = format!("MANIFEST:{MANIFEST}DEP:a.b=XDEP:c=Y");
        assert_eq!(hash, Integrity::new(Sha256::of(bytes.as_bytes())));
        Ok(())
    }
}
