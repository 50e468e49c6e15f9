//! Applications in the menus of a desktop: entries, icons and types of files, installed for the
//! user when asked for, and removed as exactly.

mod databases;
mod entry;
mod record;
mod sources;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use epk_format::Package;
use epk_format::manifest::Manifest;

use crate::exit::Failure;
use crate::store::escape;
use entry::Target;
pub(crate) use record::Record;
use record::{Installed, SCHEMA, State, failed, write};
use sources::Sources;

/// A package to be installed.
pub(crate) struct Application<'a> {
    pub(crate) package: &'a Package<fs::File>,
    /// Its file, an absolute path.
    pub(crate) file: &'a Path,
    pub(crate) manifest: &'a Manifest,
    /// This program, an absolute path.
    pub(crate) pkgtool: &'a Path,
}

/// What to write, by path.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Installs an application for a user, instead of what was installed for its name before. Nothing
/// is written when anything is refused.
pub(crate) fn install(application: &Application<'_>, data_home: &Path) -> Result<Record, Failure> {
    let files = files(application, data_home)?;
    let manifest = application.manifest;
    let path = Record::path(data_home, &manifest.name);
    let before = Record::read(&path)?;
    let old = before.as_ref().map(|record| record.files.as_slice()).unwrap_or_default();
    for file in files.keys() {
        refuse_others(file, old)?;
    }
    let mut record = Record {
        schema: SCHEMA.into(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        package: application.file.to_owned(),
        package_hash: format!("sha256:{}", application.package.package_hash().to_hex()),
        files: files.iter().map(|(path, bytes)| Installed::of(path.clone(), bytes)).collect(),
        folders: before.as_ref().map(|record| record.folders.clone()).unwrap_or_default(),
    };
    let parents = files.keys().filter_map(|file| file.parent());
    for folder in parents.chain(path.parent()) {
        make_folders(folder, &mut record.folders)?;
    }
    let gone: Vec<_> = old.iter().filter(|file| !files.contains_key(&file.path)).cloned().collect();
    // First with what was there before: whatever happens, everything is in the record.
    let mut both = record.clone();
    both.files.extend(gone.iter().cloned());
    both.write(&path)?;
    for (file, bytes) in &files {
        write(file, bytes).map_err(|error| failed(file, &error))?;
    }
    for file in &gone {
        take_away(file)?;
    }
    record.write(&path)?;
    databases::update(data_home, &both);
    Ok(record)
}

/// Removes what was installed for a name. Gives what it was, and the files that stay because
/// somebody has changed them.
pub(crate) fn remove(
    name: &str,
    data_home: &Path,
) -> Result<Option<(Record, Vec<PathBuf>)>, Failure> {
    let path = Record::path(data_home, name);
    let Some(record) = Record::read(&path)? else { return Ok(None) };
    let mut kept = Vec::new();
    for file in &record.files {
        if !take_away(file)? {
            kept.push(file.path.clone());
        }
    }
    databases::update(data_home, &record);
    fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
    databases::forget(&record.folders);
    for folder in record.folders.iter().rev() {
        // Whatever else is in it stays, and so does the folder.
        let _removed = fs::remove_dir(folder);
    }
    Ok(Some((record, kept)))
}

/// Everything that is written for an application.
fn files(application: &Application<'_>, data_home: &Path) -> Result<Files, Failure> {
    let Application { package, file, manifest, pkgtool } = *application;
    let shown = file.display();
    let sources = Sources::new(package, file);
    let entries = sources.entries()?;
    if entries.is_empty() {
        let message = format!("`{shown}`: the package has no `.desktop` file");
        return Err(Failure::refused(message).hint(
            "it is looked for where the manifest's table `desktop` says, or in \
             `/share/applications` and `/usr/share/applications`",
        ));
    }
    let prefix = format!("epk-{}", escape(&manifest.name));
    let hash = package.package_hash().to_hex();
    let mut files = Files::new();
    for source in &entries {
        let refused = |why: &str| Failure::refused(format!("`{shown}`: `{}` {why}", source.name));
        let text = std::str::from_utf8(&source.bytes).map_err(|_| refused("is not UTF-8"))?;
        let icon = entry::value(text, "Icon").unwrap_or_default();
        let icons = sources.icons(icon)?;
        if icons.is_empty() && !icon.is_empty() {
            eprintln!("warning: `{shown}`: no icon `{icon}` that a desktop could show");
        }
        let name = escape(icon.rsplit('/').next().unwrap_or(icon));
        let name = name.trim_end_matches(".png").trim_end_matches(".svg");
        let installed = format!("{prefix}-{name}");
        let target =
            Target { pkgtool, package: file, package_hash: &hash, manifest, stem: source.stem() };
        let rewritten = entry::rewrite(text, &target, |wanted| {
            (wanted == icon && !icons.is_empty()).then(|| installed.clone())
        })
        .map_err(refused)?;
        for warning in rewritten.warnings {
            eprintln!("warning: `{shown}`: `{}`: {warning}", source.name);
        }
        for icon in icons {
            let ending = icon.file.name.rsplit('.').next().unwrap_or_default();
            let name = format!("{installed}.{ending}");
            let folder = data_home.join("icons/hicolor").join(escape(&icon.size)).join("apps");
            files.insert(folder.join(name), icon.file.bytes);
        }
        let name = format!("{prefix}-{}.desktop", escape(source.stem()));
        files.insert(data_home.join("applications").join(name), rewritten.text.into_bytes());
    }
    for source in sources.types()? {
        let name = format!("{prefix}-{}.xml", escape(source.stem()));
        files.insert(data_home.join("mime/packages").join(name), source.bytes);
    }
    Ok(files)
}

/// A file that is there must be one that was installed before, and not changed since.
fn refuse_others(path: &Path, old: &[Installed]) -> Result<(), Failure> {
    let ours = old.iter().find(|file| file.path == path);
    let free = match ours {
        Some(file) => file.state().map_err(|error| failed(path, &error))? != State::Changed,
        None => fs::symlink_metadata(path).is_err(),
    };
    if free {
        return Ok(());
    }
    let message = format!("`{}` is there, and is not what was installed", path.display());
    Err(Failure::refused(message).hint("remove it, or give it another name"))
}

/// Removes a file if it is as it was written; says whether it is gone.
fn take_away(file: &Installed) -> Result<bool, Failure> {
    match file.state().map_err(|error| failed(&file.path, &error))? {
        State::Gone => Ok(true),
        State::Changed => Ok(false),
        State::Same => {
            fs::remove_file(&file.path).map_err(|error| failed(&file.path, &error))?;
            Ok(true)
        }
    }
}

/// Makes a folder and those above it, and notes which ones were made.
fn make_folders(folder: &Path, made: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let mut missing: Vec<&Path> =
        folder.ancestors().take_while(|folder| !folder.exists()).collect();
    while let Some(folder) = missing.pop() {
        match fs::create_dir(folder) {
            Ok(()) => made.push(folder.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(folder, &error)),
        }
    }
    Ok(())
}
