//! From an image's path to a mount that answers: in this process, or in one of its own.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use epk_format::signature::{Policy, SignatureState};
use epk_format::trust::TrustedKeys;
use epk_format::{OpenOptions, Package};
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::confine;
use crate::errno;
use crate::keeper::{Charge, Ours, Unborn};
use crate::log;
use crate::mount::{self, MountError};
use crate::options::Options;
use crate::policy::{self, PolicyError, Rules};
use crate::session;
use crate::signals::Signals;
use crate::stamp;
use crate::sys::{self, Fork};
use crate::unmount::{self, UnmountError};

/// A mount that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ready {
    /// Where it is mounted, an absolute path.
    pub mountpoint: PathBuf,
    /// The process that serves it.
    pub pid: u32,
}

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The machine: files, permissions, `/dev/fuse`.
    Environment,
    /// The package breaks a rule of the format.
    Package,
    /// The package's signature isn't what is required.
    Signature,
}

/// Why an image isn't mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file can't be read: the image or the list of trusted keys.
    #[error("cannot read `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The list of trusted keys has a line that is none.
    #[error("`{path}`: line {line} is not a key id")]
    Trust {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The image isn't a package that may be mounted.
    #[error("`{path}`: {source}")]
    Package {
        /// The image.
        path: PathBuf,
        /// The reason.
        source: epk_format::Error,
        /// The policy under which it was opened.
        policy: Policy,
    },
    /// What signatures must be cannot be found out.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// No way of mounting worked.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// What a dead daemon left on the mountpoint can't be removed.
    #[error(transparent)]
    Unmount(#[from] UnmountError),
    /// The kernel ended the session.
    #[error("the FUSE session ended: {0}")]
    Session(io::Error),
    /// No process could be made.
    #[error("cannot start a daemon: {0}")]
    Start(io::Error),
    /// What the daemon said before it ended.
    #[error("{message}")]
    Daemon {
        /// What kind of thing went wrong.
        kind: ErrorKind,
        /// The error.
        message: String,
        /// What may help.
        hints: Vec<String>,
    },
}

impl Error {
    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Daemon { kind, .. } => *kind,
            Self::Package { source, .. } => match source.code() {
                Some(code) if code.concerns_signature() => ErrorKind::Signature,
                Some(_) => ErrorKind::Package,
                None => ErrorKind::Environment,
            },
            Self::Trust { .. } | Self::Policy(PolicyError::Wrong { .. }) => ErrorKind::Signature,
            _ => ErrorKind::Environment,
        }
    }

    /// What may help, one sentence each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Mount(error) => error.hints().into_iter().map(str::to_owned).collect(),
            Self::Package { source, policy, .. } => {
                policy::hints(source, *policy).into_iter().map(str::to_owned).collect()
            }
            Self::Daemon { hints, .. } => hints.clone(),
            _ => Vec::new(),
        }
    }
}

/// Opens an image as `options` want it, with every rule checked and the whole file hashed, if it
/// has format 1.0 and wasn't hashed before.
///
/// # Errors
/// [`Error::File`], [`Error::Trust`], [`Error::Policy`] and [`Error::Package`].
pub fn open(image: &Path, options: &Options) -> Result<Package<File>, Error> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| Error::File { path, source }
    };
    let rules = Rules::of(options.policy_folder.as_deref())?;
    let policy = rules.policy(options.signature);
    let mut open = OpenOptions { signature: policy, trust: rules.trust, ..OpenOptions::default() };
    if let Some(path) = &options.trust {
        let text = fs::read_to_string(path).map_err(unreadable(path))?;
        let keys =
            TrustedKeys::parse(&text).map_err(|line| Error::Trust { path: path.clone(), line })?;
        open.trust.extend(keys);
    }
    let file = File::open(image).map_err(unreadable(image))?;
    // Whoever wants to remove the package sees that it is in use. Nothing depends on it.
    let _ = file.try_lock_shared();
    let opened = match options.cache_home.as_deref().filter(|_| !options.verify_full) {
        Some(cache) => stamp::open(file, &open, cache, options.started),
        None => Package::open(file, &open),
    };
    opened.map_err(|source| Error::Package { path: image.to_owned(), source, policy })
}

/// Mounts an image and serves it in this process, until it is unmounted or a signal (SIGTERM,
/// SIGINT, SIGHUP) unmounts it.
///
/// While someone still uses the mount a signal only hides it, and the last user's leaving ends
/// it; a second signal ends the process as if nobody had caught it.
///
/// When the mount answers, after `on_ready`, this process gives up all that it doesn't need for
/// serving ([`confine`]), for good. So it is for programs that end then. What needs more than that,
/// like unmounting, is done by a process that is forked off before; for that, this one must have
/// one thread.
///
/// # Errors
/// [`Error`] says.
pub fn run(
    image: &Path,
    mountpoint: &Path,
    options: &Options,
    on_ready: impl FnOnce(&Ready),
) -> Result<(), Error> {
    let mut mounted = false;
    let result = Signals::block().map_err(Error::Start).and_then(|signals| {
        let package = open(image, options)?;
        serve(package, image, mountpoint, options, &signals, None, |ready| {
            mounted = true;
            on_ready(ready);
        })
    });
    if let (Err(error), false) = (&result, mounted) {
        tell_refusal(image, mountpoint, error);
    }
    result
}

