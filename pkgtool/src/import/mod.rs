//! Turning what people already have into packages: tar archives, SquashFS images, AppImages, OCI
//! layouts. Each reader fills one [`tree::Tree`], which becomes the entries that `pack` also
//! makes of a folder; the rest of the way is `pack`'s.
//!
//! What is read here is hostile. Nothing is ever written by a name that an archive gives: contents
//! go to files without names, and the tree is kept in memory within [`limits::Limits`].

pub(crate) mod appimage;
pub(crate) mod archive;
pub(crate) mod compression;
pub(crate) mod describe;
pub(crate) mod desktop;
pub(crate) mod judge;
pub(crate) mod limits;
pub(crate) mod oci;
mod pax;
pub(crate) mod problem;
pub(crate) mod source;
mod sparse;
pub(crate) mod spool;
pub(crate) mod squashfs;
pub(crate) mod tree;
