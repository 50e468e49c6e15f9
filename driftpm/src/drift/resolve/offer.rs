//! What a repository offers, and the trait behind which repositories of all kinds stand.

use std::collections::BTreeMap;

use super::super::identity::Identity;
use super::super::platform::Requirement;
use super::super::trust::FirstUse;
use crate::problem::Problem;

/// One package file that a repository has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What it is.
    pub identity: Identity,
    /// Packages it needs, with the spelling of the constraint on their versions.
    pub dependencies: BTreeMap<String, String>,
    /// Platforms on which it can be used.
    pub platform: Requirement,
    /// Hash of the file.
    pub sha256: String,
    /// Hash of the sidecar, if the repository knows it and there is one.
    pub sig_sha256: Option<String>,
    /// Ids of the keys that the repository says have signed it: information, never trust.
    pub signer_kids: Vec<String>,
    /// Where the file is in the repository: a relative path or a URL.
    pub path: String,
    /// Whether it has native parts.
    pub native: bool,
    /// Withdrawn by its publisher: never chosen anew, but what is locked stays usable.
    pub yanked: bool,
}

/// A package file and its sidecar, as a repository handed them out: nothing is known of them yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The file.
    pub package: Vec<u8>,
    /// The sidecar, if there is one.
    pub sidecar: Option<Vec<u8>>,
}

/// A repository: a list of packages in many versions, and the files.
pub trait VersionSource: Send + Sync {
    /// Its name in project and lock.
    fn name(&self) -> &str;

    /// All packages of which it has at least one version, sorted.
    ///
    /// # Errors
    /// The repository cannot be read, or is not what it should be.
    fn packages(&self) -> Result<Vec<String>, Problem>;

    /// Everything it has of one package, in any order; nothing if it does not know the name.
    ///
    /// # Errors
    /// The repository cannot be read, or is not what it should be.
    fn offers(&self, package: &str) -> Result<Vec<Offer>, Problem>;

    /// The file at `path`, the one of an [`Offer`] or of a lock, and its sidecar. `sha256` is what
    /// the caller will compare with, for sources that need to know in advance.
    ///
    /// # Errors
    /// `LOCK_ARTIFACT_MISSING` if it is not there; the repository cannot be read.
    fn fetch(&self, path: &str, sha256: &str) -> Result<Artifact, Problem>;

    /// Who decides about new signers of what comes from here, before it enters the cache; none for
    /// folders of the user's own, of which the gate knows enough.
    fn first_use(&self) -> Option<&FirstUse> {
        None
    }
}
