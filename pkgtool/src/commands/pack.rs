//! `pkgtool pack`.

use std::env;
use std::fs::{self, File};
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use clap::ValueEnum;
use epk_format::limits;
use epk_format::manifest::Manifest;
use epk_format::write::{
    self, Compression, Format, Job, PlanEntry, PlanError, Signer, WriteError, Written,
};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::exit::{Exit, Failure, print_line};
use crate::pack::aliases::{self, Alias};
use crate::pack::contents::Files;
use crate::pack::losses::{self, Policy, Property, Symlinks, Unpackable};
use crate::pack::output::Output;
use crate::pack::sign::{self, CommandSigner, KeySigner};
use crate::pack::summary::Summary;
use crate::pack::times::{Mtime, SOURCE_DATE_EPOCH, Times};
use crate::pack::walk::{self, Tree};
use crate::progress::Bar;

/// The manifest's name in a folder.
const MANIFEST: &str = "manifest.toml";

/// Make a package of a folder
///
/// The same folder gives the same bytes, on every machine and with any number of threads. What
/// the format cannot hold is refused with every path concerned, unless an option below says what
/// to do about it. Owners and groups are never kept. Format 2.0 keeps symbolic and hard links, user
/// attributes, permissions and times, those of DIR itself included; 1.0, which EXOS reads, has no
/// links and attributes, and no permissions and times of folders.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder
    dir: PathBuf,

    /// The package to make; a package that is there already is replaced
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Replace FILE even if it is no package
    #[arg(long)]
    force: bool,

    /// Which format to write
    #[arg(long, value_name = "VERSION", value_enum, default_value_t)]
    format: Version,

    /// The manifest; if it lies in DIR, it gets no entry of its own [default: DIR/manifest.toml]
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    /// Bytes of content in a block; K and M are units
    ///
    /// A power of two from 4K to 1M; in format 1.0 any number up to 64M.
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = chunk_size)]
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

    /// Times of files [default: clamp if SOURCE_DATE_EPOCH is set, else source]
    ///
    /// In format 1.0 times are cut to seconds, and folders have none.
    #[arg(long, value_name = "POLICY", value_enum)]
    mtime: Option<Mtime>,

    /// Sign with the key in this file
    #[arg(long, value_name = "KEY", conflicts_with = "signature_command")]
    sign: Option<PathBuf>,

    /// Sign by a shell command
    ///
    /// The first `{hash}` in it becomes the package hash in hexadecimal digits; without one, the
    /// hash is the last argument. It prints a whole signature blob, or the 64 bytes of an Ed25519
    /// signature over the 32 bytes of the hash, raw or as hexadecimal digits. What does not verify
    /// is not written. The command may run up to four times.
    #[arg(long, value_name = "COMMAND")]
    signature_command: Option<String>,

    /// The key of a bare signature, in base64 or in a file
    #[arg(long, value_name = "KEY", requires = "signature_command")]
    public_key: Option<String>,

    /// Make a folder alias; both are paths in the package
    #[arg(long, value_name = "LINK=TARGET", value_parser = aliases::parse)]
    alias: Vec<Alias>,

    /// Make the folder aliases of a TOML file with lines like `lib64 = "lib"`
    #[arg(long, value_name = "FILE")]
    aliases: Vec<PathBuf>,

    /// Paths of files to store first, a line each, in the order in which they will be read
    ///
    /// Not in format 1.0. Paths are from the package's root; those of nothing are ignored.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,

    /// What to do about symbolic links
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    symlinks: Symlinks,

    /// Follow symbolic links out of DIR, too
    ///
    /// Without it they are refused: they may lead to other things on the next machine. Absolute
    /// links lead out even if they point into DIR.
    #[arg(long)]
    follow_outside: bool,

    /// What to do about sockets, pipes and devices
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    special: Unpackable,

    /// What to do about names not in UTF-8, too long, or in format 1.0 with backslashes
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    names: Unpackable,

    /// What to do about set-user-id, set-group-id and sticky bits
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    mode_bits: Property,

    /// What to do about capabilities, access lists, and in format 1.0 user attributes
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    xattrs: Property,

    /// Threads that compress [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Print a summary as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Version {
    /// 1.0, which EXOS reads, too
    #[value(name = "1", alias = "1.0")]
    V1,
    /// 2.0
    #[default]
    #[value(name = "2", alias = "2.0")]
    V2,
}

