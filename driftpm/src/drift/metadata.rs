//! What a package says beyond the container's format 0: what it needs, where it runs, and its
//! native parts. All of it is in the manifest under [`KEY`], which older readers pass over, and so
//! under the package's signature.

use std::collections::BTreeMap;

use epk_format::digest::Sha256;

use super::container::{Blob, Full};
use super::container_write::{BlobKind, NewBlob, TooLarge, write_container};
use super::platform::Requirement;
use super::project::{Fields, Shim, check_name};
use crate::json::{Object, Value, object};
use crate::keys::sha256_text;
use crate::problem::Problem;
use crate::relpath::RelPath;

/// The manifest's key.
pub const KEY: &str = "drift_package";
/// The only format of what is under it.
const FORMAT: u64 = 1;

/// What is under [`KEY`]; nothing, if the manifest does not have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Packages it needs, with the spelling of the constraint on their versions.
    pub dependencies: BTreeMap<String, String>,
    /// Platforms on which it can be used.
    pub platform: Requirement,
    /// Its native parts.
    pub native: Vec<Shim>,
    /// The native parts' inputs: path and hash of a blob of the container.
    pub files: BTreeMap<RelPath, String>,
}

impl Metadata {
    /// Reads what `manifest` has under [`KEY`]; `file` is the package's name in complaints.
    ///
    /// # Errors
    /// `METADATA_INVALID`
    pub fn of_manifest(manifest: &Object, file: &str) -> Result<Self, Problem> {
        if manifest.get(KEY).is_none() {
            return Ok(Self::default());
        }
        let top = Fields::top("METADATA_INVALID", file, manifest);
        let Some(value) = top.get(KEY) else { return Err(top.wrong(KEY, "null")) };
        let fields = top.below(KEY, value)?;
        fields.format("format", FORMAT)?;
        let mut dependencies = BTreeMap::new();
        for (package, constraint) in fields.members("dependencies")? {
            let place = format!("dependencies.{package}");
            check_name(package).map_err(|message| fields.wrong(&place, message))?;
            let text = constraint.as_str().ok_or_else(|| fields.wrong(&place, "not a string"))?;
            dependencies.insert(package.to_owned(), text.to_owned());
        }
        let platform = match fields.get("platform") {
            None => Requirement::default(),
            Some(value) => Requirement::from_json(&fields.below("platform", value)?)?,
        };
        let native = Shim::list(&fields)?;
        let mut files = BTreeMap::new();
        for (path, hash) in fields.members("files")? {
            let place = format!("files.{path}");
            let hash = hash.as_str().filter(|hash| hash.starts_with("sha256:"));
            let hash = hash.ok_or_else(|| fields.wrong(&place, "not a hash `sha256:…`"))?;
            files.insert(fields.relative(&place, path)?, hash.to_owned());
        }
        let missing = native.iter().flat_map(Shim::inputs).find(|path| !files.contains_key(*path));
        if let Some(missing) = missing {
            return Err(fields.wrong("files", format!("`{missing}` of a native part is missing")));
        }
        fields.finish()?;
        Ok(Self { dependencies, platform, native, files })
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The JSON object under [`KEY`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let texts = |map: &mut dyn Iterator<Item = (&str, &str)>| -> Value {
            let mut object = Object::new();
            for (key, text) in map {
                object.insert(key, text);
            }
            object.into()
        };
        let dependencies = &mut self.dependencies.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let files = &mut self.files.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        object([
            ("format", Value::from(1_usize)),
            ("dependencies", texts(dependencies)),
            ("platform", self.platform.to_json()),
            ("native", Value::Array(self.native.iter().map(Shim::to_json).collect())),
            ("files", texts(files)),
        ])
    }
}

/// Why a package cannot be given metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// A blob is of a kind that only its writer knows.
    #[error("blob {0} is of the unknown type {1}")]
    UnknownBlob(Sha256, u16),
    /// It does not fit into the format.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// Writes the package `bytes`, read as `full`, anew with `metadata` and the bytes of its native
/// parts' inputs. What metadata it had is replaced; a signature would be of other bytes.
///
/// # Errors
/// [`AttachError`]
pub fn attach(
    bytes: &[u8],
    full: &Full,
    metadata: &Metadata,
    files: &BTreeMap<RelPath, Vec<u8>>,
) -> Result<Vec<u8>, AttachError> {
    let mut manifest = full.manifest.clone();
    let mut blobs = Vec::new();
    let mut listed = match manifest.remove("blobs") {
        Some(Value::Object(listed)) => listed,
        _ => Object::new(),
    };
    for blob in &full.blobs {
        let kind = match blob.kind {
            1 => BlobKind::Payload,
            2 => BlobKind::Interface,
            // Inputs of native parts: those that are still wanted come back below.
            3 => {
                listed.remove(&sha256_text(&blob.sha256));
                continue;
            }
            other => return Err(AttachError::UnknownBlob(blob.sha256, other)),
        };
        let bytes = blob_bytes(bytes, blob).unwrap_or_default().to_vec();
        blobs.push(NewBlob { kind, name: blob.name.clone(), bytes });
    }
    for (path, bytes) in files {
        let name = sha256_text(&Sha256::of(bytes));
        if listed.get(&name).is_none() {
            listed
                .insert(name, object([("type", "native".into()), ("length", bytes.len().into())]));
        }
        blobs.push(NewBlob {
            kind: BlobKind::Native,
            name: format!("native:{path}").into_bytes(),
            bytes: bytes.clone(),
        });
    }
    manifest.insert("blobs", listed);
    manifest.remove(KEY);
    if !metadata.is_empty() {
        manifest.insert(KEY, metadata.to_json());
    }
    Ok(write_container(&manifest, &blobs)?)
}

/// The bytes of a blob; the full reader has checked that they are there.
#[must_use]
pub fn blob_bytes<'a>(bytes: &'a [u8], blob: &Blob) -> Option<&'a [u8]> {
    let start = usize::try_from(blob.offset).ok()?;
    let end = start.checked_add(usize::try_from(blob.length).ok()?)?;
    bytes.get(start..end)
}

