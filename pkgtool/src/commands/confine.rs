//! `pkgtool confine`

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::namespace::confine::{View, enter};

/// Run a program that sees only the system and the folders named
///
/// It sees the system's programs and libraries and nothing else of the host. Everything is read-only but the folders of `--write` and an empty `/tmp`. No network, no other
/// processes, no privileges, a bare environment, and limits: 600 s of processor, 8 GiB of memory,
/// 1 GiB a file. The current folder is the first of `--read`.
#[derive(Debug, Args)]
pub(crate) struct ConfineArgs {
    /// A folder that is seen, under its own path; may be repeated
    #[arg(long, value_name = "DIR")]
    read: Vec<PathBuf>,

    /// A folder that is seen and may be written; may be repeated
    #[arg(long, value_name = "DIR")]
    write: Vec<PathBuf>,

    /// The program, an absolute path
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,

    /// Its arguments
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// The environment of a confined program.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/bin:/bin"),
    ("LC_ALL", "C"),
    ("HOME", "/tmp"),
    ("TMPDIR", "/tmp"),
    ("SOURCE_DATE_EPOCH", "0"),
];

/// Runs the program and ends as it did.
pub(crate) fn confine(args: &ConfineArgs) -> Result<(), Failure> {
    let canonical = |path: &PathBuf| {
        std::fs::canonicalize(path)
            .map_err(|error| Failure::launch(format!("`{}`: {error}", path.display())))
    };
    if !args.program.is_absolute() {
        let program = args.program.display();
        return Err(Failure::usage(format!("`{program}` is not an absolute path")));
    }
    let folder = args.read.first().map(canonical).transpose()?;
    enter(&View { read: &args.read, write: &args.write })?;
    let mut command = Command::new(&args.program);
    command
        .args(&args.arguments)
        .env_clear()
        .envs(ENVIRONMENT)
        .current_dir(folder.unwrap_or_else(|| "/tmp".into()))
        .stdin(Stdio::null());
    let status = command.status().map_err(|error| {
        let message = format!("cannot execute `{}`: {error}", args.program.display());
        match error.kind() {
            std::io::ErrorKind::NotFound => Failure::new(Exit::NotFound, message),
            std::io::ErrorKind::PermissionDenied => Failure::new(Exit::NotExecutable, message),
            _ => Failure::launch(message),
        }
    })?;
    // As a shell tells of a signal.
    let code = status.code().or_else(|| status.signal().and_then(|signal| signal.checked_add(128)));
    match code {
        Some(0) => Ok(()),
        code => std::process::exit(code.unwrap_or(i32::from(u8::MAX))),
    }
}
