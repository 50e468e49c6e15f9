#![forbid(unsafe_code)]
//! Package managers for Drift and Boruna.
//!
//! [`boruna`] and [`drift`] hold one package world each, with nothing in common but the
//! digests of `epk-format`. [`transport`] fetches files for whoever needs them.

pub mod boruna;
pub mod drift;
pub mod transport;
