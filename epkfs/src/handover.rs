//! Serving a mount that somebody else makes, in namespaces that this process must not enter.
//!
//! A launcher forks the server off first, then enters a mount namespace of its own, mounts an
//! opened device there and hands it over. The server is in the launcher's old mount namespace,
//! so it doesn't keep the new one alive: when the last process in that is gone, the kernel
//! unmounts, and the server ends.

use std::fs::File;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use epk_format::Package;
use epk_format::source::Source;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use nix::sys::wait::waitpid;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use crate::confine;
use crate::log;
use crate::session::{Config, serve};
use crate::sys::{self, Fork};

/// What the server says when the mount answers.
const READY: &[u8] = b"ready";

/// The descriptors above the standard ones that this process was born with. They are for the
/// application, and a server that kept them open would keep whoever waits for their end waiting.
#[derive(Debug, Clone, Default)]
pub struct Inherited(Vec<RawFd>);

impl Inherited {
    /// Those that are open now, but for a log's: ask before this process opens any other.
    #[must_use]
    pub fn now() -> Self {
        let listing = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let numbers = listing.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let log = log::descriptor();
        let open: Vec<RawFd> =
            numbers.filter(|&number| number > 2 && Some(number) != log).collect();
        // The listing's own is among them, and closed by now.
        Self(open.into_iter().filter(|&number| sys::is_open(number)).collect())
    }

    /// Closes them in this process, which is not what they are meant for.
    pub fn close(&self) {
        self.0.iter().for_each(|&number| sys::close_inherited(number));
    }
}

/// A server that waits for a device. Dropped, it ends, unless it has got one. As a descriptor it
/// hangs up when the server's process ends.
#[must_use]
pub struct Handover {
    socket: UnixStream,
    /// The process that forked the server off, and ends with that.
    between: nix::unistd::Pid,
}

/// Forks the server off, in the user namespace that this process is in.
///
/// It confines itself ([`crate::confine`]). Its standard error is this process's until that ends, for what there is to say about damaged
/// blocks; of its other descriptors it holds open only what it needs.
///
/// # Errors
/// What the system says, or that this process has more than one thread.
pub fn start<S: Source + 'static>(
    package: Package<S>,
    config: &Config,
    inherited: &Inherited,
) -> io::Result<Handover> {
    let (ours, theirs) = UnixStream::pair()?;
    let client = getpid();
    match sys::fork()? {
        Fork::Child => {
            drop(ours);
            inherited.close();
            // Split once more: what this process becomes must not find a child it never made.
            let status = match setsid().map_err(io::Error::from).and_then(|_| sys::fork()) {
                Ok(Fork::Parent(_)) => 0,
                Ok(Fork::Child) => be_server(package, config, theirs, client),
                Err(error) => complain(theirs, &error),
            };
            sys::exit(status)
        }
        Fork::Parent(child) => {
            drop(theirs);
            Ok(Handover { socket: ours, between: child })
        }
    }
}

impl Handover {
    /// Hands over the device of a mount.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&self, device: OwnedFd) -> io::Result<()> {
        let descriptors = [device.as_raw_fd()];
        sendmsg::<UnixAddr>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(b"d")],
            &[ControlMessage::ScmRights(&descriptors)],
            MsgFlags::empty(),
            None,
        )?;
        drop(device);
        Ok(())
    }

    /// Waits until the mount whose device was sent answers.
    ///
    /// # Errors
    /// What the system says, here or there.
    pub fn wait(&mut self) -> io::Result<()> {
        let mut answer = [0; READY.len()];
        let mut length = 0;
        while let Some(rest) = answer.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match self.socket.read(rest)? {
                0 => break,
                read => length += read,
            }
        }
        if answer == READY {
            return Ok(());
        }
        // A complaint, and then its end.
        let mut text = answer.get(..length).unwrap_or_default().to_vec();
        self.socket.read_to_end(&mut text)?;
        match text.as_slice() {
            [] => Err(io::Error::other("the server ended without a word")),
            text => Err(io::Error::other(String::from_utf8_lossy(text).into_owned())),
        }
    }

    /// Waits for the process that forked the server off, so that it isn't left for the caller to
    /// wait for.
    pub fn settle(&self) {
        // Where SIGCHLD is ignored there is nothing left of it.
        let _status = waitpid(self.between, None);
    }
}

impl AsFd for Handover {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Handover {
    /// Not waited for before: what the caller does meanwhile takes longer than the process lives.
    fn drop(&mut self) {
        self.settle();
    }
}

/// The server's life, and its exit status.
fn be_server<S: Source + 'static>(
    package: Package<S>,
    config: &Config,
    socket: UnixStream,
    client: Pid,
) -> i32 {
    let mut said = false;
    let serve_one = || -> io::Result<()> {
        let watched = pidfd_open(client, PidfdFlags::empty()).ok();
        let null = detach(watched.is_some())?;
        let (walls, gate) = confine::prepare(config.threads > 1)?;
        // The launcher gave up before it had mounted.
        let Some(device) = sys::receive_descriptor(&socket)? else { return Ok(()) };
        serve(package, device, config, Some(gate), || {
            // A launcher that is gone needs no answer. For one that watches, the socket stays open.
            let _sent = (&socket).write_all(READY);
            said = true;
            // The launcher goes on meanwhile.
            walls.close()?;
            if let Some(client) = watched {
                leave_standard_error_with(client, null);
            }
            Ok(())
        })
    };
    match serve_one() {
        Ok(()) => 0,
        Err(error) if said => {
            tracing::error!(%error, "the server ends");
            1
        }
        Err(error) => complain(socket, &error),
    }
}

fn complain(mut socket: UnixStream, error: &io::Error) -> i32 {
    let _sent = socket.write_all(error.to_string().as_bytes());
    1
}

/// Lets go of the launcher's folder and standard streams, but for the error stream if it is
/// going to be watched. Gives what they lead to now.
fn detach(keep_standard_error: bool) -> io::Result<File> {
    chdir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(null.as_fd())?;
    dup2_stdout(null.as_fd())?;
    if !keep_standard_error {
        dup2_stderr(null.as_fd())?;
    }
    Ok(null)
}

/// Closes standard error when `client` ends: whoever reads the other end of it waits for the
/// client, not for us, who may live on with what the client left running.
fn leave_standard_error_with(client: OwnedFd, null: File) {
    let null = Arc::new(null);
    let elsewhere = Arc::clone(&null);
    let spawned = std::thread::Builder::new().name("stderr".into()).spawn(move || {
        while poll(&mut [PollFd::new(&client, PollFlags::IN)], None).is_err() {}
        let _closed = dup2_stderr(elsewhere.as_fd());
    });
    if spawned.is_err() {
        let _closed = dup2_stderr(null.as_fd());
    }
}
