//! Artifacts: an image manifest (image-spec 1.1) of a type of our own, without an image.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr as _;

use epk_format::digest::Sha256;
use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType, Sha256Digest};

use crate::canonical_json::canonical;
use crate::json::{self, Limit};

/// The most bytes of a manifest (distribution-spec: registries take 4 MiB).
pub(super) const MAX_MANIFEST: u64 = 4 << 20;
/// The media type of manifests.
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The configuration of an artifact that needs none (image-spec, "Guidance for an Empty
/// Descriptor").
pub(super) const EMPTY: &[u8] = b"{}";
/// The annotation of a layer with the name of the file that it is.
const TITLE: &str = "org.opencontainers.image.title";

/// Files, under one name and with one hash over all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// What it is: a media type.
    pub kind: String,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
    /// The files.
    pub layers: Vec<Layer>,
}

/// A file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it is: a media type.
    pub kind: String,
    /// Its hash, by which the registry knows it.
    pub digest: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// Its name, if it has one.
    pub title: Option<String>,
}

impl Artifact {
    /// Reads a manifest.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let none = |error: &dyn std::fmt::Display| format!("it is no image manifest: {error}");
        let manifest: ImageManifest =
            serde_json::from_slice(bytes).map_err(|error| none(&error))?;
        if manifest.schema_version() != 2 {
            return Err(none(&format!("its version is {}, not 2", manifest.schema_version())));
        }
        if let Some(other) = manifest.media_type()
            && *other != MediaType::ImageManifest
        {
            let other = other.to_string();
            return Err(none(&format!("it says that it is `{}`", other.escape_debug())));
        }
        let kind = manifest.artifact_type().as_ref().unwrap_or(manifest.config().media_type());
        let layers = manifest.layers().iter().map(Layer::read).collect::<Result<_, _>>()?;
        Ok(Self {
            kind: kind.to_string(),
            annotations: manifest.annotations().clone().unwrap_or_default().into_iter().collect(),
            layers,
        })
    }

    /// The manifest: canonical JSON, so that the same files give the same hash.
    ///
    /// # Errors
    /// What no manifest can hold.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("cannot make the manifest: {error}");
        let empty = Layer {
            kind: MediaType::EmptyJSON.to_string(),
            digest: Sha256::of(EMPTY),
            size: 2,
            title: None,
        };
        let layers = self.layers.iter().map(Layer::write).collect::<Result<Vec<_>, _>>()?;
        let annotations: HashMap<_, _> = self.annotations.clone().into_iter().collect();
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .artifact_type(MediaType::from(&*self.kind))
            .config(empty.write()?)
            .layers(layers)
            .annotations(annotations)
            .build()
            .map_err(|error| failed(&error))?;
        let text = serde_json::to_vec(&manifest).map_err(|error| failed(&error))?;
        let value = json::parse(&text, Limit::SIDECAR).map_err(|error| failed(&error))?;
        Ok(canonical(&value).into_bytes())
    }

    /// The file with this name.
    #[must_use]
    pub fn layer(&self, title: &str) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.title.as_deref() == Some(title))
    }
}

impl Layer {
    fn read(found: &Descriptor) -> Result<Self, String> {
        let digest = found.as_digest_sha256().and_then(Sha256::from_hex).ok_or_else(|| {
            let found = found.digest().to_string();
            format!("a layer has the digest `{}`, only SHA-256 is read", found.escape_debug())
        })?;
        let title = found.annotations().as_ref().and_then(|all| all.get(TITLE)).cloned();
        let (kind, size) = (found.media_type().to_string(), found.size());
        Ok(Self { kind, digest, size, title })
    }

    fn write(&self) -> Result<Descriptor, String> {
        let digest =
            Sha256Digest::from_str(&self.digest.to_hex()).map_err(|error| error.to_string())?;
        let mut written = Descriptor::new(MediaType::from(&*self.kind), self.size, digest);
        let title = |title: &String| HashMap::from([(TITLE.to_owned(), title.clone())]);
        written.set_annotations(self.title.as_ref().map(title));
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact() -> Artifact {
        let layer = |title: &str| Layer {
            kind: "application/vnd.example.file".into(),
            digest: Sha256::of(title.as_bytes()),
            size: 7,
            title: Some(title.into()),
        };
        let words = [("b", "2"), ("a", "1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        Artifact {
            kind: "application/vnd.example".into(),
            annotations: words.into(),
            layers: vec![layer("one"), layer("two")],
        }
    }

    #[test]
    fn what_is_written_reads_back_and_is_the_same_each_time() {
        let bytes = artifact().to_bytes().unwrap();
        assert_eq!(Artifact::parse(&bytes).unwrap(), artifact());
        assert_eq!(artifact().to_bytes().unwrap(), bytes);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("\"artifactType\":\"application/vnd.example\""), "{text}");
        // The hash of `{}`, which every registry knows.
        let empty = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let config = format!(
            "{{\"digest\":\"sha256:{empty}\",\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"size\":2}}"
        );
        assert!(text.contains(&config), "{text}");
        assert_eq!(artifact().layer("two"), Some(&artifact().layers[1]));
        assert_eq!(artifact().layer("three"), None);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let text = String::from_utf8(artifact().to_bytes().unwrap()).unwrap();
        for (from, to, said) in [
            ("\"schemaVersion\":2", "\"schemaVersion\":1", "no image manifest"),
            ("vnd.oci.image.manifest.v1", "vnd.oci.image.index.v1", "vnd.oci.image.index"),
            ("\"layers\"", "\"manifests\"", "layers"),
            ("\"digest\":\"sha256:", "\"digest\":\"sha256:z", "digest"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let error = Artifact::parse(changed.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let other = format!("\"sha512:{}\"", "a".repeat(128));
        let digest = format!("\"sha256:{}\"", artifact().layers[0].digest);
        let error = Artifact::parse(text.replace(&digest, &other).as_bytes()).unwrap_err();
        assert!(error.contains("only SHA-256"), "{error}");
    }
}
