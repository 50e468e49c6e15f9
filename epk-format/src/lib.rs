#![forbid(unsafe_code)]
//! The EPK package format.

pub mod digest;
