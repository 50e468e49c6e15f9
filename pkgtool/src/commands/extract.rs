//! `pkgtool extract`

use std::fs::File;
use std::path::PathBuf;

use clap::Args;
use epk_format::Package;

use crate::exit::Failure;
use crate::extract;
use crate::input::{TrustArgs, open_package};
use crate::select;
use crate::signals::Deferred;

/// Unpack a package into a folder
///
/// The folder must not exist, or be empty. It appears only when everything is in it: until then
/// the files lie in a folder beside it that nobody else can enter, and that is removed when
/// something fails. Modes and times are the package's. Nothing of the package is followed or
/// run on the way.
#[derive(Debug, Args)]
pub(crate) struct ExtractArgs {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The folder to make
    #[arg(value_name = "DIR")]
    target: PathBuf,

    /// Only these paths and what is below them; `*` and `?` match within a name
    #[arg(value_name = "PATH")]
    paths: Vec<String>,

    #[command(flatten)]
    trust: TrustArgs,
}

pub(crate) fn extract(args: &ExtractArgs) -> Result<(), Failure> {
    let package = open_package(&args.file, &args.trust.open_options()?)?;
    let signals =
        Deferred::new().map_err(|error| Failure::system("cannot catch signals", &error))?;
    let result = extract_tree(args, &package, &signals);
    // Everything unfinished is removed by now.
    signals.end();
    result
}

fn extract_tree(
    args: &ExtractArgs,
    package: &Package<File>,
    signals: &Deferred,
) -> Result<(), Failure> {
    let staging = extract::Staging::new(&args.target)?;
    let mut writer = extract::Writer::new(package, &args.file, staging.folder(), signals)?;
    select::walk(package, &args.file, &args.paths, |visit| writer.write(&visit))?;
    writer.finish()?;
    staging.publish()
}
