//! The first process of an application's process namespace. It starts the application, waits for
//! whatever loses its parent, passes on what the launcher is sent, and takes all others with it
//! when it ends, which it does with the application, and with the launcher.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use epkfs::handover::Inherited;
use epkfs::process::{self, Fork};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitOptions, WaitStatus, wait};

use crate::exit::Failure;

use super::streams;

/// Signals that have a number: 1 to 64.
const SIGNALS: usize = 65;

/// The process that init is before it has started the application.
pub(super) struct Init {
    /// To the launcher: states of the application. From it: numbers of signals, a byte each. Its
    /// end is the launcher's.
    pub(super) launcher: UnixStream,
    pub(super) inherited: Inherited,
    /// Whether SIGCHLD was ignored outside.
    pub(super) children_ignored: bool,
}

impl Init {
    /// Starts the application, and is init until it ends. `become_it` returns only when that
    /// fails.
    pub(super) fn start(self, become_it: impl FnOnce() -> Failure) -> Result<Infallible, Failure> {
        let failed = |error: std::io::Error| {
            Failure::launch(format!("cannot start the application: {error}"))
        };
        // Made before anybody can send what it is to catch: all signals are blocked already.
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&SigSet::all(), flags).map_err(|e| failed(e.into()))?;
        match process::fork().map_err(failed)? {
            Fork::Child => {
                if self.children_ignored {
                    let _ignored = process::ignore_children();
                }
                let failure = become_it();
                failure.print();
                process::exit(failure.exit as i32)
            }
            Fork::Parent(application) => {
                self.inherited.close();
                streams::let_go(true);
                serve(&self.launcher, &signals, application);
                // The others end with this process.
                process::exit(0)
            }
        }
    }
}

/// Returns when the application has ended, or the launcher has.
fn serve(launcher: &UnixStream, signals: &SignalFd, application: Pid) {
    // Signals that reached this process itself. They went to the whole process group, for nobody
    // knows this one; the application, if it is still in the group, has got them, too.
    let mut received = [false; SIGNALS];
    loop {
        let mut wanted = [0; SIGNALS];
        let (from_launcher, from_kernel) = {
            let mut both = [
                PollFd::new(launcher, PollFlags::IN),
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            ];
            if poll(&mut both, None).is_err() {
                continue;
            }
            let [launcher, kernel] = both.map(|one| !one.revents().is_empty());
            (launcher, kernel)
        };
        // Read before this process's own signals are: the kernel gives a group's signal to the
        // youngest member first, so what the launcher passes on has arrived here before.
        let mut count = 0;
        if from_launcher {
            count = match (&*launcher).read(&mut wanted) {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
        }
        if from_launcher || from_kernel {
            while let Ok(Some(signal)) = signals.read_signal() {
                let number = usize::try_from(signal.ssi_signo).unwrap_or(0);
                if let Some(one) = received.get_mut(number) {
                    *one = true;
                }
            }
        }
        for &number in wanted.get(..count).unwrap_or_default() {
            let known = received.get_mut(usize::from(number));
            if !known.is_some_and(std::mem::take) {
                let _sent = process::send_signal(application, i32::from(number));
            }
        }
        if reap(launcher, application) {
            return;
        }
    }
}

/// Waits for all that have ended, and tells of the application. Whether it has ended.
fn reap(mut launcher: &UnixStream, application: Pid) -> bool {
    while let Ok(Some((child, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
        if child.as_raw_nonzero().get() != application.as_raw() {
            continue;
        }
        let _told = launcher.write_all(&WaitStatus::as_raw(status).to_ne_bytes());
        if !status.stopped() {
            return true;
        }
    }
    false
}
