//! Reading DMIR-PKG v0 containers, from bytes that are all there: nothing is allocated from a
//! length in the file before the length of the file bounds it.
//!
//! ```text
//!   0  magic "DMIRPKG\0"     8
//!   8  version u16 = 0       2      all integers little-endian
//!  10  flags u16 = 0         2
//!  12  header size u32 = 164 4
//!  16  manifest bytes u64    8
//!  24  manifest SHA-256     32
//!  56  table entries u64     8
//!  64  entry size u32 = 80   4
//!  68  table SHA-256        32
//! 100  reserved             64
//! 164  manifest, then the table, then the blobs
//! ```
//!
//! Two strictnesses: [`read_light`] looks at header, manifest and identity, as fetching and
//! indexing do; [`read_full`] checks everything a compiler relies on. Trailing bytes, gaps,
//! reserved bytes, entry names, types and their order are free, as in the original.

use std::collections::{BTreeMap, BTreeSet};

use epk_format::digest::Sha256;
use serde::de::IgnoredAny;

use super::identity::Identity;
use crate::json::{self, JsonError, Limit, Object};

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"DMIRPKG\0";
/// Bytes of the header.
pub const HEADER_LEN: usize = 164;
/// Bytes of one table entry.
pub const ENTRY_LEN: usize = 80;

