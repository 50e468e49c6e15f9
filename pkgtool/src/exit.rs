//! How a command ends: the exit status, what to say, and what may help (`spec/cli.md` §2).

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::process::ExitCode;

use epk_format::manifest::ManifestError;

use crate::events;

/// The exit statuses of every command but `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// A finding, or something that is refused.
    Finding = 1,
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
    /// A good package in which programs or libraries lack what they need (`verify --loader`).
    Incomplete = 7,
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
    pub(crate) exit: Exit,
    message: String,
    hints: Vec<String>,
    /// Whoever read standard output has left: there is nothing to say, and nobody to say it to.
    unread: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), hints: Vec::new(), unread: false }
    }

    pub(crate) fn environment(message: impl fmt::Display) -> Self {
        Self::new(Exit::Environment, message)
    }

    pub(crate) fn refused(message: impl fmt::Display) -> Self {
        Self::new(Exit::Finding, message)
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A failure with the error's whole chain of causes for a message.
    pub(crate) fn because(exit: Exit, error: &dyn Error) -> Self {
        Self::new(exit, chain(error))
    }

    /// An operation of the system that failed: `what` is like "cannot open `x`".
    pub(crate) fn system(what: impl fmt::Display, error: &dyn Error) -> Self {
        Self::new(Exit::Environment, format!("{what}: {}", chain(error)))
    }

    pub(crate) fn launch(message: impl fmt::Display) -> Self {
        Self::new(Exit::LaunchFailed, message)
    }

    /// The same before a launch, where the small numbers belong to the application.
    pub(crate) fn into_launch(mut self) -> Self {
        self.exit = self.exit.max(Exit::LaunchFailed);
        self
    }

    /// The same in a command that launches nothing: what isn't there is a finding, a file that
    /// can't be read the environment's.
    pub(crate) fn into_finding(mut self) -> Self {
        self.exit = match self.exit {
            Exit::NotFound => Exit::Finding,
            Exit::LaunchFailed => Exit::Environment,
            exit => exit,
        };
        self
    }

    /// What went wrong with a package's file.
    pub(crate) fn package(path: &std::path::Path, error: &epk_format::Error) -> Self {
        events::refused(path, error);
        Self::new(exit_of(error), format!("`{}`: {error}", path.display()))
    }

    /// Why a package's file was not opened, and what may help where that is the policy's doing.
    pub(crate) fn opening(
        path: &std::path::Path,
        error: &epk_format::Error,
        options: &epk_format::OpenOptions,
    ) -> Self {
        let hints = epkfs::policy::hints(error, options.signature);
        hints.into_iter().fold(Self::package(path, error), Self::hint)
    }

    /// What is wrong with a package's manifest.
    pub(crate) fn manifest(path: &std::path::Path, error: &ManifestError) -> Self {
        events::manifest_refused(path, error);
        Self::new(manifest_exit(error), format!("`{}`: {error}", path.display()))
    }

    /// What went wrong, without the hint.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Adds a line that says what may help.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Ends the program: says what there is to say, and gives the exit status. When the reader of
    /// standard output has left, the program dies of SIGPIPE as others do.
    pub(crate) fn end(&self) -> ExitCode {
        if self.unread {
            // Where SIGPIPE can't kill there is the status that a shell gives to such a death.
            let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
            return ExitCode::from(128 + 13);
        }
        self.print();
        ExitCode::from(self.exit as u8)
    }

    /// Says it on standard error.
    pub(crate) fn print(&self) {
        eprintln!("error: {}", self.message);
        for hint in &self.hints {
            eprintln!("hint: {hint}");
        }
    }
}

/// The status that a package's error stands for.
pub(crate) fn exit_of(error: &epk_format::Error) -> Exit {
    match error.code() {
        None => Exit::Environment,
        Some(code) if code.concerns_signature() => Exit::Signature,
        Some(_) => Exit::InvalidPackage,
    }
}

/// The status that a manifest's error stands for.
pub(crate) fn manifest_exit(error: &ManifestError) -> Exit {
    match error.status.number() {
        12..=15 => Exit::Incompatible,
        _ => Exit::InvalidPackage,
    }
}

/// Prints a line of data. Unlike `println!` it fails where standard output does.
pub(crate) fn print_line(line: impl fmt::Display) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{line}").map_err(|error| standard_output(&error))
}

/// Standard output takes no more: a full disk, or a reader that has left.
pub(crate) fn standard_output(error: &std::io::Error) -> Failure {
    let unread = error.kind() == std::io::ErrorKind::BrokenPipe;
    Failure { unread, ..Failure::environment(format!("standard output: {error}")) }
}

/// An error and its causes, in one line. Causes that the line has already are left out.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        next = cause.source();
    }
    text
}
