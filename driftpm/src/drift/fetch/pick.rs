//! One package that fetching has picked: where it lies, what it must be, and whether it is.

use std::path::{Path, PathBuf};

use epk_format::digest::Sha256;

use super::super::container::{self, ContainerError};
use super::super::finding::{Finding, Mode};
use super::super::identity::{Identity, PartialIdentity};
use super::super::index::{self, NewEntry};
use super::super::transfer::{StagedPackage, read_sidecar};
use super::internal;
use crate::files::{FileError, MAX_PACKAGE, read_below};
use crate::json::{Value, object};
use crate::keys::sha256_text;
use crate::relpath::{RelPath, shown};

/// Who says what the package must be.
#[derive(Clone, Debug)]
pub(super) enum Pin {
    /// The source's index.
    Index {
        /// Whether it calls the package unsigned.
        unsigned: bool,
    },
    /// The lock.
    Lock {
        /// Hash of the sidecar, if there was one.
        sig_sha256: Option<String>,
    },
}

/// A package that was picked.
#[derive(Clone, Debug)]
pub(super) struct Pick {
    pub(super) identity: Identity,
    pub(super) source_id: String,
    pub(super) source_dir: PathBuf,
    pub(super) path: RelPath,
    pub(super) sha256: String,
    pub(super) signers: Vec<String>,
    pub(super) pin: Pin,
}

impl Pick {
    fn index_path(&self) -> String {
        shown(&self.source_dir.join(index::FILE_NAME))
    }

    fn artifact_path(&self) -> String {
        shown(&self.path.below(&self.source_dir))
    }

    /// Whether index or lock call the package unsigned.
    fn unsigned(&self) -> bool {
        match &self.pin {
            Pin::Index { unsigned } => *unsigned,
            Pin::Lock { sig_sha256 } => sig_sha256.is_none(),
        }
    }

    fn mode(&self) -> Mode {
        match self.pin {
            Pin::Index { .. } => Mode::Unlocked,
            Pin::Lock { .. } => Mode::Lock,
        }
    }

    /// A finding about this package, with the code for an index's word and for a lock's.
    fn finding(&self, codes: [&'static str; 2], message: &str) -> Finding {
        let [by_index, by_lock] = codes;
        let finding = match &self.pin {
            Pin::Index { .. } => {
                Finding::new(Mode::Unlocked, by_index, message).in_index(&self.index_path())
            }
            Pin::Lock { .. } => Finding::new(Mode::Lock, by_lock, message).signed_by(&self.signers),
        };
        finding.about(&self.identity).from_source(&self.source_id).at(self.artifact_path())
    }

    /// The entry of the report.
    pub(super) fn to_json(&self, cache_path: &str) -> Value {
        object([
            ("package_id", self.identity.package_id.as_str().into()),
            ("identity", PartialIdentity::from(&self.identity).to_json()),
            ("source_id", self.source_id.as_str().into()),
            ("index_path", self.index_path().into()),
            ("artifact_path", self.artifact_path().into()),
            ("cache_path", cache_path.into()),
            ("sha256", self.sha256.as_str().into()),
            ("signer_kids", self.signers.clone().into()),
            ("unsigned", self.unsigned().into()),
        ])
    }

    /// The entry of the cache's index.
    pub(super) fn cache_entry(&self) -> NewEntry {
        NewEntry {
            identity: self.identity.clone(),
            sha256: self.sha256.clone(),
            filename: self.path.as_str().to_owned(),
            signers: self.signers.clone(),
            unsigned: self.unsigned(),
            source_id: Some(self.source_id.clone()),
        }
    }

    /// Reads and checks the package and stages it below `packages_dir`.
    pub(super) fn stage(&self, packages_dir: &Path) -> Result<StagedPackage, Finding> {
        let failed = |error: FileError| internal(self.mode(), error.to_string());
        let bytes = read_below(&self.source_dir, &self.path, MAX_PACKAGE).map_err(|error| {
            if error.is_missing() {
                self.finding(
                    ["INDEX_MISSING_PACKAGE_FILE", "LOCK_ARTIFACT_MISSING"],
                    &error.to_string(),
                )
            } else {
                failed(error)
            }
        })?;
        // With a lock the hash speaks first: whatever else the bytes are, they are not the
        // locked ones. An index's hash speaks last, as in the original.
        match self.pin {
            Pin::Index { .. } => {
                self.check_identity(&bytes)?;
                self.check_hash(&bytes)?;
            }
            Pin::Lock { .. } => {
                self.check_hash(&bytes)?;
                self.check_identity(&bytes)?;
            }
        }
        container::read_full(&bytes).map_err(|error| self.not_a_package(&error))?;
        let sidecar = self.sidecar()?;
        StagedPackage::write(packages_dir, &self.path, &bytes, sidecar.as_deref()).map_err(failed)
    }

    fn not_a_package(&self, error: &ContainerError) -> Finding {
        self.finding(["INDEX_PKG_FORMAT_INVALID", "LOCK_PKG_FORMAT_INVALID"], &error.to_string())
    }

    fn check_hash(&self, bytes: &[u8]) -> Result<(), Finding> {
        let got = sha256_text(&Sha256::of(bytes));
        if got == self.sha256 {
            return Ok(());
        }
        let message = "sha256 mismatch: the package has other bytes than promised";
        Err(self
            .finding(["INDEX_SHA_MISMATCH", "LOCK_SHA_MISMATCH"], message)
            .hashes(&self.sha256, &got))
    }

    fn check_identity(&self, bytes: &[u8]) -> Result<(), Finding> {
        let light = container::read_light(bytes).map_err(|error| self.not_a_package(&error))?;
        if light.identity == self.identity {
            return Ok(());
        }
        let message = "identity mismatch: the package says it is another one";
        Err(self
            .finding(["INDEX_IDENTITY_MISMATCH", "LOCK_IDENTITY_MISMATCH"], message)
            .identities(&self.identity, &light.identity))
    }

    /// The sidecar to copy: with an index the one that lies there, with a lock the locked one.
    fn sidecar(&self) -> Result<Option<Vec<u8>>, Finding> {
        let failed = |error: FileError| internal(self.mode(), error.to_string());
        let Pin::Lock { sig_sha256 } = &self.pin else {
            return read_sidecar(&self.source_dir, &self.path).map_err(failed);
        };
        let Some(expected) = sig_sha256 else { return Ok(None) };
        let code = |code, message| self.finding([code, code], message);
        let sidecar =
            read_sidecar(&self.source_dir, &self.path).map_err(failed)?.ok_or_else(|| {
                code("LOCK_SIGNATURE_MISSING", "the locked signature sidecar is missing")
            })?;
        let got = sha256_text(&Sha256::of(&sidecar));
        if got == *expected {
            return Ok(Some(sidecar));
        }
        let message = "sha256 mismatch: the signature sidecar has other bytes than the lock says";
        Err(code("LOCK_SIG_SHA_MISMATCH", message).hashes(expected, &got))
    }
}
