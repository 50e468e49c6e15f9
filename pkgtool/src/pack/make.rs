//! What every command that makes a package does alike: its options, and the way from a tree to the
//! finished file.

use std::env;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use clap::ValueEnum;
use epk_format::manifest::Manifest;
use epk_format::signature::KeyId;
use epk_format::write::{
    self, Compression, Contents, Format, Job, Plan, PlanEntry, Signer, WriteError, Written,
};

use super::losses::{Lost, Policy, Property, Unpackable};
use super::sign::{self, CommandSigner, KeySigner};
use super::summary::Summary;
use super::targets;
use super::times::{Mtime, SOURCE_DATE_EPOCH, Times};
use crate::exit::{Exit, Failure, print_line};
use crate::output::Output;
use crate::progress::Bar;

/// Options of the commands that make packages.
#[derive(Debug, clap::Args)]
pub(crate) struct MakeArgs {
    /// The package to make; a package that is there already is replaced
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Replace FILE even if it is no package
    #[arg(long)]
    pub(crate) force: bool,

    /// Bytes of content in a block; K and M are units
    ///
    /// A power of two from 4K to 1M; in format 1.0 any number up to 64M.
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = chunk_size)]
    pub(crate) chunk_size: u32,

    /// Which blocks are compressed
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub(crate) compression: Method,

    /// How hard to compress
    #[arg(
        long,
        value_name = "0-12",
        default_value_t = write::DEFAULT_LEVEL,
        value_parser = clap::value_parser!(u32).range(0..=i64::from(write::MAX_LEVEL))
    )]
    pub(crate) level: u32,

    /// Times of files [default: clamp if SOURCE_DATE_EPOCH is set, else source]
    ///
    /// In format 1.0 times are cut to seconds, and folders have none.
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) mtime: Option<Mtime>,

    /// Sign with the key in this file
    #[arg(long, value_name = "KEY", conflicts_with = "signature_command")]
    pub(crate) sign: Option<PathBuf>,

    /// Sign by a shell command
    ///
    /// The first `{hash}` in it becomes the package hash in hexadecimal digits; without one, the
    /// hash is the last argument. It prints a whole signature blob, or the 64 bytes of an Ed25519
    /// signature over the 32 bytes of the hash, raw or as hexadecimal digits. What does not verify
    /// is not written. The command may run up to four times.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) signature_command: Option<String>,

    /// The key of a bare signature, in base64 or in a file
    #[arg(long, value_name = "KEY", requires = "signature_command")]
    pub(crate) public_key: Option<String>,

    /// Paths of files to store first, a line each, in the order in which they will be read
    ///
    /// Not in format 1.0. Paths are from the package's root; those of nothing are ignored.
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,

    /// What to do about sockets, pipes and devices
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub(crate) special: Unpackable,

    /// What to do about names not in UTF-8, too long, or in format 1.0 with backslashes
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub(crate) names: Unpackable,

    /// What to do about set-user-id, set-group-id and sticky bits
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub(crate) mode_bits: Property,

    /// What to do about capabilities, access lists, and in format 1.0 user attributes
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub(crate) xattrs: Property,

    /// Threads that compress [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Print a summary as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Method {
    /// All of them
    Zlib,
    /// None
    None,
    /// Those that become smaller by a thirty-second or more
    #[default]
    Auto,
}

impl MakeArgs {
    /// What the two formats allow differs.
    pub(crate) fn check(&self, format: Format) -> Result<(), Failure> {
        check_chunk_size(format, self.chunk_size)?;
        if self.profile.is_some() && format == Format::V1 {
            let message = "`--profile` is not for format 1.0, where data lie in the order of paths";
            return Err(Failure::usage(message).hint("leave out `--format 1`"));
        }
        Ok(())
    }

    /// What may be lost, as far as these options say.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            special: self.special,
            names: self.names,
            mode_bits: self.mode_bits,
            xattrs: self.xattrs,
            ..Policy::default()
        }
    }
}

/// The paths of a profile, from the root without a slash.
pub(crate) fn read_profile(file: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let text = fs::read(file)
        .map_err(|error| Failure::system(format!("cannot read `{}`", file.display()), &error))?;
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let paths = lines.map(|line| {
        let slashes = line.iter().take_while(|&&byte| byte == b'/').count();
        line.get(slashes..).unwrap_or_default().to_vec()
    });
    Ok(paths.filter(|path| !path.is_empty()).collect())
}

/// Each format allows other sizes.
pub(crate) fn check_chunk_size(format: Format, found: u32) -> Result<(), Failure> {
    if format.allows_chunk_size(found) {
        return Ok(());
    }
    Err(Failure::because(Exit::Usage, &WriteError::ChunkSize { format, found }))
}

/// Who signs: a key file, or a command with the key of what it prints.
pub(crate) fn signer(
    file: Option<&Path>,
    command: Option<&str>,
    key: Option<&str>,
) -> Result<Option<Box<dyn Signer>>, Failure> {
    if let Some(file) = file {
        return Ok(Some(Box::new(KeySigner::read(file)?)));
    }
    let Some(command) = command else { return Ok(None) };
    let key = key.map(sign::public_key).transpose()?;
    Ok(Some(Box::new(CommandSigner::new(command, key))))
}

/// How the package is written; by as many threads as there are processors unless told otherwise.
pub(crate) fn writing(
    chunk_size: u32,
    compression: Method,
    level: u32,
    threads: Option<NonZeroUsize>,
) -> write::Options {
    let processors = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let compression = match compression {
        Method::Zlib => Compression::Zlib,
        Method::None => Compression::None,
        Method::Auto => Compression::Auto,
    };
    write::Options { chunk_size, compression, level, threads: threads.unwrap_or_else(processors) }
}

