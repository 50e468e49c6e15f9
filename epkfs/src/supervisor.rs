//! Who started this program and wants to know when the mount answers.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;

use epkfs::daemon::{Error, Ready};
use epkfs::{inherited_descriptor, notify};

/// Whom to tell.
pub(crate) struct Supervisor {
    /// A descriptor for one line of JSON. It's taken over when it's told, not before: a daemon
    /// that is made in the meantime must not have it, or its reader would wait for its end.
    pub(crate) ready_fd: Option<i32>,
    /// systemd's socket.
    pub(crate) socket: Option<OsString>,
}

impl Supervisor {
    /// Finds out early that there is nobody behind the descriptor.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.ready_fd {
            Some(number) => fs::symlink_metadata(format!("/proc/self/fd/{number}"))
                .map(drop)
                .map_err(|_| io::Error::other(format!("descriptor {number} is not open"))),
            None => Ok(()),
        }
    }

    /// Tells how it went. At most once.
    pub(crate) fn tell(&self, outcome: Result<&Ready, &Error>) {
        if let Some(number) = self.ready_fd {
            let told = match number {
                1 => notify::write_line(io::stdout(), outcome),
                2 => notify::write_line(io::stderr(), outcome),
                _ => inherited_descriptor(number)
                    .and_then(|descriptor| notify::write_line(File::from(descriptor), outcome)),
            };
            warn("--ready-fd", told);
        }
        if let (Ok(ready), Some(socket)) = (outcome, &self.socket) {
            warn("systemd", notify::systemd(socket, ready.pid));
        }
    }
}

fn warn(whom: &str, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "cannot tell {whom}");
    }
}
