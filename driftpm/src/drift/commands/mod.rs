//! The command line of `drift`: one file a command, whose doc comments are its help.
//!
//! Exit status: 0 for success; 2 for any failure and for a command line that cannot be
//! understood; 1 only from `doctor --fail-on degraded`.

mod catalog;
mod doctor;
mod fetch;
mod gate;
mod index;
mod keygen;
mod mount;
mod network;
mod plan;
mod project;
mod publish;
mod report;
mod resolve;
mod search;
mod sign;
mod tree;
mod trust;
mod vendor;
mod world;

pub use world::World;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::canonical_json::ascii_compact;
use crate::files::FileError;
use crate::json::Value;
use crate::progress::{Progress, Silent, silent};

/// What the command line needs of the world around it.
pub struct Host<'a> {
    /// Seconds since 1970, for revocations.
    pub now: u64,
    /// The user's home directory, below which the user's trust store lies.
    pub home: Option<PathBuf>,
    /// The directory of the binary, where a toolchain ships its keys.
    pub binary_dir: Option<PathBuf>,
    /// Fills a buffer with bytes that nobody can guess.
    pub fill_random: &'a dyn Fn(&mut [u8]) -> io::Result<()>,
    /// Told how long work goes on.
    pub progress: Arc<dyn Progress>,
    /// What projects need of the machine.
    pub world: &'a dyn World,
    /// Data.
    pub out: &'a mut dyn Write,
    /// Everything else.
    pub err: &'a mut dyn Write,
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("now", &self.now).field("home", &self.home).finish()
    }
}

impl Host<'_> {
    /// Who is told of progress: nobody if the output is for a program.
    fn progress(&self, json: bool) -> &dyn Progress {
        if json { &Silent } else { &*self.progress }
    }

    /// The same, for what outlives this call.
    fn shared_progress(&self, json: bool) -> Arc<dyn Progress> {
        if json { silent() } else { Arc::clone(&self.progress) }
    }

    fn print_json(&mut self, value: &Value) -> Result<(), Failure> {
        Ok(self.out.write_all(ascii_compact(value).as_bytes())?)
    }
}

/// Signed packages for Drift: projects, versions, repositories, trust, and the gate.
#[derive(Debug, Parser)]
#[command(name = "drift", version, infer_long_args = true, args_override_self = true)]
#[command(after_help = "Exit status: 0 success, 2 failure or wrong usage, \
    1 only from `doctor --fail-on degraded`.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Keygen(keygen::Args),
    Sign(sign::Args),
    #[command(subcommand)]
    Trust(trust::Command),
    Publish(publish::Args),
    Fetch(fetch::Args),
    Vendor(vendor::Args),
    #[command(subcommand)]
    Index(index::Command),
    #[command(subcommand)]
    Catalog(catalog::Command),
    Search(search::SearchArgs),
    #[command(subcommand)]
    Sources(search::SourcesCommand),
    Doctor(doctor::Args),
    Gate(gate::Args),
    Init(project::InitArgs),
    Add(project::AddArgs),
    Remove(project::RemoveArgs),
    Targets(project::TargetsArgs),
    Resolve(resolve::ResolveArgs),
    Update(resolve::UpdateArgs),
    #[command(subcommand)]
    Lock(resolve::LockCommand),
    Tree(tree::TreeArgs),
    Why(tree::WhyArgs),
    Plan(plan::PlanArgs),
    Build(plan::BuildArgs),
    Install(plan::InstallArgs),
    Mount(mount::Args),
}

/// Why a command ended without a report: one line for people.
#[derive(Debug)]
struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// The exit status for failure.
const FAILED: u8 = 2;

/// Runs a command and returns the exit status.
pub fn run(cli: Cli, host: &mut Host<'_>) -> u8 {
    let result = match cli.command {
        Command::Keygen(args) => keygen::run(&args, host),
        Command::Sign(args) => sign::run(&args, host),
        Command::Trust(command) => trust::run(&command, host),
        Command::Publish(args) => publish::run(args, host),
        Command::Fetch(args) => fetch::run(args, host),
        Command::Vendor(args) => vendor::run(args, host),
        Command::Index(command) => index::run(command, host),
        Command::Catalog(command) => catalog::run(&command, host),
        Command::Search(args) => search::run(&args, host),
        Command::Sources(command) => search::sources(&command, host),
        Command::Doctor(args) => doctor::run(args, host),
        Command::Gate(args) => gate::run(args, host),
        Command::Init(args) => project::init(&args, host),
        Command::Add(args) => project::add(&args, host),
        Command::Remove(args) => project::remove(&args, host),
        Command::Targets(args) => project::targets(&args, host),
        Command::Resolve(args) => resolve::resolve(&args, host),
        Command::Update(args) => resolve::update(&args, host),
        Command::Lock(command) => resolve::lock(&command, host),
        Command::Tree(args) => tree::tree(&args, host),
        Command::Why(args) => tree::why(&args, host),
        Command::Plan(args) => plan::plan(&args, host),
        Command::Build(args) => plan::build(args, host),
        Command::Install(args) => plan::install(&args, host),
        Command::Mount(args) => mount::run(&args, host),
    };
    let status = match result {
        Ok(status) => status,
        Err(Failure(message)) => {
            // If even this cannot be written, the status still tells.
            let _ = writeln!(host.err, "drift: error: {message}");
            FAILED
        }
    };
    match host.out.flush() {
        Ok(()) => status,
        Err(_) => status.max(FAILED),
    }
}

/// The status for success or failure.
fn status(ok: bool) -> u8 {
    if ok { 0 } else { FAILED }
}

/// Text of a file, which must be UTF-8.
fn text_of(bytes: Vec<u8>, path: &std::path::Path) -> Result<String, Failure> {
    String::from_utf8(bytes)
        .map_err(|_| Failure(format!("`{}` is not UTF-8", crate::relpath::shown(path))))
}

/// A missing file is `None`, any other failure stays one.
fn optional(result: Result<Vec<u8>, FileError>) -> Result<Option<Vec<u8>>, FileError> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}
