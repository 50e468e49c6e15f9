#![forbid(unsafe_code)]
//! Package managers for Drift and Boruna.
//!
//! [`boruna`] and [`drift`] hold one package world each, with nothing in common but the
//! digests of `epk-format`.

pub mod boruna;
pub mod drift;
