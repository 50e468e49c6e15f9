//! Signing a file where it lies, and checking such a signature.

use std::path::{Path, PathBuf};

use super::{Content, Signed, SignedError, Statement, sign};
use crate::files;
use crate::json::Limit;
use crate::keys::PrivateKey;
use crate::problem::Problem;
use crate::transport::zstd;

/// How the state of a file is published.
#[derive(Debug)]
pub struct Publication<'a> {
    /// What statements call the file.
    pub kind: &'a str,
    /// By whom; at least one.
    pub keys: Vec<&'a PrivateKey>,
    /// The state's number; absent: one more than in the statement that is there.
    pub number: Option<u64>,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// For how many seconds it may be used.
    pub valid_for: u64,
    /// Offer it packed as well, as `NAME.zst`.
    pub pack: bool,
}

impl From<SignedError> for Problem {
    fn from(error: SignedError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// The statement's file beside the file.
#[must_use]
pub fn statement_path(file: &Path) -> PathBuf {
    with_suffix(file, ".sig")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Signs what `bytes` are, which the caller has checked and which `file` has: writes `FILE.sig`,
/// and `FILE.zst` before it or removes an old one.
///
/// # Errors
/// `INDEX_STATEMENT_INVALID`, `INDEX_ROLLBACK`, `FILE_ERROR`
pub fn publish(file: &Path, bytes: &[u8], how: &Publication<'_>) -> Result<Statement, Problem> {
    let path = statement_path(file);
    let before = match files::read(&path, Limit::SIDECAR.file()) {
        Ok(bytes) => Some(Signed::parse(&bytes, how.kind)?.statement.number),
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    let next = before.unwrap_or(0).saturating_add(1);
    let number = how.number.unwrap_or(next);
    if number < next {
        let message = format!("number {number} was used already: the next is {next}");
        return Err(Problem::new("INDEX_ROLLBACK", message).in_file(path.display().to_string()));
    }
    let packed = how.pack.then(|| zstd::compress(bytes));
    let statement = Statement {
        kind: how.kind.to_owned(),
        number,
        created: how.now,
        expires: how.now.saturating_add(how.valid_for),
        content: Content::of(bytes),
        packed: packed.as_deref().map(Content::of),
    };
    let packed_path = with_suffix(file, ".zst");
    match packed {
        Some(packed) => files::write_atomically(&packed_path, &packed)?,
        // An old one would be fetched and found to be another.
        None => files::remove_if_there(&packed_path)?,
    }
    files::write_atomically(&path, &sign(&statement, &how.keys))?;
    Ok(statement)
}

/// Checks the statement beside a file that has `bytes`: signature, time, hash, and the packed
/// file. Whether the signers are trusted is for the caller to decide.
///
/// # Errors
/// `INDEX_SIGNATURE_MISSING`, what [`SignedError::code`] says, `FILE_ERROR`
pub fn verify(file: &Path, bytes: &[u8], kind: &str, now: u64) -> Result<Signed, Problem> {
    let path = statement_path(file);
    let shown = path.display().to_string();
    let signature = match files::read(&path, Limit::SIDECAR.file()) {
        Ok(signature) => signature,
        Err(error) if error.is_missing() => {
            let problem = Problem::new("INDEX_SIGNATURE_MISSING", "there is no such file");
            return Err(problem.in_file(shown));
        }
        Err(error) => return Err(error.into()),
    };
    let in_file = |problem: Problem| problem.in_file(shown.as_str());
    let signed = Signed::parse(&signature, kind).map_err(|error| in_file(error.into()))?;
    signed.statement.check_content(bytes).map_err(|error| in_file(error.into()))?;
    signed.statement.check_time(now).map_err(|error| in_file(error.into()))?;
    if let Some(packed) = &signed.statement.packed {
        let path = with_suffix(file, ".zst");
        let found = files::read(&path, packed.size)?;
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
    Ok(signed)
}
