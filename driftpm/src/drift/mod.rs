//! Drift packages, the pinned part: containers, signatures, trust, `fetch`, `vendor`, `doctor`
//! and the gatekeeper. `spec/drift.md` is the normative text.
//!
//! | for | see |
//! |---|---|
//! | deciding whether packages may be used | [`gate`] |
//! | reading and writing packages | [`container`], [`container_write`] |
//! | signatures, trust | [`sidecar`], [`trust`] |
//! | the files of a project | [`sources`], [`index`], [`lock`], [`cache`] |
//! | the commands as functions | [`fetch`], [`vendor`], [`publish`], [`doctor`] |
//! | the command line | [`commands`] |
//!
//! Nothing here prints, exits, or reads environment or clock, and progress is told to a
//! [`Progress`](crate::progress::Progress).
//!
//! ```
//! use driftpm::drift::container::read_light;
//! use driftpm::drift::container_write::{Module, Package, write_package};
//! use driftpm::drift::identity::Identity;
//! use driftpm::json::Value;
//!
//! let bytes = write_package(&Package {
//!     identity: Identity {
//!         package_id: "acme.http".into(),
//!         version: "1.4.0".into(),
//!         target: "any".into(),
//!     },
//!     build_epoch: None,
//!     modules: vec![Module {
//!         id: "acme.http".into(),
//!         exports: Value::Null,
//!         interface: b"{}".to_vec(),
//!         payload: b"{}".to_vec(),
//!     }],
//! })?;
//! assert_eq!(read_light(&bytes)?.identity.version, "1.4.0");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cache;
pub mod catalog;
pub mod commands;
pub mod container;
pub mod container_write;
pub mod discovery;
pub mod doctor;
pub mod fetch;
pub mod finding;
pub mod gate;
#[cfg(test)]
mod hostile;
pub mod identity;
pub mod image;
pub mod index;
pub mod lock;
pub mod lock1;
pub mod metadata;
pub mod native;
pub mod plan;
pub mod platform;
pub mod project;
pub mod publish;
pub mod repositories;
pub mod repository;
pub mod resolve;
pub mod sidecar;
pub mod sources;
pub mod supply;
#[cfg(test)]
mod testing;
pub mod transfer;
pub mod trust;
pub mod vendor;