/// Why bytes are no package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// Shorter than the header.
    #[error("{found} bytes, but the header alone has {HEADER_LEN}")]
    TooShort {
        /// Bytes there are.
        found: usize,
    },
    /// Another magic.
    #[error("not a package: bytes 0..8 are not `DMIRPKG` and a zero")]
    BadMagic,
    /// Another container version.
    #[error("container version {found} at byte 8, only 0 is known")]
    UnsupportedVersion {
        /// The version found.
        found: u16,
    },
    /// Flags that nobody has defined.
    #[error("flags {found:#06x} at byte 10, only 0 is known")]
    UnsupportedFlags {
        /// The flags found.
        found: u16,
    },
    /// Another header size.
    #[error("header size {found} at byte 12, only {HEADER_LEN} is known")]
    UnsupportedHeaderSize {
        /// The size found.
        found: u32,
    },
    /// Another entry size.
    #[error("table entry size {found} at byte 64, only {ENTRY_LEN} is known")]
    UnsupportedEntrySize {
        /// The size found.
        found: u32,
    },
    /// The manifest ends behind the file.
    #[error("a manifest of {found} bytes at byte {HEADER_LEN}, only {available} are there")]
    ManifestOutOfRange {
        /// Length in the header.
        found: u64,
        /// Bytes behind the header.
        available: usize,
    },
    /// The manifest has another hash than the header says.
    #[error("the manifest's SHA-256 is {found}, the header says {expected}")]
    ManifestHash {
        /// Of the bytes.
        found: Sha256,
        /// In the header.
        expected: Sha256,
    },
    /// The table ends behind the file.
    #[error("a table of {found} entries at byte {at}, only {available} bytes are there")]
    TableOutOfRange {
        /// Entries in the header.
        found: u64,
        /// Where the table starts.
        at: usize,
        /// Bytes from there.
        available: usize,
    },
    /// The table has another hash than the header says.
    #[error("the table's SHA-256 is {found}, the header says {expected}")]
    TableHash {
        /// Of the bytes.
        found: Sha256,
        /// In the header.
        expected: Sha256,
    },
    /// Two entries for one blob.
    #[error("two table entries for blob {0}")]
    DuplicateBlob(Sha256),
    /// A blob lies over something else.
    #[error("blob {blob} starts at byte {found}, bytes before {free} are taken")]
    BlobOverlaps {
        /// Which.
        blob: Sha256,
        /// Its offset.
        found: u64,
        /// The first free offset.
        free: u64,
    },
    /// A blob ends behind the file.
    #[error("blob {blob} of {length} bytes at byte {offset} ends behind the file")]
    BlobOutOfRange {
        /// Which.
        blob: Sha256,
        /// Its offset.
        offset: u64,
        /// Its length.
        length: u64,
    },
    /// A blob's bytes have another hash than its entry says.
    #[error("the blob at byte {offset} has SHA-256 {found}, its entry says {expected}")]
    BlobHash {
        /// Its offset.
        offset: u64,
        /// Of the bytes.
        found: Sha256,
        /// In the table.
        expected: Sha256,
    },
    /// The manifest is not JSON.
    #[error("the manifest is {0}")]
    ManifestJson(#[from] JsonError),
    /// The manifest is JSON, but not an object.
    #[error("the manifest is {0}, not an object")]
    ManifestNotObject(&'static str),
    /// A part of the identity is missing, empty or no string.
    #[error("the manifest has no `{0}`, a string that is not empty")]
    IdentityMissing(&'static str),
    /// The manifest's `blobs` is no object.
    #[error("the manifest has no object `blobs`")]
    BlobsMissing,
    /// A blob of the table is not in `blobs`.
    #[error("blob {0} of the table is not in the manifest's `blobs`")]
    BlobNotInManifest(Sha256),
    /// A blob of `blobs` is not in the table.
    #[error("blob `{0}` of the manifest is not in the table")]
    BlobNotInTable(String),
    /// The manifest's `modules` is no list.
    #[error("the manifest has no list `modules`")]
    ModulesMissing,
    /// A module entry has not its three strings.
    #[error("module {at} of the manifest has no string `{field}`")]
    ModuleField {
        /// Its place in the list.
        at: usize,
        /// Which string.
        field: &'static str,
    },
    /// A module names a blob that the table does not have.
    #[error("module `{module}` names `{blob}` as `{field}`, which the table does not have")]
    ModuleBlob {
        /// The module's id.
        module: String,
        /// Which string.
        field: &'static str,
        /// What it says.
        blob: String,
    },
    /// A module's blob is not a JSON object.
    #[error("blob {0} of a module is not a JSON object")]
    BlobNotObject(Sha256),
}

/// What [`read_light`] learns.
#[derive(Clone, Debug, PartialEq)]
pub struct Light {
    /// The manifest.
    pub manifest: Object,
    /// Who the package says it is.
    pub identity: Identity,
}

/// What [`read_full`] learns.
#[derive(Clone, Debug, PartialEq)]
pub struct Full {
    /// The manifest.
    pub manifest: Object,
    /// The table, in its own order.
    pub blobs: Vec<Blob>,
    /// Module ids in the order of the manifest, doubled ones too.
    pub modules: Vec<String>,
}

/// One table entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Hash of the blob's bytes.
    pub sha256: Sha256,
    /// Offset from the start of the file.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// 1 for a module's payload, 2 for its interface; never checked.
    pub kind: u16,
    /// The name's bytes without padding, at most 24; may end inside a character.
    pub name: Vec<u8>,
}

struct Header {
    flags: u16,
    header_size: u32,
    manifest_len: u64,
    manifest_sha256: Sha256,
    entries: u64,
    entry_size: u32,
    table_sha256: Sha256,
}

/// The `N` bytes at `at`.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn read_header(bytes: &[u8]) -> Result<Header, ContainerError> {
    let short = || ContainerError::TooShort { found: bytes.len() };
    if bytes.len() < HEADER_LEN {
        return Err(short());
    }
    if array(bytes, 0).ok_or_else(short)? != MAGIC {
        return Err(ContainerError::BadMagic);
    }
    let version = u16::from_le_bytes(array(bytes, 8).ok_or_else(short)?);
    if version != 0 {
        return Err(ContainerError::UnsupportedVersion { found: version });
    }
    Ok(Header {
        flags: u16::from_le_bytes(array(bytes, 10).ok_or_else(short)?),
        header_size: u32::from_le_bytes(array(bytes, 12).ok_or_else(short)?),
        manifest_len: u64::from_le_bytes(array(bytes, 16).ok_or_else(short)?),
        manifest_sha256: Sha256(array(bytes, 24).ok_or_else(short)?),
        entries: u64::from_le_bytes(array(bytes, 56).ok_or_else(short)?),
        entry_size: u32::from_le_bytes(array(bytes, 64).ok_or_else(short)?),
        table_sha256: Sha256(array(bytes, 68).ok_or_else(short)?),
    })
}

/// The manifest's bytes, of the hash that the header says.
fn manifest_bytes<'a>(bytes: &'a [u8], header: &Header) -> Result<&'a [u8], ContainerError> {
    let behind = bytes.get(HEADER_LEN..).unwrap_or_default();
    let manifest = usize::try_from(header.manifest_len)
        .ok()
        .and_then(|length| behind.get(..length))
        .ok_or(ContainerError::ManifestOutOfRange {
            found: header.manifest_len,
            available: behind.len(),
        })?;
    let found = Sha256::of(manifest);
    if found != header.manifest_sha256 {
        return Err(ContainerError::ManifestHash { found, expected: header.manifest_sha256 });
    }
    Ok(manifest)
}

