//! Verification: every package of a registry, or of a project's closure, against its hash.
//!
//! A package's hash covers its files, its manifest and the hashes of its direct dependencies.
//! It is computed here with the hashes that the dependencies *record*, so a package is blamed
//! only for itself; since those dependencies are verified too and must be present, a registry
//! passes only if every hash, computed from the files of the package and of everything below
//! it, is the one recorded.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use rayon::prelude::*;

use super::error::{Error, Failure};
use super::folder::{Folder, Kind};
use super::hash::ContentState;
use super::install::{LockfileName, Plan, compare, read_lockfile};
use super::manifest::{MANIFEST_NAME, PackageManifest};
use super::name::PackageId;
use super::project::Project;
use super::publish::BYTECODE_DIRECTORY;
use super::registry::{HASH_NAME, Registry, check_manifest};
use super::source_tree::SOURCE_DIRECTORY;

/// Verifies a whole registry. Gives the ids of its packages by name, then by version as text.
///
/// # Errors
///
/// [`Error::Verification`] with every package that failed, or a directory that can't be read.
pub fn verify_registry(registry: &Path) -> Result<Vec<String>, Error> {
    let registry = Registry::open(registry)?;
    let found = scan(registry.folder())?;
    conclude(&registry, &found)
}

/// Verifies the packages of a project's lockfile, and that the lockfile is what the project's
/// dependencies resolve to.
///
/// # Errors
///
/// Those of [`verify_registry`], a lockfile that is missing, broken or different, and those of
/// resolving.
pub fn verify_project(
    directory: &Path,
    registry: &Path,
    lockfile: &LockfileName,
) -> Result<Vec<String>, Error> {
    let project = Project::load_checked(directory)?;
    let registry = Registry::open(registry)?;
    let (name, locked) = read_lockfile(directory, lockfile)?;
    let mut found: Vec<Place> = locked
        .packages()
        .keys()
        .filter_map(|id| PackageId::parse(id))
        .map(|id| Place { name: id.name().to_string(), version: id.version().to_string() })
        .collect();
    found.sort();
    let ids = conclude(&registry, &found)?;
    let plan = Plan::make(&project, &registry)?;
    compare(&name, &locked, &plan.lockfile())?;
    Ok(ids)
}

/// A directory that should hold a package: the two components of its path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    name: String,
    version: String,
}

