//! The command line: one variant a verb.

use clap::{Parser, Subcommand};

use crate::commands;
use crate::exit::Failure;

/// Pack, verify, mount and run applications shipped as one EPK file.
#[derive(Debug, Parser)]
#[command(name = "pkgtool", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Pack(Box<commands::pack::Args>),
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Pack(args) => commands::pack::run(&args),
        }
    }
}