/// A package under way.
pub(crate) struct Making<'a> {
    args: &'a MakeArgs,
    profile: Vec<Vec<u8>>,
    signer: Option<Box<dyn Signer>>,
    /// Which times its entries get.
    pub(crate) times: Times,
    /// Where it will lie.
    pub(crate) output: Output,
}

impl<'a> Making<'a> {
    /// Reads what the options name, and opens the output.
    pub(crate) fn begin(args: &'a MakeArgs) -> Result<Self, Failure> {
        let (command, key) = (args.signature_command.as_deref(), args.public_key.as_deref());
        Ok(Self {
            args,
            profile: args.profile.as_deref().map(read_profile).transpose()?.unwrap_or_default(),
            signer: signer(args.sign.as_deref(), command, key)?,
            times: Times::new(args.mtime, epoch()?.as_deref())?,
            output: Output::create(&args.output, args.force)?,
        })
    }

    /// The plan of the package. Says which targets of the manifest could not be run.
    pub(crate) fn plan(
        &self,
        format: Format,
        entries: Vec<PlanEntry>,
        manifest: &Manifest,
        contents: &dyn Contents,
    ) -> Result<Plan, Failure> {
        let plan =
            Plan::new(format, entries).map_err(|error| Failure::because(Exit::Finding, &error))?;
        targets::warn(manifest, &plan, contents);
        Ok(plan)
    }

    /// Writes the package, gives it its name, and says what it has become.
    pub(crate) fn finish(
        mut self,
        plan: &Plan,
        contents: &dyn Contents,
        manifest: &[u8],
        lost: Lost,
    ) -> Result<(), Failure> {
        let bar = Bar::new(plan.content_bytes().unwrap_or(u64::MAX));
        let MakeArgs { chunk_size, compression, level, threads, .. } = *self.args;
        let options = writing(chunk_size, compression, level, threads);
        let job = Job {
            profile: &self.profile,
            signer: self.signer.as_deref(),
            progress: &bar,
            ..Job::new(plan, contents, manifest, &options)
        };
        let mut spool = self.output.spool()?;
        let written = job.write(self.output.file(), &mut spool);
        drop(spool);
        bar.clear();
        let written = written.map_err(|error| bad_write(&error))?;
        let key = key_of(&mut self.output, &written)?;
        self.output.publish()?;
        report(self.args, &Summary::new(&self.args.output, plan, &written, key.as_ref(), lost))
    }
}

fn epoch() -> Result<Option<String>, Failure> {
    match env::var(SOURCE_DATE_EPOCH) {
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::system(format!("cannot use `{SOURCE_DATE_EPOCH}`"), &error)),
    }
}

pub(crate) fn bad_write(error: &WriteError) -> Failure {
    let exit = match error {
        // An image that is imported, not the disk that it lies on.
        WriteError::Open { source, .. } | WriteError::Read { source, .. }
            if source.kind() == io::ErrorKind::InvalidData =>
        {
            Exit::InvalidPackage
        }
        WriteError::Open { .. }
        | WriteError::Read { .. }
        | WriteError::Length { .. }
        | WriteError::Output { .. }
        | WriteError::Spool(_)
        | WriteError::Thread(_) => Exit::Environment,
        WriteError::Signer(_) | WriteError::EmptySignature | WriteError::SignatureSize { .. } => {
            Exit::Signature
        }
        _ => Exit::Finding,
    };
    Failure::because(exit, error)
}

/// Whose signature the package has.
pub(crate) fn key_of(output: &mut Output, written: &Written) -> Result<Option<KeyId>, Failure> {
    let size = usize::try_from(written.signature_size).unwrap_or(0);
    let mut blob = vec![0; size];
    output
        .file()
        .read_exact_at(&mut blob, written.signature_offset)
        .map_err(|error| Failure::system("cannot read the signature back", &error))?;
    Ok(sign::key_of(&blob))
}

fn report(args: &MakeArgs, summary: &Summary) -> Result<(), Failure> {
    if !args.json {
        for line in summary.lines() {
            eprintln!("{line}");
        }
        return Ok(());
    }
    let text = serde_json::to_string(summary)
        .map_err(|error| Failure::system("cannot print the summary", &error))?;
    print_line(text)
}

/// Reads a size in bytes, with `K`, `M`, `G` or `T` (also `KiB` and the like) for a unit.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let shift = match unit {
        "" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "m" | "MiB" => 20,
        "G" | "g" | "GiB" => 30,
        "T" | "t" | "TiB" => 40,
        _ => return Err(format!("unknown unit `{unit}`, expected K, M, G or T")),
    };
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    size.ok_or_else(|| "expected a number of bytes".to_owned())
}

/// Reads a chunk size.
pub(crate) fn chunk_size(text: &str) -> Result<u32, String> {
    let size = u32::try_from(size(text)?).ok();
    // The wider range of the two formats.
    let allowed = Format::V1.chunk_sizes();
    size.filter(|size| allowed.contains(size))
        .ok_or_else(|| format!("expected {} to {} bytes", allowed.start(), allowed.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        let table = [
            ("1", Some(1)),
            ("65536", Some(65_536)),
            ("64K", Some(65_536)),
            ("64k", Some(65_536)),
            ("64KiB", Some(65_536)),
            ("1M", Some(1 << 20)),
            ("64M", Some(64 << 20)),
            ("65M", None),
            ("0", None),
            ("0K", None),
            ("", None),
            ("K", None),
            ("-1", None),
            ("+1", None),
            ("1.5M", None),
            ("1G", None),
            ("4294967296", None),
            ("18446744073709551616", None),
        ];
        for (text, expected) in table {
            assert_eq!(chunk_size(text).ok(), expected, "{text}");
        }
    }
}
