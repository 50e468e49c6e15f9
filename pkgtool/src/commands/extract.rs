//! `pkgtool extract`

use std::path::PathBuf;

use clap::Args;

use crate::exit::Failure;
use crate::extract;
use crate::input::{TrustArgs, open_package};
use crate::select;

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
    let staging = extract::Staging::new(&args.target)?;
    let mut writer = extract::Writer::new(&package, &args.file, staging.folder())?;
    select::walk(&package, &args.file, &args.paths, |visit| writer.write(&visit))?;
    writer.finish()?;
    staging.publish()
}
