//! Talking to a registry (distribution-spec 1.1).

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use epk_format::digest::Sha256;
use futures_util::StreamExt as _;
use object_store::path::Path as StorePath;
use object_store::{Attributes, Extensions, GetResult, GetResultPayload, ObjectMeta};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_RANGE, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::artifact::{MANIFEST_TYPE, MAX_MANIFEST};
use super::reference::{Encryption, Pointer, Reference};
use crate::keys::sha256_text;
use crate::transport::error::{ErrorKind, TransportError, chain};
use crate::transport::location::Location;
use crate::transport::settings::Settings;

/// The header with the hash of a manifest.
const DIGEST: &str = "docker-content-digest";
/// The most bytes of an error's text that are read.
const MAX_ERROR: u64 = 1 << 16;
/// The first pause before a request is made again; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What is done with a repository, as tokens are given for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Pull,
    Push,
}

impl Access {
    pub(super) fn scope(self, name: &str) -> String {
        match self {
            Self::Pull => format!("repository:{name}:pull"),
            Self::Push => format!("repository:{name}:pull,push"),
        }
    }
}

/// A manifest as it came, with its hash.
pub(super) type Manifest = Arc<(Sha256, Vec<u8>)>;

/// What a client remembers of registries for as long as it lives.
#[derive(Debug, Default)]
pub(in crate::transport) struct Memory {
    /// Where the API is, by scheme and host of references.
    roots: Mutex<HashMap<(Encryption, String), Url>>,
    /// What registries were shown last, by host and name.
    headers: Mutex<HashMap<(String, String, Access), HeaderValue>>,
    /// Manifests of which files were read: all files come from one state.
    pub(super) manifests: Mutex<HashMap<String, Manifest>>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A repository of a registry, with what is needed to talk to it.
pub(super) struct Registry<'a> {
    pub(super) web: reqwest::Client,
    pub(super) settings: &'a Settings,
    pub(super) memory: &'a Memory,
    pub(super) reference: &'a Reference,
    /// What errors say they are about.
    pub(super) from: &'a Location,
}

