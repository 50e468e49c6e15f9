//! The arguments; their doc comments are the help text.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Boruna Package Manager
#[derive(Debug, Parser)]
#[command(name = "boruna-pkg", after_help = AFTER_HELP)]
pub struct Args {
    /// Registry directory (default: ./packages/registry)
    #[arg(long, value_name = "REGISTRY", default_value = "packages/registry")]
    pub registry: PathBuf,

    /// Print one JSON object on standard output, also on failure
    #[arg(long, global = true)]
    pub json: bool,

    /// Name of the lockfile [default: ax.lock.json]
    #[arg(long, global = true, value_name = "NAME")]
    pub lockfile_name: Option<String>,

    /// Lockfile name, error texts and order of checks of the original 3.2.0
    #[arg(long, global = true)]
    pub compat: bool,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Environment:
  BORUNA_COMPILER  command for `publish`, as --compiler
  BORUNA_COMPAT    1: as --compat

Exit status: 0 done, 1 failed or refused, 2 wrong usage.";

/// One command and its own arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Initialize a new package manifest
    Init {
        /// Directory to initialize (default: current dir)
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Package name [default: made from the directory's]
        #[arg(long)]
        name: Option<String>,
    },
    /// Add a dependency
    Add {
        /// Package name
        name: String,
        /// Exact version
        version: String,
        /// Package directory
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Remove a dependency
    Remove {
        /// Package name
        name: String,
        /// Package directory
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Resolve dependencies and generate lockfile
    Resolve {
        /// Package directory
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Resolve, verify, and install all packages
    Install {
        /// Package directory
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Demand an existing lockfile that matches, and write nothing
        #[arg(long)]
        locked: bool,
    },
    /// Publish package to local registry
    Publish {
        /// Package directory
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Compiler for the exposed modules, run as `CMD compile SRC -o OUT`
        #[arg(long, value_name = "CMD")]
        compiler: Option<String>,
    },
    /// Verify all packages in registry
    Verify {
        /// Only the packages in this project's lockfile, and that it is up to date
        #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = ".")]
        project: Option<PathBuf>,
    },
    /// Print dependency tree
    Tree {
        /// Package directory
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Print the paths that bring a package in
    Why {
        /// Package name, or name@version
        name: String,
        /// Package directory
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Check a patch bundle that touches manifests or lockfiles; JSON report
    Gate {
        /// Patch bundle (*.patchbundle.json)
        #[arg(long, value_name = "FILE")]
        bundle: PathBuf,
        /// Who reviewed the bundle; needed when a lockfile changes
        #[arg(long, value_name = "WHO")]
        reviewer: Option<String>,
        /// Directory that the bundle's paths are relative to
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Write the locked closure as one EPK image that is a registry
    Bundle {
        /// Package directory
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// The image to write; an image that is there already is replaced
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

impl Command {
    /// The word that asks for this command.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Init { .. } => "init",
            Self::Add { .. } => "add",
            Self::Remove { .. } => "remove",
            Self::Resolve { .. } => "resolve",
            Self::Install { .. } => "install",
            Self::Publish { .. } => "publish",
            Self::Verify { .. } => "verify",
            Self::Tree { .. } => "tree",
            Self::Why { .. } => "why",
            Self::Gate { .. } => "gate",
            Self::Bundle { .. } => "bundle",
        }
    }
}
