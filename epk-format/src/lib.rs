#![forbid(unsafe_code)]
//! The EPK package format: one file that holds an application, verified as it is read.
//!
//! - [`Package`] opens an image under every rule and shows it as a tree of nodes whose content
//!   is verified block by block;
//! - [`mod@write`] makes images, deterministically;
//! - [`manifest`] says what a package runs, [`signature`] who vouches for it,
//!   [`trust`] whose word counts;
//! - [`error`] lists the stable reasons of refusals, [`limits`] what a reader accepts at most.
//!
//! The crate knows bytes only: no paths on disk, no clock, no environment, no output.
//!
//! ```
//! use epk_format::{OpenOptions, Package, RejectCode};
//!
//! let refused = Package::open(b"EPK2".to_vec(), &OpenOptions::default());
//! assert_eq!(refused.unwrap_err().code(), Some(RejectCode::InvalidHeaderSize));
//! ```

pub mod content;
pub mod digest;
pub mod dump;
pub mod error;
pub mod layout;
pub mod limits;
pub mod manifest;
pub mod package;
pub mod path;
pub mod resolve;
pub mod signature;
pub mod source;
pub mod time;
pub mod trust;
pub mod write;

mod metadata;
mod parsed;
mod tree;
mod validate;

pub use error::{Error, Location, Reject, RejectCode};
pub use package::{OpenOptions, Package};
pub use write::Format;
