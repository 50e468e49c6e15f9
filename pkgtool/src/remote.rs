//! Handing a command line over to the program that talks to servers.
//!
//! HTTP, TLS and object stores are more than half of what they are linked into, and every start
//! would pay for that. So they are in a program of their own, `pkgtool-remote`, which has the same
//! command line and does the commands that need them. It lies in the folder of `pkgtool`'s own file
//! and is looked for nowhere else: whoever can write there can replace `pkgtool`, too.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::exit::Failure;

/// The program's name.
const PROGRAM: &str = "pkgtool-remote";

/// Becomes that program, with this one's arguments, environment and descriptors. Returns only if
/// that fails.
pub(crate) fn hand_over() -> Failure {
    let program = match find() {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    // What it says of its command line names the program that people know.
    let error = Command::new(&program).arg0("pkgtool").args(env::args_os().skip(1)).exec();
    Failure::system(format!("cannot execute `{}`", program.display()), &error)
}

/// Where it is: beside the file that runs here, links resolved.
fn find() -> Result<PathBuf, Failure> {
    let own = env::current_exe()
        .map_err(|error| Failure::system("cannot find the folder of this program", &error))?;
    let program = own.with_file_name(PROGRAM);
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::environment(format!("`{}` is not there", program.display()))
        .hint("`pkgtool` needs it for whatever talks to servers: install both in one folder"))
}
