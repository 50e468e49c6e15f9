//! How an application gets at its package where not everything works: a ladder of ways, each
//! tried by doing it, from the one that leaves no trace to the one that works anywhere.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::ValueEnum;
use epk_format::Package;
use epkfs::daemon;
use epkfs::log;
use epkfs::mount::open_device;
use epkfs::options::Options;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::extracted::{self, Extracted};
use crate::exit::Failure;
use crate::isolation::Level;
use crate::namespace::probe::{Probe, is_doubtful};
use crate::namespace::user;

/// How the package is made visible to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Via {
    /// The first of the others that works
    #[default]
    Auto,
    /// A mount in namespaces of its own
    Userns,
    /// A mount by `fusermount3`
    Fuse,
    /// Unpacked in the user's cache
    Extract,
}

/// What the ladder needs to know.
pub(crate) struct Ladder<'a> {
    pub(crate) via: Via,
    /// The package's file.
    pub(crate) image: &'a Path,
    /// Where extractions lie.
    pub(crate) cache_home: Option<&'a Path>,
    /// Where folders to mount on are made.
    pub(crate) runtime_folder: &'a Path,
    /// How much of the host the application is kept from.
    pub(crate) level: Level,
}

/// The rung that holds.
pub(crate) struct Rung {
    pub(crate) source: Source,
    /// Whether this process may now make a view of the host for the application.
    pub(crate) view: bool,
}

/// Where the application finds its package.
pub(crate) enum Source {
    /// Mounted by this process, in the view.
    Own,
    /// In a folder of the host, on which the server with this process id has mounted it.
    Lent(PathBuf, u32),
    /// Unpacked.
    Extracted(Extracted),
}

impl Source {
    /// The host's folder that has the package.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Own => None,
            Self::Lent(folder, _) => Some(folder),
            Self::Extracted(extracted) => Some(&extracted.folder),
        }
    }

    /// The word for how it is made visible.
    pub(crate) fn way(&self) -> &'static str {
        match self {
            Self::Own => "userns",
            Self::Lent(..) => "fuse",
            Self::Extracted(_) => "extract",
        }
    }

    /// Takes the host's mount out of sight once it is bound in a view. It is served on.
    pub(crate) fn hide(&self) {
        let Self::Lent(_, server) = self else { return };
        if let Ok(server) = i32::try_from(*server) {
            // If that fails it is seen until the application has ended.
            let _sent = kill(Pid::from_raw(server), Signal::SIGTERM);
        }
    }
}

impl Ladder<'_> {
    /// Takes the first rung that holds, and says which one if it isn't the first. Afterwards this
    /// process is in a user namespace, unless it needs none or there is none.
    pub(crate) fn climb(&self, package: &mut Option<Package<File>>) -> Result<Rung, Failure> {
        let mut reasons = Vec::new();
        let mut no_view = None;
        if matches!(self.via, Via::Auto | Via::Userns) {
            let Err(refused) = own() else {
                return Ok(Rung { source: Source::Own, view: true });
            };
            if self.via == Via::Userns || refused.for_good {
                return Err(refused.failure);
            }
            reasons.push(refused.failure.message().to_owned());
            no_view = refused.no_view.then(|| refused.failure.message().to_owned());
        }
        let source = match self.via {
            Via::Extract => self.extract(package.as_ref())?,
            Via::Fuse => self.lend(package)?,
            Via::Auto | Via::Userns => self.lend(package).or_else(|failure| {
                reasons.push(failure.message().to_owned());
                self.extract(package.as_ref()).map_err(|failure| {
                    let before = reasons.iter().map(|reason| format!("before that: {reason}"));
                    before.fold(failure, Failure::hint)
                })
            })?,
        };
        // Only now: a helper that is set-user-ID is of no use in a user namespace.
        if no_view.is_none() {
            no_view = enter_view()?;
        }
        say(&source, &reasons, no_view.as_deref());
        Ok(Rung { source, view: no_view.is_none() })
    }

    /// Has a server mount it where the user may.
    fn lend(&self, package: &mut Option<Package<File>>) -> Result<Source, Failure> {
        // Whoever ends its server can't be in another process namespace.
        if self.level != Level::Host {
            let level = self.level.name();
            let message = format!("`--via fuse` is not possible with the level `{level}`");
            return Err(Failure::launch(message));
        }
        let failed = |error: &std::io::Error| {
            let folder = self.runtime_folder.display();
            Failure::launch(format!("cannot make a folder to mount on in `{folder}`: {error}"))
        };
        let parent = self.runtime_folder;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(|error| failed(&error))?;
        let folder = tempfile::Builder::new().prefix("epk-run-").tempdir_in(parent);
        let folder = folder.map_err(|error| failed(&error))?;
        let mut options = Options::new(SystemTime::now());
        options.search_path = std::env::var_os("PATH");
        // The server has no standard error.
        log::start(log::Destination::System);
        let ready =
            daemon::lend(package, self.image, folder.path(), &options).map_err(|error| {
                // It is empty, so it goes without a descriptor, of which there may be none left.
                let _removed = std::fs::remove_dir(folder.path());
                error.hints().into_iter().fold(Failure::launch(&error), Failure::hint)
            })?;
        // The server removes it.
        let _ = folder.keep();
        Ok(Source::Lent(ready.mountpoint, ready.pid))
    }

    fn extract(&self, package: Option<&Package<File>>) -> Result<Source, Failure> {
        let cache = self.cache_home.ok_or_else(|| {
            Failure::launch(
                "cannot unpack the package: neither XDG_CACHE_HOME nor HOME is an absolute path",
            )
        })?;
        let package = package.ok_or_else(|| Failure::launch("cannot unpack the package twice"))?;
        let most = if self.via == Via::Extract { u64::MAX } else { extracted::MOST };
        extracted::prepare(cache, package, self.image, most).map(Source::Extracted)
    }
}

