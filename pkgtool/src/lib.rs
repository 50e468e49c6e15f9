//! Pack, verify, mount and run applications shipped as one EPK file: all of `pkgtool` and
//! `pkgtool-remote` but their `main`. As a library it offers what its manual is made of, [`command`].
#![forbid(unsafe_code)]

mod chart;
mod cli;
mod commands;
mod convert;
mod deep;
mod desktop;
mod diff;
mod doctor;
mod events;
mod exec;
mod exit;
mod extract;
mod fetch;
#[cfg(fuzzing)]
pub mod fuzzing;
mod import;
mod input;
mod isolation;
mod launch;
mod loader;
mod namespace;
mod output;
mod pack;
mod progress;
mod remote;
mod repository;
mod select;
mod signals;
mod sources;
mod stats;
mod store;
mod to_tar;
mod trust;
mod verdict;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

/// Does what the command line of this process asks for, and gives the exit status.
///
/// It prints and may become another program: it is what the binary does.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = exec::dispatch::rewrite(std::env::args_os().collect());
    end(cli::Cli::parse_from(arguments).run())
}

/// Does what a command line asks for that talks to servers, and gives the exit status.
///
/// It is what `pkgtool-remote` does, and only that: what isn't called from here or from [`main`] is
/// not linked, so `pkgtool` has no network code.
#[must_use]
pub fn remote_main() -> ExitCode {
    end(cli::Cli::parse().run_remote())
}

fn end(result: Result<(), exit::Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(),
    }
}

/// The command line, for programs that describe it.
#[must_use]
pub fn command() -> clap::Command {
    cli::Cli::command()
}
