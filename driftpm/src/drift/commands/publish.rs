//! `drift publish`

use std::path::PathBuf;

use super::super::publish::{PublishRequest, publish};
use super::{Failure, Host};

/// Put packages into a repository directory.
///
/// Every package is checked completely, with its sidecar, before anything is written: all are
/// published or none.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The packages
    #[arg(value_name = "PKG", required = true)]
    packages: Vec<PathBuf>,
    /// The repository
    #[arg(long, value_name = "DIR")]
    dest_dir: PathBuf,
    /// Replace other versions, and other bytes of the same version
    #[arg(long)]
    force: bool,
    /// Publish packages without a sidecar, as unsigned
    #[arg(long)]
    allow_unsigned: bool,
}

pub(super) fn run(args: Args, host: &mut Host<'_>) -> Result<u8, Failure> {
    let Args { packages, dest_dir, force, allow_unsigned } = args;
    publish(&PublishRequest { packages, dest_dir, force, allow_unsigned }, host.progress(false))?;
    Ok(0)
}
