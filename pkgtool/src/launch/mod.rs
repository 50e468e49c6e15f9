//! From a verified package to a running application.
//!
//! The launching process *becomes* the application: it enters the namespaces, mounts, and
//! executes. So standard streams, signals and the exit status need no passing on. A process
//! forked off before, which stays outside of the application's mounts, serves the package until
//! the kernel takes the mount down with the last process that sees it.

mod extracted;
pub(crate) mod ladder;
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
use crate::namespace::root;

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
    /// The host's folder that becomes `/user-data`; exists.
    pub(crate) user_data: PathBuf,
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
    /// Becomes the application. Returns only when that fails, and then leaves nothing behind.
    pub(crate) fn run(self) -> Result<Infallible, Failure> {
        check_target(&self.package, &self.target)?;
        let execution = program::to_execute(&self.package, &self.target)?;
        let mut package = Some(self.package);
        let ladder = Ladder {
            via: self.via,
            image: &self.image,
            cache_home: self.cache_home.as_deref(),
            runtime_folder: &self.runtime_folder,
        };
        let Rung { source, view } = ladder.climb(&mut package)?;
        let (package_folder, user_data) = match (&source, view) {
            (Source::Own, _) => {
                let package = package.ok_or_else(|| Failure::launch("the package is gone"))?;
                mount_own(package, &self.image, &self.user_data, self.profile, &self.inherited)?;
                (Path::new(root::PACKAGE), Path::new(root::USER_DATA))
            }
            (_, true) => {
                root::enter(&self.user_data, source.folder())?;
                source.hide();
                root::seal()?;
                (Path::new(root::PACKAGE), Path::new(root::USER_DATA))
            }
            (_, false) => {
                let folder = source.folder().unwrap_or(Path::new(root::PACKAGE));
                (folder, self.user_data.as_path())
            }
        };
        if let Source::Extracted(extracted) = &source {
            extracted.hand_down().map_err(|error| {
                Failure::launch(format!("cannot keep the unpacked package locked: {error}"))
            })?;
        }
        let mut environment = environment();
        if !view {
            environment.push(variable("EPK_PACKAGE", package_folder)?);
            environment.push(variable("EPK_USER_DATA", user_data)?);
        }
        let program = Program {
            execution: execution.at(package_folder),
            folder: user_data,
            arguments: &self.arguments,
            environment: &environment,
        };
        Err(execute(&program))
    }
}

/// Makes the view, mounts the package in it, and has a process outside serve it.
fn mount_own(
    package: Package<File>,
    image: &Path,
    user_data: &Path,
    profile: Option<File>,
    inherited: &Inherited,
) -> Result<(), Failure> {
    // The server's words about damage, as long as the application can show them.
    log::start(log::Destination::StandardError);
    let mut config = Config::new(image, SystemTime::now());
    config.profile = profile.map(Arc::new);
    let server = handover::start(package, &config, inherited)
        .map_err(|error| Failure::launch(format!("cannot start the server: {error}")))?;
    root::enter(user_data, None)?;
    let device = open_device()
        .and_then(|device| {
            let mut options = MountOptions::new(image);
            // Whoever can enter this view may read: it is the launching user's alone.
            options.allow_other = true;
            mount_device(&device, Path::new(root::PACKAGE), &options)?;
            Ok(device)
        })
        .map_err(|attempt| {
            Failure::launch(format!("cannot mount the package: {attempt}"))
                .hint("`--via fuse` and `--via extract` do without this mount")
        })?;
    let unserved = |error| Failure::launch(format!("cannot serve the package: {error}"));
    server.send(device).map_err(unserved)?;
    // While the server gets ready.
    root::seal()?;
    server.wait().map_err(unserved)
}

/// This process's own environment, but for what names the package's place.
fn environment() -> Vec<CString> {
    let ours = ["EPK_PACKAGE", "EPK_USER_DATA"];
    let variables = std::env::vars_os().filter(|(name, _)| !ours.iter().any(|our| name == our));
    let pairs = variables.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    // The kernel gave them without NUL bytes.
    pairs.filter_map(|pair| CString::new(pair).ok()).collect()
}

fn variable(name: &str, value: &Path) -> Result<CString, Failure> {
    let pair = [name.as_bytes(), b"=", value.as_os_str().as_bytes()].concat();
    CString::new(pair).map_err(|error| Failure::launch(format!("`{name}`: {error}")))
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

/// What execve(2) is given, and where.
struct Program<'a> {
    execution: Execution,
    folder: &'a Path,
    arguments: &'a [OsString],
    environment: &'a [CString],
}

/// execve(2). The error says what the kernel meant by its few words.
fn execute(program: &Program<'_>) -> Failure {
    let path = display(&program.execution.file);
    let error = match become_program(program) {
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

fn become_program(program: &Program<'_>) -> io::Result<Infallible> {
    nix::unistd::chdir(program.folder)?;
    let file = CString::new(&*program.execution.file)?;
    let words = program.execution.words.iter().map(Vec::as_slice);
    let words = words.chain(program.arguments.iter().map(|argument| argument.as_bytes()));
    let words: Vec<CString> = words.map(CString::new).collect::<Result<_, _>>()?;
    Err(epkfs::execute(&file, &words, program.environment).into())
}

fn exit_of(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::NotExecutable,
        io::ErrorKind::NotFound => Exit::NotFound,
        _ => Exit::LaunchFailed,
    }
}
