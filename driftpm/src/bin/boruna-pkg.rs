//! `boruna-pkg`: Boruna packages on the command line. `spec/boruna.md` is its manual.
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use driftpm::boruna::commands::{Environment, run};

fn main() -> ExitCode {
    let environment = Environment {
        directory: env::current_dir().unwrap_or_default(),
        compiler: env::var("BORUNA_COMPILER").ok(),
        compat: env::var_os("BORUNA_COMPAT").is_some_and(|value| !value.is_empty() && value != "0"),
    };
    let outcome = run(env::args_os(), &environment);
    // Nobody is left to tell when standard error is gone; a reader of standard output that
    // went away, as `| head` does, is not a failure of the command.
    let _ = io::stderr().write_all(outcome.stderr.as_bytes());
    match io::stdout().write_all(outcome.stdout.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::from(outcome.status),
    }
}
