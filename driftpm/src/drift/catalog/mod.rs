//! The curated index: a repository of small files that people review, one a published version,
//! from which the signed index of a [repository](super::repository) is made.
//!
//! [`read()`] reads it, [`check()`] says what is wrong with it, [`changes()`] what somebody wants to change
//! and whether that may be; [`add()`] writes an entry for packages, `build` the index, [`site()`] a
//! page for people. `spec/drift-catalog.md` is the normative text.

mod add;
mod base;
mod build;
mod change;
mod check;
mod document;
mod init;
mod read;
mod site;

pub use add::{AddRequest, add, compare_artifacts};
pub use base::checked_out;
pub use build::index_of;
pub use change::{Review, changes};
pub use check::check;
pub use document::{About, Described, Namespace, Release};
pub use init::init;
pub use read::{Catalog, Read, read};
pub use site::site;

/// The catalog itself.
pub const CATALOG_FILE: &str = "index/index.v0.json";
/// The folder of namespaces.
const NAMESPACES: &str = "index/namespaces";
/// The folder of published versions.
const PACKAGES: &str = "packages";
/// What people agree to, with the text that a new catalog begins with.
const POLICIES: [(&str, &str); 2] = [
    ("policy/ownership.md", include_str!("policy/ownership.md")),
    ("policy/signing.md", include_str!("policy/signing.md")),
];
