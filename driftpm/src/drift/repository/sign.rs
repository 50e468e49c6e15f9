//! Stating what an index is, and checking such a statement where the files are.

use std::path::{Path, PathBuf};

use super::file::{Index, KIND, MAX_INDEX};
use crate::files;
use crate::index::{Publication, Statement, publish, verify};
use crate::keys::PrivateKey;
use crate::problem::Problem;

/// What to sign.
#[derive(Debug)]
pub struct SignRequest<'a> {
    /// The index.
    pub index: PathBuf,
    /// By whom; at least one.
    pub keys: Vec<&'a PrivateKey>,
    /// The state's number; absent: one more than in the statement that is there.
    pub number: Option<u64>,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// For how many seconds it may be used.
    pub valid_for: u64,
    /// Offer it packed as well, as `<index>.zst`.
    pub pack: bool,
}

/// What was stated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// The statement.
    pub statement: Statement,
    /// Who has signed it.
    pub kids: Vec<String>,
    /// How many packages the index has.
    pub packages: usize,
    /// How many versions.
    pub versions: usize,
}

/// Checks the index completely, and signs what it is.
///
/// # Errors
/// `INDEX_INVALID`, `INDEX_STATEMENT_INVALID`, `INDEX_ROLLBACK`, `FILE_ERROR`
pub fn sign_index(request: &SignRequest<'_>) -> Result<Stated, Problem> {
    let bytes = files::read(&request.index, MAX_INDEX)?;
    let (packages, versions) = check(bytes.clone())?;
    let SignRequest { keys, number, now, valid_for, pack, .. } = request;
    let how = Publication {
        kind: KIND,
        keys: keys.clone(),
        number: *number,
        now: *now,
        valid_for: *valid_for,
        pack: *pack,
    };
    let statement = publish(&request.index, &bytes, &how)?;
    let kids = keys.iter().map(|key| key.public().id()).collect();
    Ok(Stated { statement, kids, packages, versions })
}

/// Reads every entry. Gives the numbers of packages and versions.
fn check(bytes: Vec<u8>) -> Result<(usize, usize), Problem> {
    let index = Index::parse(bytes)?;
    let mut versions = 0;
    for head in index.packages() {
        versions += index.entries(head)?.len();
    }
    Ok((index.packages().len(), versions))
}

/// Checks an index and its statement where they lie: signature, time, hash, every entry. Whether
/// the signers are trusted is for the caller to decide.
///
/// # Errors
/// `INDEX_SIGNATURE_MISSING`, the codes of [`SignedError`](crate::index::SignedError), `INDEX_INVALID`, `FILE_ERROR`
pub fn verify_index(index: &Path, now: u64) -> Result<Stated, Problem> {
    let bytes = files::read(index, MAX_INDEX)?;
    let signed = verify(index, &bytes, KIND, now).map_err(|problem| match problem.code {
        "INDEX_SIGNATURE_MISSING" => problem.hint("`drift index sign` writes it"),
        _ => problem,
    })?;
    let (packages, versions) = check(bytes)?;
    let kids = signed.signers.keys().cloned().collect();
    Ok(Stated { statement: signed.statement, kids, packages, versions })
}
