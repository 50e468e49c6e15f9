#![forbid(unsafe_code)]
//! Package managers for Drift and Boruna.
//!
//! [`boruna`] and [`drift`] hold one package world each, with nothing in common but the
//! digests of `epk-format`. [`transport`] fetches files and
//! [`index`] verifies signed states of them, for whoever needs that.

pub mod boruna;
pub mod drift;
pub mod index;
pub mod transport;
