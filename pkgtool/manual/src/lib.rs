//! The command lines of all tools, as their own parsers have them.
#![forbid(unsafe_code)]

mod epkfs;

use clap::{Command, CommandFactory as _};

/// Every tool.
#[must_use]
pub fn commands() -> [Command; 4] {
    [
        pkgtool::command(),
        epkfs::command(),
        driftpm::drift::commands::Cli::command(),
        driftpm::boruna::commands::Args::command(),
    ]
}
