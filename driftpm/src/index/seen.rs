//! What was accepted before: of each place, the highest state.

use std::fs;
use std::path::{Path, PathBuf};

use epk_format::digest::Sha256;

use super::signed::Signed;
use crate::canonical_json::canonical;
use crate::files::{self, FileError};
use crate::json::{self, Limit, Value, object};
use crate::keys::sha256_text;

const FORMAT: &str = "seen-snapshot";

/// The states that were seen, one file a place, in a folder of the user's.
#[derive(Clone, Debug)]
pub struct Seen {
    folder: PathBuf,
}

/// Why a state is refused, or cannot be remembered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeenError {
    /// Older than what was seen.
    #[error("state {found} is offered, state {seen} was seen before")]
    Rollback {
        /// The state offered.
        found: u64,
        /// The state seen.
        seen: u64,
    },
    /// Another state of the same number.
    #[error(
        "two different states have the number {0}: the publisher, or somebody with its key, says different things to different people"
    )]
    Equivocation(u64),
    /// What was remembered cannot be read: it must not count as nothing.
    #[error("`{path}` cannot be understood: {problem}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl SeenError {
    /// The stable code of reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rollback { .. } => "INDEX_ROLLBACK",
            Self::Equivocation(_) => "INDEX_EQUIVOCATION",
            Self::Damaged { .. } => "INDEX_MEMORY_DAMAGED",
            Self::File(_) => "FILE_ERROR",
        }
    }
}

impl Seen {
    /// The memory in `folder`, which need not exist yet.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn path(&self, place: &str) -> PathBuf {
        self.folder.join(format!("{}.json", Sha256::of(place.as_bytes())))
    }

    /// The number and statement seen at `place`, a URL for instance.
    fn recall(&self, place: &str) -> Result<Option<(u64, String)>, SeenError> {
        let path = self.path(place);
        let damaged = |problem: &dyn ToString| SeenError::Damaged {
            path: path.display().to_string(),
            problem: problem.to_string(),
        };
        let bytes = match files::read(&path, Limit::SIDECAR.file()) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let value = json::parse(&bytes, Limit::SIDECAR).map_err(|error| damaged(&error))?;
        let fields = value.as_object().filter(|fields| fields.text("format") == Some(FORMAT));
        let fields = fields.ok_or_else(|| damaged(&"another format"))?;
        let number = match fields.get("number") {
            Some(Value::Number(number)) => number.as_u64(),
            _ => None,
        };
        match (number, fields.text("statement_sha256")) {
            (Some(number), Some(hash)) => Ok(Some((number, hash.to_owned()))),
            _ => Err(damaged(&"a field is missing")),
        }
    }

    /// Accepts a state of `place` that is not older than any before, and remembers it.
    ///
    /// # Errors
    /// [`SeenError`]
    pub fn accept(&self, place: &str, signed: &Signed) -> Result<(), SeenError> {
        let (found, hash) = (signed.statement.number, sha256_text(&signed.statement_sha256));
        fs::create_dir_all(&self.folder).map_err(|error| FileError::Io {
            action: "create the directory",
            path: self.folder.display().to_string(),
            error,
        })?;
        let _guard = files::lock_directory(&self.folder)?;
        match self.recall(place)? {
            Some((seen, _)) if found < seen => return Err(SeenError::Rollback { found, seen }),
            Some((seen, known)) if found == seen => {
                return if known == hash { Ok(()) } else { Err(SeenError::Equivocation(seen)) };
            }
            _ => {}
        }
        files::remove_left_behind(&self.folder);
        let document = object([
            ("format", FORMAT.into()),
            ("place", place.into()),
            ("number", Value::Number(found.into())),
            ("statement_sha256", hash.into()),
        ]);
        Ok(files::write_atomically(&self.path(place), canonical(&document).as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::signed::{Content, Statement, sign};
    use super::*;
    use crate::keys::PrivateKey;

    fn signed(number: u64, bytes: &[u8]) -> Signed {
        let statement = Statement {
            kind: "k".into(),
            number,
            created: 0,
            expires: 1,
            content: Content::of(bytes),
            packed: None,
        };
        Signed::parse(&sign(&statement, &[&PrivateKey::from_seed(&[1; 32])]), "k").unwrap()
    }

    #[test]
    fn never_back() {
        let folder = tempfile::tempdir().unwrap();
        let seen = Seen::in_folder(&folder.path().join("new"));
        let code = |number, bytes, place| {
            seen.accept(place, &signed(number, bytes)).map_err(|error| error.code())
        };
        assert_eq!(code(5, b"five", "a"), Ok(()));
        assert_eq!(code(5, b"five", "a"), Ok(()));
        assert_eq!(code(4, b"four", "a"), Err("INDEX_ROLLBACK"));
        assert_eq!(code(5, b"other", "a"), Err("INDEX_EQUIVOCATION"));
        assert_eq!(code(4, b"four", "b"), Ok(()), "another place");
        assert_eq!(code(9, b"nine", "a"), Ok(()));
        assert_eq!(code(8, b"eight", "a"), Err("INDEX_ROLLBACK"));
        fs::write(seen.path("a"), "{}").unwrap();
        assert_eq!(code(10, b"ten", "a"), Err("INDEX_MEMORY_DAMAGED"));
    }
}
