//! The process that stays outside of a server's walls, for what it needs there: unmounting, and
//! the system's log, which may be restarted.
//!
//! It is forked off before the server serves, holds neither image nor device, and takes three
//! words from the server: unmount, log this line, and that it is over. Then, and when the server
//! ends without a word, it takes away what is left of the mount, and ends.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, read, write};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::log;
use crate::sys::{self, Fork};
use crate::table::{self, MountInfo};
use crate::unmount::{self, UnmountError};

/// Between two looks at whether a mount is still used.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Less than all others, and not never: then the kernel would have nobody left to end.
const LAST_TO_GO: i32 = -999;

/// How messages begin.
const UNMOUNT: u8 = b'u';
const LINE: u8 = b'l';
const OVER: u8 = b'o';

/// Most bytes of a message.
const MESSAGE_BYTES: usize = 1 << 16;

/// What there is to take care of.
#[derive(Debug)]
pub(crate) struct Charge {
    /// The mount.
    pub(crate) ours: Ours,
    /// Where it was made.
    pub(crate) mountpoint: PathBuf,
    /// A process at whose end the mount ends, as soon as nobody uses it.
    pub(crate) client: Option<OwnedFd>,
    /// Whether the folder goes with the mount.
    pub(crate) remove_folder: bool,
}

/// All that a keeper needs of this process but its birth, which takes no descriptors.
#[derive(Debug)]
pub(crate) struct Unborn {
    ours: OwnedFd,
    for_log: OwnedFd,
    theirs: OwnedFd,
}

impl Unborn {
    /// Makes it ready: to be done before anything is mounted.
    pub(crate) fn new() -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        // A log that nobody empties must not stop a thread that serves files.
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { for_log: ours.try_clone()?, ours, theirs })
    }

    /// Forks it off for the server that this process, which must have one thread, is about to be.
    pub(crate) fn start(self, charge: &mut Charge) -> io::Result<Keeper> {
        match sys::fork()? {
            Fork::Child => sys::exit(charge.keep(&self.theirs)),
            Fork::Parent(_) => {
                log::through(self.for_log);
                Ok(Keeper(self.ours))
            }
        }
    }
}

/// The server's end of a keeper.
#[derive(Debug)]
pub(crate) struct Keeper(OwnedFd);

impl Keeper {
    /// Has it unmount. Returns at once; an error means that there is no keeper any more.
    pub(crate) fn unmount(&self) -> io::Result<()> {
        self.say(UNMOUNT)
    }

