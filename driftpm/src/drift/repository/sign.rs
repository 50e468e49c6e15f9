//! Stating what an index is, and checking such a statement where the files are.

use std::path::{Path, PathBuf};

use super::file::{Index, KIND, MAX_INDEX};
use crate::files;
use crate::index::{Content, Signed, SignedError, Statement, sign};
use crate::json::Limit;
use crate::keys::PrivateKey;
use crate::problem::Problem;
use crate::transport::zstd;

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

/// The statement's file beside the index.
pub(super) fn statement_path(index: &Path) -> PathBuf {
    with_suffix(index, ".sig")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl From<SignedError> for Problem {
    fn from(error: SignedError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Checks the index completely, and signs what it is.
///
/// # Errors
/// `INDEX_INVALID`, `INDEX_STATEMENT_INVALID`, `INDEX_ROLLBACK`, `FILE_ERROR`
pub fn sign_index(request: &SignRequest<'_>) -> Result<Stated, Problem> {
    let bytes = files::read(&request.index, MAX_INDEX)?;
    let content = Content::of(&bytes);
    let packed = request.pack.then(|| zstd::compress(&bytes));
    let (packages, versions) = check(bytes)?;
    let path = statement_path(&request.index);
    let before = match files::read(&path, Limit::SIDECAR.file()) {
        Ok(bytes) => Some(Signed::parse(&bytes, KIND)?.statement.number),
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    let next = before.unwrap_or(0).saturating_add(1);
    let number = request.number.unwrap_or(next);
    if number < next {
        let message = format!("number {number} was used already: the next is {next}");
        return Err(Problem::new("INDEX_ROLLBACK", message).in_file(path.display().to_string()));
    }
    let statement = Statement {
        kind: KIND.to_owned(),
        number,
        created: request.now,
        expires: request.now.saturating_add(request.valid_for),
        content,
        packed: packed.as_deref().map(Content::of),
    };
    let packed_path = with_suffix(&request.index, ".zst");
    match packed {
        Some(packed) => files::write_atomically(&packed_path, &packed)?,
        // An old one would be fetched and found to be another.
        None => files::remove_if_there(&packed_path)?,
    }
    files::write_atomically(&path, &sign(&statement, &request.keys))?;
    let kids = request.keys.iter().map(|key| key.public().id()).collect();
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
/// `INDEX_SIGNATURE_MISSING`, what [`SignedError::code`] says, `INDEX_INVALID`, `FILE_ERROR`
pub fn verify_index(index: &Path, now: u64) -> Result<Stated, Problem> {
    let bytes = files::read(index, MAX_INDEX)?;
    let path = statement_path(index);
    let shown = path.display().to_string();
    let signature = match files::read(&path, Limit::SIDECAR.file()) {
        Ok(signature) => signature,
        Err(error) if error.is_missing() => {
            return Err(Problem::new("INDEX_SIGNATURE_MISSING", "there is no such file")
                .in_file(shown)
                .hint("`drift index sign` writes it"));
        }
        Err(error) => return Err(error.into()),
    };
    let in_file = |problem: Problem| problem.in_file(shown.as_str());
    let signed = Signed::parse(&signature, KIND).map_err(|error| in_file(error.into()))?;
    signed.statement.check_content(&bytes).map_err(|error| in_file(error.into()))?;
    signed.statement.check_time(now).map_err(|error| in_file(error.into()))?;
    if let Some(packed) = &signed.statement.packed {
        let path = with_suffix(index, ".zst");
        let found = files::read(&path, MAX_INDEX)?;
        let wrong = |message: String| {
            Problem::new("INDEX_CONTENT_MISMATCH", message).in_file(path.display().to_string())
        };
        if Content::of(&found) != *packed {
            return Err(wrong("it is not what the statement says".to_owned()));
        }
        let unpacked = zstd::decompress(&found, signed.statement.content.size)
            .map_err(|error| wrong(error.to_string()))?;
        if unpacked != bytes {
            return Err(wrong("it does not unpack to the index".to_owned()));
        }
    }
    let (packages, versions) = check(bytes)?;
    let kids = signed.signers.keys().cloned().collect();
    Ok(Stated { statement: signed.statement, kids, packages, versions })
}
