//! Running `pkgtool` for a test, and what it said.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus};

use serde_json::Value;

use crate::binaries::binary;

/// `pkgtool` with an empty environment but for `PATH`: nothing of the machine's changes it.
#[must_use]
pub fn pkgtool() -> Command {
    let mut command = Command::new(binary("pkgtool"));
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// A command that another program starts, which gets it as its last words. Only the variables that were
/// given to the command are there.
#[must_use]
pub fn started_by(mut starter: Command, command: &Command) -> Command {
    starter.arg(command.get_program()).args(command.get_args()).env_clear();
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            starter.env(key, value);
        }
    }
    starter.current_dir(command.get_current_dir().unwrap_or(Path::new("/")));
    starter
}

/// Runs `pkgtool` with arguments to its end.
#[must_use]
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Outcome {
    Outcome::of(pkgtool().args(arguments))
}

/// How a program ended, and what it wrote.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error, as text.
    pub stderr: String,
}

impl Outcome {
    /// Runs a program to its end.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { status: output.status, stdout: output.stdout, stderr }
    }

    /// Demands an exit status.
    #[track_caller]
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}\nstdout: {}\nstderr: {}",
            self.status,
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }

    /// Demands success without a word on standard error, and gives standard output.
    #[track_caller]
    #[must_use]
    pub fn quietly(self) -> Vec<u8> {
        let done = self.exits(0);
        assert_eq!(done.stderr, "", "a message where none is due");
        done.stdout
    }

    /// Demands a failure of a kind that says `message` on standard error and prints nothing.
    #[track_caller]
    pub fn fails(self, code: i32, message: &str) {
        let done = self.exits(code);
        assert!(done.stderr.contains(message), "expected `{message}` in: {}", done.stderr);
        assert!(done.stderr.starts_with("error: "), "no message as usual: {}", done.stderr);
        assert_eq!(String::from_utf8_lossy(&done.stdout), "", "a failure prints no data");
    }

    /// Standard output as text.
    #[track_caller]
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is text")
    }

    /// Standard output as one JSON value a line.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}
