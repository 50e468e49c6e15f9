//! Writing DMIR-PKG v0 containers, byte for byte as the Drift compiler does.

use std::collections::BTreeMap;

use epk_format::digest::Sha256;

use super::container::{ENTRY_LEN, HEADER_LEN, MAGIC};
use super::identity::Identity;
use crate::canonical_json::canonical;
use crate::json::{Object, Value, object};
use crate::keys::sha256_text;

/// What a blob of a module holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKind {
    /// The module's code, type 1, named `dmir:MODULE`.
    Payload,
    /// The module's interface, type 2, named `iface:MODULE`.
    Interface,
    /// An input of a native part, type 3, named `native:PATH`.
    Native,
}

impl BlobKind {
    fn number(self) -> u16 {
        match self {
            Self::Payload => 1,
            Self::Interface => 2,
            Self::Native => 3,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Payload => "dmir:",
            Self::Interface => "iface:",
            Self::Native => "native:",
        }
    }

    fn manifest_type(self) -> &'static str {
        match self {
            Self::Payload => "dmir",
            Self::Interface => "exports",
            Self::Native => "native",
        }
    }
}

/// One module of a package to be written.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its id, for instance `acme.http.client`.
    pub id: String,
    /// What the manifest says under `exports`.
    pub exports: Value,
    /// Bytes of its interface, a JSON object.
    pub interface: Vec<u8>,
    /// Bytes of its payload, a JSON object.
    pub payload: Vec<u8>,
}

/// A package to be written.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its identity.
    pub identity: Identity,
    /// A label of the build, or nothing.
    pub build_epoch: Option<String>,
    /// Its modules; they are sorted by id.
    pub modules: Vec<Module>,
}

