//! The standard streams of processes that are not the application.

use std::fs::File;
use std::os::fd::AsFd as _;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Lets go of this process's standard streams, of standard error only if `errors` says so: whoever
/// is at their other ends must see their end when the application closes them.
pub(super) fn let_go(errors: bool) {
    let Ok(null) = File::options().read(true).write(true).open("/dev/null") else { return };
    let _closed = dup2_stdin(null.as_fd());
    let _closed = dup2_stdout(null.as_fd());
    if errors {
        let _closed = dup2_stderr(null.as_fd());
    }
}
