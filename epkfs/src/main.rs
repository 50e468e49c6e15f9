//! Mounts an EPK package: `epkfs IMAGE MOUNTPOINT`.

mod cli;

use std::fs::File;
use std::process::ExitCode;
use std::time::SystemTime;

use epkfs::daemon::{self, Error, ErrorKind, Ready};
use epkfs::{log, notify};

use crate::cli::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os().skip(1), SystemTime::now()) {
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
    arguments.options.search_path = std::env::var_os("PATH");
    let ready_fd = match arguments.ready_fd {
        Some(number) => {
            Some(File::from(epkfs::inherited_descriptor(number).map_err(Error::Start)?))
        }
        None => None,
    };
    log::start(match &arguments.options.log {
        Some(path) => log::Destination::File(
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|source| Error::File { path: path.clone(), source })?,
        ),
        None if arguments.foreground => log::Destination::StandardError,
        None => log::Destination::System,
    });
    let tell = |outcome: Result<&Ready, &str>| {
        if let Some(file) = &ready_fd {
            warn("--ready-fd", notify::write_line(file, outcome));
        }
        if let (Ok(ready), Some(socket)) = (outcome, std::env::var_os("NOTIFY_SOCKET")) {
            warn("NOTIFY_SOCKET", notify::systemd(&socket, ready.pid));
        }
    };
    let Arguments { image, mountpoint, options, .. } = &arguments;
    let mut told = false;
    let result = if arguments.foreground {
        daemon::run(image, mountpoint, options, |ready| {
            told = true;
            tell(Ok(ready));
        })
    } else {
        daemon::start(image, mountpoint, options).map(|ready| tell(Ok(&ready)))
    };
    if let (Err(error), false) = (&result, told) {
        tell(Err(&error.to_string()));
    }
    result
}

fn warn(what: &str, result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "cannot tell {what}");
    }
}
