//! Verification: every package of a registry, or of a project's closure, against its hash.
//!
//! A package's hash covers its files, its manifest and the hashes of its direct dependencies.
//! It is computed here with the hashes that the dependencies *record*, so a package is blamed
//! only for itself; since those dependencies are verified too and must be present, a registry
//! passes only if every hash, computed from the files of the package and of everything below
//! it, is the one recorded.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::error::{Error, Failure};
use super::folder::{Folder, Kind};
use super::hash::ContentState;
use super::install::{LockfileName, Plan, compare, read_lockfile};
use super::manifest::{MANIFEST_NAME, PackageManifest};
use super::name::PackageId;
use super::parallel;
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
    let found = scan(&registry)?;
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
    let examined = parallel::each(&found, |place| examine(&registry, place.clone()));
    let ids = conclude(&registry, &examined)?;
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
    place: Place,
    manifest: Result<PackageManifest, Error>,
    recorded: io::Result<Option<String>>,
    state: Option<Result<ContentState, Error>>,
}

fn conclude(registry: &Registry, examined: &[Examined]) -> Result<Vec<String>, Error> {
    let by_id: HashMap<(&str, &str), &Examined> = examined
        .iter()
        .map(|one| ((one.place.name.as_str(), one.place.version.as_str()), one))
        .collect();
    let judged = parallel::each(examined, |one| judge(registry, one, &by_id).err());
    let failures: Vec<Failure> = examined
        .iter()
        .zip(judged)
        .filter_map(|(one, reason)| Some(Failure { id: one.place.label(), reason: reason? }))
        .collect();
    if failures.is_empty() {
        Ok(examined.iter().map(|one| one.place.label()).collect())
    } else {
        Err(Error::Verification(failures))
    }
}

fn examine(registry: &Registry, place: Place) -> Examined {
    let directory = [&*place.name, "/", &*place.version].concat();
    let manifest = registry.manifest_at(&directory);
    let recorded = registry.recorded_hash_at(&directory);
    let package = [&*directory, "/"].concat();
    let read = |manifest| ContentState::read(registry.folder(), &package, manifest);
    let state = manifest.as_ref().ok().map(read);
    Examined { place, manifest, recorded, state }
}

/// What is wrong with a package, the first thing only: what the original sees, in its order,
/// then what it doesn't look at.
fn judge(
    registry: &Registry,
    examined: &Examined,
    all: &HashMap<(&str, &str), &Examined>,
) -> Result<(), String> {
    let place = &examined.place;
    let manifest = examined.manifest.as_ref().map_err(ToString::to_string)?;
    let mut hashes: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(manifest.dependencies.len());
    let mut absent = None;
    let unreadable = |error: &io::Error| format!("read dep hash: {error}");
    for (name, version) in &manifest.dependencies {
        let hash = match all.get(&(name.as_str(), version.as_str())) {
            Some(dependency) => {
                if dependency.manifest.is_err() {
                    absent.get_or_insert_with(|| format!("{name}@{version}"));
                }
                let recorded = dependency.recorded.as_ref().map_err(unreadable)?;
                recorded.as_deref().map(Cow::Borrowed)
            }
            None => {
                absent.get_or_insert_with(|| format!("{name}@{version}"));
                // A broken name builds no path; the rules below name it.
                let recorded = PackageId::new(name, version)
                    .map_or(Ok(None), |id| registry.recorded_hash(&id));
                recorded.map_err(|error| unreadable(&error))?.map(Cow::Owned)
            }
        };
        hashes.extend(hash.map(|hash| (name.as_str(), hash)));
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
    let hashes = hashes.iter().map(|(name, hash)| (*name, hash.as_ref()));
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

/// Every directory of a registry that holds a package, or should, and what its files say; by
/// name, then by version as text.
///
/// Below a package's name each directory is a version. A name none of whose directories shows
/// a trace of a package is searched further down: what is found there can never be resolved,
/// and is listed under the dotted path it stands in, so that it fails instead of vanishing.
/// Hidden directories and files beside packages are nobody's package.
fn scan(registry: &Registry) -> Result<Vec<Examined>, Error> {
    let mut tops = directories(registry.folder(), "")?;
    tops.sort_unstable();
    let found = parallel::each(&tops, |top| scan_name(registry, top));
    let (mut examined, mut others) = (Vec::with_capacity(found.len()), Vec::new());
    for found in found {
        let (first, more) = found?;
        examined.extend(first);
        others.extend(more);
    }
    examined.extend(parallel::each(&others, |place| examine(registry, place.clone())));
    examined.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(examined)
}

/// The packages below a directory of the registry, the first of them examined.
fn scan_name(registry: &Registry, top: &str) -> Result<(Option<Examined>, Vec<Place>), Error> {
    let (mut found, mut others) = (None, Vec::new());
    let mut pending = vec![top.to_string()];
    while let Some(relative) = pending.pop() {
        let mut children = directories(registry.folder(), &relative)?;
        children.sort_unstable();
        let name = relative.replace('/', ".");
        let place = |version: &String| Place { name: name.clone(), version: version.clone() };
        // Nearly always a package is there. Its manifest is read without asking for traces first,
        // and is one.
        let first = children.first().filter(|_| relative == top);
        let first = first.map(|version| examine(registry, place(version)));
        let traces = first.as_ref().is_some_and(|first| first.manifest.is_ok())
            || children
                .iter()
                .any(|version| has_traces(registry.folder(), &relative, &name, version));
        if traces {
            let more = children.get(usize::from(first.is_some())..).unwrap_or_default();
            others.extend(more.iter().map(place));
            found = found.or(first);
        } else {
            pending.extend(children.into_iter().map(|child| format!("{relative}/{child}")));
        }
    }
    Ok((found, others))
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
