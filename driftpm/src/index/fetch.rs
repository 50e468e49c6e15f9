//! Getting a signed file from a server: the statement first, then what it is about.

use std::path::Path;

use epk_format::digest::Sha256;

use super::{Seen, Signed};
use crate::files;
use crate::json::Limit;
use crate::problem::Problem;
use crate::progress::Progress;
use crate::transport::{
    self, Client, ErrorKind, Location, Request, Transport as _, TransportError, zstd,
};

/// How often a download is made that another process takes away.
const TRIES: usize = 5;

/// What is needed to get signed files.
#[derive(Clone, Copy)]
pub struct Fetcher<'a> {
    /// Fetches.
    pub client: &'a Client,
    /// The states that were seen before.
    pub seen: &'a Seen,
    /// A folder for what was fetched before, and for downloads on their way.
    pub cache: &'a Path,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// Told what comes.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Fetcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// Passes on what the transport says.
struct Told<'a>(&'a dyn Progress);

impl transport::Progress for Told<'_> {
    fn advance(&self, bytes: u64) {
        self.0.bytes(bytes);
    }
}

/// A signed file on a server.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'a> {
    /// The folder that it is in.
    pub base: &'a Location,
    /// The name by which memory knows the folder.
    pub place: &'a str,
    /// The name by which users know it.
    pub shown: &'a str,
    /// Its name; the statement is beside it, as `NAME.sig`, and the packed one, as `NAME.zst`.
    pub name: &'a str,
    /// What statements call it.
    pub kind: &'a str,
    /// The most bytes that it may have.
    pub limit: u64,
}

impl From<TransportError> for Problem {
    fn from(error: TransportError) -> Self {
        Self::new(error.kind.code(), error.to_string())
    }
}

/// Where `reference` is below `base`.
///
/// # Errors
/// `REPOSITORY_URL`
pub fn locate(base: &Location, reference: &str) -> Result<Location, Problem> {
    base.join(reference).map_err(|error| Problem::new("REPOSITORY_URL", error.to_string()))
}

impl Fetcher<'_> {
    /// The file in the newest state that the server offers, if `admit` lets its signers pass, it
    /// has not expired, and no newer state was seen before.
    ///
    /// # Errors
    /// `INDEX_SIGNATURE_MISSING`, the codes of [`SignedError`](super::SignedError) and
    /// [`SeenError`](super::SeenError), `INDEX_TOO_LARGE`, those of the transport, and what
    /// `admit` says
    pub fn fetch(
        &self,
        file: &Remote<'_>,
        admit: impl FnOnce(&Signed) -> Result<(), Problem>,
    ) -> Result<(Signed, Vec<u8>), Problem> {
        let path = locate(file.base, &format!("{}.sig", file.name))?;
        let statement = match self.client.read(&path, Limit::SIDECAR.file()) {
            Ok(statement) => statement,
            Err(error) if error.kind == ErrorKind::NotFound => {
                let problem = Problem::new("INDEX_SIGNATURE_MISSING", "it has no signed index");
                return Err(problem.in_file(path.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let at_path = |problem: Problem| problem.in_file(path.to_string());
        let signed = Signed::parse(&statement, file.kind).map_err(|error| at_path(error.into()))?;
        // Who says it comes first: the rest is worth no more than that.
        admit(&signed).map_err(at_path)?;
        signed.statement.check_time(self.now).map_err(|error| at_path(error.into()))?;
        self.seen
            .accept(file.place, &signed)
            .map_err(|error| at_path(Problem::new(error.code(), error.to_string())))?;
        let bytes = self.content(file, &signed)?;
        Ok((signed, bytes))
    }

    /// What the statement is about: the one we have, else the packed one, else the plain one.
    fn content(&self, file: &Remote<'_>, signed: &Signed) -> Result<Vec<u8>, Problem> {
        let folder = self.cache.join("indexes");
        files::create_dirs(&folder)?;
        let kept = folder.join(format!("{}.json", Sha256::of(file.place.as_bytes())));
        let statement = &signed.statement;
        if let Ok(bytes) = files::read(&kept, statement.content.size)
            && statement.check_content(&bytes).is_ok()
        {
            return Ok(bytes);
        }
        let size = statement.content.size;
        if size > file.limit {
            let message = format!("the index has {size} bytes, {} is the most", file.limit);
            return Err(Problem::new("INDEX_TOO_LARGE", message));
        }
        let bytes = match &statement.packed {
            Some(packed) => {
                let bytes = self.part(file, ".zst", packed.size)?;
                if Sha256::of(&bytes) != packed.sha256 {
                    let message = "the packed index is not what the statement says";
                    return Err(Problem::new("INDEX_CONTENT_MISMATCH", message));
                }
                zstd::decompress(&bytes, size)
                    .map_err(|error| Problem::new("INDEX_CONTENT_MISMATCH", error.to_string()))?
            }
            None => self.part(file, "", size)?,
        };
        statement.check_content(&bytes)?;
        // Only to be faster next time.
        let _ = files::lock_directory(&folder).and_then(|_lock| {
            files::remove_left_behind(&folder);
            files::write_atomically(&kept, &bytes)
        });
        Ok(bytes)
    }

    /// Downloads the file with this suffix, of which the size is known.
    fn part(&self, file: &Remote<'_>, suffix: &str, size: u64) -> Result<Vec<u8>, Problem> {
        let from = locate(file.base, &format!("{}{suffix}", file.name))?;
        self.progress.begin_bytes(&format!("index of {}", file.shown), Some(size));
        let downloaded = self.download(&from, Some(size), size.min(file.limit));
        self.progress.end();
        downloaded
    }

    /// Downloads to a file that survives an interruption, and reads it.
    ///
    /// # Errors
    /// Those of the transport and of files.
    pub fn download(
        &self,
        from: &Location,
        size: Option<u64>,
        limit: u64,
    ) -> Result<Vec<u8>, Problem> {
        let folder = self.cache.join("downloads");
        files::create_dirs(&folder)?;
        let to = folder.join(Sha256::of(from.to_string().as_bytes()).to_string());
        let request = Request { from: from.clone(), to: to.clone(), limit, size };
        let told = Told(self.progress);
        for _ in 0..TRIES {
            let answers = self.client.download(std::slice::from_ref(&request), &told);
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
}
