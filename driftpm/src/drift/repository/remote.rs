//! A repository on a server: its index, as far as it may be believed, and its packages.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use epk_format::digest::Sha256;

use super::super::resolve::{Artifact, Offer, VersionSource};
use super::super::trust::FirstUse;
use super::file::{INDEX_NAME, Index, KIND, MAX_INDEX};
use crate::files::MAX_PACKAGE;
use crate::index::{Fetcher, Remote, Seen, Signed, locate};
use crate::json::Limit;
use crate::keys::sha256_text;
use crate::problem::Problem;
use crate::progress::Progress;
use crate::transport::{Client, ErrorKind, Location, Transport as _, zstd};

/// What all repositories of a run share.
#[derive(Clone)]
pub struct Access {
    /// Fetches.
    pub client: Arc<Client>,
    /// Whose word counts.
    pub trust: Arc<FirstUse>,
    /// The states of indexes that were seen before.
    pub seen: Seen,
    /// A folder for indexes, and for downloads on their way.
    pub cache: PathBuf,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// Told what comes.
    pub progress: Arc<dyn Progress>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// A repository behind a signed index. Nothing is fetched until something is asked for.
#[derive(Debug)]
pub struct RemoteSource {
    name: String,
    base: Location,
    /// The URL by which the repository is known to trust stores and to memory.
    place: String,
    access: Access,
    index: OnceLock<Result<Index, Problem>>,
}

impl RemoteSource {
    /// The repository at `url`, the folder with the index, under the name `name`.
    ///
    /// # Errors
    /// `REPOSITORY_URL`
    pub fn new(name: &str, url: &str, access: &Access) -> Result<Self, Problem> {
        let base = Location::parse(url)
            .map_err(|error| Problem::new("REPOSITORY_URL", error.to_string()).about(name))?;
        // One repository is one place, whether its URL ends in a slash or not.
        let place = base.to_string().trim_end_matches('/').to_owned();
        Ok(Self {
            name: name.to_owned(),
            base,
            place,
            access: access.clone(),
            index: OnceLock::new(),
        })
    }

    /// The URL by which trust stores know the repository.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The index, fetched and believed when it is first asked for.
    ///
    /// # Errors
    /// `TRANSPORT_…`, `INDEX_…`, and what [`FirstUse`] says about the signer
    pub fn index(&self) -> Result<&Index, Problem> {
        let loaded = self.index.get_or_init(|| self.load().map_err(|problem| self.about(problem)));
        loaded.as_ref().map_err(Clone::clone)
    }

    fn about(&self, problem: Problem) -> Problem {
        if problem.subject.is_some() { problem } else { problem.about(self.name.as_str()) }
    }

    fn locate(&self, reference: &str) -> Result<Location, Problem> {
        locate(&self.base, reference)
    }

    fn fetcher(&self) -> Fetcher<'_> {
        let Access { client, seen, cache, now, progress, .. } = &self.access;
        Fetcher { client, seen, cache, now: *now, progress: &**progress }
    }

    fn load(&self) -> Result<Index, Problem> {
        let (base, place) = (&self.base, self.place.as_str());
        let file = Remote {
            base,
            place,
            shown: &self.name,
            name: INDEX_NAME,
            kind: KIND,
            limit: MAX_INDEX,
        };
        let admit = |signed: &Signed| self.access.trust.admit_index(place, signed);
        let fetched = self.fetcher().fetch(&file, admit);
        let (_, bytes) = fetched.map_err(|problem| match problem.code {
            "INDEX_SIGNATURE_MISSING" => {
                problem.hint("a repository is made by `drift index build` and `drift index sign`")
            }
            _ => problem,
        })?;
        Index::parse(bytes)
    }

    fn offer(
        &self,
        index: &Index,
        mut offer: Offer,
        packed: Option<String>,
    ) -> Result<Offer, Problem> {
        let path = packed.unwrap_or_else(|| offer.path.clone());
        let base = match index.base_url() {
            None => return self.locate(&path).map(|_| Offer { path, ..offer }),
            Some(url) => self.locate(url)?,
        };
        offer.path = locate(&base, &path)?.to_string();
        Ok(offer)
    }
}

impl VersionSource for RemoteSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn packages(&self) -> Result<Vec<String>, Problem> {
        Ok(self.index()?.packages().iter().map(|head| head.id.clone()).collect())
    }

    fn offers(&self, package: &str) -> Result<Vec<Offer>, Problem> {
        let index = self.index()?;
        let Some(head) = index.head(package) else { return Ok(Vec::new()) };
        let entries = index.entries(head).map_err(|problem| self.about(problem))?;
        let mut seen = BTreeSet::new();
        let mut offers = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.understood) {
            let identity = &entry.offer.identity;
            if !seen.insert((identity.version.clone(), identity.target.clone())) {
                let message = format!("{identity} stands twice");
                return Err(Problem::new("INDEX_INVALID", message).about(package));
            }
            let offer = self.offer(index, entry.offer, entry.packed);
            offers.push(offer.map_err(|problem| problem.about(package))?);
        }
        Ok(offers)
    }

    fn first_use(&self) -> Option<&FirstUse> {
        Some(&self.access.trust)
    }

    fn fetch(&self, path: &str, sha256: &str) -> Result<Artifact, Problem> {
        let missing = |problem: Problem| match problem.code {
            "TRANSPORT_NOT_FOUND" => problem.coded("LOCK_ARTIFACT_MISSING"),
            _ => problem,
        };
        let plain = path.strip_suffix(".zst");
        let from = self.locate(path)?;
        let mut package = self.fetcher().download(&from, None, MAX_PACKAGE).map_err(missing)?;
        if plain.is_some() && sha256_text(&Sha256::of(&package)) != sha256 {
            package = zstd::decompress(&package, MAX_PACKAGE).map_err(|error| {
                let code = match error {
                    zstd::ZstdError::TooLarge(_) => "ARTIFACT_TOO_LARGE",
                    _ => "ARTIFACT_DAMAGED",
                };
                Problem::new(code, error.to_string()).in_file(path)
            })?;
        }
        let sidecar = self.locate(&format!("{}.sig", plain.unwrap_or(path)))?;
        let sidecar = match self.access.client.read(&sidecar, Limit::SIDECAR.file()) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Artifact { package, sidecar })
    }
}

impl Access {
    /// Opens the repository of that name.
    ///
    /// # Errors
    /// `REPOSITORY_URL`
    pub fn open(&self, name: &str, url: &str) -> Result<RemoteSource, Problem> {
        RemoteSource::new(name, url, self)
    }

    /// The folder for indexes and downloads in a user's cache.
    #[must_use]
    pub fn cache_below(cache_home: &Path) -> PathBuf {
        cache_home.join("drift")
    }
}
