//! Packages and repositories of them as artifacts of a registry (`spec/repository.md` §7).
//!
//! A package is one file, its manifest says what an index would. A repository is the three files
//! of its index under one tag, so that readers see one state or the next, and packages that are
//! found by the hashes that the index has of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use epk_format::digest::Sha256;

use super::epk::{EPK_INDEX, Release, check_identity};
use crate::problem::Problem;
use crate::transport::oci::{Artifact, Layer, is_tag};

/// The type of an artifact that is a package.
pub const PACKAGE_TYPE: &str = "application/vnd.epk.package.v1";
/// The type of its one file.
const PACKAGE_FILE: &str = "application/vnd.epk.package.file.v1";
/// The type of an artifact that is a repository's index.
pub const INDEX_TYPE: &str = "application/vnd.epk.index.v1";
/// The tag of the index in a repository.
pub const INDEX_TAG: &str = "epk-index";
/// The files of an index: what follows its name, and their types.
const INDEX_FILES: [(&str, &str); 3] = [
    (".sig", "application/vnd.epk.index.statement.v1+json"),
    (".zst", "application/vnd.epk.index.file.v1+zstd"),
    ("", "application/vnd.epk.index.file.v1+json"),
];

/// The annotations of a package.
const NAME: &str = "vnd.epk.name";
const VERSION: &str = "vnd.epk.version";
const ARCH: &str = "vnd.epk.arch";
const KERNEL_API: &str = "vnd.epk.kernel-api";
const FORMAT: &str = "vnd.epk.format";
const PACKAGE_HASH: &str = "vnd.epk.package-hash";
const KEY_IDS: &str = "vnd.epk.key-ids";
const HEAD_SIZE: &str = "vnd.epk.head-size";
/// Annotations that others know, too.
const SHOWN_NAME: &str = "org.opencontainers.image.title";
const SHOWN_VERSION: &str = "org.opencontainers.image.version";
const SHOWN_DESCRIPTION: &str = "org.opencontainers.image.description";

