//! `drift`: signed packages for the Drift language. See `spec/drift.md`.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use driftpm::drift::commands::{Cli, Host, run};
use driftpm::drift::progress::{Progress, Silent};
use indicatif::{ProgressBar, ProgressStyle};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let bars = Bars::default();
    let mut host = Host {
        now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        home: std::env::var_os("HOME").filter(|home| !home.is_empty()).map(Into::into),
        binary_dir: std::env::current_exe()
            .ok()
            .and_then(|binary| binary.parent().map(ToOwned::to_owned)),
        fill_random: &|bytes| getrandom::fill(bytes).map_err(io::Error::other),
        progress: if io::stderr().is_terminal() { &bars } else { &Silent },
        out: &mut io::stdout().lock(),
        err: &mut io::stderr(),
    };
    ExitCode::from(run(cli, &mut host))
}

/// Progress bars on a terminal.
#[derive(Default)]
struct Bars(Mutex<Option<ProgressBar>>);

impl Bars {
    /// The slot of the bar; a thread that died with it leaves nothing half done.
    fn slot(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str, total: usize) {
        self.end();
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX)).with_style(style);
        bar.set_message(what.to_owned());
        *self.slot() = Some(bar);
    }

    fn step(&self) {
        if let Some(bar) = &*self.slot() {
            bar.inc(1);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.slot().take() {
            bar.finish_and_clear();
        }
    }
}
