//! Pack, verify, mount and run applications shipped as one EPK file.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod convert;
mod deep;
mod diff;
mod exit;
mod extract;
mod fetch;
mod import;
mod input;
mod isolation;
mod launch;
mod loader;
mod namespace;
mod output;
mod pack;
mod progress;
mod repository;
mod select;
mod signals;
mod sources;
mod store;
mod to_tar;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.into()
        }
    }
}
