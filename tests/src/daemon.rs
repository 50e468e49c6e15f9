//! Running `epkfs` for a test.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use epkfs::control::{self, Status};
use epkfs::stats::Counts;
use epkfs::unmount::{UnmountError, unmount};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::binaries::binary;
use crate::files::temp_folder;
use crate::processes;

/// How long a healthy daemon may take to answer on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Unmounts what nobody uses, as [`epkfs::unmount::unmount`] does. A child that another test has
/// just forked holds what this process has open until it executes its program: that moment is
/// waited for.
///
/// # Errors
/// As the library says, but for a mount that is busy for less than [`PATIENCE`].
pub fn unmount_idle(mountpoint: &Path) -> Result<(), UnmountError> {
    let search_path = std::env::var_os("PATH");
    let deadline = Instant::now() + PATIENCE;
    loop {
        match unmount(mountpoint, false, search_path.as_deref()) {
            Err(UnmountError::Busy(_)) if Instant::now() < deadline => std::thread::yield_now(),
            result => return result,
        }
    }
}

/// A folder with an image, a mountpoint and a log. Removed when dropped, when nothing may be
/// mounted in it any more.
#[derive(Debug)]
pub struct Place {
    /// There until it's dropped.
    folder: Option<TempDir>,
}

impl Default for Place {
    fn default() -> Self {
        let folder = temp_folder();
        std::fs::create_dir(folder.path().join("mnt")).expect("a folder can be made");
        Self { folder: Some(folder) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let result = self.folder.take().map(TempDir::close).transpose();
        if !std::thread::panicking() {
            result.expect("nothing is left that keeps the folder from being removed");
        }
    }
}

impl Place {
    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("not dropped yet").path()
    }

    /// The image's path. Nothing is there yet.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder().join("image.epk")
    }

    /// The mountpoint, an empty folder.
    #[must_use]
    pub fn mountpoint(&self) -> PathBuf {
        self.folder().join("mnt")
    }

    /// The lines of the daemons' log.
    #[must_use]
    pub fn log(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Those of them that tell of damage.
    #[must_use]
    pub fn damage(&self) -> Vec<serde_json::Value> {
        self.log().into_iter().filter(|line| line["target"] == "epkfs::damage").collect()
    }

    fn log_path(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// A command that mounts the image in the foreground.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary("epkfs"));
        command.arg(self.image()).arg(self.mountpoint());
        command.arg("-o").arg(format!("log={}", self.log_path().display()));
        command
    }

    /// Mounts the image; returns when the mount answers.
    ///
    /// Where nothing can be mounted this panics with what `epkfs` says: these tests are worth
    /// nothing without.
    #[must_use]
    pub fn mount(&self, options: &[&str]) -> Daemon {
        let mut command = self.command();
        command.args(["-f", "--ready-fd", "1"]);
        for option in options {
            command.args(["-o", option]);
        }
        Daemon::spawn(command, self.mountpoint()).unwrap_or_else(|error| {
            panic!("cannot mount on this machine, which these tests need: {error}")
        })
    }
}

/// A daemon in the foreground, unmounted when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    mountpoint: PathBuf,
}

impl Daemon {
    /// Starts a command that writes its readiness to standard output.
    ///
    /// # Errors
    /// What it said instead of getting ready.
    pub fn spawn(mut command: Command, mountpoint: PathBuf) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`epkfs` starts");
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("a readable pipe");
        let ready = serde_json::from_str::<serde_json::Value>(&line).unwrap_or_default();
        if ready["ready"] == true {
            assert_eq!(ready["pid"], child.id());
            assert_eq!(ready["mountpoint"], mountpoint.to_string_lossy().as_ref());
            return Ok(Self { child, mountpoint });
        }
        let mut error = String::new();
        let mut stderr = child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut error).expect("a readable pipe");
        let status = child.wait().expect("it ends");
        Err(format!("{status}\n{line}{error}"))
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// What it tells of itself.
    #[must_use]
    pub fn status(&self) -> Status {
        control::query(&self.mountpoint, PATIENCE).expect("the daemon answers")
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> Counts {
        self.status().counters
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the daemon is there");
    }

    /// Kills it and its keeper, and waits for its end: a dead mount is left.
    pub fn kill(&mut self) {
        processes::kill_server_and_keeper(self.pid());
        self.wait();
    }

    /// Stops it, and waits until it has stopped.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let status = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).expect("a child");
        assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child")
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_running() {
            // A mount in use would wait for its users, which a failed test may have left behind.
            let failed = std::thread::panicking();
            self.signal(if failed { Signal::SIGKILL } else { Signal::SIGTERM });
            self.wait();
        }
        // After a kill something is left.
        let _result = epkfs::unmount::clean_dead(&self.mountpoint, None);
    }
}