impl Place {
    fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

/// What one package's files say, before its dependencies are known.
struct Examined {
    manifest: Result<PackageManifest, Error>,
    recorded: io::Result<Option<String>>,
    state: Option<Result<ContentState, Error>>,
}

fn conclude(registry: &Registry, places: &[Place]) -> Result<Vec<String>, Error> {
    let examined: Vec<Examined> = places.par_iter().map(|place| examine(registry, place)).collect();
    let recorded: HashMap<(&str, &str), &Examined> = places
        .iter()
        .zip(&examined)
        .map(|(place, examined)| ((place.name.as_str(), place.version.as_str()), examined))
        .collect();
    let failures: Vec<Failure> = places
        .iter()
        .zip(&examined)
        .filter_map(|(place, examined)| {
            let reason = judge(registry, place, examined, &recorded).err()?;
            Some(Failure { id: place.label(), reason })
        })
        .collect();
    if failures.is_empty() {
        Ok(places.iter().map(Place::label).collect())
    } else {
        Err(Error::Verification(failures))
    }
}

fn examine(registry: &Registry, place: &Place) -> Examined {
    let directory = format!("{}/{}", place.name, place.version);
    let manifest = registry.manifest_at(&directory);
    let recorded = registry.recorded_hash_at(&directory);
    let package = format!("{directory}/");
    let read = |manifest| ContentState::read(registry.folder(), &package, manifest);
    let state = manifest.as_ref().ok().map(read);
    Examined { manifest, recorded, state }
}

/// What is wrong with a package, the first thing only: what the original sees, in its order,
/// then what it doesn't look at.
fn judge(
    registry: &Registry,
    place: &Place,
    examined: &Examined,
    all: &HashMap<(&str, &str), &Examined>,
) -> Result<(), String> {
    let manifest = examined.manifest.as_ref().map_err(ToString::to_string)?;
    let mut hashes: Vec<(String, String)> = Vec::new();
    let mut absent = None;
    for (name, version) in &manifest.dependencies {
        let elsewhere;
        let hash = match all.get(&(name.as_str(), version.as_str())) {
            Some(dependency) => {
                if dependency.manifest.is_err() {
                    absent.get_or_insert(format!("{name}@{version}"));
                }
                &dependency.recorded
            }
            None => {
                absent.get_or_insert(format!("{name}@{version}"));
                // A broken name builds no path; the rules below name it.
                elsewhere = PackageId::new(name, version)
                    .map_or(Ok(None), |id| registry.recorded_hash(&id));
                &elsewhere
            }
        };
        match hash {
            Ok(Some(text)) => hashes.push((name.clone(), text.clone())),
            Ok(None) => {}
            Err(error) => return Err(format!("read dep hash: {error}")),
        }
    }
    let recorded = match &examined.recorded {
        Ok(Some(text)) => text,
        Ok(None) => return Err("HASH file not found".to_string()),
        Err(error) => return Err(format!("read HASH: {error}")),
    };
    let state = match &examined.state {
        Some(Ok(state)) => state.clone(),
        Some(Err(error)) => return Err(error.to_string()),
        None => return Err("not read".to_string()),
    };
    let hashes = hashes.iter().map(|(name, hash)| (name.as_str(), hash.as_str()));
    if state.finish(hashes).as_str() != recorded {
        return Err("hash mismatch".to_string());
    }

    match PackageId::new(&place.name, &place.version) {
        Some(id) => check_manifest(&id, manifest).map_err(|error| error.to_string())?,
        None => return Err("the folder's name is not a package name and a version".to_string()),
    }
    if let Some(id) = absent {
        return Err(format!("dependency {id} not found in registry"));
    }
    match &manifest.integrity {
        Some(text) if text != recorded => {
            Err(format!("integrity mismatch: the manifest says {text}"))
        }
        _ => Ok(()),
    }
}

/// Every directory of a registry that holds a package, or should.
///
/// Below a package's name each directory is a version. A name none of whose directories shows
/// a trace of a package is searched further down: what is found there can never be resolved,
/// and is listed under the dotted path it stands in, so that it fails instead of vanishing.
/// Hidden directories and files beside packages are nobody's package.
fn scan(registry: &Folder) -> Result<Vec<Place>, Error> {
    let tops = directories(registry, "")?;
    let found: Vec<Result<Vec<Place>, Error>> =
        tops.par_iter().map(|name| scan_name(registry, name)).collect();
    let mut places = Vec::new();
    for found in found {
        places.extend(found?);
    }
    places.sort();
    Ok(places)
}

fn scan_name(registry: &Folder, top: &str) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    let mut pending = vec![top.to_string()];
    while let Some(relative) = pending.pop() {
        let children = directories(registry, &relative)?;
        let name = relative.replace('/', ".");
        if children.iter().any(|version| has_traces(registry, &relative, &name, version)) {
            let place = |version| Place { name: name.clone(), version };
            places.extend(children.into_iter().map(place));
        } else {
            pending.extend(children.into_iter().map(|child| format!("{relative}/{child}")));
        }
    }
    Ok(places)
}

/// Whether a directory holds any part of a published package. Sources and bytecode alone count
/// only where a package can stand: many a directory has a `src`.
fn has_traces(registry: &Folder, directory: &str, name: &str, version: &str) -> bool {
    let any = |parts: [&str; 2]| {
        parts.iter().any(|part| registry.occupied(&format!("{directory}/{version}/{part}")))
    };
    any([MANIFEST_NAME, HASH_NAME])
        || (PackageId::new(name, version).is_some() && any([SOURCE_DIRECTORY, BYTECODE_DIRECTORY]))
}

/// The names of the directories in a directory that are not hidden. Links count as what they
/// lead to.
fn directories(registry: &Folder, relative: &str) -> Result<Vec<String>, Error> {
    let listed = registry.entries(relative).map_err(|reason| Error::Io {
        action: format!("read dir {}", registry.path().join(relative).display()),
        reason,
    })?;
    let mut names = Vec::with_capacity(listed.len());
    for entry in listed {
        let name = entry.name.to_string_lossy().into_owned();
        let is_directory = match entry.kind {
            Kind::Directory => true,
            Kind::Link => registry
                .target(&[relative, &name].join(if relative.is_empty() { "" } else { "/" }))
                .is_ok_and(|(kind, _)| kind == Kind::Directory),
            Kind::File | Kind::Other => false,
        };
        if is_directory && !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}