    /// Tells it that the mount is no longer served, and waits until it has cleared up.
    pub(crate) fn end(&self) {
        // Gone already: then there is nobody to wait for.
        if self.say(OVER).is_err() {
            return;
        }
        loop {
            let _readable = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None);
            match read(&self.0, &mut [0]) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                _ => return,
            }
        }
    }

    fn say(&self, word: u8) -> io::Result<()> {
        loop {
            match write(&self.0, &[word]) {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN | Errno::EINTR) => {
                    let _writable = poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Sends a line for the system's log through the server's end of a keeper.
pub(crate) fn send_line(socket: &OwnedFd, severity: u8, line: &[u8]) -> io::Result<()> {
    Ok(write(socket, &[&[LINE, severity], line].concat()).map(drop)?)
}

impl Charge {
    /// The keeper's life, and its exit status.
    fn keep(&mut self, server: &OwnedFd) -> i32 {
        outlive_the_server();
        if let Err(error) = self.let_go(server) {
            tracing::warn!(target: "epkfs::mount", %error, "the keeper holds more than it should");
        }
        // The server may have had no descriptor left to look.
        self.ours.find(&self.mountpoint);
        let mut client = self.client.as_ref();
        let mut client_gone = false;
        loop {
            let mut all = vec![PollFd::new(server, PollFlags::IN)];
            all.extend(client.filter(|_| !client_gone).map(|one| PollFd::new(one, PollFlags::IN)));
            // What the client left running uses the mount. The kernel doesn't tell when that ends.
            let pause = client_gone.then_some(&LOOK);
            if poll(&mut all, pause).is_err() {
                continue;
            }
            let ready = |at: usize| all.get(at).is_some_and(|one| !one.revents().is_empty());
            if ready(0) {
                if !self.hear(server) {
                    break;
                }
            } else {
                client_gone |= ready(1);
                if client_gone {
                    match self.ours.unmount(false) {
                        Err(UnmountError::Busy(_)) => {}
                        result => {
                            warn(result);
                            (client, client_gone) = (None, false);
                        }
                    }
                }
            }
        }
        // An aborted connection leaves its mount behind, dead. It is looked for by that, not by its
        // numbers: these may by now be those of another mount.
        let search_path = self.ours.search_path.as_deref();
        warn(unmount::clean_dead(&self.mountpoint, search_path).map(drop));
        if self.remove_folder {
            // An error means that it isn't empty, or not unmounted: then it is better left.
            let _removed = fs::remove_dir(&self.mountpoint);
        }
        0
    }

    /// Lets go of everything that is the server's, and of what this process was born with.
    fn let_go(&self, server: &OwnedFd) -> io::Result<()> {
        let _named = rustix::thread::set_name(c"epkfs-keeper");
        let log = log::descriptor();
        let client = self.client.as_ref().map(AsRawFd::as_raw_fd);
        let kept: Vec<_> = [Some(server.as_raw_fd()), log, client].into_iter().flatten().collect();
        // First of all: whoever holds the device keeps a mount alive that nobody serves.
        sys::close_all_but(&kept)?;
        chdir("/")?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        if log != Some(nix::libc::STDERR_FILENO) {
            dup2_stderr(&null)?;
        }
        Ok(())
    }

    /// Does what the server says, and tells whether there is more to come.
    fn hear(&self, server: &OwnedFd) -> bool {
        let mut message = vec![0; MESSAGE_BYTES];
        let length = match read(server, &mut message) {
            Err(Errno::EINTR) => return true,
            length => length.unwrap_or(0),
        };
        match message.get(..length) {
            Some([LINE, severity, line @ ..]) => {
                // There is nowhere else to say that nobody listens.
                let _sent = log::send_to_system(*severity, line);
                true
            }
            Some([UNMOUNT]) => {
                self.ours.remove();
                true
            }
            Some([OVER]) => false,
            _ => {
                tracing::warn!(
                    target: "epkfs::mount",
                    mountpoint = %self.mountpoint.display(),
                    "the server was killed"
                );
                false
            }
        }
    }
}

/// Where memory runs short the kernel ends processes, and may end more than one. Whoever clears up
/// is to be the last of them. Asking for that takes CAP_SYS_RESOURCE (proc_pid_oom_score_adj(5)):
/// others go on without.
fn outlive_the_server() {
    let path = "/proc/self/oom_score_adj";
    let now = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if now.is_some_and(|now| now > LAST_TO_GO) {
        let _asked = fs::write(path, LAST_TO_GO.to_string());
    }
}

fn warn(result: Result<(), UnmountError>) {
    if let Err(error) = result {
        tracing::warn!(target: "epkfs::mount", %error, "the mount stays");
    }
}

/// Our entry in the table of mounts.
#[derive(Debug)]
pub(crate) struct Ours {
    mount: Option<MountInfo>,
    search_path: Option<OsString>,
}

impl Ours {
    pub(crate) fn at(target: &Path, search_path: Option<OsString>) -> Self {
        let mut ours = Self { mount: None, search_path };
        ours.find(target);
        ours
    }

    /// Looks for it, if it wasn't found before.
    pub(crate) fn find(&mut self, target: &Path) {
        if self.mount.is_none() {
            self.mount = table::at(target).ok().flatten().filter(MountInfo::is_epkfs);
        }
    }

    /// Unmounts it, wherever it was moved to, and nothing else that may be mounted there by now.
    /// Its numbers are its own as long as it is served.
    pub(crate) fn remove(&self) {
        warn(self.unmount(false).or_else(|error| match error {
            UnmountError::Busy(_) => self.unmount(true),
            other => Err(other),
        }));
    }

    fn unmount(&self, lazy: bool) -> Result<(), UnmountError> {
        let Some(ours) = &self.mount else { return Ok(()) };
        let mounts = table::list().unwrap_or_default();
        let same = |mount: &&MountInfo| mount.id == ours.id && mount.device == ours.device;
        let Some(mount) = mounts.iter().find(same) else { return Ok(()) };
        unmount::remove(mount, lazy, self.search_path.as_deref())
    }
}
