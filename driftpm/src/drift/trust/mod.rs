//! Decisions by trust stores: [`verify`] about one package, [`FirstUse`] about signers whom nobody
//! knows yet.

mod first_use;
pub mod verify;

pub use first_use::{Consent, Examined, FirstUse};

/// Where a project's trust store lies.
pub const DEFAULT_STORE: &str = "drift/trust.json";
