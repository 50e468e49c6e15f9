//! `pkgtool cat`

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use epk_format::package::{Kind, Scratch};
use epk_format::path;
use epk_format::resolve::Resolved;

use crate::exit::{Failure, exit_of, standard_output};
use crate::input::{TrustArgs, open_package};

/// Print files of a package, without mounting it
///
/// Links are followed inside the package. Every byte is verified before it is printed.
#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The files inside
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,

    #[command(flatten)]
    trust: TrustArgs,
}

pub(crate) fn cat(args: &CatArgs) -> Result<(), Failure> {
    let package = open_package(&args.file, &args.trust.open_options()?)?;
    let mut out = io::stdout().lock();
    let mut scratch = Scratch::default();
    for inside in &args.paths {
        let shown = path::display(inside.as_bytes());
        let refused =
            |what: &str| Failure::refused(format!("`{}`: `{shown}`: {what}", args.file.display()));
        let id = match package
            .resolve(inside.as_bytes(), true)
            .map_err(|error| Failure::package(&args.file, &error))?
        {
            Resolved::Found(id) => id,
            Resolved::Missing => return Err(refused("no such file in the package")),
            Resolved::NotFolder => return Err(refused("a part of the path is not a folder")),
            Resolved::Loop => return Err(refused("too many links")),
        };
        let node = package.node(id).map_err(|error| Failure::package(&args.file, &error))?;
        if node.kind != Kind::File {
            return Err(refused("is a folder"));
        }
        package.read(id, 0..u64::MAX, &mut scratch, |bytes| Ok(out.write_all(bytes)?)).map_err(
            |error| match error {
                Broken::Package(error) => Failure::new(
                    exit_of(&error),
                    format!("`{}`: `{shown}`: {error}", args.file.display()),
                ),
                Broken::Output(error) => standard_output(&error),
            },
        )?;
    }
    out.flush().map_err(|error| standard_output(&error))
}

/// What ends the copying of a file.
pub(crate) enum Broken {
    Package(epk_format::Error),
    Output(io::Error),
}

impl From<epk_format::Error> for Broken {
    fn from(error: epk_format::Error) -> Self {
        Self::Package(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
