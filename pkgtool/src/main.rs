//! Pack, verify, mount and run applications shipped as one EPK file.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod exit;
mod pack;
mod progress;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}
