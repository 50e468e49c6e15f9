//! `pkgtool convert`

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use epk_format::Package;
use epk_format::signature::KeyId;
use epk_format::write::{self, Format, Job, Plan, PlanError, Written};
use serde::Serialize;

use super::pack::Version;
use crate::convert::contents::Files;
use crate::convert::tree::{self, Converted, Loss};
use crate::exit::{Failure, print_line};
use crate::input::{TrustArgs, open_in_full};
use crate::output::Output;
use crate::pack::losses::counted;
use crate::pack::make::{self, Method};
use crate::pack::targets;
use crate::progress::Bar;

/// Convert a package to the other version of the format
///
/// The new package has the tree and the manifest of the old one. What format 1.0 cannot hold is
/// refused with every path concerned, unless `--lossy` says to go on without it. Every byte is
/// verified on its way. A signature does not fit the new package: sign it anew.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The package to make; a package that is there already is replaced
    #[arg(short, long, value_name = "NEW")]
    output: PathBuf,

    /// Replace NEW even if it is no package
    #[arg(long)]
    force: bool,

    /// Which format to write [default: the other one]
    #[arg(long, value_name = "VERSION", value_enum)]
    to: Option<Version>,

    /// Leave out or change what the format cannot hold, and say so of each path
    #[arg(long)]
    lossy: bool,

    /// Bytes of content in a block; K and M are units
    ///
    /// A power of two from 4K to 1M; in format 1.0 any number up to 64M.
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = make::chunk_size)]
    chunk_size: u32,

    /// Which blocks are compressed
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    compression: Method,

    /// How hard to compress
    #[arg(
        long,
        value_name = "0-12",
        default_value_t = write::DEFAULT_LEVEL,
        value_parser = clap::value_parser!(u32).range(0..=i64::from(write::MAX_LEVEL))
    )]
    level: u32,

    /// Sign with the key in this file
    #[arg(long, value_name = "KEY", conflicts_with = "signature_command")]
    sign: Option<PathBuf>,

    /// Sign by a shell command, as `pack` does
    #[arg(long, value_name = "COMMAND")]
    signature_command: Option<String>,

    /// The key of a bare signature, in base64 or in a file
    #[arg(long, value_name = "KEY", requires = "signature_command")]
    public_key: Option<String>,

    /// Threads that compress [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Print a summary as JSON on standard output
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    trust: TrustArgs,
}

pub(crate) fn convert(args: &ConvertArgs) -> Result<(), Failure> {
    let package = open_in_full(&args.file, &args.trust.open_options()?)?;
    let format = args.to.map_or_else(|| other(package.format()), Format::from);
    make::check_chunk_size(format, args.chunk_size)?;
    let (command, key) = (args.signature_command.as_deref(), args.public_key.as_deref());
    let signer = make::signer(args.sign.as_deref(), command, key)?;
    let mut output = Output::create(&args.output, args.force)?;

    let Converted { entries, files, lost } = tree::convert(&package, &args.file, format)?;
    if !lost.is_empty() && !args.lossy {
        return Err(refuse(&args.file, format, &lost));
    }
    let plan = Plan::new(format, entries).map_err(|error| bad_plan(&args.file, &error))?;
    let files = Files::new(&package, files);
    for loss in &lost {
        eprintln!("warning: {loss}");
    }
    if let Ok(manifest) = package.parse_manifest() {
        targets::warn(&manifest, &plan, &files);
    }
    warn_of_signature(args, &package, signer.is_some());

    let bar = Bar::new(plan.content_bytes().unwrap_or(u64::MAX));
    let options = make::writing(args.chunk_size, args.compression, args.level, args.threads);
    let job = Job {
        signer: signer.as_deref(),
        progress: &bar,
        ..Job::new(&plan, &files, package.manifest(), &options)
    };
    let mut spool = output.spool()?;
    let written = job.write(output.file(), &mut spool);
    drop(spool);
    bar.clear();
    let written = written.map_err(|error| match files.into_error() {
        Some(damage) => Failure::package(&args.file, &damage),
        None => make::bad_write(&error),
    })?;
    let key = make::key_of(&mut output, &written)?;
    output.publish()?;
    report(args, &Summary::new(args, &package, format, &written, key.as_ref(), lost))
}

fn other(format: Format) -> Format {
    match format {
        Format::V1 => Format::V2,
        Format::V2 => Format::V1,
    }
}

fn refuse(file: &Path, format: Format, lost: &[Loss]) -> Failure {
    let things = counted(lost.len() as u64, "path");
    let mut message = format!("format {format} cannot hold {things} of `{}`:", file.display());
    for loss in lost {
        message.push_str(&format!("\n  {loss}"));
    }
    Failure::refused(message).hint("`--lossy` converts the package all the same")
}

/// The package is good, and so is what became of it, but for things like an alias whose folder
/// was left out.
fn bad_plan(file: &Path, error: &PlanError) -> Failure {
    Failure::refused(format!("`{}`: {error}", file.display()))
}

/// Says that the new package is without the signature of the old one.
fn warn_of_signature(args: &ConvertArgs, package: &Package<File>, signs: bool) {
    if package.header().signature_size.get() != 0 && !signs {
        let file = args.file.display();
        eprintln!(
            "warning: the signature of `{file}` does not fit the new package, which has none"
        );
        eprintln!("hint: `--sign KEY` signs it");
    }
}

/// The summary of `convert --json`: one object, schema `epk.convert/1`.
#[derive(Debug, Serialize)]
struct Summary {
    schema: &'static str,
    path: String,
    format: String,
    size: u64,
    package_hash: String,
    from: From,
    /// The id of the key that signed the new package; `null` when none did.
    key_id: Option<String>,
    lost: Vec<Loss>,
}

/// The package that was converted.
#[derive(Debug, Serialize)]
struct From {
    path: String,
    format: String,
    size: u64,
    package_hash: String,
}

impl Summary {
    fn new(
        args: &ConvertArgs,
        package: &Package<File>,
        format: Format,
        written: &Written,
        key: Option<&KeyId>,
        lost: Vec<Loss>,
    ) -> Self {
        Self {
            schema: "epk.convert/1",
            path: args.output.to_string_lossy().into_owned(),
            format: format.to_string(),
            size: written.size,
            package_hash: format!("sha256:{}", written.package_hash),
            from: From {
                path: args.file.to_string_lossy().into_owned(),
                format: package.format().to_string(),
                size: package.image_size(),
                package_hash: format!("sha256:{}", package.package_hash()),
            },
            key_id: key.map(|key| key.as_str().to_owned()),
            lost,
        }
    }
}

fn report(args: &ConvertArgs, summary: &Summary) -> Result<(), Failure> {
    if args.json {
        let text = serde_json::to_string(summary)
            .map_err(|error| Failure::system("cannot print the summary", &error))?;
        return print_line(text);
    }
    let (old, new) = (args.file.display(), args.output.display());
    let from = &summary.from;
    eprintln!(
        "converted `{old}`, format {} of {}, into `{new}`, format {} of {}",
        from.format,
        counted(from.size, "byte"),
        summary.format,
        counted(summary.size, "byte")
    );
    eprintln!("package hash {}", summary.package_hash);
    if let Some(key) = &summary.key_id {
        eprintln!("signed by {key}");
    }
    Ok(())
}
