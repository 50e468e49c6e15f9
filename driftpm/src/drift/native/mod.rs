//! Native parts, mode A: a package's few C files become one object file, by one compiler, out of
//! declared inputs, in a sandbox, and are kept by a hash of everything that goes in.
//!
//! What this is not: a build system. No scripts, no generated code, no search for libraries, no
//! flags of a package's own. What does not fit is refused with the reason.

mod install;
mod recipe;
mod sandbox;

pub(in crate::drift) use install::cache_of;
pub use install::{Installed, Workshop, install, install_package};
pub use recipe::{OBJECT, Recipe, Tool};
pub use sandbox::{Job, Ran, Sandbox};
