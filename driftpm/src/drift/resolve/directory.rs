//! A repository that is a directory: every `*.dmp` in it, however deep, in as many versions as
//! there are.
//!
//! There is no index to be wrong: what is offered is what the files say themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use epk_format::digest::Sha256;
use rayon::prelude::*;

use super::super::container;
use super::super::metadata::Metadata;
use super::super::sidecar::parse_for_publishing;
use super::super::transfer::read_sidecar;
use super::{Artifact, Offer, VersionSource};
use crate::files::{self, FileError, MAX_PACKAGE};
use crate::keys::sha256_text;
use crate::problem::Problem;
use crate::relpath::{RelPath, shown};

/// A directory of packages. It is read when first asked.
#[derive(Debug)]
pub struct DirectorySource {
    name: String,
    root: PathBuf,
    offers: OnceLock<Result<BTreeMap<String, Vec<Offer>>, Problem>>,
}

impl DirectorySource {
    /// The directory `root` under the name `name`.
    #[must_use]
    pub fn new(name: &str, root: &Path) -> Self {
        Self { name: name.to_owned(), root: root.to_owned(), offers: OnceLock::new() }
    }

    fn all(&self) -> Result<&BTreeMap<String, Vec<Offer>>, Problem> {
        self.offers.get_or_init(|| self.scan()).as_ref().map_err(Clone::clone)
    }

    fn scan(&self) -> Result<BTreeMap<String, Vec<Offer>>, Problem> {
        let mut paths = self.package_paths()?;
        paths.sort();
        let offers = paths
            .par_iter()
            .map(|path| self.read_offer(path))
            .collect::<Result<Vec<Offer>, Problem>>()?;
        let mut by_package: BTreeMap<String, Vec<Offer>> = BTreeMap::new();
        for offer in offers {
            let list = by_package.entry(offer.identity.package_id.clone()).or_default();
            if let Some(other) = list.iter().find(|other| other.identity == offer.identity) {
                // Two copies are one package; which of two different ones is meant nobody knows.
                if (&other.sha256, &other.sig_sha256) == (&offer.sha256, &offer.sig_sha256) {
                    continue;
                }
                let message =
                    format!("`{}` and `{}` are both {}", other.path, offer.path, offer.identity);
                return Err(self.problem(message).about(offer.identity.package_id.as_str()));
            }
            list.push(offer);
        }
        Ok(by_package)
    }

    fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new("REPOSITORY_INVALID", message).in_file(shown(&self.root))
    }

    /// All `*.dmp` below the root. No link is followed.
    fn package_paths(&self) -> Result<Vec<RelPath>, Problem> {
        let mut found = Vec::new();
        let mut waiting = vec![self.root.clone()];
        while let Some(directory) = waiting.pop() {
            let unreadable = |error: std::io::Error| {
                let message = format!("the repository `{}` cannot be read: {error}", self.name);
                Problem::new("REPOSITORY_UNREADABLE", message).in_file(shown(&directory))
            };
            for entry in fs::read_dir(&directory).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let (kind, path) = (entry.file_type().map_err(unreadable)?, entry.path());
                if kind.is_dir() {
                    waiting.push(path);
                } else if kind.is_file() && path.as_os_str().as_encoded_bytes().ends_with(b".dmp") {
                    let below = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
                    let below = below.ok_or_else(|| {
                        self.problem(format!("`{}` is not UTF-8", path.display()))
                    })?;
                    let path = RelPath::parse(below)
                        .map_err(|error| self.problem(format!("`{below}` {error}")))?;
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    /// What the package at `path` offers.
    ///
    /// # Errors
    /// `REPOSITORY_INVALID`, `FILE_ERROR`
    pub fn read_offer(&self, path: &RelPath) -> Result<Offer, Problem> {
        let wrong = |message: String| self.problem(format!("`{path}`: {message}"));
        let bytes = files::read_below(&self.root, path, MAX_PACKAGE)?;
        let light = container::read_light(&bytes).map_err(|error| wrong(error.to_string()))?;
        let metadata = Metadata::of_manifest(&light.manifest, path.as_str())
            .map_err(|problem| problem.coded("REPOSITORY_INVALID"))?;
        let sidecar = read_sidecar(&self.root, path)?;
        let signer_kids = match &sidecar {
            None => Vec::new(),
            Some(sidecar) => {
                let mut kids =
                    parse_for_publishing(sidecar).map_err(|error| wrong(error.to_string()))?;
                kids.sort();
                kids.dedup();
                kids
            }
        };
        Ok(Offer {
            identity: light.identity,
            dependencies: metadata.dependencies,
            platform: metadata.platform,
            sha256: sha256_text(&Sha256::of(&bytes)),
            sig_sha256: sidecar.map(|sidecar| sha256_text(&Sha256::of(&sidecar))),
            signer_kids,
            path: path.as_str().to_owned(),
            native: !metadata.native.is_empty(),
            yanked: false,
        })
    }
}

impl VersionSource for DirectorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn packages(&self) -> Result<Vec<String>, Problem> {
        Ok(self.all()?.keys().cloned().collect())
    }

    fn offers(&self, package: &str) -> Result<Vec<Offer>, Problem> {
        Ok(self.all()?.get(package).cloned().unwrap_or_default())
    }

    fn fetch(&self, path: &str, _: &str) -> Result<Artifact, Problem> {
        let path = RelPath::parse(path)
            .map_err(|error| Problem::new("LOCK_PATH_INVALID", format!("`{path}` {error}")))?;
        let package = match files::read_below(&self.root, &path, MAX_PACKAGE) {
            Ok(package) => package,
            Err(error @ FileError::Missing(_)) => {
                return Err(Problem::new("LOCK_ARTIFACT_MISSING", error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Artifact { package, sidecar: read_sidecar(&self.root, &path)? })
    }
}