#[cfg(test)]
mod tests {
    use super::super::container::{read_full, read_light};
    use super::super::testing::package;
    use super::*;
    use crate::json::{Limit, parse};

    fn shim() -> Metadata {
        let text = br#"{"drift_package":{"format":1,"dependencies":{"acme.json":"^1"},
            "platform":{"os":["linux"]},
            "native":[{"name":"z","tool":"gcc","sources":["n/z.c"],"headers":["n/z.h"]}],
            "files":{"n/z.c":"sha256:1","n/z.h":"sha256:2"}}}"#;
        let value = parse(text, Limit::MANIFEST).unwrap();
        Metadata::of_manifest(value.as_object().unwrap(), "p").unwrap()
    }

    #[test]
    fn what_is_attached_reads_back_and_old_readers_pass_over_it() {
        let bytes = package("acme.z", "1.0.0", "any", &["acme.z", "acme.z.x"]);
        let mut metadata = shim();
        let mut files = BTreeMap::new();
        for (path, hash) in &mut metadata.files {
            // The second file has the bytes of a module's blob: one blob, two uses.
            let text = if path.as_str().ends_with(".c") {
                b"int z;".to_vec()
            } else {
                br#"{"module_id":"acme.z","version":"1.0.0"}"#.to_vec()
            };
            *hash = sha256_text(&Sha256::of(&text));
            files.insert(path.clone(), text);
        }
        let full = read_full(&bytes).unwrap();
        let with = attach(&bytes, &full, &metadata, &files).unwrap();
        let again = read_full(&with).unwrap();
        assert_eq!(again.modules, full.modules);
        assert_eq!(Metadata::of_manifest(&again.manifest, "p").unwrap(), metadata);
        assert_eq!(read_light(&with).unwrap().identity, read_light(&bytes).unwrap().identity);
        for (path, hash) in &metadata.files {
            let blob = again.blobs.iter().find(|b| sha256_text(&b.sha256) == *hash).unwrap();
            assert_eq!(blob_bytes(&with, blob).unwrap(), files[path]);
        }
        // Twice is once, and nothing attached is the package as it was.
        assert_eq!(attach(&with, &again, &metadata, &files).unwrap(), with);
        let none = attach(&with, &again, &Metadata::default(), &BTreeMap::new()).unwrap();
        assert_eq!(none, bytes);
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for under in [
            "null",
            "1",
            "{}",
            r#"{"format":2}"#,
            r#"{"format":1,"more":1}"#,
            r#"{"format":1,"dependencies":{"a":1}}"#,
            r#"{"format":1,"dependencies":{"../a":"1"}}"#,
            r#"{"format":1,"platform":{"cpu":["x"]}}"#,
            r#"{"format":1,"native":[{"name":"z","tool":"gcc","sources":["z.c"]}]}"#,
            r#"{"format":1,"files":{"../z.c":"sha256:1"}}"#,
        ] {
            let text = format!("{{\"drift_package\":{under}}}");
            let value = parse(text.as_bytes(), Limit::MANIFEST).unwrap();
            let result = Metadata::of_manifest(value.as_object().unwrap(), "p");
            assert_eq!(result.unwrap_err().code, "METADATA_INVALID", "{under}");
        }
        assert!(Metadata::of_manifest(&Object::new(), "p").unwrap().is_empty());
    }
}
