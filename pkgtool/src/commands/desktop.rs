//! `pkgtool desktop`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::desktop::{self, Application, Record};
use crate::exit::{Failure, print_line};
use crate::input::{TrustArgs, open_package};
use crate::launch::user_data;
use crate::store;

/// Put applications into the desktop's menus, or take them out
#[derive(Debug, Subcommand)]
pub(crate) enum DesktopCommand {
    Install(InstallArgs),
    Remove(RemoveArgs),
}

/// Put an application into the desktop's menus
///
/// Installs the package's .desktop files, icons and file types below $XDG_DATA_HOME, so that they
/// start the package where it lies. What was installed for another version is replaced.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// The package: a file, or an installed one, NAME or NAME@VERSION
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,

    /// Print a JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    trust: TrustArgs,
}

/// Take an application out of the desktop's menus
///
/// Removes exactly what `desktop install` has written; files that somebody has changed since stay,
/// and are named.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The package's name, or the package
    #[arg(value_name = "PACKAGE")]
    package: String,

    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn desktop(command: &DesktopCommand) -> Result<(), Failure> {
    let data_home = user_data::data_home().map_err(Failure::into_finding)?;
    match command {
        DesktopCommand::Install(args) => install(args, &data_home),
        DesktopCommand::Remove(args) => remove(args, &data_home),
    }
}

fn install(args: &InstallArgs, data_home: &Path) -> Result<(), Failure> {
    let file = store::file_meant(&args.package)?;
    let package = open_package(&file, &args.trust.open_options()?)?;
    let manifest = package.parse_manifest().map_err(|error| Failure::manifest(&file, &error))?;
    let file = std::fs::canonicalize(&file)
        .map_err(|error| Failure::environment(format!("`{}`: {error}", file.display())))?;
    let pkgtool = std::env::current_exe()
        .map_err(|error| Failure::system("cannot find this program's own path", &error))?;
    let application =
        Application { package: &package, file: &file, manifest: &manifest, pkgtool: &pkgtool };
    let record = desktop::install(&application, data_home)?;
    report(&record, &[], args.json)
}

fn remove(args: &RemoveArgs, data_home: &Path) -> Result<(), Failure> {
    let file = Path::new(&args.package);
    let name = if args.package.contains('/') || file.is_file() {
        let package = open_package(file, &epk_format::OpenOptions::default())?;
        let manifest = package.parse_manifest().map_err(|error| Failure::manifest(file, &error))?;
        manifest.name
    } else {
        args.package.clone()
    };
    let Some((record, kept)) = desktop::remove(&name, data_home)? else {
        let name = epk_format::path::display(name.as_bytes()).to_string();
        return Err(Failure::refused(format!("nothing is installed for `{name}`")));
    };
    for path in &kept {
        eprintln!("warning: `{}` was changed, and stays", path.display());
    }
    report(&record, &kept, args.json)
}

fn report(record: &Record, kept: &[PathBuf], as_json: bool) -> Result<(), Failure> {
    if !as_json {
        return Ok(());
    }
    let files: Vec<_> = record.files.iter().map(|file| file.path.to_string_lossy()).collect();
    let kept: Vec<_> = kept.iter().map(|path| path.to_string_lossy()).collect();
    print_line(json!({
        "schema": "epk.desktop/1",
        "name": record.name,
        "version": record.version,
        "package": record.package.to_string_lossy(),
        "package_hash": record.package_hash,
        "files": files,
        "kept": kept,
    }))
}
