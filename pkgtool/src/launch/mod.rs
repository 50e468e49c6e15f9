//! From a verified package to a running application.
//!
//! A process forked off first, which stays outside of the application's mounts, serves the package
//! until the kernel takes the mount down with the last process that sees it. What was started
//! stays to stand for the application ([`monitor`]), and splits off the first process of a process
//! namespace ([`init`]), which builds the view, mounts, and starts the application. Without a
//! process namespace the launching process does that itself, and *becomes* the application.

mod extracted;
mod init;
pub(crate) mod ladder;
mod monitor;
mod restrict;
mod streams;
pub(crate) mod user_data;

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use epk_format::Package;
use epk_format::package::Kind;
use epk_format::path::display;
use epk_format::resolve::Resolved;
use epkfs::handover::{self, Handover, Inherited};
use epkfs::log;
use epkfs::mount::{Attempt, MountOptions, mount_device, open_device};
use epkfs::session::Config;

use crate::events;
use crate::exit::{Exit, Failure};
use crate::isolation::{self, Mount, Namespace, PACKAGE, Plan, USER_DATA};
use crate::loader::program::{self, Execution};
use crate::namespace::view;

use ladder::{Ladder, Rung, Source, Via};

/// What is launched.
pub(crate) struct Launch {
    /// The package, open and verified.
    pub(crate) package: Package<File>,
    /// The package's file: what the table of mounts shows.
    pub(crate) image: PathBuf,
    /// The executable: a path inside the package, beginning with `/`.
    pub(crate) target: String,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Its variables.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// What it sees, and what it may. The folders of the host that it names exist.
    pub(crate) plan: Plan,
    /// Where the files that are read are noted.
    pub(crate) profile: Option<File>,
    /// What the application inherits and its server doesn't.
    pub(crate) inherited: Inherited,
    /// How the package is made visible.
    pub(crate) via: Via,
    /// The user's cache, if there is one.
    pub(crate) cache_home: Option<PathBuf>,
    /// Where folders to mount on are made when it has to be in the host's sight.
    pub(crate) runtime_folder: PathBuf,
}

impl Launch {
    /// Becomes the application, or what stands for it. Returns only when that fails, and then
    /// leaves nothing behind.
    pub(crate) fn run(self) -> Result<Infallible, Failure> {
        let execution = program::to_execute(&self.package, &self.target)?;
        let mut package = Some(self.package);
        let ladder = Ladder {
            via: self.via,
            image: &self.image,
            cache_home: self.cache_home.as_deref(),
            runtime_folder: &self.runtime_folder,
            level: self.plan.level,
        };
        let Rung { source, view } = ladder.climb(&mut package)?;
        let mut plan = self.plan;
        events::launching(&self.image, &self.target, &plan, source.way());
        if !view {
            return Err(launch_without_view(
                execution,
                self.arguments,
                self.environment,
                &plan,
                &source,
            ));
        }
        let server = match source {
            Source::Own => {
                let package = package.ok_or_else(|| Failure::launch("the package is gone"))?;
                Some(start_server(package, &self.image, self.profile, &self.inherited)?)
            }
            // Only in the level `host`, which can do without.
            Source::Lent(..) => {
                plan.namespaces.retain(|&one| one != Namespace::Process);
                plan.mounts.retain(|mount| !matches!(mount, Mount::Processes { .. }));
                None
            }
            Source::Extracted(_) => None,
        };
        let plan = &plan;
        let program = Program::new(execution, self.arguments, self.environment, USER_DATA)?;
        let become_it = || match keep_locked(&source).and_then(|()| restrict::restrict(plan)) {
            Ok(()) => program.execute(),
            Err(failure) => failure,
        };
        if plan.namespaces.contains(&Namespace::Process) {
            let init = monitor::split(server.as_ref(), &self.inherited)?;
            build(server, plan, &self.image, &source)?;
            return init.start(become_it);
        }
        build(server, plan, &self.image, &source)?;
        Err(become_it())
    }
}

/// Has a process serve the package, which waits for what to serve it on.
fn start_server(
    package: Package<File>,
    image: &Path,
    profile: Option<File>,
    inherited: &Inherited,
) -> Result<Handover, Failure> {
    // The server's words about damage, as long as the application can show them.
    log::start(log::Destination::StandardError);
    let mut config = Config::new(image, SystemTime::now());
    config.profile = profile.map(Arc::new);
    handover::start(package, &config, inherited)
        .map_err(|error| Failure::launch(format!("cannot start the server: {error}")))
}

/// Makes the view, with the package in it: mounted and served, or bound from where it is.
fn build(
    server: Option<Handover>,
    plan: &Plan,
    image: &Path,
    source: &Source,
) -> Result<(), Failure> {
    let writable = plan.mounts.contains(&Mount::Package { writable: true });
    let Some(mut server) = server else {
        view::enter(plan, source.folder())?;
        if writable {
            view::make_package_writable()?;
        }
        source.hide();
        return view::seal();
    };
    let refused = |attempt: Attempt| {
        Failure::launch(format!("cannot mount the package: {attempt}"))
            .hint("`--via fuse` and `--via extract` do without this mount")
    };
    // The view may lack it.
    let device = open_device().map_err(refused)?;
    view::enter(plan, None)?;
    let mut options = MountOptions::new(image);
    // Whoever can enter this view may read: it is the launching user's alone.
    options.allow_other = true;
    mount_device(&device, Path::new(PACKAGE), &options).map_err(refused)?;
    let unserved = |error| Failure::launch(format!("cannot serve the package: {error}"));
    server.send(device).map_err(unserved)?;
    if writable {
        view::make_package_writable()?;
    }
    // While the server gets ready.
    view::seal()?;
    server.wait().map_err(unserved)
}

