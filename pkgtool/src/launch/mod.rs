//! From a verified package to a running application.
//!
//! The launching process *becomes* the application: it enters the namespaces, mounts, and
//! executes. So standard streams, signals and the exit status need no passing on. A process
//! forked off before, which stays outside of the application's mounts, serves the package until
//! the kernel takes the mount down with the last process that sees it.

pub(crate) mod user_data;

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use epk_format::Package;
use epk_format::package::Kind;
use epk_format::path::display;
use epk_format::resolve::Resolved;
use epkfs::handover::{self, Inherited};
use epkfs::log;
use epkfs::mount::{MountOptions, mount_device, open_device};
use epkfs::session::Config;

use crate::exit::{Exit, Failure};
use crate::loader::program::{self, Execution};
use crate::namespace::{root, user};

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
    /// The host's folder that becomes `/user-data`; exists.
    pub(crate) user_data: PathBuf,
    /// Where the files that are read are noted.
    pub(crate) profile: Option<File>,
    /// What the application inherits and its server doesn't.
    pub(crate) inherited: Inherited,
}

impl Launch {
    /// Becomes the application. Returns only when that fails, and then leaves nothing behind.
    pub(crate) fn run(self) -> Result<Infallible, Failure> {
        check_target(&self.package, &self.target)?;
        let program = program::to_execute(&self.package, &self.target)?;
        if !user::may_mount() {
            user::enter()?;
        }
        // The server's words about damage, as long as the application can show them.
        log::start(log::Destination::StandardError);
        let mut config = Config::new(&self.image, SystemTime::now());
        config.profile = self.profile.map(Arc::new);
        let server = handover::start(self.package, &config, &self.inherited)
            .map_err(|error| Failure::launch(format!("cannot start the server: {error}")))?;
        root::enter(&self.user_data)?;
        let device = open_device()
            .and_then(|device| {
                let mut options = MountOptions::new(&self.image);
                // Whoever can enter this view may read: it is the launching user's alone.
                options.allow_other = true;
                mount_device(&device, Path::new(root::PACKAGE), &options)?;
                Ok(device)
            })
            .map_err(|attempt| {
                let failure = Failure::launch(format!("cannot mount the package: {attempt}"));
                if attempt.errno == Some(nix::libc::EACCES) {
                    return failure
                        .hint("`/dev/fuse` must be open to you: its mode is usually 0666");
                }
                failure
            })?;
        let unserved = |error| Failure::launch(format!("cannot serve the package: {error}"));
        server.send(device).map_err(unserved)?;
        // While the server gets ready.
        root::seal()?;
        server.wait().map_err(unserved)?;
        Err(execute(&program, &self.arguments))
    }
}

/// Refuses early what could not be executed, before anything is set up.
fn check_target(package: &Package<File>, target: &str) -> Result<(), Failure> {
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

/// execve(2). The error says what the kernel meant by its few words.
fn execute(program: &Execution, arguments: &[OsString]) -> Failure {
    let path = display(&program.file);
    let error = match become_program(program, arguments) {
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

fn become_program(program: &Execution, arguments: &[OsString]) -> io::Result<Infallible> {
    nix::unistd::chdir(root::USER_DATA)?;
    let file = CString::new(&*program.file)?;
    let words = program.words.iter().map(Vec::as_slice);
    let words = words.chain(arguments.iter().map(|argument| argument.as_bytes()));
    let words: Vec<CString> = words.map(CString::new).collect::<Result<_, _>>()?;
    Err(epkfs::execute(&file, &words).into())
}

fn exit_of(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::NotExecutable,
        io::ErrorKind::NotFound => Exit::NotFound,
        _ => Exit::LaunchFailed,
    }
}
