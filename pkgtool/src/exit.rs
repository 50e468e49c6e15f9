//! Exit codes, and the one way a command fails.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

/// What the process's exit status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command looked, and refuses or has found something.
    Finding = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The system refuses: files, permissions, devices.
    Environment = 3,
    /// A signature can't be made, is wrong or isn't trusted.
    Signature = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: for people on stderr, for scripts as the exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    hints: Vec<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new() }
    }

    /// A failure with the error's whole chain of causes for a message.
    pub(crate) fn because(exit: Exit, error: &dyn Error) -> Self {
        Self::new(exit, chain(error))
    }

    /// An operation of the system that failed: `what` is like "cannot open `x`".
    pub(crate) fn system(what: impl std::fmt::Display, error: &dyn Error) -> Self {
        Self::new(Exit::Environment, format!("{what}: {}", chain(error)))
    }

    /// Adds a line that says what may help.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Prints message and hints.
    pub(crate) fn print(&self) {
        eprintln!("error: {}", self.message);
        for hint in &self.hints {
            eprintln!("hint: {hint}");
        }
    }
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