impl Registry<'_> {
    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> TransportError {
        TransportError::new(kind, self.from, message)
    }

    /// The URL of something in this repository.
    pub(super) async fn url(&self, path: &str) -> Result<Url, TransportError> {
        let root = self.root().await?;
        let joined = root.join(&format!("{}/{path}", self.reference.name()));
        joined.map_err(|error| self.error(ErrorKind::Network, error.to_string()))
    }

    /// Where the registry's API is.
    async fn root(&self) -> Result<Url, TransportError> {
        let encryption = self.reference.encryption();
        let host = self.reference.api_host();
        let key = (encryption, host.to_owned());
        if let Some(root) = locked(&self.memory.roots).get(&key) {
            return Ok(root.clone());
        }
        let root = |scheme: &str| {
            Url::parse(&format!("{scheme}://{host}/v2/"))
                .map_err(|error| self.error(ErrorKind::Network, error.to_string()))
        };
        let found = match encryption {
            Encryption::Always => root("https")?,
            Encryption::None => root("http")?,
            // As Docker does it: TLS, if it is spoken there.
            Encryption::IfOffered => {
                let secure = root("https")?;
                match self.web.get(secure.clone()).send().await {
                    Err(error) if error.is_connect() && !distrusts(&error) => root("http")?,
                    _ => secure,
                }
            }
        };
        locked(&self.memory.roots).insert(key, found.clone());
        Ok(found)
    }

    /// Makes a request, with a login if one is asked for.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        access: Access,
        retries: usize,
    ) -> Result<Response, TransportError> {
        let host = self.reference.api_host().to_owned();
        let key = (host, self.reference.name().to_owned(), access);
        let header = locked(&self.memory.headers).get(&key).cloned();
        let again = request.try_clone();
        let answer = self.attempt(request, retries, header).await?;
        let (StatusCode::UNAUTHORIZED, Some(again)) = (answer.status(), again) else {
            return Ok(answer);
        };
        let header = self.authorize(&answer, access).await?;
        locked(&self.memory.headers).insert(key, header.clone());
        self.attempt(again, retries, Some(header)).await
    }

    /// Makes a request as it is, again where that may help. One of which the second time would
    /// not be like the first has no `retries`.
    pub(super) async fn attempt(
        &self,
        mut request: RequestBuilder,
        retries: usize,
        header: Option<HeaderValue>,
    ) -> Result<Response, TransportError> {
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        let begin = Instant::now();
        let mut pause = PAUSE;
        for remaining in (0..=retries).rev() {
            let Some(this) = request.try_clone() else { break };
            let over = remaining == 0 || begin.elapsed() > self.settings.retry_timeout;
            match this.send().await {
                Ok(answer) if !over && is_busy(answer.status()) => {
                    pause = pause.max(wish(&answer)).min(LONGEST_PAUSE);
                }
                Err(error) if !over && !error.is_redirect() && !error.is_builder() => {}
                Ok(answer) => return Ok(answer),
                Err(error) => return Err(TransportError::of_web(self.from, &error)),
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        Err(self.error(ErrorKind::Network, "the request cannot be made twice"))
    }

    /// What a registry says that does not do what it was asked for.
    pub(super) async fn refused(&self, answer: Response) -> TransportError {
        let status = answer.status();
        let kind = match status {
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Denied,
            StatusCode::REQUEST_TIMEOUT => ErrorKind::Timeout,
            status if is_busy(status) => ErrorKind::Network,
            _ => ErrorKind::Refused,
        };
        let said = match self.small(answer, MAX_ERROR).await {
            Ok(bytes) => said(&bytes),
            Err(_) => None,
        };
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        self.error(kind, format!("the registry answers {}{said}", status.as_u16()))
    }

    /// The body of a small answer.
    pub(super) async fn small(
        &self,
        mut answer: Response,
        limit: u64,
    ) -> Result<Vec<u8>, TransportError> {
        let failed = |error: reqwest::Error| TransportError::of_web(self.from, &error);
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&piece);
            if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
                return Err(TransportError::too_large(self.from, None, limit));
            }
        }
        Ok(bytes)
    }

    pub(super) async fn manifest_url(&self) -> Result<Url, TransportError> {
        match self.reference.pointer() {
            Some(Pointer::Tag(tag)) => self.url(&format!("manifests/{tag}")).await,
            Some(Pointer::Digest(digest)) => {
                self.url(&format!("manifests/{}", sha256_text(digest))).await
            }
            None => Err(self.error(ErrorKind::NotFound, "it has neither a tag nor a digest")),
        }
    }

    /// The hash of the manifest that has the tag; `None` if none has.
    pub(super) async fn resolve(&self) -> Result<Option<Sha256>, TransportError> {
        let request = self.web.head(self.manifest_url().await?).header(ACCEPT, MANIFEST_TYPE);
        let answer = self.send(request, Access::Push, self.settings.retries).await?;
        match answer.status() {
            StatusCode::OK => match announced(&answer) {
                Some(digest) => Ok(Some(digest)),
                None => Ok(Some(self.manifest().await?.0)),
            },
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refused(answer).await),
        }
    }

    /// The manifest, which is the one that was asked for if that was a hash.
    pub(super) async fn manifest(&self) -> Result<Manifest, TransportError> {
        let request = self.web.get(self.manifest_url().await?).header(ACCEPT, MANIFEST_TYPE);
        let answer = self.send(request, Access::Pull, self.settings.retries).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.refused(answer).await);
        }
        let announced = announced(&answer);
        let bytes = self.small(answer, MAX_MANIFEST).await?;
        let found = Sha256::of(&bytes);
        let wanted = match self.reference.pointer() {
            Some(Pointer::Digest(digest)) => Some(*digest),
            _ => announced,
        };
        match wanted {
            Some(wanted) if wanted != found => {
                let message = format!("a manifest with SHA-256 {found} came, it must be {wanted}");
                Err(self.error(ErrorKind::WrongContent, message))
            }
            _ => Ok(Arc::new((found, bytes))),
        }
    }

    /// A blob or a part of it.
    pub(super) async fn blob(
        &self,
        digest: &Sha256,
        range: Option<Range<u64>>,
    ) -> Result<GetResult, TransportError> {
        let url = self.url(&format!("blobs/{}", sha256_text(digest))).await?;
        let mut request = self.web.get(url);
        if let Some(Range { start, end }) = &range {
            let value = format!("bytes={start}-{}", end.saturating_sub(1));
            request = request.header(RANGE, value);
        }
        let answer = self.send(request, Access::Pull, self.settings.retries).await?;
        let (range, size) = match (answer.status(), range) {
            (StatusCode::OK, None) => {
                let size = answer.content_length().ok_or_else(|| {
                    self.error(ErrorKind::Network, "the answer does not say how long it is")
                })?;
                (0..size, size)
            }
            (StatusCode::PARTIAL_CONTENT, Some(_)) => part(&answer).ok_or_else(|| {
                self.error(ErrorKind::Network, "the answer does not say which part it is")
            })?,
            (StatusCode::OK | StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
                return Err(self.error(ErrorKind::Network, "the registry does not give this part"));
            }
            _ => return Err(self.refused(answer).await),
        };
        let stream = answer.bytes_stream().map(|piece| {
            let failed = |error| object_store::Error::Generic { store: "OCI", source: error };
            piece.map_err(|error| failed(Box::new(error)))
        });
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream.boxed()),
            meta: ObjectMeta {
                location: StorePath::default(),
                last_modified: Default::default(),
                size,
                // Nothing but these bytes has this name.
                e_tag: Some(format!("\"{}\"", sha256_text(digest))),
                version: None,
            },
            range,
            attributes: Attributes::new(),
            extensions: Extensions::default(),
        })
    }
}

