//! Trust stores: which keys may speak for which names, and which are revoked.
//!
//! [`TrustStore`] is what a verifier knows; [`TrustFile`] is the file with all its fields, for
//! showing and changing.

mod file;
mod namespace;
mod store;

pub use file::{AddKeyError, RotateError, TrustFile};
pub use namespace::{NamespaceError, check_namespace, is_reserved, skeleton};
pub use store::{TrustError, TrustStore};
