//! A repository on a server: its index, as far as it may be believed, and its packages.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use epk_format::digest::Sha256;

use super::super::resolve::{Artifact, Offer, VersionSource};
use super::super::trust::FirstUse;
use super::file::{INDEX_NAME, Index, KIND, MAX_INDEX};
use crate::files::{self, MAX_PACKAGE};
use crate::index::{Seen, Signed};
use crate::json::Limit;
use crate::keys::sha256_text;
use crate::problem::Problem;
use crate::progress::Progress;
use crate::transport::{
    self, Client, ErrorKind, Location, Request, Transport as _, TransportError, zstd,
};

/// How often a download is made that another process takes away.
const TRIES: usize = 5;

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

/// Passes on what the transport says.
struct Told<'a>(&'a dyn Progress);

impl transport::Progress for Told<'_> {
    fn advance(&self, bytes: u64) {
        self.0.bytes(bytes);
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

impl From<TransportError> for Problem {
    fn from(error: TransportError) -> Self {
        Self::new(error.kind.code(), error.to_string())
    }
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
        self.base.join(reference).map_err(|error| Problem::new("REPOSITORY_URL", error.to_string()))
    }

    fn load(&self) -> Result<Index, Problem> {
        let access = &self.access;
        let path = self.locate(&format!("{INDEX_NAME}.sig"))?;
        let statement = match access.client.read(&path, Limit::SIDECAR.file()) {
            Ok(statement) => statement,
            Err(error) if error.kind == ErrorKind::NotFound => {
                let message = "it has no signed index";
                return Err(Problem::new("INDEX_SIGNATURE_MISSING", message)
                    .in_file(path.to_string())
                    .hint("a repository is made by `drift index build` and `drift index sign`"));
            }
            Err(error) => return Err(error.into()),
        };
        let at_path = |problem: Problem| problem.in_file(path.to_string());
        let signed = Signed::parse(&statement, KIND).map_err(|error| at_path(error.into()))?;
        // Who says it comes first: the rest is worth no more than that.
        access.trust.admit_index(&self.place, &signed).map_err(at_path)?;
        signed.statement.check_time(access.now).map_err(|error| at_path(error.into()))?;
        access
            .seen
            .accept(&self.place, &signed)
            .map_err(|error| at_path(Problem::new(error.code(), error.to_string())))?;
        Index::parse(self.content(&signed)?)
    }

    /// The index that the statement is about: the one we have, else the packed one, else the plain
    /// one.
    fn content(&self, signed: &Signed) -> Result<Vec<u8>, Problem> {
        let folder = self.access.cache.join("indexes");
        files::create_dirs(&folder)?;
        let kept = folder.join(format!("{}.json", Sha256::of(self.place.as_bytes())));
        let statement = &signed.statement;
        if let Ok(bytes) = files::read(&kept, statement.content.size)
            && statement.check_content(&bytes).is_ok()
        {
            return Ok(bytes);
        }
        let size = statement.content.size;
        if size > MAX_INDEX {
            let message = format!("the index has {size} bytes: too many");
            return Err(Problem::new("INDEX_TOO_LARGE", message));
        }
        let bytes = match &statement.packed {
            Some(packed) => {
                let bytes = self.download_index(&format!("{INDEX_NAME}.zst"), packed.size)?;
                if Sha256::of(&bytes) != packed.sha256 {
                    let message = "the packed index is not what the statement says";
                    return Err(Problem::new("INDEX_CONTENT_MISMATCH", message));
                }
                zstd::decompress(&bytes, size)
                    .map_err(|error| Problem::new("INDEX_CONTENT_MISMATCH", error.to_string()))?
            }
            None => self.download_index(INDEX_NAME, size)?,
        };
        statement.check_content(&bytes)?;
        // Only to be faster next time.
        let _ = files::write_atomically(&kept, &bytes);
        Ok(bytes)
    }

    /// Downloads the index, of which the size is known.
    fn download_index(&self, reference: &str, size: u64) -> Result<Vec<u8>, Problem> {
        let progress = &self.access.progress;
        progress.begin_bytes(&format!("index of {}", self.name), Some(size));
        let downloaded = self.download(reference, Some(size), size.min(MAX_INDEX));
        progress.end();
        downloaded
    }

    /// Downloads to a file that survives an interruption, and reads it.
    fn download(&self, reference: &str, size: Option<u64>, limit: u64) -> Result<Vec<u8>, Problem> {
        let from = self.locate(reference)?;
        let folder = self.access.cache.join("downloads");
        files::create_dirs(&folder)?;
        let to = folder.join(Sha256::of(from.to_string().as_bytes()).to_string());
        let request = Request { from: from.clone(), to: to.clone(), limit, size };
        let told = Told(&*self.access.progress);
        for _ in 0..TRIES {
            let answers = self.access.client.download(std::slice::from_ref(&request), &told);
            answers.into_iter().next().transpose()?;
            match files::read(&to, limit) {
                Ok(bytes) => {
                    // Whether it is right or wrong: the next try should not find it here.
                    files::remove_if_there(&to)?;
                    return Ok(bytes);
                }
                // Somebody else has downloaded, read and removed the same at the same time.
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let message = format!("`{from}` was taken away {TRIES} times by other programs");
        Err(Problem::new("TRANSPORT_LOCAL", message))
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
        let location =
            base.join(&path).map_err(|error| Problem::new("REPOSITORY_URL", error.to_string()))?;
        offer.path = location.to_string();
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
        let mut package = self.download(path, None, MAX_PACKAGE).map_err(missing)?;
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