/// Whether TLS is spoken there, by somebody whom nobody vouches for.
fn distrusts(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| {
        let mut inner: &(dyn std::error::Error + 'static) = cause;
        // Such an error does not count what it holds among its causes.
        while let Some(held) = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            inner = held;
        }
        matches!(inner.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
    })
}

/// Whether the same request may be answered another time.
fn is_busy(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// How long the registry wants to be left alone.
fn wish(answer: &Response) -> Duration {
    let text = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.trim().parse().ok()).map_or(Duration::ZERO, Duration::from_secs)
}

/// The hash of a manifest, as the registry says.
fn announced(answer: &Response) -> Option<Sha256> {
    let text = answer.headers().get(DIGEST)?.to_str().ok()?;
    Sha256::from_hex(text.strip_prefix("sha256:")?)
}

/// Which bytes an answer has, and of how many.
fn part(answer: &Response) -> Option<(Range<u64>, u64)> {
    let text = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let (start, last): (u64, u64) = (start.parse().ok()?, last.parse().ok()?);
    let (end, size) = (last.checked_add(1)?, size.parse().ok()?);
    (start < end && end <= size).then_some((start..end, size))
}

/// What an error of distribution-spec says, in one line.
fn said(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        code: String,
        #[serde(default)]
        message: String,
    }
    let errors: Errors = serde_json::from_slice(bytes).ok()?;
    let One { code, message } = errors.errors.into_iter().next()?;
    let text: String = format!("{code}: {message}").chars().take(300).collect();
    Some(text.escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line() {
        let text = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest\nunknown","detail":{}}]}"#;
        assert_eq!(said(text).as_deref(), Some("MANIFEST_UNKNOWN: manifest\\nunknown"));
        assert_eq!(said(b"{\"errors\":[]}"), None);
        assert_eq!(said(b"<html>"), None);
    }
}
