#![forbid(unsafe_code)]
//! Package managers for Drift and Boruna.
//!
//! [`boruna`] and [`drift`] hold one package world each, with nothing in common but the
//! digests of `epk-format`. What knows of neither is for whoever needs it:
//!
//! | for | see |
//! |---|---|
//! | fetching files from servers | [`transport`] |
//! | signed states of an index, and rollback | [`index`] |
//! | keys and signatures; who may speak for what | [`keys`], [`trust`] |
//! | JSON within limits, and its one spelling | [`json`], [`canonical_json`] |
//! | files that appear whole, and paths below a folder | [`files`], [`relpath`] |
//! | a list of packages as a page for people | [`page`] |
//! | errors with codes; progress | [`problem`], [`progress`] |

pub mod boruna;
pub mod canonical_json;
pub mod drift;
pub mod files;
pub mod index;
pub mod json;
pub mod keys;
pub mod page;
pub mod problem;
pub mod progress;
pub mod relpath;
pub mod transport;
pub mod trust;