fn parse_manifest(bytes: &[u8]) -> Result<Object, ContainerError> {
    match json::parse(bytes, Limit::MANIFEST)? {
        json::Value::Object(object) => Ok(object),
        other => Err(ContainerError::ManifestNotObject(other.kind())),
    }
}

/// Reads header, manifest and identity; flags, header size, table and blobs stay unread.
///
/// # Errors
/// [`ContainerError`]
pub fn read_light(bytes: &[u8]) -> Result<Light, ContainerError> {
    let header = read_header(bytes)?;
    let manifest = parse_manifest(manifest_bytes(bytes, &header)?)?;
    let identity = read_identity(&manifest)?;
    Ok(Light { manifest, identity })
}

/// The identity that a manifest declares.
///
/// # Errors
/// [`ContainerError::IdentityMissing`]
pub fn read_identity(manifest: &Object) -> Result<Identity, ContainerError> {
    let part = |key: &'static str| {
        manifest.text(key).map(str::to_owned).ok_or(ContainerError::IdentityMissing(key))
    };
    Ok(Identity {
        package_id: part("package_id")?,
        version: part("package_version")?,
        target: part("target")?,
    })
}

/// The ids of the manifest's modules, sorted, each once; entries without one are passed over.
#[must_use]
pub fn module_ids(manifest: &Object) -> BTreeSet<String> {
    let modules = manifest.get("modules").and_then(json::Value::as_array).unwrap_or_default();
    modules
        .iter()
        .filter_map(|module| module.as_object()?.get("module_id")?.as_str())
        .map(str::to_owned)
        .collect()
}

/// Checks everything in the container; the identity is [`read_identity`]'s business.
///
/// # Errors
/// [`ContainerError`], of the first rule broken in the order of `spec/drift.md`.
pub fn read_full(bytes: &[u8]) -> Result<Full, ContainerError> {
    let header = read_header(bytes)?;
    if header.flags != 0 {
        return Err(ContainerError::UnsupportedFlags { found: header.flags });
    }
    if usize::try_from(header.header_size) != Ok(HEADER_LEN) {
        return Err(ContainerError::UnsupportedHeaderSize { found: header.header_size });
    }
    if usize::try_from(header.entry_size) != Ok(ENTRY_LEN) {
        return Err(ContainerError::UnsupportedEntrySize { found: header.entry_size });
    }
    let manifest = manifest_bytes(bytes, &header)?;
    let (blobs, table_end) = read_table(bytes, &header, manifest.len())?;
    check_ranges(bytes, &blobs, table_end)?;
    let manifest = parse_manifest(manifest)?;
    let contents = read_blobs(bytes, &blobs)?;
    check_blob_names(&manifest, &contents)?;
    let modules = check_modules(&manifest, &contents)?;
    Ok(Full { manifest, blobs, modules })
}

fn read_table(
    bytes: &[u8],
    header: &Header,
    manifest_len: usize,
) -> Result<(Vec<Blob>, usize), ContainerError> {
    let at = HEADER_LEN.saturating_add(manifest_len);
    let behind = bytes.get(at..).unwrap_or_default();
    let table = usize::try_from(header.entries)
        .ok()
        .and_then(|entries| entries.checked_mul(ENTRY_LEN))
        .and_then(|length| behind.get(..length))
        .ok_or(ContainerError::TableOutOfRange {
            found: header.entries,
            at,
            available: behind.len(),
        })?;
    let found = Sha256::of(table);
    if found != header.table_sha256 {
        return Err(ContainerError::TableHash { found, expected: header.table_sha256 });
    }
    let mut seen = BTreeSet::new();
    let mut blobs = Vec::with_capacity(table.len() / ENTRY_LEN);
    for entry in table.chunks_exact(ENTRY_LEN) {
        let Some(blob) = read_entry(entry) else { continue };
        if !seen.insert(blob.sha256) {
            return Err(ContainerError::DuplicateBlob(blob.sha256));
        }
        blobs.push(blob);
    }
    Ok((blobs, at.saturating_add(table.len())))
}

