//! `pkgtool pack`.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use epk_format::limits;
use epk_format::manifest::Manifest;
use epk_format::write::{Format, PlanEntry};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::exit::{Exit, Failure};
use crate::pack::MANIFEST;
use crate::pack::aliases::{self, Alias};
use crate::pack::contents::Files;
use crate::pack::losses::{self, Policy, Symlinks};
use crate::pack::make::{MakeArgs, Making};
use crate::pack::walk::{self, Tree};

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

    #[command(flatten)]
    make: MakeArgs,

    /// Which format to write
    #[arg(long, value_name = "VERSION", value_enum, default_value_t)]
    format: Version,

    /// The manifest; if it lies in DIR, it gets no entry of its own [default: DIR/manifest.toml]
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    /// Make a folder alias; both are paths in the package
    #[arg(long, value_name = "LINK=TARGET", value_parser = aliases::parse)]
    alias: Vec<Alias>,

    /// Make the folder aliases of a TOML file with lines like `lib64 = "lib"`
    #[arg(long, value_name = "FILE")]
    aliases: Vec<PathBuf>,

    /// What to do about symbolic links
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    symlinks: Symlinks,

    /// Follow symbolic links out of DIR, too
    ///
    /// Without it they are refused: they may lead to other things on the next machine. Absolute
    /// links lead out even if they point into DIR.
    #[arg(long)]
    follow_outside: bool,
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

/// Packs.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let format = Format::from(args.format);
    args.make.check(format)?;
    let root = open_folder(&args.dir)?;
    let (manifest, leave_out) = read_manifest(args)?;
    let described = Manifest::parse(&manifest)
        .map_err(|error| Failure::manifest(&manifest_file(args), &error))?;
    let aliases = aliases::collect(&args.alias, &args.aliases)?;
    let making = Making::begin(&args.make)?;

    let options = walk::Options {
        folder: &args.dir,
        leave_out: leave_out.as_deref(),
        output_folder: making.output.folder_identity()?,
        format,
        policy: policy(args),
        times: making.times,
    };
    let Tree { mut entries, files, findings, lost } = walk::walk(&root, &options)?;
    if !findings.is_empty() {
        return Err(losses::refuse(format, &findings));
    }
    add_aliases(&mut entries, &aliases);
    let contents = Files::new(root, files);
    let plan = making.plan(format, entries, &described, &contents)?;
    making.finish(&plan, &contents, &manifest, lost)
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

fn policy(args: &Args) -> Policy {
    Policy { symlinks: args.symlinks, follow_outside: args.follow_outside, ..args.make.policy() }
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

#[cfg(test)]
mod tests {
    use super::*;

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
