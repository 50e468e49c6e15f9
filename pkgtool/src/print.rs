//! Data on standard output. `println!` would panic when nobody takes it.

use std::fmt;
use std::io::{self, Write as _};

use crate::exit::Failure;

/// Prints a line.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| failure(&error))
}

/// What became of data that couldn't be printed.
pub(crate) fn failure(error: &io::Error) -> Failure {
    Failure::environment(format!("standard output: {error}"))
}