/// An unpacked package stays for as long as the application has its lock.
fn keep_locked(source: &Source) -> Result<(), Failure> {
    let Source::Extracted(extracted) = source else { return Ok(()) };
    extracted.hand_down().map_err(|error| {
        Failure::launch(format!("cannot keep the unpacked package locked: {error}"))
    })
}

/// Becomes the application among the host's files: where there is no user namespace. Only a plan
/// that keeps nothing from it can be had so.
fn launch_without_view(
    execution: Execution,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    plan: &Plan,
    source: &Source,
) -> Failure {
    let Some(user_data) = plan.user_data_among_the_hosts_files() else {
        return Failure::launch(format!(
            "the level `{}` with these options needs a user namespace, and none can be had",
            plan.level.name()
        ));
    };
    let package = source.folder().unwrap_or(Path::new(PACKAGE));
    let binary = package.join("binary");
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    for (key, value) in environment {
        let value = match key.to_str() {
            Some("PWD") => user_data.as_os_str().to_owned(),
            Some("PATH") => {
                let bytes = value.as_encoded_bytes();
                match bytes.strip_prefix(isolation::BINARY.as_bytes()) {
                    Some(rest) => {
                        [binary.as_os_str(), OsStr::from_bytes(rest)].into_iter().collect()
                    }
                    None => value,
                }
            }
            _ => value,
        };
        variables.push((key, value));
    }
    variables.push(("EPK_PACKAGE_FOLDER".into(), package.into()));
    variables.push(("EPK_USER_DATA".into(), user_data.into()));
    let made = Program::new(execution.at(package), arguments, variables, user_data);
    match made.and_then(|program| keep_locked(source).map(|()| program)) {
        Ok(program) => program.execute(),
        Err(failure) => failure,
    }
}

/// Refuses early what could not be executed, before anything is set up.
pub(crate) fn check_target(package: &Package<File>, target: &str) -> Result<(), Failure> {
    let resolved = package.resolve(target.as_bytes(), true).map_err(Failure::launch)?;
    let Resolved::Found(id) = resolved else {
        return Err(Failure::new(Exit::NotFound, format!("the package has no `{target}`")));
    };
    let node = package.node(id).map_err(Failure::launch)?;
    let problem = match node.kind {
        Kind::File if node.mode & 0o111 == 0 => "has no permission to execute",
        Kind::File => return Ok(()),
        Kind::Folder | Kind::Link => "is not a file",
    };
    Err(Failure::new(Exit::NotExecutable, format!("the package's `{target}` {problem}")))
}

/// What execve(2) takes.
struct Program {
    /// Its path in the view.
    path: CString,
    words: Vec<CString>,
    environment: Vec<CString>,
    /// Where it starts.
    folder: PathBuf,
}

impl Program {
    fn new(
        execution: Execution,
        arguments: Vec<OsString>,
        environment: Vec<(OsString, OsString)>,
        folder: impl Into<PathBuf>,
    ) -> Result<Self, Failure> {
        let Execution { file, words, .. } = execution;
        let words = words.into_iter().map(OsString::from_vec).chain(arguments).map(text);
        let variable = |(key, value): (OsString, OsString)| {
            let mut whole = key;
            whole.push("=");
            whole.push(value);
            text(whole)
        };
        Ok(Self {
            words: words.collect::<Result<_, _>>()?,
            environment: environment.into_iter().map(variable).collect::<Result<_, _>>()?,
            path: text(OsString::from_vec(file))?,
            folder: folder.into(),
        })
    }

    /// execve(2). The error says what the kernel meant by its few words.
    fn execute(&self) -> Failure {
        let path = display(self.path.as_bytes());
        let error = match self.replace_this_process() {
            Ok(never) => match never {},
            Err(error) => error,
        };
        match error.raw_os_error() {
            // The file is there: what is missing is its `#!` interpreter or its loader.
            Some(nix::libc::ENOENT) => Failure::new(
                Exit::NotFound,
                format!("cannot execute `{path}`: its interpreter or loader is not on this host"),
            ),
            Some(nix::libc::ENOEXEC) => Failure::new(
                Exit::NotExecutable,
                format!("cannot execute `{path}`: neither a program for this machine nor a script"),
            ),
            _ => Failure::new(exit_of(&error), format!("cannot execute `{path}`: {error}")),
        }
    }

    fn replace_this_process(&self) -> io::Result<Infallible> {
        nix::unistd::chdir(&self.folder)?;
        Err(epkfs::process::execute(&self.path, &self.words, &self.environment).into())
    }
}

fn text(word: OsString) -> Result<CString, Failure> {
    CString::new(word.into_vec())
        .map_err(|error| Failure::launch(format!("a word for the application: {error}")))
}

fn exit_of(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::NotExecutable,
        io::ErrorKind::NotFound => Exit::NotFound,
        _ => Exit::LaunchFailed,
    }
}
