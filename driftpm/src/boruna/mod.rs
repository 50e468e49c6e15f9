//! Boruna packages: exact versions, a local registry, content hashes and capability policy.
//!
//! `spec/boruna.md` is the normative text; this module is its implementation. A package is a
//! directory with `package.ax.json` and `src/`. A [`registry`] keeps published packages under
//! `<name>/<version>/`, each with its content [`hash`]. From a project's direct dependencies
//! [`resolve`] finds the whole closure and an install order, [`lockfile`] writes it down with
//! one hash a package, and [`policy`] says which capabilities the closure may ask for.
//!
//! The operations, one module each: [`project`] (init, add, remove), [`install`] (resolve and
//! install), [`publish`], [`verify`], [`tree`], [`why`], [`gate`] and [`bundle`]. [`commands`] puts them
//! behind a command line. Nothing here prints, exits, or reads the environment or the clock.
//!
//! ```
//! use driftpm::boruna::manifest::PackageManifest;
//!
//! let manifest = PackageManifest::from_json(
//!     r#"{"name":"lib.a","version":"1.0.0","description":"d","exposed_modules":["core"]}"#,
//! )?;
//! assert_eq!(manifest.validate(), Ok(()));
//! # Ok::<(), driftpm::boruna::error::Error>(())
//! ```

pub mod bundle;
pub mod bytecode;
pub mod capability;
pub mod commands;
pub mod compiler;
pub mod error;
pub mod files;
pub mod folder;
pub mod gate;
pub mod hash;
pub mod install;
pub mod lockfile;
pub mod manifest;
pub mod name;
mod parallel;
pub mod patch;
pub mod policy;
pub mod project;
pub mod publish;
mod read_ahead;
pub mod registry;
pub mod resolve;
pub mod source_tree;
pub mod tree;
pub mod verify;
pub mod version;
pub mod why;