/// Why the first rung doesn't hold.
struct Refused {
    failure: Failure,
    /// Because there is no user namespace: then there is no view either.
    no_view: bool,
    /// Whether this process is spoilt for other rungs.
    for_good: bool,
}

/// Prepares the first rung as far as it can fail without a trace: what follows is the launch.
fn own() -> Result<(), Refused> {
    open_device().map_err(|attempt| {
        let mut failure = Failure::launch(format!("cannot mount the package: {attempt}"));
        if attempt.errno == Some(nix::libc::EACCES) {
            failure = failure.hint("`/dev/fuse` must be open to you: its mode is usually 0666");
        }
        Refused { failure, no_view: false, for_good: false }
    })?;
    if user::may_mount() {
        return Ok(());
    }
    if is_doubtful() {
        let probe = Probe::run(false).map_err(|error| Refused {
            failure: untried(&error),
            no_view: false,
            for_good: true,
        })?;
        let refused = |failure, no_view| Refused { failure, no_view, for_good: false };
        probe.view().map_err(|refusal| refused(refusal.clone().into_failure(), true))?;
        if let Some(Err(reason)) = probe.fuse {
            let message = format!("cannot mount the package: {reason}");
            return Err(refused(Failure::launch(message), false));
        }
    }
    user::try_enter().map_err(|refusal| Refused {
        for_good: refusal.entered,
        no_view: true,
        failure: refusal.into_failure(),
    })
}

/// Makes a view possible for the other rungs, or says why there is none.
fn enter_view() -> Result<Option<String>, Failure> {
    if user::may_mount() {
        return Ok(None);
    }
    if is_doubtful() {
        let probe = Probe::run(false).map_err(|error| untried(&error))?;
        if let Err(refusal) = probe.view() {
            return Ok(Some(refusal.to_string()));
        }
    }
    match user::try_enter() {
        Ok(()) => Ok(None),
        Err(refusal) if refusal.entered => Err(refusal.into_failure()),
        Err(refusal) => Ok(Some(refusal.to_string())),
    }
}

fn untried(error: &std::io::Error) -> Failure {
    Failure::launch(format!("cannot try what works here: {error}"))
}

/// Says in one line what is done instead of the usual, and why.
fn say(source: &Source, reasons: &[String], no_view: Option<&str>) {
    let mut line = match source {
        Source::Own => return,
        Source::Lent(..) => "note: the package is mounted with `--via fuse`".to_owned(),
        Source::Extracted(_) => "note: the package is unpacked with `--via extract`".to_owned(),
    };
    if let (Some(_), Some(folder)) = (no_view, source.folder()) {
        let _ = write!(line, ", and is in `{}` instead of `/package`", folder.display());
    }
    let mut reasons: Vec<&str> = reasons.iter().map(String::as_str).collect();
    reasons.extend(no_view.filter(|reason| !reasons.contains(reason)));
    for (at, reason) in reasons.into_iter().enumerate() {
        let _ = write!(line, "{}{reason}", if at == 0 { ": " } else { "; " });
    }
    eprintln!("{line}");
}
