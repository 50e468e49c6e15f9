//! Repositories behind a signed index: packages in many versions, on any server that can hand out
//! files.
//!
//! [`Index`] is the index `drift-index.json`, read so that a million versions cost little until
//! they are asked for. [`build()`] makes one of a folder of packages, [`sign_index`] states what it
//! is, and [`RemoteSource`] is the other side: it fetches statement and index, refuses what
//! [`crate::index`] refuses, and hands out packages for a lock to be held against. [`search()`]
//! looks through many of them. `spec/drift-repositories.md` is the normative text.

mod build;
mod entry;
mod file;
mod remote;
mod search;
mod sign;

pub(in crate::drift) use build::packed_copy;
pub use build::{BuildRequest, Built, Listed, build, render};
pub use entry::Entry;
pub use file::{Head, INDEX_NAME, Index, KIND};
pub use remote::{Access, RemoteSource};
pub use search::{Hit, Query, Searched, search};
pub use sign::{SignRequest, Stated, sign_index, verify_index};
