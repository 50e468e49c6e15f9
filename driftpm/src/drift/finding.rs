//! The error object of `fetch` and `doctor`: always twelve keys, one order, one line for people.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::identity::PartialIdentity;
use crate::json::{Value, object};

/// In which mode a finding was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `fetch` with a lock.
    Lock,
    /// `fetch` without a lock.
    Unlocked,
    /// `doctor`.
    Doctor,
}

impl Mode {
    /// The mode's name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Unlocked => "unlocked",
            Self::Doctor => "doctor",
        }
    }
}

/// One thing that is wrong, with everything known about it. Behind a pointer, since most of what
/// is asked comes out well and an error should not make every answer large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding(Box<Fields>);

/// The fields of a [`Finding`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// A stable code, see `spec/drift.md`.
    pub reason_code: &'static str,
    /// What was found, for people.
    pub message: String,
    /// Who found it.
    pub mode: Mode,
    /// The package concerned.
    pub identity: Option<PartialIdentity>,
    /// What index or lock say the package is.
    pub claimed_identity: Option<PartialIdentity>,
    /// What the package's bytes say it is.
    pub observed_identity: Option<PartialIdentity>,
    /// The hash that was wanted.
    pub sha256_expected: Option<String>,
    /// The hash that was there.
    pub sha256_got: Option<String>,
    /// The source concerned.
    pub source_id: Option<String>,
    /// The index concerned.
    pub index_path: Option<String>,
    /// The file concerned.
    pub artifact_path: Option<String>,
    /// Who signed it, as far as index or lock say.
    pub signer_kids: Option<Vec<String>>,
}

impl Deref for Finding {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.0
    }
}

impl DerefMut for Finding {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.0
    }
}

impl Finding {
    /// A finding that knows its code and message only.
    #[must_use]
    pub fn new(mode: Mode, reason_code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            reason_code,
            message: message.into(),
            mode,
            identity: None,
            claimed_identity: None,
            observed_identity: None,
            sha256_expected: None,
            sha256_got: None,
            source_id: None,
            index_path: None,
            artifact_path: None,
            signer_kids: None,
        }))
    }

    /// With the file concerned.
    #[must_use]
    pub fn at(mut self, artifact_path: impl Into<String>) -> Self {
        self.artifact_path = Some(artifact_path.into());
        self
    }

    /// With the source concerned.
    #[must_use]
    pub fn from_source(mut self, source_id: &str) -> Self {
        self.source_id = Some(source_id.to_owned());
        self
    }

    /// With the index concerned.
    #[must_use]
    pub fn in_index(mut self, index_path: &str) -> Self {
        self.index_path = Some(index_path.to_owned());
        self
    }

    /// With the package concerned.
    #[must_use]
    pub fn about(mut self, identity: impl Into<PartialIdentity>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// With the hash wanted and the hash found.
    #[must_use]
    pub fn hashes(mut self, expected: &str, got: &str) -> Self {
        self.sha256_expected = Some(expected.to_owned());
        self.sha256_got = Some(got.to_owned());
        self
    }

    /// With the identity claimed and the identity observed.
    #[must_use]
    pub fn identities(
        mut self,
        claimed: impl Into<PartialIdentity>,
        observed: impl Into<PartialIdentity>,
    ) -> Self {
        self.claimed_identity = Some(claimed.into());
        self.observed_identity = Some(observed.into());
        self
    }

    /// With the signers.
    #[must_use]
    pub fn signed_by(mut self, kids: &[String]) -> Self {
        self.signer_kids = Some(kids.to_vec());
        self
    }

    /// The JSON object, always with all keys.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let identity = |id: &Option<PartialIdentity>| -> Value {
            id.as_ref().map_or(Value::Null, PartialIdentity::to_json)
        };
        object([
            ("reason_code", self.reason_code.into()),
            ("message", self.message.as_str().into()),
            ("mode", self.mode.as_str().into()),
            ("identity", identity(&self.identity)),
            ("claimed_identity", identity(&self.claimed_identity)),
            ("observed_identity", identity(&self.observed_identity)),
            ("sha256_expected", self.sha256_expected.as_deref().into()),
            ("sha256_got", self.sha256_got.as_deref().into()),
            ("source_id", self.source_id.as_deref().into()),
            ("index_path", self.index_path.as_deref().into()),
            ("artifact_path", self.artifact_path.as_deref().into()),
            ("signer_kids", self.signer_kids.clone().into()),
        ])
    }
}

/// Sorts findings by code, package, source and file; equal ones keep their order.
pub fn sort_findings(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| {
            (
                finding.reason_code,
                finding.identity.clone().and_then(|id| id.package_id).unwrap_or_default(),
                finding.source_id.clone().unwrap_or_default(),
                finding.artifact_path.clone().unwrap_or_default(),
            )
        };
        key(a).cmp(&key(b))
    });
}

/// The line for people: code, message, and what else is known.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.reason_code, self.message)?;
        if let Some(identity) = self.identity.as_ref().or(self.claimed_identity.as_ref()) {
            write!(f, " identity={identity}")?;
        }
        for (name, value) in [
            ("source_id", &self.source_id),
            ("artifact_path", &self.artifact_path),
            ("index_path", &self.index_path),
        ] {
            if let Some(value) = value {
                write!(f, " {name}={value}")?;
            }
        }
        if self.sha256_expected.is_some() || self.sha256_got.is_some() {
            let text = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "None".to_owned());
            let (expected, got) = (text(&self.sha256_expected), text(&self.sha256_got));
            write!(f, " sha256_expected={expected} sha256_got={got}")?;
        }
        if let (Some(claimed), Some(observed)) = (&self.claimed_identity, &self.observed_identity) {
            write!(f, " claimed={claimed} observed={observed}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical_json::ascii_compact;

    #[test]
    fn has_all_keys_and_one_line() {
        let finding = Finding::new(Mode::Lock, "LOCK_SHA_MISMATCH", "other bytes")
            .about(PartialIdentity { package_id: Some("lib".into()), ..Default::default() })
            .from_source("main")
            .at("repo/lib.dmp")
            .hashes("a", "b");
        assert_eq!(
            finding.to_string(),
            "[LOCK_SHA_MISMATCH] other bytes identity=(lib, None, None) source_id=main \
             artifact_path=repo/lib.dmp sha256_expected=a sha256_got=b"
        );
        let json = ascii_compact(&finding.to_json());
        assert_eq!(json.matches("\":").count(), 12 + 3);
    }
}
