//! `pkgtool verify`

use std::path::PathBuf;

use clap::Args;
use epk_format::manifest::ApiVersion;

use crate::exit::{Failure, print_line};
use crate::input::{self, TrustArgs};
use crate::store::{self, Identity, Store};
use crate::verdict::{Looks, judge};

/// Check packages: structure, PackageHash, signature and manifest
///
/// Prints one line a package, or one JSON object a line with `--json`. Exits with 0 when all are
/// good, else with the highest of: 3 could not be read, 4 invalid, 5 signature or trust,
/// 6 incompatible (with `--compat`), 7 incomplete (with `--loader`).
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The packages
    #[arg(required_unless_present = "installed", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Also check every installed package, and whether its file's name is right
    #[arg(long)]
    installed: bool,

    #[command(flatten)]
    trust: TrustArgs,

    /// Also read every block and file, and compare each with its hash
    #[arg(long)]
    deep: bool,

    /// Also judge whether this host can run them
    #[arg(long)]
    compat: bool,

    /// Also look whether programs and libraries find what they need
    ///
    /// Every library that an ELF file of the package needs must be in the package, where its
    /// loader looks, or in the fixed system runtime: the C library and what belongs to it. Loaders
    /// must be there, and files be for the manifest's architecture.
    #[arg(long)]
    loader: bool,

    /// The API version to judge by, instead of this host's
    #[arg(long, value_name = "X.Y", value_parser = input::parse_api)]
    kernel_api: Option<ApiVersion>,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let options = args.trust.open_options()?;
    let VerifyArgs { deep, compat, loader, kernel_api, .. } = *args;
    let looks = Looks { deep, compat, loader, kernel_api };
    let mut worst: Option<Failure> = None;
    let mut all: Vec<(PathBuf, Option<Identity>)> =
        args.files.iter().map(|path| (path.clone(), None)).collect();
    if args.installed {
        let installed = store::list(&Store::all()?)?;
        all.extend(installed.into_iter().map(|package| (package.path, Some(package.identity))));
    }
    for (path, identity) in &all {
        let mut verdict = judge(path, &options, &looks);
        if let Some(identity) = identity {
            verdict.compare(identity);
        }
        if args.json {
            print_line(verdict.to_json(path))?;
        } else {
            print_line(verdict.to_line(path))?;
        }
        if let Some(exit) = verdict.exit
            && worst.as_ref().is_none_or(|failure| failure.exit < exit)
        {
            worst = Some(verdict.failure(exit, path, options.signature));
        }
    }
    worst.map_or(Ok(()), Err)
}
