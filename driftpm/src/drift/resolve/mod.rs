//! Resolution: from what a project needs to one version of every package.
//!
//! | step | see |
//! |---|---|
//! | which versions will do | [`Constraint`] |
//! | which versions there are | [`VersionSource`], [`Offer`], [`DirectorySource`] |
//! | where a package comes from, and what fits this platform | [`Catalogue`] |
//! | which versions go together | [`solve`] |
//!
//! Versions are semantic versions here, packages whose version is none cannot be resolved.
//! One version of each package is chosen, as the gate demands.

mod catalogue;
mod constraint;
mod directory;
mod explain;
mod offer;
mod request;
mod set;
mod solve;

pub use catalogue::{Candidate, Catalogue, Known};
pub use constraint::{Constraint, ConstraintError};
pub use directory::DirectorySource;
pub use offer::{Artifact, Offer, VersionSource};
pub use request::{Freedom, resolve_project};
pub use solve::{Chosen, Need, Order, Solution, solve};
