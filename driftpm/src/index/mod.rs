//! Signed snapshots: one file, an index for instance, in a state that its publisher vouches for.
//!
//! Beside the file lies a *statement*: of what kind the file is, the state's number, when it was
//! made and until when it may be used, size and hash; signed by one key or more. [`Signed`] reads
//! and verifies it, [`Seen`] remembers the highest state that was ever accepted. Together they
//! refuse what a mirror, a proxy or an old backup could hand out:
//!
//! | attack | refused because |
//! |---|---|
//! | other content | the statement has size and hash |
//! | content of one repository for another, or of another kind | other keys; the statement has the kind |
//! | rollback: an older state | the number is below the one seen |
//! | freeze: for ever the same state | the statement expires |
//! | two states under one number | the statement's hash is not the one seen |
//!
//! Taken from TUF are numbers, expiry and detached metadata; there is one role, not four: whoever
//! signs the index also states that it is the newest. Which keys count is the caller's business.

mod artifact;
mod epk;
mod fetch;
mod publish;
mod seen;
mod signed;

pub use artifact::{
    INDEX_TAG, INDEX_TYPE, PACKAGE_TYPE, index_artifact, package_artifact, package_tag,
    read_package,
};
pub use epk::{EPK_INDEX, EPK_KIND, EpkIndex, MAX_EPK_INDEX, Release};
pub use fetch::{Fetcher, Remote, locate};
pub use publish::{Publication, publish, statement_path, verify};
pub use seen::{Seen, SeenError};
pub use signed::{Content, Signed, SignedError, Statement, sign};
