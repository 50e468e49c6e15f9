//! `pkgtool mount`

use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use epk_format::signature::Policy;
use epkfs::daemon::{self, Error, ErrorKind};
use epkfs::log::{self, Destination};
use epkfs::options::Options;

use crate::events;
use crate::exit::{Exit, Failure};
use crate::input::{self, TrustArgs, Verify};

/// Mount a package on a folder, read-only
///
/// Returns when the mount answers. It stays until `pkgtool umount`; every block is verified when
/// it is first read. Without privileges this needs fuse3's `fusermount3`, or a user namespace
/// (`unshare -Urm`); `pkgtool run` needs neither.
#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The folder on which it is mounted
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Serve from this process instead of from one in the background, until a signal ends it
    #[arg(long)]
    foreground: bool,

    /// Mount options, comma-separated: allow_other, noexec, uid=N, gid=N, cache=SIZE, threads=N,
    /// log=FILE
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<String>,

    #[command(flatten)]
    trust: TrustArgs,

    /// When a package of format 1.0 is hashed as a whole
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    verify: Verify,
}

pub(crate) fn mount(args: &MountArgs) -> Result<(), Failure> {
    let mut options = Options::new(SystemTime::now());
    options.trust.clone_from(&args.trust.trust);
    options.policy_folder = input::policy_folder();
    options.search_path = std::env::var_os("PATH");
    options.cache_home = input::cache_home();
    // Says what is missing, as every command does.
    args.trust.open_options()?;
    for list in &args.options {
        options.apply(list).map_err(|error| {
            Failure::usage(error).hint("`epkfs --help` lists the options of a mount")
        })?;
    }
    options.verify_full |= args.verify == Verify::Full;
    // The strictest wins.
    options.signature = options.signature.max(args.trust.signature.map(Policy::from));
    input::open_file(&args.file)?;
    options.log = options.log.or_else(events::file);
    log::start(match &options.log {
        Some(path) => Destination::File(events::open(path)?),
        None if args.foreground => Destination::StandardError,
        None => Destination::System,
    });
    let result = if args.foreground {
        daemon::run(&args.file, &args.folder, &options, |_| {})
    } else {
        daemon::start(&args.file, &args.folder, &options).map(|_| ())
    };
    result.map_err(|error| failure(&error))
}

fn failure(error: &Error) -> Failure {
    let exit = match error.kind() {
        ErrorKind::Package => Exit::InvalidPackage,
        ErrorKind::Signature => Exit::Signature,
        _ => Exit::Environment,
    };
    error.hints().into_iter().fold(Failure::because(exit, error), Failure::hint)
}
