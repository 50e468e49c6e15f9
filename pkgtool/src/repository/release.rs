//! What the index says of a package.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use driftpm::index::Release;
use epk_format::Package;
use epk_format::digest::{Hasher, Sha256};
use epk_format::signature::SignatureState;

use crate::exit::Failure;

/// The most bytes of a description in an index.
const MAX_DESCRIPTION: usize = 1022;

/// Describes a package that has just been verified. `bytes` are its file's, at `path`.
pub(crate) fn describe(
    path: &Path,
    mut bytes: &File,
    package: &Package<File>,
    file: String,
    published: u64,
) -> Result<Release, Failure> {
    let manifest = package.parse_manifest().map_err(|error| Failure::manifest(path, &error))?;
    let failed = |error: io::Error| Failure::environment(format!("`{}`: {error}", path.display()));
    let key_ids = match package.signature() {
        SignatureState::Valid(id) | SignatureState::Untrusted(id) => vec![id.to_string()],
        SignatureState::Unsigned | SignatureState::NotChecked => Vec::new(),
    };
    let hashed = bytes.seek(SeekFrom::Start(0)).and_then(|_| hash(bytes));
    let (size, sha256) = hashed.map_err(failed)?;
    Ok(Release {
        arch: manifest.arch.clone(),
        commands: manifest.commands.keys().cloned().collect(),
        description: description(package.manifest()),
        file,
        format: package.format().to_string(),
        head_size: package.head_size(),
        kernel_api: manifest.kernel_api.clone(),
        key_ids,
        package_hash: package.package_hash().to_string(),
        published,
        sha256: sha256.to_string(),
        size,
    })
}

/// Size and SHA-256 of a file.
pub(crate) fn hash(mut file: &File) -> io::Result<(u64, Sha256)> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 17];
    let mut size = 0_u64;
    loop {
        let count = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok((size, hasher.finish()));
        };
        hasher.update(bytes);
        size = size.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

/// The manifest's `description`, a key for people that nothing else reads: one line of it.
fn description(manifest: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(manifest).ok()?;
    let table: toml::Table = text.parse().ok()?;
    let package = table.get("package").and_then(toml::Value::as_table);
    let value = table.get("description").or_else(|| package?.get("description"))?;
    let line: String =
        value.as_str()?.lines().next()?.chars().filter(|c| !c.is_control()).collect();
    // The longest beginning that an index can hold.
    let end = (0..=line.len().min(MAX_DESCRIPTION)).rev().find(|&at| line.is_char_boundary(at))?;
    line.get(..end).map(str::to_owned).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_one_line() {
        let of = |text: &str| description(text.as_bytes());
        assert_eq!(of("description = 'words'"), Some("words".into()));
        assert_eq!(of("[package]\ndescription = \"a\\u001bb\\nc\""), Some("ab".into()));
        assert_eq!(of("description = 3"), None);
        assert_eq!(of("description = ''"), None);
        assert_eq!(of("name = 'x'"), None);
        let long = format!("description = '{}'", "ü".repeat(2000));
        assert_eq!(of(&long).map(|text| text.len()), Some(MAX_DESCRIPTION));
    }
}