/// The artifact of a package. Nothing in it depends on when or where it is made.
///
/// # Errors
/// `INDEX_INVALID`: a name or text that no index can hold.
pub fn package_artifact(name: &str, version: &str, release: &Release) -> Result<Artifact, Problem> {
    let invalid = |message: String| Problem::new("INDEX_INVALID", message);
    check_identity(name, version).and_then(|()| release.check()).map_err(invalid)?;
    let digest = Sha256::from_hex(&release.sha256)
        .ok_or_else(|| invalid(format!("`sha256` is `{}`", release.sha256)))?;
    let mut annotations = BTreeMap::from(
        [
            (NAME, name),
            (VERSION, version),
            (ARCH, &release.arch),
            (KERNEL_API, &release.kernel_api),
            (FORMAT, &release.format),
            (KEY_IDS, &release.key_ids.join(" ")),
            (PACKAGE_HASH, &format!("sha256:{}", release.package_hash)),
            (SHOWN_NAME, name),
            (SHOWN_VERSION, version),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    if let Some(size) = release.head_size {
        annotations.insert(HEAD_SIZE.to_owned(), size.to_string());
    }
    if let Some(text) = &release.description {
        annotations.insert(SHOWN_DESCRIPTION.to_owned(), text.clone());
    }
    let file = release.file.rsplit('/').next().unwrap_or(&release.file);
    let layer = Layer {
        kind: PACKAGE_FILE.to_owned(),
        digest,
        size: release.size,
        title: Some(file.to_owned()),
    };
    Ok(Artifact { kind: PACKAGE_TYPE.to_owned(), annotations, layers: vec![layer] })
}

/// Name, version and what else an artifact says of its package. Nobody has signed that: it is
/// for the package to prove.
///
/// # Errors
/// `ARTIFACT_INVALID`: it is no package, or says too little.
pub fn read_package(artifact: &Artifact) -> Result<(String, String, Release), Problem> {
    let invalid = |message: String| Problem::new("ARTIFACT_INVALID", message);
    let Artifact { kind, annotations, layers } = artifact;
    if kind != PACKAGE_TYPE {
        let found = kind.escape_debug();
        return Err(invalid(format!("it is a `{found}`, a package is a `{PACKAGE_TYPE}`")));
    }
    let [layer] = &**layers else {
        return Err(invalid(format!("it has {} layers, a package has one", layers.len())));
    };
    let text = |key: &str| {
        let found = annotations.get(key).cloned();
        found.ok_or_else(|| invalid(format!("it has no annotation `{key}`")))
    };
    let (name, version) = (text(NAME)?, text(VERSION)?);
    let head_size = annotations.get(HEAD_SIZE).map(|text| {
        text.parse().map_err(|_| invalid(format!("`{HEAD_SIZE}` is `{}`", text.escape_debug())))
    });
    let hash = text(PACKAGE_HASH)?;
    let hash = hash.strip_prefix("sha256:").unwrap_or(&hash);
    let release = Release {
        arch: text(ARCH)?,
        commands: Vec::new(),
        description: annotations.get(SHOWN_DESCRIPTION).cloned(),
        file: "package.epk".to_owned(),
        format: text(FORMAT)?,
        head_size: head_size.transpose()?,
        kernel_api: text(KERNEL_API)?,
        key_ids: text(KEY_IDS)?.split_whitespace().map(str::to_owned).collect(),
        package_hash: hash.to_owned(),
        published: 0,
        sha256: layer.digest.to_hex(),
        size: layer.size,
    };
    check_identity(&name, &version).and_then(|()| release.check()).map_err(invalid)?;
    Ok((name, version, release))
}

/// The artifact of an index, from its statement, the packed index and the index.
#[must_use]
pub fn index_artifact(files: [&[u8]; 3]) -> Artifact {
    let layer = |((suffix, kind), bytes): ((&str, &str), &[u8])| Layer {
        kind: kind.to_owned(),
        digest: Sha256::of(bytes),
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        title: Some(format!("{EPK_INDEX}{suffix}")),
    };
    let layers = INDEX_FILES.into_iter().zip(files).map(layer).collect();
    Artifact { kind: INDEX_TYPE.to_owned(), annotations: BTreeMap::new(), layers }
}

/// The tag of a package in a repository: `NAME__VERSION`, where each byte but ASCII letters,
/// digits, `.` and `-` is `_XX`, and so are the last two at the beginning. Different packages
/// have different tags.
#[must_use]
pub fn package_tag(name: &str, version: &str) -> String {
    let tag = format!("{}__{}", escape(name), escape(version));
    if is_tag(&tag) {
        return tag;
    }
    // Too long. No other tag has a `-` and no `__`.
    format!("sha256-{}", Sha256::of(tag.as_bytes()))
}

fn escape(text: &str) -> String {
    let mut tag = String::new();
    for (at, byte) in text.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || (b".-".contains(&byte) && at > 0) {
            tag.push(char::from(byte));
        } else {
            let _ = write!(tag, "_{byte:02X}");
        }
    }
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        Release {
            arch: "x86-64".into(),
            commands: Vec::new(),
            description: Some("words".into()),
            file: "package.epk".into(),
            format: "2.0".into(),
            head_size: Some(512),
            kernel_api: "1.0".into(),
            key_ids: vec!["ed25519:x".into(), "ed25519:y".into()],
            package_hash: "0".repeat(64),
            published: 0,
            sha256: "1".repeat(64),
            size: 1024,
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let artifact = package_artifact("app", "1.0+2", &release()).unwrap();
        let expected = ("app".to_owned(), "1.0+2".to_owned(), release());
        assert_eq!(read_package(&artifact).unwrap(), expected);
        let unsigned = Release { key_ids: vec![], head_size: None, description: None, ..release() };
        let artifact = package_artifact("app", "1", &unsigned).unwrap();
        assert_eq!(read_package(&artifact).unwrap().2, unsigned);
        assert!(package_artifact("a\nb", "1", &release()).is_err());
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let good = || package_artifact("app", "1", &release()).unwrap();
        let said = |artifact: &Artifact| read_package(artifact).unwrap_err().message.clone();
        let other = Artifact { kind: INDEX_TYPE.into(), ..good() };
        assert!(said(&other).contains("it is a `application/vnd.epk.index.v1`"));
        let mut two = good();
        two.layers.push(two.layers[0].clone());
        assert!(said(&two).contains("2 layers"));
        for key in [NAME, VERSION, ARCH, KERNEL_API, FORMAT, PACKAGE_HASH, KEY_IDS] {
            let mut lacking = good();
            lacking.annotations.remove(key);
            assert!(said(&lacking).contains(key), "{key}");
            let mut wrong = good();
            wrong.annotations.insert(key.into(), "\u{1b}".into());
            // Control characters are nowhere good.
            assert!(read_package(&wrong).is_err() || key == FORMAT, "{key}");
        }
        for (key, value) in [(HEAD_SIZE, "x"), (HEAD_SIZE, "2000"), (PACKAGE_HASH, "sha256:00")] {
            let mut wrong = good();
            wrong.annotations.insert(key.into(), value.into());
            assert!(read_package(&wrong).is_err(), "{key}");
        }
    }

    #[test]
    fn tags_are_tags_and_differ() {
        for (name, version, tag) in [
            ("org.example.app", "1.2.3", "org.example.app__1.2.3"),
            ("a", "1.0+build", "a__1.0_2Bbuild"),
            ("a_b", "1", "a_5Fb__1"),
            ("-a", ".1", "_2Da___2E1"),
            ("ü", "1", "_C3_BC__1"),
        ] {
            assert_eq!(package_tag(name, version), tag);
            assert!(is_tag(tag), "{tag}");
        }
        let long = package_tag(&"a".repeat(200), "1");
        assert!(is_tag(&long) && long.starts_with("sha256-") && !long.contains("__"), "{long}");
        assert_ne!(package_tag("a-1", "2"), package_tag("a", "1-2"));
        assert_ne!(package_tag("a", "1"), INDEX_TAG);
    }
}
