//! Steps of building a view: each is named, so that a refusal says what was refused.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use nix::errno::Errno;

use crate::exit::Failure;

/// A step that the system refused.
#[derive(Debug)]
pub(super) struct Refused {
    step: String,
    error: io::Error,
}

impl Refused {
    pub(super) fn new(step: impl Into<String>, error: impl Into<io::Error>) -> Self {
        Self { step: step.into(), error: error.into() }
    }

    /// The end of a launch: `what` is like "cannot confine the program".
    pub(super) fn launch(&self, what: &str) -> Failure {
        let failure = Failure::launch(format!("{what}: {self}"));
        if self.error.raw_os_error() == Some(Errno::ENOSYS as i32) {
            return failure.hint("this needs a kernel of version 5.12 or later");
        }
        failure
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.error)
    }
}

pub(super) fn step<T>(
    what: impl fmt::Display,
    action: impl FnOnce() -> nix::Result<T>,
) -> Result<T, Refused> {
    action().map_err(|errno| Refused::new(what.to_string(), errno))
}

/// Makes a folder and those that lead to it; one that is there is as good.
pub(super) fn make_folder(path: &Path, mode: u32) -> Result<(), Refused> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| Refused::new(format!("make `{}`", path.display()), error))
}

pub(super) fn make_parents(path: &Path) -> Result<(), Refused> {
    path.parent().map_or(Ok(()), |parent| make_folder(parent, 0o755))
}
