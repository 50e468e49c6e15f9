//! A registry: a directory with one published package a folder, `<name>/<version>/`.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::files;
use super::folder::Folder;
use super::hash::ContentState;
use super::manifest::{MANIFEST_NAME, PackageManifest};
use super::name::PackageId;
use super::parallel;
use super::resolve::{Loaded, PackageSource};

/// The file that holds a published package's content hash.
pub const HASH_NAME: &str = "HASH";

/// An open registry.
#[derive(Debug)]
pub struct Registry {
    folder: Folder,
}

impl Registry {
    /// Opens the registry at `root`, making the directory if there is none.
    ///
    /// # Errors
    ///
    /// `create registry dir: …`.
    pub fn open(root: &Path) -> Result<Self, Error> {
        fs::create_dir_all(root).map_err(Error::io("create registry dir"))?;
        let folder = Folder::open(root).map_err(Error::io("open registry"))?;
        Ok(Self { folder })
    }

    /// Where the registry is.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The registry's directory.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Where a package is, or would be.
    #[must_use]
    pub fn package_dir(&self, id: &PackageId) -> PathBuf {
        self.root().join(id.name()).join(id.version())
    }

    /// A package's manifest as it stands, unchecked.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], `read manifest: …`, `parse manifest: …`.
    pub fn manifest(&self, id: &PackageId) -> Result<PackageManifest, Error> {
        self.manifest_at(&place(id))
    }

    /// The manifest of whatever is at `<name>/<version>`, unchecked.
    pub(super) fn manifest_at(&self, place: &str) -> Result<PackageManifest, Error> {
        match self.folder.read_text(&[place, "/", MANIFEST_NAME].concat()) {
            Ok(text) => PackageManifest::from_json(&text),
            Err(error) if files::is_absent(&error) => {
                Err(Error::NotFound(place.replacen('/', "@", 1)))
            }
            Err(reason) => Err(Error::Io { action: "read manifest".to_string(), reason }),
        }
    }

    /// The text of a package's `HASH` file without blanks around it, if it has one.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn recorded_hash(&self, id: &PackageId) -> std::io::Result<Option<String>> {
        self.recorded_hash_at(&place(id))
    }

    /// The text of the `HASH` file at `<name>/<version>`.
    pub(super) fn recorded_hash_at(&self, place: &str) -> std::io::Result<Option<String>> {
        match self.folder.read_text(&[place, "/", HASH_NAME].concat()) {
            Ok(text) => Ok(Some(text.trim().to_string())),
            Err(error) if files::is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hashes a package's files and then its manifest, given in the form that is hashed.
    ///
    /// # Errors
    ///
    /// `read src/…` or `read dir …`.
    pub(super) fn content(&self, id: &PackageId, hashed: &str) -> Result<ContentState, Error> {
        ContentState::read_with(&self.folder, &[&*place(id), "/"].concat(), hashed)
    }
}

/// Where in a registry a package is: `<name>/<version>`.
///
/// Here and where files are opened, texts are made in one piece: memory that grows is locked
/// against the other threads each time.
pub(super) fn place(id: &PackageId) -> String {
    [id.name(), "/", id.version()].concat()
}

/// What a manifest in the registry breaks: the rules of every manifest, and that it is for the
/// folder it stands in.
///
/// # Errors
///
/// [`Error::InvalidPackage`].
pub fn check_manifest(id: &PackageId, manifest: &PackageManifest) -> Result<(), Error> {
    let mut problems = manifest.validate().err().unwrap_or_default();
    if problems.is_empty() && (manifest.name != id.name() || manifest.version != id.version()) {
        problems.push(format!(
            "the manifest in {}/{} is for {}",
            id.name(),
            id.version(),
            manifest.label()
        ));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::InvalidPackage { id: id.to_string(), problems })
    }
}

impl PackageSource for Registry {
    fn manifest(&self, id: &PackageId) -> Result<PackageManifest, Error> {
        Self::manifest(self, id)
    }

    fn load(&self, ids: &[PackageId]) -> Vec<Result<Loaded, Error>> {
        parallel::each(ids, |id| Self::manifest(self, id).map(Loaded::from))
    }
}
