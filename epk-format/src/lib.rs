#![forbid(unsafe_code)]
//! The EPK package format.

pub mod content;
pub mod digest;
pub mod error;
pub mod layout;
pub mod limits;
pub mod package;
pub mod path;
pub mod signature;
pub mod source;
pub mod time;
pub mod write;

mod tree;
mod validate;

pub use error::{Error, Location, Reject, RejectCode};
pub use package::{OpenOptions, Package};
