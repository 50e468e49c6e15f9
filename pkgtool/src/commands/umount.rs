//! `pkgtool umount`

use std::path::PathBuf;

use clap::Args;
use epkfs::unmount::{UnmountError, clean_dead, unmount};

use super::mounts::{self, Surveyed};
use crate::exit::{Exit, Failure};

/// Unmount packages
///
/// Also takes away what a server that died has left behind. Refuses folders where something else
/// is mounted.
#[derive(Debug, Args)]
pub(crate) struct UmountArgs {
    /// The folders on which packages are mounted
    #[arg(required_unless_present = "dead", value_name = "DIR")]
    folders: Vec<PathBuf>,

    /// Unmount even if it is in use: it vanishes at once, and ends when its last user has left
    #[arg(long)]
    lazy: bool,

    /// Take away every mount whose server is gone
    #[arg(long, conflicts_with = "folders")]
    dead: bool,
}

pub(crate) fn umount(args: &UmountArgs) -> Result<(), Failure> {
    let search_path = std::env::var_os("PATH");
    let search_path = search_path.as_deref();
    let unmounted = if args.dead {
        // Somebody may have taken it away and mounted anew since it was seen.
        dead()?.iter().try_for_each(|folder| clean_dead(folder, search_path).map(drop))
    } else {
        args.folders.iter().try_for_each(|folder| unmount(folder, args.lazy, search_path))
    };
    unmounted.map_err(|error| match error {
        UnmountError::NotMounted(_) => Failure::because(Exit::Finding, &error)
            .hint("`pkgtool mounts` lists the mounts of packages"),
        UnmountError::Busy(_) => Failure::because(Exit::Finding, &error)
            .hint("`--lazy` takes it out of sight now, and away when its last user has left"),
        _ => Failure::because(Exit::Environment, &error),
    })
}

fn dead() -> Result<Vec<PathBuf>, Failure> {
    let mounts = mounts::survey()?;
    Ok(mounts.into_iter().filter(Surveyed::is_dead).map(|dead| dead.info.mountpoint).collect())
}
