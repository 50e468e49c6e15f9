//! Trust: which keys may speak for which modules, and which are revoked.
//!
//! [`TrustStore`] is what a verifier knows; [`TrustFile`] is the file with all its fields, for
//! showing and changing; [`verify`] is the decision about one package.

mod file;
mod first_use;
mod namespace;
mod store;
pub mod verify;

pub use file::{AddKeyError, RotateError, TrustFile};
pub use first_use::{Consent, Examined, FirstUse};
pub use namespace::{NamespaceError, check_namespace, is_reserved};
pub use store::{TrustError, TrustStore};

/// Where a project's trust store lies.
pub const DEFAULT_STORE: &str = "drift/trust.json";