/// A blob to be written.
#[derive(Clone, Debug)]
pub struct NewBlob {
    /// What it holds.
    pub kind: BlobKind,
    /// Its full name; the first 24 bytes are written.
    pub name: Vec<u8>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A package does not fit into the format's integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the package is larger than its format can say")]
pub struct TooLarge;

/// Writes `package` with the manifest that the compiler writes.
///
/// # Errors
/// [`TooLarge`]
pub fn write_package(package: &Package) -> Result<Vec<u8>, TooLarge> {
    let mut modules: Vec<&Module> = package.modules.iter().collect();
    modules.sort_by(|a, b| a.id.cmp(&b.id));
    let mut listed = Vec::new();
    let mut blobs = Vec::new();
    let mut types = Object::new();
    for module in modules {
        let mut add = |kind: BlobKind, bytes: &[u8]| -> Value {
            let name = sha256_text(&Sha256::of(bytes));
            types.insert(
                name.as_str(),
                object([("type", kind.manifest_type().into()), ("length", bytes.len().into())]),
            );
            blobs.push(NewBlob {
                kind,
                name: format!("{}{}", kind.prefix(), module.id).into_bytes(),
                bytes: bytes.to_vec(),
            });
            name.into()
        };
        let interface = add(BlobKind::Interface, &module.interface);
        let payload = add(BlobKind::Payload, &module.payload);
        listed.push(object([
            ("module_id", module.id.as_str().into()),
            ("exports", module.exports.clone()),
            ("interface_blob", interface),
            ("payload_blob", payload),
        ]));
    }
    let manifest = Object::from([
        ("format", "dmir-pkg".into()),
        ("format_version", 0_usize.into()),
        ("package_id", package.identity.package_id.as_str().into()),
        ("package_version", package.identity.version.as_str().into()),
        ("target", package.identity.target.as_str().into()),
        ("build_epoch", package.build_epoch.as_deref().into()),
        ("unsigned", true.into()),
        ("unstable_format", true.into()),
        ("payload_kind", "provisional-dmir".into()),
        ("payload_version", 0_usize.into()),
        ("modules", Value::Array(listed)),
        ("blobs", types.into()),
    ]);
    write_container(&manifest, &blobs)
}

/// Writes a container with `manifest` and `blobs` as given. Blobs of equal bytes become one entry,
/// the first one's.
///
/// # Errors
/// [`TooLarge`]
pub fn write_container(manifest: &Object, blobs: &[NewBlob]) -> Result<Vec<u8>, TooLarge> {
    let mut unique: BTreeMap<Sha256, &NewBlob> = BTreeMap::new();
    for blob in blobs {
        unique.entry(Sha256::of(&blob.bytes)).or_insert(blob);
    }
    let manifest = canonical(&Value::Object(manifest.clone())).into_bytes();
    let table_len = unique.len().checked_mul(ENTRY_LEN).ok_or(TooLarge)?;
    let mut offset = HEADER_LEN
        .checked_add(manifest.len())
        .and_then(|length| length.checked_add(table_len))
        .and_then(|length| u64::try_from(length).ok())
        .ok_or(TooLarge)?;
    let mut table = Vec::with_capacity(table_len);
    for (sha256, NewBlob { kind, name, bytes }) in &unique {
        let length = u64::try_from(bytes.len()).map_err(|_| TooLarge)?;
        let mut field = [0; 24];
        let name_len = name.len().min(field.len());
        for (slot, byte) in field.iter_mut().zip(name) {
            *slot = *byte;
        }
        table.extend_from_slice(sha256.as_bytes());
        table.extend_from_slice(&offset.to_le_bytes());
        table.extend_from_slice(&length.to_le_bytes());
        table.extend_from_slice(&kind.number().to_le_bytes());
        table.extend_from_slice(&0_u16.to_le_bytes());
        table.extend_from_slice(&u32::try_from(name_len).map_err(|_| TooLarge)?.to_le_bytes());
        table.extend_from_slice(&field);
        offset = offset.checked_add(length).ok_or(TooLarge)?;
    }
    let number = |value: usize| u64::try_from(value).map_err(|_| TooLarge);
    let small = |value: usize| u32::try_from(value).map_err(|_| TooLarge);
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&0_u16.to_le_bytes());
    out.extend_from_slice(&0_u16.to_le_bytes());
    out.extend_from_slice(&small(HEADER_LEN)?.to_le_bytes());
    out.extend_from_slice(&number(manifest.len())?.to_le_bytes());
    out.extend_from_slice(Sha256::of(&manifest).as_bytes());
    out.extend_from_slice(&number(unique.len())?.to_le_bytes());
    out.extend_from_slice(&small(ENTRY_LEN)?.to_le_bytes());
    out.extend_from_slice(Sha256::of(&table).as_bytes());
    out.extend_from_slice(&[0; 64]);
    out.extend_from_slice(&manifest);
    out.extend_from_slice(&table);
    for blob in unique.values() {
        out.extend_from_slice(&blob.bytes);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::container::{ContainerError, read_full, read_identity, read_light};
    use super::super::testing::package;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_reads_back() {
        let bytes = package("acme.http", "1.4.0", "any", &["acme.http.client", "acme.http"]);
        let full = read_full(&bytes).unwrap();
        assert_eq!(full.modules, ["acme.http", "acme.http.client"]);
        let identity = read_identity(&full.manifest).unwrap();
        assert_eq!(identity, read_light(&bytes).unwrap().identity);
        assert_eq!(identity.to_string(), "(acme.http, 1.4.0, any)");
        assert!(full.blobs.iter().all(|blob| blob.name.len() <= 24));
    }

    #[test]
    fn the_layout_is_pinned() {
        // The bytes the first time this was written, after they agreed with the recorded
        // packages: nobody's files may change under them.
        let bytes = package("acme.http", "1.4.0", "any", &["acme.http"]);
        assert_eq!(
            Sha256::of(&bytes).to_hex(),
            "cc2fc4e3b38b0fcf891b85a45f3c74ed85301ed8989b95c1f087e29c46325ed5"
        );
    }

    #[test]
    fn equal_blobs_become_one_entry() {
        let blob = |kind, name: &str| NewBlob { kind, name: name.into(), bytes: b"{}".to_vec() };
        let blobs = [blob(BlobKind::Interface, "iface:a"), blob(BlobKind::Payload, "dmir:a")];
        let bytes = write_container(&Object::new(), &blobs).unwrap();
        assert_eq!(bytes.len(), HEADER_LEN + 2 + ENTRY_LEN + 2);
    }

    /// Sets bytes of a good package and says what both readers must answer.
    #[test]
    fn damage_has_its_own_error() {
        let good = package("p", "1", "any", &["p"]);
        let set = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            bad
        };
        type Check = fn(&ContainerError) -> bool;
        let cases: [(&str, Vec<u8>, bool, Check); 9] = [
            ("empty", Vec::new(), false, |e| matches!(e, ContainerError::TooShort { found: 0 })),
            ("magic", set(0, b"X"), false, |e| *e == ContainerError::BadMagic),
            ("version", set(8, &[1]), false, |e| {
                *e == ContainerError::UnsupportedVersion { found: 1 }
            }),
            ("flags", set(10, &[1]), true, |e| *e == ContainerError::UnsupportedFlags { found: 1 }),
            ("header size", set(12, &[96]), true, |e| {
                *e == ContainerError::UnsupportedHeaderSize { found: 96 }
            }),
            ("manifest length", set(16, &[0xff; 8]), false, |e| {
                matches!(e, ContainerError::ManifestOutOfRange { found: u64::MAX, .. })
            }),
            ("entries", set(56, &[0xff; 8]), true, |e| {
                matches!(e, ContainerError::TableOutOfRange { found: u64::MAX, .. })
            }),
            ("manifest", set(170, &[0]), false, |e| {
                matches!(e, ContainerError::ManifestHash { .. })
            }),
            ("blob", set(good.len() - 1, &[0]), true, |e| {
                matches!(e, ContainerError::BlobHash { .. })
            }),
        ];
        for (what, bytes, light_is_ok, check) in cases {
            assert_eq!(read_light(&bytes).is_ok(), light_is_ok, "{what}");
            let error = read_full(&bytes).unwrap_err();
            assert!(check(&error), "{what}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
            header in any::<bool>(),
        ) {
            if header {
                for (slot, byte) in bytes.iter_mut().zip(MAGIC.iter().chain(&[0; 4])) {
                    *slot = *byte;
                }
            }
            let _ = read_light(&bytes);
            prop_assert!(read_full(&bytes).is_err());
        }

        #[test]
        fn no_change_to_a_good_package_makes_the_readers_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
            cut_it in any::<bool>(),
        ) {
            let mut bytes = package("p.q", "1", "any", &["p.q", "p.q.r"]);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut_it {
                bytes.truncate(cut.index(bytes.len()));
            }
            let _ = read_light(&bytes);
            let _ = read_full(&bytes);
        }

        /// Any table is refused or describes blobs that are inside the file, behind the table
        /// and apart from each other: hashes are made right so that the ranges are reached.
        #[test]
        fn accepted_blobs_are_in_range(
            entries in prop::collection::vec((any::<u8>(), 0_u64..600, 0_u64..300), 0..5),
            tail in 0_usize..400,
        ) {
            let manifest = b"{}";
            let mut table = Vec::new();
            for (hash, offset, length) in &entries {
                let mut entry = [0; ENTRY_LEN];
                entry[0] = *hash;
                entry[32..40].copy_from_slice(&offset.to_le_bytes());
                entry[40..48].copy_from_slice(&length.to_le_bytes());
                table.extend_from_slice(&entry);
            }
            let mut bytes = write_container(&Object::new(), &[]).unwrap();
            bytes.truncate(HEADER_LEN);
            bytes[16..24].copy_from_slice(&2_u64.to_le_bytes());
            bytes[24..56].copy_from_slice(Sha256::of(manifest).as_bytes());
            bytes[56..64].copy_from_slice(&(entries.len() as u64).to_le_bytes());
            bytes[68..100].copy_from_slice(Sha256::of(&table).as_bytes());
            bytes.extend_from_slice(manifest);
            bytes.extend_from_slice(&table);
            let free = bytes.len() as u64;
            bytes.extend(vec![0; tail]);
            match read_full(&bytes) {
                // All ranges were fine, and a hash of one byte and zeroes is never right.
                Err(ContainerError::BlobHash { .. }) => {
                    let mut sorted: Vec<_> = entries.iter().map(|e| (e.1, e.2)).collect();
                    sorted.sort_unstable();
                    let mut at = free;
                    for (offset, length) in sorted {
                        prop_assert!(offset >= at && offset + length <= bytes.len() as u64);
                        at = offset + length;
                    }
                }
                Err(ContainerError::BlobsMissing) => prop_assert!(entries.is_empty()),
                Err(
                    ContainerError::DuplicateBlob(_)
                    | ContainerError::BlobOverlaps { .. }
                    | ContainerError::BlobOutOfRange { .. },
                ) => {}
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
