//! Extended attributes that tell of the package and its files, `user.epk.…`: made up, stored
//! nowhere, and told by name only. If they were listed, whoever copies a tree with its attributes
//! would take them along, and they would soon lie.

use epk_format::package::NodeId;
use epk_format::source::Source;
use epk_format::{Error, Package};

/// What the names of our attributes begin with.
const PREFIX: &[u8] = b"user.epk.";

/// The value of one of our attributes. `None` if it isn't one, or the node has none of that name.
pub(crate) fn value<S: Source>(
    package: &Package<S>,
    id: NodeId,
    name: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let Some(name) = name.strip_prefix(PREFIX) else { return Ok(None) };
    let manifest = || package.parse_manifest().ok();
    let text = match name {
        b"package-hash" => Some(format!("sha256:{}", package.package_hash())),
        b"format" => Some(package.format().to_string()),
        b"name" => manifest().map(|manifest| manifest.name),
        b"version" => manifest().map(|manifest| manifest.version),
        b"hash" => package.file_hash(id)?.map(|hash| format!("sha256:{hash}")),
        _ => None,
    };
    Ok(text.map(String::into_bytes))
}
