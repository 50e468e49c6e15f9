//! `pkgtool extract`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use epk_format::Package;

use crate::exit::Failure;
use crate::extract;
use crate::input::{TrustArgs, open_package};
use crate::output::Output;
use crate::select;
use crate::signals::Deferred;
use crate::to_tar;

/// Unpack a package into a folder, or make a tar archive of it
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
    #[arg(value_name = "DIR", required_unless_present = "to_tar")]
    target: Option<PathBuf>,

    /// Only these paths and what is below them; `*` and `?` match within a name
    #[arg(value_name = "PATH")]
    paths: Vec<String>,

    /// Make this tar archive instead of DIR; `-` is standard output
    ///
    /// The same package gives the same bytes: a pax archive in the order of paths, owned by root.
    #[arg(long, value_name = "ARCHIVE")]
    to_tar: Option<PathBuf>,

    #[command(flatten)]
    trust: TrustArgs,
}

pub(crate) fn extract(args: &ExtractArgs) -> Result<(), Failure> {
    let package = open_package(&args.file, &args.trust.open_options()?)?;
    let signals =
        Deferred::new().map_err(|error| Failure::system("cannot catch signals", &error))?;
    let result = match (&args.to_tar, &args.target) {
        (Some(archive), _) => extract_archive(args, archive, &package, &signals),
        (None, Some(target)) => extract_tree(args, target, &package, &signals),
        // The parser has asked for one of them.
        (None, None) => Err(Failure::usage("there is no DIR")),
    };
    // Everything unfinished is removed by now.
    signals.end();
    result
}

fn extract_tree(
    args: &ExtractArgs,
    target: &Path,
    package: &Package<File>,
    signals: &Deferred,
) -> Result<(), Failure> {
    let staging = extract::Staging::new(target)?;
    let mut writer = extract::Writer::new(package, &args.file, staging.folder(), signals)?;
    select::walk(package, &args.file, &args.paths, |visit| writer.write(&visit))?;
    writer.finish()?;
    staging.publish()
}

fn extract_archive(
    args: &ExtractArgs,
    archive: &Path,
    package: &Package<File>,
    signals: &Deferred,
) -> Result<(), Failure> {
    // Without DIR, what stands in its place is the first PATH.
    let mut paths = Vec::new();
    if let Some(path) = &args.target {
        let text = path.to_str().ok_or_else(|| {
            Failure::usage(format!("`{}`: paths in packages are UTF-8", path.display()))
        })?;
        paths.push(text.to_owned());
    }
    paths.extend(args.paths.iter().cloned());
    if archive.as_os_str() == "-" {
        let out = BufWriter::new(io::stdout().lock());
        write_archive(args, &paths, package, signals, out)?;
        return Ok(());
    }
    if archive.symlink_metadata().is_ok() {
        let message = format!("`{}` exists", archive.display());
        return Err(
            Failure::refused(message).hint("archives are made anew, complete or not at all")
        );
    }
    let mut output = Output::create(archive, false)?;
    write_archive(args, &paths, package, signals, BufWriter::new(output.file()))?;
    output.publish()
}

fn write_archive(
    args: &ExtractArgs,
    paths: &[String],
    package: &Package<File>,
    signals: &Deferred,
    out: impl Write,
) -> Result<(), Failure> {
    let mut writer = to_tar::Writer::new(package, &args.file, out, signals);
    if paths.is_empty() {
        writer.root()?;
    }
    select::walk(package, &args.file, paths, |visit| writer.write(&visit))?;
    writer.finish()?;
    Ok(())
}