impl From<Version> for Format {
    fn from(version: Version) -> Self {
        match version {
            Version::V1 => Self::V1,
            Version::V2 => Self::V2,
        }
    }
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

/// Packs.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let format = Format::from(args.format);
    check_chunk_size(format, args.chunk_size)?;
    check_options(args, format)?;
    let profile = read_profile(args)?;
    let root = open_folder(&args.dir)?;
    let (manifest, leave_out) = read_manifest(args)?;
    let described = Manifest::parse(&manifest)
        .map_err(|error| Failure::manifest(&manifest_file(args), &error))?;
    let aliases = aliases::collect(&args.alias, &args.aliases)?;
    let (command, key) = (args.signature_command.as_deref(), args.public_key.as_deref());
    let signer = signer(args.sign.as_deref(), command, key)?;
    let times = Times::new(args.mtime, epoch()?.as_deref())?;
    let mut output = Output::create(&args.output, args.force)?;

    let options = walk::Options {
        folder: &args.dir,
        leave_out: leave_out.as_deref(),
        output_folder: output.folder_identity()?,
        format,
        policy: policy(args),
        times,
    };
    let Tree { mut entries, files, findings, lost } = walk::walk(&root, &options)?;
    if !findings.is_empty() {
        return Err(losses::refuse(format, &findings));
    }
    add_aliases(&mut entries, &aliases);
    let plan = write::Plan::new(format, entries).map_err(|error| bad_plan(&error))?;
    warn_of_targets(&described, &plan);

    let bar = Bar::new(plan.content_bytes().unwrap_or(u64::MAX));
    let (files, options) = (
        Files::new(root, files),
        writing(args.chunk_size, args.compression, args.level, args.threads),
    );
    let job = Job {
        profile: &profile,
        signer: signer.as_deref(),
        progress: &bar,
        ..Job::new(&plan, &files, &manifest, &options)
    };
    let mut spool = output.spool()?;
    let written = job.write(output.file(), &mut spool);
    drop(spool);
    bar.clear();
    let written = written.map_err(|error| bad_write(&error))?;
    let key = key_of(&mut output, &written)?;
    output.publish()?;
    report(args, &Summary::new(&args.output, &plan, &written, key.as_ref(), lost))
}

/// What the two formats allow differs.
pub(crate) fn check_chunk_size(format: Format, found: u32) -> Result<(), Failure> {
    if format.allows_chunk_size(found) {
        return Ok(());
    }
    Err(Failure::because(Exit::Usage, &WriteError::ChunkSize { format, found }))
}

fn check_options(args: &Args, format: Format) -> Result<(), Failure> {
    if args.profile.is_some() && format == Format::V1 {
        let message = "`--profile` is not for format 1.0, where data lie in the order of paths";
        return Err(Failure::usage(message).hint("leave out `--format 1`"));
    }
    Ok(())
}

/// The paths of the profile, from the root without a slash.
fn read_profile(args: &Args) -> Result<Vec<Vec<u8>>, Failure> {
    let Some(file) = &args.profile else { return Ok(Vec::new()) };
    let text = fs::read(file)
        .map_err(|error| Failure::system(format!("cannot read `{}`", file.display()), &error))?;
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let paths = lines.map(|line| {
        let slashes = line.iter().take_while(|&&byte| byte == b'/').count();
        line.get(slashes..).unwrap_or_default().to_vec()
    });
    Ok(paths.filter(|path| !path.is_empty()).collect())
}

fn open_folder(dir: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(dir, flags, Mode::empty())
        .map_err(|error| Failure::system(format!("cannot open `{}`", dir.display()), &error))
}

/// Where the manifest is read from.
fn manifest_file(args: &Args) -> PathBuf {
    args.manifest.clone().unwrap_or_else(|| args.dir.join(MANIFEST))
}

/// Says which targets of the manifest could not be run. The format allows them: a package may be
/// made to be completed by other means.
pub(crate) fn warn_of_targets(manifest: &Manifest, plan: &write::Plan) {
    let commands = manifest.commands.iter().map(|(name, target)| (name.as_str(), target));
    for (name, target) in std::iter::once(("entry", &manifest.entry)).chain(commands) {
        let problem = match plan.get(target.trim_start_matches('/').as_bytes()) {
            // It may lie behind an alias.
            None if plan.entries().iter().any(|e| matches!(e.kind, write::Kind::Alias { .. })) => {
                continue;
            }
            None => "is not in the package",
            Some(PlanEntry { kind: write::Kind::File { .. }, permissions, .. })
                if permissions & 0o111 == 0 =>
            {
                "has no permission to execute"
            }
            Some(PlanEntry { kind: write::Kind::File { .. }, .. }) => continue,
            Some(_) => "is not a file",
        };
        eprintln!("warning: manifest: `{name}`: `{target}` {problem}");
    }
}

