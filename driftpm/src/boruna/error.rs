//! Everything that can go wrong, with the original's wording as the first line.
//!
//! [`Error`]'s `Display` is that first line. What it leaves out (which packages, which path)
//! is in [`Error::preamble`] and [`Error::details`], and as data in [`Error::to_json`].

use std::io;

use serde_json::{Value, json};

/// A failed operation on Boruna packages.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused something; `action` says what was being done to what.
    #[error("{action}: {reason}")]
    Io {
        /// For instance `read manifest` or `write lockfile`.
        action: String,
        /// The system's answer.
        reason: io::Error,
    },
    /// A JSON file is not what it should be.
    #[error("parse {what}: {reason}")]
    Parse {
        /// `manifest`, `policy`, `lockfile` or `bundle`.
        what: String,
        /// What was found and where.
        reason: String,
    },
    /// A manifest breaks rules of the specification; every broken rule is listed.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// A manifest in the registry breaks rules, or is not for the folder it stands in.
    #[error("invalid package {id}: {}", .problems.join("; "))]
    InvalidPackage {
        /// `name@version` as asked for.
        id: String,
        /// Every rule broken.
        problems: Vec<String>,
    },
    /// A package that the resolver needs could not be loaded.
    #[error("failed to load {id}: {reason}")]
    Load {
        /// `name@version`.
        id: String,
        /// Why.
        reason: Box<Error>,
    },
    /// No such package.
    #[error("package {0} not found in registry")]
    NotFound(String),
    /// Two versions of one package are required.
    #[error("version conflict: both '{first}' and '{second}' required")]
    Conflict {
        /// The id met first, breadth first.
        first: String,
        /// The other.
        second: String,
    },
    /// Packages depend on each other in a ring.
    #[error("circular dependency detected")]
    Cycle {
        /// The ring, beginning and ending with its smallest id.
        path: Vec<String>,
    },
    /// Packages ask for capabilities that a policy forbids.
    #[error(
        "capability policy violation: dependencies require forbidden capabilities: {}",
        forbidden(.0)
    )]
    PolicyViolation(Vec<Violation>),
    /// A policy that says two things at once or names no capability of the platform.
    #[error("{0}")]
    Policy(String),
    /// Packages of a closure whose files are not what was published.
    #[error("{} packages failed the hash check", .0.len())]
    Hashes(Vec<Failure>),
    /// Packages of a registry that are damaged.
    #[error("{} packages failed verification", .0.len())]
    Verification(Vec<Failure>),
    /// The lockfile is missing or broken.
    #[error("{0}")]
    Lockfile(String),
    /// The lockfile is sound but not what the registry gives now.
    #[error("lockfile {name} does not match what the dependencies resolve to")]
    LockfileDiffers {
        /// The lockfile's name.
        name: String,
        /// How they differ.
        difference: super::lockfile::Difference,
    },
    /// Published already; a published package never changes.
    #[error("package {0} already exists in registry")]
    AlreadyPublished(String),
    /// A package cannot be published; the text says why.
    #[error("{0}")]
    Publish(String),
    /// No image can be made; the text says why.
    #[error("{0}")]
    Bundle(String),
    /// A change asked for makes no sense; the text says why.
    #[error("{0}")]
    Request(String),
}

/// One use of a forbidden capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Canonical name.
    pub capability: String,
    /// `name@version` of the package that asks for it.
    pub package: String,
    /// The name as the package's manifest writes it.
    pub written: String,
    /// Whether the package is the project itself.
    pub is_root: bool,
    /// Where the policy stands that forbids it.
    pub policy: String,
}

/// One package that failed a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `name@version`.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
}

fn forbidden(violations: &[Violation]) -> String {
    let mut names: Vec<_> = violations.iter().map(|one| one.capability.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

impl Error {
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |reason| Self::Io { action, reason }
    }

    /// A stable word for the kind of error.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Parse { .. } => "parse",
            Self::Invalid(_) => "invalid_manifest",
            Self::InvalidPackage { .. } => "invalid_package",
            Self::Load { .. } => "load",
            Self::NotFound(_) => "not_found",
            Self::Conflict { .. } => "conflict",
            Self::Cycle { .. } => "cycle",
            Self::PolicyViolation(_) => "policy_violation",
            Self::Policy(_) => "policy",
            Self::Hashes(_) => "hash_mismatch",
            Self::Verification(_) => "verification",
            Self::Lockfile(_) => "lockfile",
            Self::LockfileDiffers { .. } => "lockfile_differs",
            Self::AlreadyPublished(_) => "already_published",
            Self::Publish(_) => "publish",
            Self::Bundle(_) => "bundle",
            Self::Request(_) => "request",
        }
    }

    /// Lines that come before the message.
    #[must_use]
    pub fn preamble(&self) -> Vec<String> {
        match self {
            Self::Hashes(failures) | Self::Verification(failures) => {
                failures.iter().map(|one| format!("  FAIL: {}: {}", one.id, one.reason)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Lines that come after the message.
    #[must_use]
    pub fn details(&self) -> Vec<String> {
        match self {
            Self::Cycle { path } => vec![format!("  {}", path.join(" -> "))],
            Self::PolicyViolation(violations) => violations.iter().map(Violation::line).collect(),
            Self::LockfileDiffers { difference, .. } => difference.lines(),
            _ => Vec::new(),
        }
    }

    /// Kind, message and the facts behind it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut out = json!({ "kind": self.kind(), "message": self.to_string() });
        let (key, value) = match self {
            Self::Cycle { path } => ("cycle", json!(path)),
            Self::Conflict { first, second } => ("packages", json!([first, second])),
            Self::Invalid(problems) => ("problems", json!(problems)),
            Self::InvalidPackage { id, problems } => {
                ("package", json!({ "id": id, "problems": problems }))
            }
            Self::NotFound(id) | Self::Load { id, .. } | Self::AlreadyPublished(id) => {
                ("package", json!({ "id": id }))
            }
            Self::PolicyViolation(violations) => {
                ("violations", violations.iter().map(Violation::to_json).collect())
            }
            Self::Hashes(failures) | Self::Verification(failures) => {
                ("failures", failures.iter().map(Failure::to_json).collect())
            }
            Self::LockfileDiffers { difference, .. } => ("difference", difference.to_json()),
            _ => return out,
        };
        if let Some(object) = out.as_object_mut() {
            object.insert(key.to_string(), value);
        }
        out
    }
}

impl Violation {
    fn line(&self) -> String {
        let root = if self.is_root { " (the project itself)" } else { "" };
        let written = if self.written == self.capability {
            String::new()
        } else {
            format!(" (written '{}')", self.written)
        };
        let Self { package, capability, policy, .. } = self;
        format!("  {package}{root} requires {capability}{written}, forbidden by {policy}")
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "capability": self.capability,
            "package": self.package,
            "written": self.written,
            "root": self.is_root,
            "policy": self.policy,
        })
    }
}

impl Failure {
    pub(super) fn to_json(&self) -> Value {
        json!({ "id": self.id, "reason": self.reason })
    }
}
