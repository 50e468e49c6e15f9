//! A private view of the host: its own table of mounts, and, where the caller isn't allowed to
//! mount, its own user namespace with the same user in it.
//!
//! The kernel throws the view away with its last process: there is nothing to clean up.

pub(crate) mod confine;
pub(crate) mod root;
pub(crate) mod user;
