//! The walls around a compiler: a trait, since this crate knows no namespaces. The binary fills it
//! with `pkgtool confine`.

use std::path::Path;

use crate::problem::Problem;

/// One run of a compiler.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The program, an absolute path.
    pub program: &'a Path,
    /// Its arguments; paths in them are relative to `inputs`, or absolute below `outputs`.
    pub arguments: &'a [String],
    /// The current folder: read-only.
    pub inputs: &'a Path,
    /// The only folder that may be written.
    pub outputs: &'a Path,
}

/// What a run left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Whether it ended with status 0.
    pub ok: bool,
    /// How it ended, for people.
    pub status: String,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// Runs compilers where they can do no harm: the system's programs and headers, `inputs`
/// read-only, `outputs` writable, nothing else of the host, no network, a bare environment.
pub trait Sandbox {
    /// Runs one job.
    ///
    /// # Errors
    /// `SANDBOX_UNAVAILABLE` if the walls cannot be had; nothing is run without them.
    fn run(&self, job: &Job<'_>) -> Result<Ran, Problem>;
}
