//! Turning a folder into a package: walking it, deciding about what the format can't hold,
//! signing, and putting the file in its place.
//!
//! How bytes are laid out is `epk_format::write`'s business.

pub(crate) mod aliases;
pub(crate) mod contents;
pub(crate) mod links;
pub(crate) mod losses;
pub(crate) mod make;
pub(crate) mod sign;
pub(crate) mod summary;
pub(crate) mod targets;
pub(crate) mod times;
pub(crate) mod walk;
pub(crate) mod xattrs;

/// The manifest's name in a folder.
pub(crate) const MANIFEST: &str = "manifest.toml";
