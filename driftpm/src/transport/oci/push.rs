//! Putting files into a registry: blobs in pieces, then the manifest that lists them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use epk_format::digest::Sha256;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE};
use reqwest::{Response, StatusCode};
use url::Url;

use super::artifact::{Artifact, EMPTY, MANIFEST_TYPE};
use super::reference::{Reference, is_loopback};
use super::registry::{Access, Registry, locked};
use crate::keys::sha256_text;
use crate::transport::client::Client;
use crate::transport::error::{ErrorKind, TransportError};
use crate::transport::location::Location;
use crate::transport::{Progress, Silent};

/// Bytes of a request; halved when one was not answered in time.
const PIECE: u64 = 4 << 20;
/// The fewest bytes of a request to which that leads.
const LEAST_PIECE: u64 = 256 << 10;
/// The most bytes of a request, whatever a registry wants.
const MOST_PIECE: u64 = 64 << 20;
/// The fewest bytes of a request that the registry takes, but for the last one.
const LEAST: &str = "oci-chunk-min-length";

/// What a blob is made of.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// A whole file.
    File(&'a File),
}

impl Content<'_> {
    fn size(self) -> io::Result<u64> {
        match self {
            Content::Bytes(bytes) => Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Content::File(file) => Ok(file.metadata()?.len()),
        }
    }

    fn read(self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let place = |at| usize::try_from(at).map_err(|_| io::ErrorKind::UnexpectedEof);
        match self {
            Content::Bytes(bytes) => {
                let piece = bytes.get(place(range.start)?..place(range.end)?);
                Ok(piece.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
            }
            Content::File(file) => {
                let mut piece = vec![0; place(range.end.saturating_sub(range.start))?];
                file.read_exact_at(&mut piece, range.start)?;
                Ok(piece)
            }
        }
    }
}

impl Client {
    /// Puts a file under its hash, unless it is there. Gives how many bytes that took.
    ///
    /// # Errors
    /// [`TransportError`]; of kind [`ErrorKind::Refused`] if the registry does not want it, for
    /// instance since the content has another hash.
    pub fn push_blob(
        &self,
        to: &Reference,
        content: Content<'_>,
        digest: &Sha256,
        progress: &dyn Progress,
    ) -> Result<u64, TransportError> {
        let at = Location::of_blob(to, digest);
        let size =
            content.size().map_err(|error| TransportError::local(&at, "read the file", &error))?;
        let sent = self.block_on(async {
            let blob = Blob { registry: self.registry(to, &at)?, content, digest: *digest, size };
            blob.push(progress).await
        });
        progress.end();
        sent
    }

    /// The hash of the manifest that the tag of `reference` names; `None` if there is none.
    ///
    /// # Errors
    /// [`TransportError`]
    pub fn resolve(&self, reference: &Reference) -> Result<Option<Sha256>, TransportError> {
        let at = Location::of_artifact(reference);
        self.block_on(async { self.registry(reference, &at)?.resolve().await })
    }

    /// The hash that the manifest of this artifact has.
    ///
    /// # Errors
    /// [`TransportError`] if no manifest can hold it.
    pub fn digest_of(to: &Reference, artifact: &Artifact) -> Result<Sha256, TransportError> {
        manifest_of(to, artifact).map(|bytes| Sha256::of(&bytes))
    }

    /// Puts an artifact of which the files are there, and moves the tag of `to` to it.
    ///
    /// # Errors
    /// [`TransportError`]
    pub fn push_artifact(
        &self,
        to: &Reference,
        artifact: &Artifact,
    ) -> Result<Sha256, TransportError> {
        let bytes = manifest_of(to, artifact)?;
        let digest = Sha256::of(&bytes);
        self.push_blob(to, Content::Bytes(EMPTY), &Sha256::of(EMPTY), &Silent)?;
        let at = Location::of_artifact(to);
        self.block_on(async {
            let registry = self.registry(to, &at)?;
            let request = self.web(&at)?.put(registry.manifest_url().await?);
            let request = request.header(CONTENT_TYPE, MANIFEST_TYPE).body(bytes);
            // The second time is like the first.
            let answer = registry.send(request, Access::Push, self.settings().retries).await?;
            match answer.status() {
                StatusCode::CREATED => Ok(()),
                _ => Err(registry.refused(answer).await),
            }
        })?;
        locked(&self.memory().manifests).remove(&to.to_string());
        Ok(digest)
    }
}

fn manifest_of(to: &Reference, artifact: &Artifact) -> Result<Vec<u8>, TransportError> {
    artifact.to_bytes().map_err(|message| {
        TransportError::new(ErrorKind::Local, &Location::of_artifact(to), message)
    })
}

/// A blob on its way.
struct Blob<'a> {
    registry: Registry<'a>,
    content: Content<'a>,
    digest: Sha256,
    size: u64,
}

/// Whom the bytes that came are told, each once, whatever is sent again.
struct Told<'p> {
    progress: &'p dyn Progress,
    most: u64,
}

impl Told<'_> {
    fn tell(&mut self, at: u64) {
        self.progress.advance(at.saturating_sub(self.most));
        self.most = self.most.max(at);
    }
}