/// Logs why nothing was mounted, unless whoever is told that anyway would read it twice.
fn tell_refusal(image: &Path, mountpoint: &Path, error: &Error) {
    if log::is_standard_error() {
        return;
    }
    let reject = match error {
        Error::Package { source, .. } => Some(errno::code(source)),
        _ => None,
    };
    tracing::error!(
        target: "epkfs::mount",
        code = reject.map(|(code, _)| code),
        code_name = reject.map(|(_, name)| name),
        image = %image.display(),
        mountpoint = %mountpoint.display(),
        detail = %error,
        "not mounted"
    );
}

/// Logs what was mounted, where, and behind which walls it is served.
fn tell_mounted(package: &Package<File>, image: &Path, ready: &Ready) {
    let (signature, key) = match package.signature() {
        SignatureState::Unsigned => ("unsigned", None),
        SignatureState::Valid(id) => ("valid", Some(id)),
        SignatureState::Untrusted(id) => ("untrusted", Some(id)),
        SignatureState::NotChecked => ("not-checked", None),
    };
    let offered = confine::offered();
    tracing::info!(
        target: "epkfs::mount",
        image = %image.display(),
        mountpoint = %ready.mountpoint.display(),
        package_hash = %format_args!("sha256:{}", package.package_hash()),
        signature,
        key_id = key.map(tracing::field::display),
        pid = ready.pid,
        landlock = offered.landlock.unwrap_or(0),
        system_call_filter = offered.filter,
        "mounted"
    );
}

/// Mounts an open package and serves it.
fn serve(
    package: Package<File>,
    image: &Path,
    mountpoint: &Path,
    options: &Options,
    signals: &Signals,
    client: Option<OwnedFd>,
    on_ready: impl FnOnce(&Ready),
) -> Result<(), Error> {
    let image =
        fs::canonicalize(image).map_err(|source| Error::File { path: image.to_owned(), source })?;
    unmount::clean_dead(mountpoint, options.search_path.as_deref())?;
    let target = fs::canonicalize(mountpoint)
        .map_err(|source| MountError::Mountpoint { path: mountpoint.to_owned(), source })?;
    let config = options.config(image.clone());
    let (walls, gate) = confine::prepare(config.threads > 1).map_err(Error::Start)?;
    let keeper = Unborn::new().map_err(Error::Start)?;
    let device = mount::mount(&target, &options.mount_options(image))?;
    let mut charge = Charge {
        ours: Ours::at(&target, options.search_path.clone()),
        mountpoint: target.clone(),
        remove_folder: client.is_some(),
        client,
    };
    let keeper = match keeper.start(&mut charge) {
        Ok(keeper) => Arc::new(keeper),
        Err(error) => {
            // Room for descriptors.
            drop((package, device));
            charge.ours.find(&charge.mountpoint);
            charge.ours.remove();
            return Err(Error::Start(error));
        }
    };
    let ready = Ready { mountpoint: target, pid: std::process::id() };
    // Before the package is given away; if it never answers, the next line says so.
    tell_mounted(&package, &config.image, &ready);
    let signalled = Arc::new(AtomicBool::new(false));
    let mut waiting = None;
    let result = session::serve(package, device, &config, Some(gate), || {
        on_ready(&ready);
        walls.close()?;
        let (keeper, signalled) = (Arc::clone(&keeper), Arc::clone(&signalled));
        waiting = Some(signals.watch(move || {
            signalled.store(true, Ordering::Relaxed);
            keeper.unmount()
        })?);
        Ok(())
    });
    if let Some(waiting) = waiting {
        waiting.end();
    }
    let reason = match &result {
        Err(_) => "error",
        Ok(()) if signalled.load(Ordering::Relaxed) => "signal",
        Ok(()) => "unmounted",
    };
    tracing::info!(
        target: "epkfs::mount",
        mountpoint = %ready.mountpoint.display(),
        reason,
        detail = result.as_ref().err().map(tracing::field::display),
        "no longer mounted"
    );
    keeper.end();
    result.map_err(Error::Session)
}

/// The line that a daemon sends its starter.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Report {
    Ready { pid: u32 },
    Failed { kind: ErrorKind, error: String, hints: Vec<String> },
}

/// Mounts an image and serves it in a process of its own, which outlives this one. Returns when
/// the mount answers.
///
/// # Errors
/// [`Error::Start`] when this process can't be split, which it can't while it has more than one
/// thread; [`Error::Daemon`] with whatever the daemon ran into.
pub fn start(image: &Path, mountpoint: &Path, options: &Options) -> Result<Ready, Error> {
    split(mountpoint, |mountpoint, on_ready| run(image, mountpoint, options, on_ready))
}

