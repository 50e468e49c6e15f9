//! Mounts an EPK package: `epkfs IMAGE MOUNTPOINT`.

mod cli;
mod supervisor;

use std::fs::File;
use std::process::ExitCode;
use std::time::SystemTime;

use epkfs::daemon::{self, Error, ErrorKind};
use epkfs::log::{self, Destination};
use epkfs::{policy, stamp};

use crate::cli::{Arguments, Command};
use crate::supervisor::Supervisor;

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os(), SystemTime::now()) {
        Ok(Command::Mount(arguments)) => *arguments,
        Ok(Command::Print(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("epkfs: {error}\nhint: `epkfs --help` lists the options");
            return ExitCode::from(2);
        }
    };
    match mount(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("epkfs: {error}");
            for hint in error.hints() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(match error.kind() {
                ErrorKind::Package => 4,
                ErrorKind::Signature => 5,
                _ => 3,
            })
        }
    }
}

fn mount(mut arguments: Arguments) -> Result<(), Error> {
    let variable = |name: &str| std::env::var_os(name);
    arguments.options.search_path = variable("PATH");
    arguments.options.cache_home = stamp::cache_home(variable("XDG_CACHE_HOME"), variable("HOME"));
    let config = policy::config_home(variable("XDG_CONFIG_HOME"), variable("HOME"));
    arguments.options.policy_folder = config.as_deref().map(policy::user_folder);
    log::start(destination(&arguments)?);
    let Arguments { image, mountpoint, options, ready_fd, .. } = &arguments;
    let supervisor = Supervisor { ready_fd: *ready_fd, socket: std::env::var_os("NOTIFY_SOCKET") };
    supervisor.check().map_err(Error::Start)?;
    if arguments.foreground {
        let mut told = false;
        let result = daemon::run(image, mountpoint, options, |ready| {
            supervisor.tell(Ok(ready));
            told = true;
        });
        if let (Err(error), false) = (&result, told) {
            supervisor.tell(Err(error));
        }
        result
    } else {
        let result = daemon::start(image, mountpoint, options);
        supervisor.tell(result.as_ref());
        result.map(drop)
    }
}

/// A daemon in the background has no standard error.
fn destination(arguments: &Arguments) -> Result<Destination, Error> {
    if let Some(path) = &arguments.options.log {
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(|source| Error::File { path: path.clone(), source })?;
        return Ok(Destination::File(file));
    }
    Ok(if arguments.foreground { Destination::StandardError } else { Destination::System })
}
