//! `pkgtool link`

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use clap::Args;

use super::exec::places;
use crate::exit::Failure;

/// Make a command of a package a program of its own
///
/// Makes a symbolic link DIR/COMMAND to pkgtool, which runs the command when it is called by its
/// name, as `pkgtool exec COMMAND` does. With DIR on PATH it is a program like any other. `rm`
/// removes it.
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// The command, as for `pkgtool exec`
    #[arg(value_name = "COMMAND")]
    command: OsString,

    /// The folder in which the link is made, like ~/.local/bin
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn link(args: &LinkArgs) -> Result<(), Failure> {
    let command = args.command.display();
    let bytes = args.command.as_encoded_bytes();
    if bytes.contains(&b'/') {
        return Err(Failure::usage(format!("`{command}` is a path, not a command")));
    }
    if bytes.starts_with(b"pkgtool") {
        return Err(Failure::refused(format!("under the name `{command}` pkgtool is itself")));
    }
    // What can't run now is a mistake in the name.
    places().find(&args.command).map_err(Failure::into_finding)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::system("cannot find this program's own path", &error))?;
    let link = args.folder.join(&args.command);
    match symlink(&program, &link) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_link(&link).is_ok_and(|target| target == program) {
                return Ok(());
            }
            Err(Failure::refused(format!("`{}` exists, and is not this link", link.display())))
        }
        Err(error) => Err(Failure::system(format!("cannot make `{}`", link.display()), &error)),
    }
}
