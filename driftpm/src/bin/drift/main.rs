//! `drift`: signed packages for the Drift language. See `spec/drift.md`.

#![forbid(unsafe_code)]

mod bars;
mod world;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use driftpm::drift::commands::{Cli, Host, run};
use driftpm::progress::silent;

use bars::Bars;
use world::Machine;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut host = Host {
        now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        home: std::env::var_os("HOME").filter(|home| !home.is_empty()).map(Into::into),
        binary_dir: std::env::current_exe()
            .ok()
            .and_then(|binary| binary.parent().map(ToOwned::to_owned)),
        fill_random: &|bytes| getrandom::fill(bytes).map_err(io::Error::other),
        progress: if io::stderr().is_terminal() { Arc::new(Bars::default()) } else { silent() },
        world: &Machine::new(),
        out: &mut io::stdout().lock(),
        err: &mut io::stderr(),
    };
    ExitCode::from(run(cli, &mut host))
}