/// Mounts an open package for this process on an empty folder, and serves it in a process of its
/// own. Returns when the mount answers; by then `package` is still there, for whoever else needs
/// it.
///
/// When this process, or the program that it becomes, has ended and nobody uses the mount any
/// more, the mount and the folder are removed. A signal does so earlier, as for [`run`].
///
/// # Errors
/// As [`start`].
pub fn lend(
    package: &mut Option<Package<File>>,
    image: &Path,
    mountpoint: &Path,
    options: &Options,
) -> Result<Ready, Error> {
    let client =
        pidfd_open(getpid(), PidfdFlags::empty()).map_err(|errno| Error::Start(errno.into()))?;
    split(mountpoint, |mountpoint, on_ready| {
        let signals = Signals::block().map_err(Error::Start)?;
        // Taken in the server's copy of this process only.
        let package = package.take();
        let package = package.ok_or_else(|| Error::Start(io::Error::other("no package")))?;
        let served = serve(package, image, mountpoint, options, &signals, Some(client), on_ready);
        // Once it was mounted the keeper does it.
        if !matches!(served, Ok(()) | Err(Error::Session(_))) {
            let _removed = fs::remove_dir(mountpoint);
        }
        served
    })
}

/// Runs `life` in a process of its own, and waits until it is ready.
fn split(
    mountpoint: &Path,
    life: impl FnOnce(&Path, &mut dyn FnMut(&Ready)) -> Result<(), Error>,
) -> Result<Ready, Error> {
    let mountpoint = std::path::absolute(mountpoint).map_err(Error::Start)?;
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| Error::Start(errno.into()))?;
    match sys::fork().map_err(Error::Start)? {
        Fork::Child => {
            drop(ours);
            // Split once more, so that the daemon is nobody's child and nobody's session leader.
            let split = setsid()
                .map_err(io::Error::from)
                .and_then(|_| sys::close_all_inherited())
                .and_then(|()| sys::fork());
            let status = match split {
                Ok(Fork::Parent(_)) => 0,
                Ok(Fork::Child) => be_daemon(&mountpoint, theirs, life),
                Err(error) => {
                    send(&mut File::from(theirs), &failure(&Error::Start(error)));
                    1
                }
            };
            sys::exit(status)
        }
        Fork::Parent(child) => {
            drop(theirs);
            let mut line = String::new();
            let read = File::from(ours).read_to_string(&mut line);
            // Gone already; its status says nothing that the line doesn't.
            let _status = waitpid(child, None);
            read.map_err(Error::Start)?;
            match serde_json::from_str(&line) {
                Ok(Report::Ready { pid }) => {
                    let mountpoint = fs::canonicalize(&mountpoint).unwrap_or(mountpoint);
                    Ok(Ready { mountpoint, pid })
                }
                Ok(Report::Failed { kind, error, hints }) => {
                    Err(Error::Daemon { kind, message: error, hints })
                }
                Err(_) => Err(Error::Start(io::Error::other("it ended without a word"))),
            }
        }
    }
}

/// The daemon's life, and its exit status.
fn be_daemon(
    mountpoint: &Path,
    pipe: OwnedFd,
    life: impl FnOnce(&Path, &mut dyn FnMut(&Ready)) -> Result<(), Error>,
) -> i32 {
    let mut pipe = Some(File::from(pipe));
    let result = life(mountpoint, &mut |ready| {
        let detached = detach();
        if let Some(mut pipe) = pipe.take() {
            match detached {
                Ok(()) => send(&mut pipe, &Report::Ready { pid: ready.pid }),
                Err(error) => send(&mut pipe, &failure(&Error::Start(error))),
            }
        }
    });
    match (result, pipe) {
        (Ok(()), _) => 0,
        (Err(error), Some(mut pipe)) => {
            send(&mut pipe, &failure(&error));
            1
        }
        (Err(error), None) => {
            tracing::error!(%error, "the daemon ends");
            1
        }
    }
}

/// Lets go of the folder and the terminal that the starter had.
fn detach() -> io::Result<()> {
    chdir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(null.as_fd())?;
    dup2_stdout(null.as_fd())?;
    dup2_stderr(null.as_fd())?;
    Ok(())
}

fn failure(error: &Error) -> Report {
    Report::Failed { kind: error.kind(), error: error.to_string(), hints: error.hints() }
}

fn send(pipe: &mut File, report: &Report) {
    if let Ok(line) = serde_json::to_vec(report) {
        // A starter that is gone needs no answer.
        let _sent = pipe.write_all(&line);
    }
}

#[cfg(test)]
mod tests {
    use epk_format::{Location, Reject, RejectCode};

    use super::*;

    #[test]
    fn whatever_is_wrong_with_a_signature_is_of_that_kind() {
        let kind = |code| {
            let source = Reject::new(code, Location::Image, "").into();
            let policy = Policy::Required;
            Error::Package { path: PathBuf::new(), source, policy }.kind()
        };
        for &code in RejectCode::ALL {
            let signature = code.name().contains("_SIGNATURE_");
            let expected = if signature { ErrorKind::Signature } else { ErrorKind::Package };
            assert_eq!(kind(code), expected, "{code}");
        }
        let trust = Error::Trust { path: PathBuf::new(), line: 1 };
        assert_eq!(trust.kind(), ErrorKind::Signature);
    }
}