/// The manifest's text, and its path in the folder if it lies there.
fn read_manifest(args: &Args) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
    let file = manifest_file(args);
    let failed = |error: &dyn std::error::Error| {
        let failure = Failure::system(format!("cannot read `{}`", file.display()), error);
        if args.manifest.is_some() {
            failure
        } else {
            failure.hint(format!("a package needs a `{MANIFEST}`, or say where by `--manifest`"))
        }
    };
    let mut text = Vec::new();
    // One byte more than allowed tells that it is too large; cut there it would be another text.
    let opened = File::open(&file).map_err(|error| failed(&error))?;
    let most = limits::MANIFEST_BYTES.saturating_add(1);
    opened.take(most).read_to_end(&mut text).map_err(|error| failed(&error))?;
    if u64::try_from(text.len()).is_ok_and(|size| size == most) {
        let allowed = limits::MANIFEST_BYTES;
        let message = format!("`{}`: manifest of more than {allowed} bytes", file.display());
        return Err(Failure::new(Exit::InvalidPackage, message));
    }

    // The name as given, in its folder as it really is: a link is left out, not what it points to.
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = fs::canonicalize(parent.unwrap_or(Path::new("."))).map_err(|e| failed(&e))?;
    let folder = fs::canonicalize(&args.dir).map_err(|error| failed(&error))?;
    let path = file.file_name().map(|name| parent.join(name));
    let inside = path.as_deref().and_then(|path| path.strip_prefix(&folder).ok());
    Ok((text, inside.map(|path| path.as_os_str().as_bytes().to_vec())))
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

fn epoch() -> Result<Option<String>, Failure> {
    match env::var(SOURCE_DATE_EPOCH) {
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::system(format!("cannot use `{SOURCE_DATE_EPOCH}`"), &error)),
    }
}

fn policy(args: &Args) -> Policy {
    Policy {
        symlinks: args.symlinks,
        follow_outside: args.follow_outside,
        special: args.special,
        names: args.names,
        mode_bits: args.mode_bits,
        xattrs: args.xattrs,
    }
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

/// Adds the aliases, and the folders above them that are not there.
fn add_aliases(entries: &mut Vec<PlanEntry>, aliases: &[Alias]) {
    let mut folders = Vec::new();
    for alias in aliases {
        let slashes = alias.path.match_indices('/').map(|(at, _)| at);
        folders.extend(slashes.filter_map(|at| alias.path.get(..at)));
        entries.push(PlanEntry::alias(alias.path.as_str(), alias.target.as_str()));
    }
    folders.sort_unstable();
    folders.dedup();
    folders.retain(|folder| !entries.iter().any(|entry| entry.path == folder.as_bytes()));
    entries.extend(folders.into_iter().map(PlanEntry::folder));
}

fn bad_plan(error: &PlanError) -> Failure {
    Failure::because(Exit::Finding, error)
}

pub(crate) fn bad_write(error: &WriteError) -> Failure {
    let exit = match error {
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
pub(crate) fn key_of(
    output: &mut Output,
    written: &Written,
) -> Result<Option<epk_format::signature::KeyId>, Failure> {
    use std::os::unix::fs::FileExt as _;

    let size = usize::try_from(written.signature_size).unwrap_or(0);
    let mut blob = vec![0; size];
    output
        .file()
        .read_exact_at(&mut blob, written.signature_offset)
        .map_err(|error| Failure::system("cannot read the signature back", &error))?;
    Ok(sign::key_of(&blob))
}

fn report(args: &Args, summary: &Summary) -> Result<(), Failure> {
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

/// Reads a size in bytes, with `K` or `M` (also `KiB`, `MiB`) for a unit.
pub(crate) fn chunk_size(text: &str) -> Result<u32, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor: u64 = match unit {
        "" => 1,
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "m" | "MiB" => 1 << 20,
        _ => return Err(format!("unknown unit `{unit}`, expected K or M")),
    };
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    let size = size.and_then(|size| u32::try_from(size).ok());
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

    #[test]
    fn aliases_get_their_folders() {
        let mut entries = vec![PlanEntry::folder("a")];
        let alias = |path: &str| Alias { path: path.into(), target: "a".into() };
        add_aliases(&mut entries, &[alias("a/b/c"), alias("a/b/d"), alias("x/y")]);
        let mut paths: Vec<_> =
            entries.iter().map(|e| String::from_utf8_lossy(&e.path).into_owned()).collect();
        paths.sort();
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a/b/d", "x", "x/y"]);
    }
}