/// One entry of 80 bytes; `None` is for the type checker only.
fn read_entry(entry: &[u8]) -> Option<Blob> {
    let name = entry.get(56..ENTRY_LEN)?;
    let name_len = usize::try_from(u32::from_le_bytes(array(entry, 52)?)).unwrap_or(usize::MAX);
    Some(Blob {
        sha256: Sha256(array(entry, 0)?),
        offset: u64::from_le_bytes(array(entry, 32)?),
        length: u64::from_le_bytes(array(entry, 40)?),
        kind: u16::from_le_bytes(array(entry, 48)?),
        name: name.get(..name_len.min(name.len()))?.to_vec(),
    })
}

/// Blobs lie behind the table, one behind the other, inside the file.
fn check_ranges(bytes: &[u8], blobs: &[Blob], table_end: usize) -> Result<(), ContainerError> {
    let mut by_offset: Vec<&Blob> = blobs.iter().collect();
    by_offset.sort_by_key(|blob| blob.offset);
    let mut free = u64::try_from(table_end).unwrap_or(u64::MAX);
    let file_len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    for blob in by_offset {
        let Blob { sha256, offset, length, .. } = *blob;
        if offset < free {
            return Err(ContainerError::BlobOverlaps { blob: sha256, found: offset, free });
        }
        free = offset
            .checked_add(length)
            .filter(|end| *end <= file_len)
            .ok_or(ContainerError::BlobOutOfRange { blob: sha256, offset, length })?;
    }
    Ok(())
}

fn read_blobs<'a>(
    bytes: &'a [u8],
    blobs: &[Blob],
) -> Result<BTreeMap<Sha256, &'a [u8]>, ContainerError> {
    let mut contents = BTreeMap::new();
    for blob in blobs {
        let Blob { sha256, offset, length, .. } = *blob;
        let content = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(length).ok())
            .and_then(|(start, length)| bytes.get(start..start.checked_add(length)?))
            .ok_or(ContainerError::BlobOutOfRange { blob: sha256, offset, length })?;
        let found = Sha256::of(content);
        if found != sha256 {
            return Err(ContainerError::BlobHash { offset, found, expected: sha256 });
        }
        contents.insert(sha256, content);
    }
    Ok(contents)
}

/// The keys of `blobs`, with or without their prefix, are the hashes of the table.
fn check_blob_names(
    manifest: &Object,
    contents: &BTreeMap<Sha256, &[u8]>,
) -> Result<(), ContainerError> {
    let listed = manifest
        .get("blobs")
        .and_then(json::Value::as_object)
        .ok_or(ContainerError::BlobsMissing)?;
    let mut missing: BTreeSet<&Sha256> = contents.keys().collect();
    let mut extra = None;
    for (key, _) in listed.iter() {
        match Sha256::from_hex(key.strip_prefix("sha256:").unwrap_or(key)) {
            Some(hash) if contents.contains_key(&hash) => {
                missing.remove(&hash);
            }
            _ => extra = extra.or(Some(key)),
        }
    }
    if let Some(hash) = missing.first() {
        return Err(ContainerError::BlobNotInManifest(**hash));
    }
    extra.map_or(Ok(()), |key| Err(ContainerError::BlobNotInTable(key.to_owned())))
}

fn check_modules(
    manifest: &Object,
    contents: &BTreeMap<Sha256, &[u8]>,
) -> Result<Vec<String>, ContainerError> {
    let modules = manifest
        .get("modules")
        .and_then(json::Value::as_array)
        .ok_or(ContainerError::ModulesMissing)?;
    let mut ids = Vec::new();
    let mut checked = BTreeSet::new();
    for (at, module) in modules.iter().enumerate() {
        let string = |field| {
            module
                .as_object()
                .and_then(|module| module.get(field)?.as_str())
                .ok_or(ContainerError::ModuleField { at, field })
        };
        let id = string("module_id")?;
        for field in ["interface_blob", "payload_blob"] {
            let name = string(field)?;
            let unknown = || ContainerError::ModuleBlob {
                module: id.to_owned(),
                field,
                blob: name.to_owned(),
            };
            let hash =
                name.strip_prefix("sha256:").and_then(Sha256::from_hex).ok_or_else(unknown)?;
            let content = contents.get(&hash).ok_or_else(unknown)?;
            if checked.insert(hash) && !is_json_object(content) {
                return Err(ContainerError::BlobNotObject(hash));
            }
        }
        ids.push(id.to_owned());
    }
    Ok(ids)
}

/// Whether `bytes` are one JSON object, found out without building it.
fn is_json_object(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
}
