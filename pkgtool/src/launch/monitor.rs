//! The launcher while the application runs in a process namespace: it stands for the application
//! towards whoever started it. What it is sent the application gets; it stops when the application
//! stops, and ends as the application does.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use epkfs::handover::{Handover, Inherited};
use epkfs::process::{self, Fork};
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, chdir, getpgrp, tcgetpgrp, tcsetpgrp};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitOptions, set_parent_process_death_signal, waitpid};

use crate::exit::Failure;

use super::init::Init;
use super::streams;

/// Splits off the first process of a new process namespace, and returns in it. The other one
/// stays behind, and ends as the application will.
pub(super) fn split(server: Option<&Handover>, inherited: &Inherited) -> Result<Init, Failure> {
    let failed = |what: &str, error: io::Error| {
        Failure::launch(format!("cannot make a process namespace: {what}: {error}"))
            .hint("`--no-pid-namespace` launches without one")
    };
    let children_ignored =
        process::heed_children().map_err(|errno| failed("signal(2)", errno.into()))?;
    // Caught from here on: what arrives meanwhile is for the application.
    SigSet::all().thread_block().map_err(|errno| failed("block signals", errno.into()))?;
    let (ours, theirs) = UnixStream::pair().map_err(|error| failed("socketpair(2)", error))?;
    unshare(CloneFlags::CLONE_NEWPID).map_err(|errno| failed("unshare(2)", errno.into()))?;
    match process::fork().map_err(|error| failed("fork(2)", error))? {
        Fork::Child => {
            drop(ours);
            // The launcher may be gone by now: then the end of the socket tells.
            set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .map_err(|errno| failed("prctl(2)", errno.into()))?;
            Ok(Init { launcher: theirs, inherited: inherited.clone(), children_ignored })
        }
        Fork::Parent(init) => {
            drop(theirs);
            if let Some(server) = server {
                server.settle();
            }
            inherited.close();
            let end = watch(server, ours, init);
            finish(&end)
        }
    }
}

/// How it all ended.
enum End {
    /// As the application did.
    Application(ExitStatus),
    /// The server was gone, and the application was killed.
    Server,
}

fn watch(server: Option<&Handover>, mut application: UnixStream, init: Pid) -> End {
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    // Without it nothing is passed on, which is no reason to end what runs.
    let signals = SignalFd::with_flags(&SigSet::all(), flags).ok();
    // The streams are the application's, which may close them; errors may still be told.
    streams::let_go(false);
    let _left = chdir("/");
    let mut end = None;
    let mut served = true;
    while end.is_none() {
        let mut all = vec![PollFd::new(&application, PollFlags::IN)];
        let watched = |descriptor, what| PollFd::from_borrowed_fd(descriptor, what);
        all.extend(server.map(|server| watched(server.as_fd(), PollFlags::empty())));
        let server_at = server.map(|_| 1);
        let signals_at = all.len();
        all.extend(signals.as_ref().map(|signals| watched(signals.as_fd(), PollFlags::IN)));
        if poll(&mut all, None).is_err() {
            continue;
        }
        let ready: Vec<bool> = all.iter().map(|one| !one.revents().is_empty()).collect();
        let ready = |at: usize| ready.get(at).copied().unwrap_or(false);
        // First of all: the server ends, too, when the application has.
        if ready(0) {
            let mut raw = [0; 4];
            match application.read_exact(&mut raw) {
                Ok(()) => {
                    let status = ExitStatus::from_raw(i32::from_ne_bytes(raw));
                    match status.stopped_signal() {
                        Some(signal) => stop(signal),
                        None => end = Some(status),
                    }
                }
                // Init ended without a word: it never started the application, or it was killed.
                Err(_) => break,
            }
        } else if server_at.is_some_and(ready) {
            served = false;
            let _killed = process::send_signal(init, libc::SIGKILL);
            break;
        } else if ready(signals_at) {
            pass_on(signals.as_ref(), &mut application);
        }
    }
    let status = wait_for(init);
    match end.or(status) {
        Some(status) if served => End::Application(status),
        _ => End::Server,
    }
}

fn pass_on(signals: Option<&SignalFd>, application: &mut UnixStream) {
    while let Some(Ok(Some(signal))) = signals.map(SignalFd::read_signal) {
        // Of the one child that there is, its socket tells.
        if signal.ssi_signo.cast_signed() == libc::SIGCHLD {
            continue;
        }
        if let Ok(number) = u8::try_from(signal.ssi_signo) {
            let _sent = application.write_all(&[number]);
        }
    }
}

/// Stops as the application has. Returns when somebody lets this process continue, which the
/// application is then told as any other signal.
fn stop(signal: i32) {
    let Ok(signal) = Signal::try_from(signal) else { return };
    let mut set = SigSet::empty();
    set.add(signal);
    let _sent = process::send_signal(Pid::this(), signal as i32);
    // SIGSTOP can't be blocked, and has stopped this process by now. The others do here.
    let _unblocked = set.thread_unblock();
    let _blocked = set.thread_block();
}

fn wait_for(init: Pid) -> Option<ExitStatus> {
    let init = rustix::process::Pid::from_raw(init.as_raw())?;
    loop {
        match waitpid(Some(init), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Some(ExitStatus::from_raw(status.as_raw())),
            Err(rustix::io::Errno::INTR) | Ok(None) => {}
            Err(_) => return None,
        }
    }
}

fn finish(end: &End) -> ! {
    take_terminal_back();
    match end {
        End::Application(status) => match (status.code(), status.signal()) {
            (Some(code), _) => process::exit(code),
            (None, Some(signal)) => process::end_by_signal(signal),
            (None, None) => process::exit(crate::exit::Exit::LaunchFailed as i32),
        },
        End::Server => {
            Failure::launch("the package's server has ended, and the application with it").print();
            process::end_by_signal(libc::SIGKILL)
        }
    }
}

/// A shell in the namespace can't give the terminal back to a process group that it has no number
/// for. When the group that has it is gone with the namespace, this process's takes it.
fn take_terminal_back() {
    let Ok(terminal) = std::fs::File::options().read(true).open("/dev/tty") else { return };
    let gone = tcgetpgrp(&terminal).is_ok_and(|group| {
        group != getpgrp() && nix::sys::signal::killpg(group, None) == Err(Errno::ESRCH)
    });
    if gone {
        let _taken = tcsetpgrp(&terminal, getpgrp());
    }
}
