//! Registries of containers as a place for other files (OCI distribution-spec 1.1).
//!
//! A registry keeps *blobs* by their SHA-256 and *manifests* that list blobs, under tags that can
//! be moved. An [`Artifact`] is a manifest of a type of our own. [`Client::artifact`] gets one and
//! [`Client::push_artifact`] puts one; its files are [`Location`]s like others, so that whatever
//! reads, downloads or resumes over HTTP does so here:
//!
//! - [`Location::of_blob`]: the file with a hash. It has no other content, but who asks compares.
//! - [`Location::of_artifact`]: a folder; what is [joined](Location::join) to it is the file of
//!   that title, all of one state of the tag for as long as the client lives.
//!
//! Registries are spoken to over TLS, but for those on this machine and where the user says
//! otherwise (`oci+http://`). Logins are asked for when a registry refuses to answer without one;
//! they go to nobody whom others could overhear, and into no message.
//!
//! The client is our own, on the HTTP client that the other schemes use, and types of `oci-spec`.
//! `oci-client` (0.18) makes an HTTP client itself, which follows redirects to weaker schemes, and
//! takes manifests and answers of any size.

mod artifact;
mod auth;
mod login;
mod push;
mod reference;
mod registry;

use std::sync::Arc;

use epk_format::digest::Sha256;
use object_store::{GetRange, GetResult};

use super::client::Client;
use super::error::{ErrorKind, TransportError};
use super::location::{Location, Scheme};
use crate::keys::sha256_text;

pub use artifact::{Artifact, Layer};
pub use login::{Login, Logins};
pub use push::Content;
pub use reference::{Pointer, Reference, ReferenceError, is_tag};
pub(super) use registry::Memory;
use registry::{Manifest, Registry, locked};

impl Client {
    fn registry<'a>(
        &'a self,
        reference: &'a Reference,
        from: &'a Location,
    ) -> Result<Registry<'a>, TransportError> {
        let (web, settings, memory) = (self.web(from)?, self.settings(), self.memory());
        Ok(Registry { web, settings, memory, reference, from })
    }

    /// The artifact that is named, and the hash of its manifest.
    ///
    /// # Errors
    /// [`TransportError`]; of kind [`ErrorKind::WrongContent`] if the manifest has not the hash
    /// that it must have, or is none.
    pub fn artifact(&self, reference: &Reference) -> Result<(Sha256, Artifact), TransportError> {
        let from = Location::of_artifact(reference);
        let manifest =
            self.block_on(async { self.registry(reference, &from)?.manifest().await })?;
        Ok((manifest.0, read(&manifest, &from)?))
    }

    /// Asks for a file of a registry or a part of it.
    pub(super) async fn get_from_registry(
        &self,
        from: &Location,
        range: Option<GetRange>,
    ) -> Result<GetResult, TransportError> {
        let none = |message: &str| TransportError::new(ErrorKind::NotFound, from, message);
        let (reference, file) = from.of_registry().ok_or_else(|| none("it names no file"))?;
        let registry = self.registry(&reference, from)?;
        let digest = match file.strip_prefix("sha256:").and_then(Sha256::from_hex) {
            Some(digest) => digest,
            None => {
                let manifest = self.kept_manifest(&registry).await?;
                let artifact = read(&manifest, from)?;
                let layer = artifact.layer(&file);
                layer.ok_or_else(|| none("the artifact has no such file"))?.digest
            }
        };
        let range = match range {
            None => None,
            Some(GetRange::Bounded(range)) => Some(range),
            Some(_) => return Err(none("a part has a beginning and an end")),
        };
        registry.blob(&digest, range).await
    }

    async fn kept_manifest(&self, registry: &Registry<'_>) -> Result<Manifest, TransportError> {
        let key = registry.reference.to_string();
        if let Some(manifest) = locked(&self.memory().manifests).get(&key) {
            return Ok(Arc::clone(manifest));
        }
        let manifest = registry.manifest().await?;
        locked(&self.memory().manifests).insert(key, Arc::clone(&manifest));
        Ok(manifest)
    }
}

fn read(manifest: &Manifest, from: &Location) -> Result<Artifact, TransportError> {
    Artifact::parse(&manifest.1)
        .map_err(|message| TransportError::new(ErrorKind::WrongContent, from, message))
}

impl Location {
    /// An artifact as a folder of its files.
    #[must_use]
    pub fn of_artifact(reference: &Reference) -> Self {
        Self::of_reference(reference, None)
    }

    /// The blob of this hash in the repository of the reference.
    #[must_use]
    pub fn of_blob(reference: &Reference, digest: &Sha256) -> Self {
        Self::of_reference(&reference.without_pointer(), Some(&sha256_text(digest)))
    }

    /// The reference, and a file's title or a blob's hash, if it is one of a registry.
    fn of_registry(&self) -> Option<(Reference, String)> {
        if self.scheme() != Scheme::Oci {
            return None;
        }
        let text = self.to_string();
        let (reference, file) = text.split_once('#')?;
        Some((Reference::parse(reference).ok()?, file.to_owned()))
    }
}
