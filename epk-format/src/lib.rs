#![forbid(unsafe_code)]
//! The EPK package format.

pub mod digest;
pub mod layout;
pub mod source;
pub mod time;
pub mod write;
