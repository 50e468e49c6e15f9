//! How a command ends: the exit status, what to say, and what may help (`spec/cli.md` §2).

use std::fmt;
use std::process::ExitCode;

use epk_format::manifest::ManifestError;
use epk_format::{Error, RejectCode};

/// The exit statuses of every command but `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Status {
    /// A finding, or something that is refused.
    Refused = 1,
    /// The command line makes no sense. The command-line parser's own status.
    Usage = 2,
    /// The environment or the storage.
    Environment = 3,
    /// The package breaks a rule.
    InvalidPackage = 4,
    /// The signature, or the trust in it.
    Signature = 5,
    /// A good package that this host can't run.
    Incompatible = 6,
    /// `run`: the application could not be launched.
    LaunchFailed = 125,
    /// `run`: the package's target can't be executed.
    NotExecutable = 126,
    /// `run`: the target, or what the kernel needs to execute it, isn't there.
    NotFound = 127,
}

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl fmt::Display) -> Self {
        Self { status, message: message.to_string(), hint: None }
    }

    pub(crate) fn environment(message: impl fmt::Display) -> Self {
        Self::new(Status::Environment, message)
    }

    pub(crate) fn refused(message: impl fmt::Display) -> Self {
        Self::new(Status::Refused, message)
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Status::Usage, message)
    }

    pub(crate) fn launch(message: impl fmt::Display) -> Self {
        Self::new(Status::LaunchFailed, message)
    }

    /// The same before a launch, where the small numbers belong to the application.
    pub(crate) fn into_launch(mut self) -> Self {
        self.status = self.status.max(Status::LaunchFailed);
        self
    }

    /// What went wrong with a package's file.
    pub(crate) fn package(path: &std::path::Path, error: &Error) -> Self {
        Self::new(status_of(error), format!("`{}`: {error}", path.display()))
    }

    /// What is wrong with a package's manifest.
    pub(crate) fn manifest(path: &std::path::Path, error: &ManifestError) -> Self {
        Self::new(manifest_status(error), format!("`{}`: {error}", path.display()))
    }

    /// What went wrong, without the hint.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) {
        eprintln!("pkgtool: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        Self::from(failure.status as u8)
    }
}

/// The status that a package's error stands for.
pub(crate) fn status_of(error: &Error) -> Status {
    match error.code() {
        None => Status::Environment,
        Some(
            RejectCode::SignatureFailed
            | RejectCode::SignatureTooLarge
            | RejectCode::SignatureAlgorithmNone
            | RejectCode::SignatureWeakKey
            | RejectCode::SignatureUntrusted,
        ) => Status::Signature,
        Some(_) => Status::InvalidPackage,
    }
}

/// The status that a manifest's error stands for.
pub(crate) fn manifest_status(error: &ManifestError) -> Status {
    match error.status.number() {
        12..=15 => Status::Incompatible,
        _ => Status::InvalidPackage,
    }
}
