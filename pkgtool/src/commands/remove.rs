//! `pkgtool remove`

use std::fs;
use std::io;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::list::not_installed;
use crate::exit::{Failure, print_line};
use crate::launch::user_data;
use crate::store::{self, Installed, Owner, Store, Wanted};

/// Remove installed packages
///
/// A bare name means all its versions. A package that somebody runs or has mounted is refused.
/// What applications have written to /user-data stays. Nothing is removed unless all can be.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The packages
    #[arg(required_unless_present = "old", value_name = "NAME[@VERSION]")]
    names: Vec<String>,

    /// Only versions that have a newer one; of all packages if none is named
    #[arg(long)]
    old: bool,

    /// Remove from the system's packages instead of the user's
    #[arg(long)]
    system: bool,

    /// Remove packages that are running too; they go on until they end
    #[arg(long)]
    force: bool,

    /// Also remove this user's data of packages of which no version is left
    #[arg(long)]
    purge: bool,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    let store = Store::of(if args.system { Owner::System } else { Owner::User })?;
    let installed = store.list()?;
    let doomed = choose(&installed, args)?;
    if !args.force {
        refuse_running(&doomed)?;
    }
    for package in &doomed {
        unlink(&package.path)?;
        let purged = args.purge && purge(&package.identity.name)?;
        if args.json {
            print_line(json!({
                "schema": "epk.remove/1",
                "name": package.identity.name,
                "version": package.identity.version,
                "store": package.owner.word(),
                "purged": purged,
            }))?;
        } else {
            let data = if purged { ", with its data" } else { "" };
            print_line(format!("{}: removed{data}", package.identity))?;
        }
    }
    if !doomed.is_empty() {
        store.sync();
    }
    Ok(())
}

/// What is to be removed of a list from old to new.
fn choose<'i>(
    installed: &'i [Installed],
    args: &RemoveArgs,
) -> Result<Vec<&'i Installed>, Failure> {
    let wanted =
        args.names.iter().map(|name| Wanted::parse(name)).collect::<Result<Vec<_>, _>>()?;
    if let Some(none) =
        wanted.iter().find(|wanted| !installed.iter().any(|package| wanted.is(&package.identity)))
    {
        return Err(not_installed(none));
    }
    let has_newer = |at: usize| {
        let package = installed.get(at);
        let next = installed.get(at.saturating_add(1));
        package.zip(next).is_some_and(|(one, next)| one.identity.name == next.identity.name)
    };
    let packages = installed.iter().enumerate();
    let named = packages.filter(|(_, package)| {
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.is(&package.identity))
    });
    Ok(named.filter(|&(at, _)| !args.old || has_newer(at)).map(|(_, package)| package).collect())
}

/// Refuses packages that somebody runs or has mounted.
pub(crate) fn refuse_running(doomed: &[&Installed]) -> Result<(), Failure> {
    for package in doomed {
        let running = store::is_running(&package.path).map_err(|error| {
            Failure::system(format!("cannot open `{}`", package.path.display()), &error)
        })?;
        if running {
            return Err(Failure::refused(format!("`{}` is running or mounted", package.identity))
                .hint("`--force` removes it all the same; what runs goes on until it ends"));
        }
    }
    Ok(())
}

/// Removes a package's file.
pub(crate) fn unlink(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::system(format!("cannot remove `{}`", path.display()), &error)),
        Ok(()) => Ok(()),
    }
}

/// Removes the data of a package of which no version is left in any store. False if there are
/// none, or a version is left.
fn purge(name: &str) -> Result<bool, Failure> {
    if store::meant(&Store::all()?, &Wanted { name: name.to_owned(), version: None })?.is_some() {
        return Ok(false);
    }
    let folder = user_data::of_package(name)?;
    match fs::remove_dir_all(&folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::system(format!("cannot remove `{}`", folder.display()), &error)),
    }
}
