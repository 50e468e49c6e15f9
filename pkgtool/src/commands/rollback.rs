//! `pkgtool rollback`

use clap::Args;

use super::remove::{refuse_running, unlink};
use crate::exit::{Failure, print_line};
use crate::store::{Owner, Store, Wanted};

/// Go back to the version before: remove the newest version of a package
///
/// Refused if there is no older one, or if the newest is running.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The package
    name: String,

    /// Of the system's packages instead of the user's
    #[arg(long)]
    system: bool,

    /// Also if it is running; it goes on until it ends
    #[arg(long)]
    force: bool,
}

pub(crate) fn rollback(args: &RollbackArgs) -> Result<(), Failure> {
    let store = Store::of(if args.system { Owner::System } else { Owner::User })?;
    let mut installed = store.list()?;
    installed.retain(|package| package.identity.name == args.name);
    let wanted = Wanted { name: args.name.clone(), version: None };
    let (newest, before) = match &*installed {
        [] => return Err(super::list::not_installed(&wanted)),
        [only] => {
            return Err(Failure::refused(format!("`{}` is the only version", only.identity)));
        }
        [.., before, newest] => (newest, before),
    };
    if !args.force {
        refuse_running(&[newest])?;
    }
    unlink(&newest.path)?;
    store.sync();
    print_line(format!("{}: removed, `{}` is the newest now", newest.identity, before.identity))
}
