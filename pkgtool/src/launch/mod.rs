//! From a verified package to a running application.
//!
//! A process forked off first, which stays outside of the application's mounts, serves the package
//! until the kernel takes the mount down with the last process that sees it. What was started
//! stays to stand for the application ([`monitor`]), and splits off the first process of a process
//! namespace ([`init`]), which builds the view, mounts, and starts the application. Without a
//! process namespace the launching process does that itself, and *becomes* the application.

mod init;
mod monitor;
mod restrict;
mod streams;
pub(crate) mod user_data;

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
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

use crate::exit::{Exit, Failure};
use crate::isolation::{Mount, Namespace, PACKAGE, Plan, USER_DATA};
use crate::loader::program::{self, Execution};
use crate::namespace::{user, view};

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
}

impl Launch {
    /// Becomes the application, or what stands for it. Returns only when that fails, and then
    /// leaves nothing behind.
    pub(crate) fn run(self) -> Result<Infallible, Failure> {
        let execution = program::to_execute(&self.package, &self.target)?;
        let program = Program::new(execution, self.arguments, self.environment)?;
        if !user::may_mount() {
            user::enter()?;
        }
        // The server's words about damage, as long as the application can show them.
        log::start(log::Destination::StandardError);
        let mut config = Config::new(&self.image, SystemTime::now());
        config.profile = self.profile.map(Arc::new);
        let server = handover::start(self.package, &config, &self.inherited)
            .map_err(|error| Failure::launch(format!("cannot start the server: {error}")))?;
        let plan = &self.plan;
        let become_it = || match restrict::restrict(plan) {
            Ok(()) => program.execute(),
            Err(failure) => failure,
        };
        if plan.namespaces.contains(&Namespace::Process) {
            let init = monitor::split(&server, &self.inherited)?;
            build(server, plan, &self.image)?;
            return init.start(become_it);
        }
        build(server, plan, &self.image)?;
        Err(become_it())
    }
}

/// Makes the view, with the package in it.
fn build(mut server: Handover, plan: &Plan, image: &Path) -> Result<(), Failure> {
    let refused = |attempt: Attempt| {
        let failure = Failure::launch(format!("cannot mount the package: {attempt}"));
        if attempt.errno == Some(nix::libc::EACCES) {
            return failure.hint("`/dev/fuse` must be open to you: its mode is usually 0666");
        }
        failure
    };
    // The view may lack it.
    let device = open_device().map_err(refused)?;
    view::enter(plan)?;
    let mut options = MountOptions::new(image);
    // Whoever can enter this view may read: it is the launching user's alone.
    options.allow_other = true;
    mount_device(&device, Path::new(PACKAGE), &options).map_err(refused)?;
    let unserved = |error| Failure::launch(format!("cannot serve the package: {error}"));
    server.send(device).map_err(unserved)?;
    if plan.mounts.contains(&Mount::Package { writable: true }) {
        view::make_package_writable()?;
    }
    // While the server gets ready.
    view::seal()?;
    server.wait().map_err(unserved)
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
}

impl Program {
    fn new(
        execution: Execution,
        arguments: Vec<OsString>,
        environment: Vec<(OsString, OsString)>,
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
        nix::unistd::chdir(USER_DATA)?;
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