impl Blob<'_> {
    /// Sends it, and again from the beginning where a registry has lost the beginning.
    async fn push(&self, progress: &dyn Progress) -> Result<u64, TransportError> {
        let mut piece = PIECE;
        let mut tries = 0;
        let mut told = Told { progress, most: 0 };
        progress.begin(Some(self.size));
        loop {
            if self.is_there().await? {
                // Perhaps the answer to the last request was lost, and not the request.
                return Ok(if tries == 0 { 0 } else { self.size });
            }
            let mut lost = false;
            match self.upload(&mut piece, &mut lost, &mut told).await {
                Ok(()) => return Ok(self.size),
                // A registry may still be at the piece that was lost, and then refuse what
                // follows what it said it had.
                Err(error)
                    if (lost || error.may_pass()) && tries < self.registry.settings.retries =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn is_there(&self) -> Result<bool, TransportError> {
        let registry = &self.registry;
        let url = registry.url(&format!("blobs/{}", sha256_text(&self.digest))).await?;
        let retries = registry.settings.retries;
        let answer = registry.send(registry.web.head(url), Access::Push, retries).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(registry.refused(answer).await),
        }
    }

    /// One upload from its beginning to its end. Pieces that do not arrive are sent again from
    /// where the registry says it is; then one was `lost`.
    async fn upload(
        &self,
        piece: &mut u64,
        lost: &mut bool,
        told: &mut Told<'_>,
    ) -> Result<(), TransportError> {
        let registry = &self.registry;
        let begin = registry.web.post(registry.url("blobs/uploads/").await?);
        let begin = begin.body("");
        let answer = registry.send(begin, Access::Push, registry.settings.retries).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(registry.refused(answer).await);
        }
        let least = number(answer.headers().get(LEAST)).unwrap_or(0).min(MOST_PIECE);
        let mut location = self.next(&answer)?;
        let mut at = 0;
        let mut tries = 0;
        loop {
            let length = (*piece).max(least);
            if self.size.saturating_sub(at) <= length {
                break;
            }
            let end = at.saturating_add(length);
            match self.send_piece(&location, at..end).await {
                Ok(next) => {
                    (location, at, tries) = (next, end, 0);
                }
                Err(error) if error.may_pass() && tries < registry.settings.retries => {
                    tries += 1;
                    *lost = true;
                    if error.kind == ErrorKind::Timeout {
                        *piece = (*piece / 2).max(LEAST_PIECE);
                    }
                    match self.how_far(&location).await? {
                        Some((next, there)) if (at..=end).contains(&there) => {
                            (location, at) = (next, there);
                        }
                        _ => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
            told.tell(at);
        }
        self.finish(location, at).await?;
        told.tell(self.size);
        Ok(())
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, TransportError> {
        self.content
            .read(range)
            .map_err(|error| TransportError::local(self.registry.from, "read the file", &error))
    }

    async fn send_piece(&self, to: &Url, range: Range<u64>) -> Result<Url, TransportError> {
        let registry = &self.registry;
        let place = format!("{}-{}", range.start, range.end.saturating_sub(1));
        let request = registry
            .web
            .patch(to.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_RANGE, place)
            .body(self.read(range)?);
        let answer = self.ask(request, to).await?;
        match answer.status() {
            StatusCode::ACCEPTED => self.next(&answer),
            _ => Err(registry.refused(answer).await),
        }
    }

    /// The last piece, and what all of it must be.
    async fn finish(&self, mut to: Url, at: u64) -> Result<(), TransportError> {
        let registry = &self.registry;
        let place = format!("{at}-{}", self.size.saturating_sub(1));
        to.query_pairs_mut().append_pair("digest", &sha256_text(&self.digest));
        let mut request = registry.web.put(to.clone());
        request = request.header(CONTENT_TYPE, "application/octet-stream");
        if at > 0 {
            request = request.header(CONTENT_RANGE, place);
        }
        let answer = self.ask(request.body(self.read(at..self.size)?), &to).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(registry.refused(answer).await),
        }
    }

    /// How many bytes of an upload the registry has; `None` if it does not know it any more.
    async fn how_far(&self, upload: &Url) -> Result<Option<(Url, u64)>, TransportError> {
        let answer = self.ask(self.registry.web.get(upload.clone()), upload).await?;
        if answer.status() != StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let text = answer.headers().get(RANGE).and_then(|value| value.to_str().ok());
        let last = text.and_then(|text| text.rsplit_once('-')?.1.parse::<u64>().ok());
        // `0-0` is how they say that there is nothing.
        let there = last.map(|last| if last == 0 { 0 } else { last.saturating_add(1) });
        there.map(|there| self.next(&answer).map(|next| (next, there))).transpose()
    }

    /// A request of an upload, once. Only the registry itself is shown a login.
    async fn ask(
        &self,
        request: reqwest::RequestBuilder,
        to: &Url,
    ) -> Result<Response, TransportError> {
        let registry = &self.registry;
        if registry.url("").await?.origin() == to.origin() {
            registry.send(request, Access::Push, 0).await
        } else {
            registry.attempt(request, 0, None).await
        }
    }

    /// Where an upload goes on.
    fn next(&self, answer: &Response) -> Result<Url, TransportError> {
        let registry = &self.registry;
        let text = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let next = text.and_then(|text| answer.url().join(text).ok()).ok_or_else(|| {
            registry.error(ErrorKind::Network, "the registry does not say where the upload goes on")
        })?;
        let host = next.host_str().unwrap_or_default();
        let same = answer.url().host_str() == Some(host);
        match (answer.url().scheme(), next.scheme()) {
            (_, "https") => Ok(next),
            ("http", "http") if same || is_loopback(host) => Ok(next),
            _ => {
                let message =
                    format!("the upload is not sent to the weaker `{}://{host}`", next.scheme());
                Err(registry.error(ErrorKind::Redirect, message))
            }
        }
    }
}

fn number(header: Option<&HeaderValue>) -> Option<u64> {
    header?.to_str().ok()?.parse().ok()
}
