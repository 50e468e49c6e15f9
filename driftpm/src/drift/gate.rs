//! The gatekeeper: whether packages may be used, decided offline at the moment of use.
//!
//! A compiler calls [`gate`] with the package roots it is about to read, and reads only if the
//! report is [`ok`](GateReport::ok). Each package is read once; container, signatures and
//! namespaces are checked as [`verify_package`] says, then all packages together: one version and
//! target of each package, each module from one file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use epk_format::digest::Sha256;
use rayon::prelude::*;

use super::container::{self, ContainerError};
use super::identity::{Identity, PartialIdentity};
use super::image::{Image, is_image};
use super::trust::DEFAULT_STORE;
use super::trust::verify::{Trust, verify_package};
use crate::files::{self, FileError, MAX_PACKAGE};
use crate::json::{Limit, Value, object};
use crate::keys::sha256_text;
use crate::problem::Problem;
use crate::progress::Progress;
use crate::relpath::{RelPath, shown, sidecar_of};
use crate::trust::TrustStore;

/// Unsigned packages below this directory are always accepted, unless signatures are required.
pub const LOCAL_PACKAGES: &str = "build/drift/localpkgs";
/// The name under which a toolchain ships its keys beside its binaries.
pub const TOOLCHAIN_KEYS: &str = "drift-toolchain-keys.json";
/// Where a user's trust store lies below the home directory.
pub const USER_STORE: &str = ".config/drift/trust.json";

/// What to check, and by whose word.
#[derive(Clone, Debug, Default)]
pub struct GateRequest {
    /// Packages, directories of packages, and images of packages.
    pub paths: Vec<PathBuf>,
    /// Single packages inside images: the image's path, and the package's in it.
    pub inside: Vec<(PathBuf, RelPath)>,
    /// The project's trust store, which must then exist; otherwise [`DEFAULT_STORE`], which may
    /// be missing.
    pub trust_store: Option<PathBuf>,
    /// The user's trust store, which may be missing.
    pub user_trust_store: Option<PathBuf>,
    /// A file of toolchain keys given by the user, which must exist.
    pub toolchain_keys: Option<PathBuf>,
    /// A file of toolchain keys shipped with the binary, which may be missing; the former goes
    /// before it.
    pub shipped_toolchain_keys: Option<PathBuf>,
    /// Accept nothing unsigned, from nowhere.
    pub require_signatures: bool,
    /// More directories from which unsigned packages are accepted.
    pub allow_unsigned_from: Vec<PathBuf>,
}

/// What was decided about one package, or why nothing could be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The package's path; a trust store's if that is what is broken.
    pub path: String,
    /// What the package says it is, as far as it says so.
    pub identity: Option<PartialIdentity>,
    /// Whether it may be used.
    pub ok: bool,
    /// A stable code, see `spec/drift.md`.
    pub code: &'static str,
    /// Why, for people.
    pub message: String,
    /// The keys on whose word it may be used, sorted.
    pub accepted_kids: Vec<String>,
    /// Hash of the bytes that were checked, for a caller that reads the file again; the JSON
    /// report does not have it.
    pub sha256: Option<String>,
}

impl Verdict {
    fn refused(path: String, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            path,
            identity: None,
            ok: false,
            code,
            message,
            accepted_kids: Vec::new(),
            sha256: None,
        }
    }

    fn to_json(&self) -> Value {
        object([
            ("path", self.path.as_str().into()),
            ("identity", self.identity.as_ref().map_or(Value::Null, PartialIdentity::to_json)),
            ("ok", self.ok.into()),
            ("code", self.code.into()),
            ("message", self.message.as_str().into()),
            ("accepted_kids", self.accepted_kids.clone().into()),
        ])
    }
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateReport {
    /// One verdict for each package, in the order in which the paths were given.
    pub packages: Vec<Verdict>,
}

impl GateReport {
    /// Whether everything may be used.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.packages.iter().all(|verdict| verdict.ok)
    }

    /// The JSON report.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object([
            ("ok", self.ok().into()),
            ("packages", Value::Array(self.packages.iter().map(Verdict::to_json).collect())),
        ])
    }
}

/// Checks all packages. Nothing is written and no network is used.
#[must_use]
pub fn gate(request: &GateRequest, progress: &dyn Progress) -> GateReport {
    let packages = match load_trust(request) {
        Ok(trust) => check_all(request, &trust, progress),
        Err(verdict) => vec![*verdict],
    };
    progress.end();
    GateReport { packages }
}

/// Reads the trust stores.
///
/// # Errors
/// A verdict on the store that cannot be used: nothing may be decided without it.
pub fn load_trust(request: &GateRequest) -> Result<Trust, Box<Verdict>> {
    let project = match &request.trust_store {
        Some(path) => load_store(path, true)?,
        None => load_store(Path::new(DEFAULT_STORE), false)?,
    };
    let user = request.user_trust_store.as_deref().map(|path| load_store(path, false));
    let toolchain = match (&request.toolchain_keys, &request.shipped_toolchain_keys) {
        (Some(path), _) => load_store(path, true)?,
        (None, Some(path)) => load_store(path, false)?,
        (None, None) => TrustStore::default(),
    };
    let project = project.merged_with(user.transpose()?.unwrap_or_default());
    Ok(Trust { project, toolchain })
}

/// Reads stores of which none need be there: before the first key is trusted, there are none.
///
/// # Errors
/// A verdict on the store that cannot be used
pub fn load_trust_so_far(
    project: &Path,
    user: Option<&Path>,
    toolchain: Option<&Path>,
) -> Result<Trust, Box<Verdict>> {
    let store = |path: Option<&Path>| path.map(|path| load_store(path, false)).transpose();
    let project = load_store(project, false)?.merged_with(store(user)?.unwrap_or_default());
    Ok(Trust { project, toolchain: store(toolchain)?.unwrap_or_default() })
}

fn load_store(path: &Path, must_exist: bool) -> Result<TrustStore, Box<Verdict>> {
    let refused = |code, message: String| Box::new(Verdict::refused(shown(path), code, message));
    match files::read(path, Limit::SETTINGS.file()) {
        Ok(bytes) => TrustStore::parse(&bytes)
            .map_err(|error| refused("TRUST_STORE_INVALID", error.to_string())),
        Err(FileError::Missing(_)) if !must_exist => Ok(TrustStore::default()),
        Err(FileError::Missing(path)) => {
            Err(refused("TRUST_STORE_MISSING", format!("trust store not found: `{path}`")))
        }
        Err(error) => Err(refused("TRUST_STORE_INVALID", error.to_string())),
    }
}

/// A package that passed its own checks, for the checks of all together.
struct Passed {
    path: String,
    identity: Identity,
    modules: Vec<String>,
    kids: BTreeSet<String>,
    sha256: String,
}

fn check_all(request: &GateRequest, trust: &Trust, progress: &dyn Progress) -> Vec<Verdict> {
    let mut places = expand(&request.paths);
    places.extend(inside_images(&request.inside));
    progress.begin("checking packages", places.len());
    let roots = unsigned_roots(request);
    let results: Vec<Result<Passed, Box<Verdict>>> = places
        .into_par_iter()
        .map(|place| {
            let result = place.and_then(|place| check_one(&place, request, &roots, trust));
            progress.step();
            result
        })
        .collect();
    let conflicts = conflicts(&results);
    results
        .into_iter()
        .enumerate()
        .map(|(at, result)| match (result, conflicts.get(&at)) {
            (Err(verdict), _) => *verdict,
            (Ok(passed), conflict) => {
                let (code, message) = match conflict {
                    Some((code, message)) => (*code, message.clone()),
                    None if passed.kids.is_empty() => {
                        ("UNSIGNED_ALLOWED", "unsigned, and accepted from here".to_owned())
                    }
                    None => ("OK", "signed by keys trusted for all its modules".to_owned()),
                };
                Verdict {
                    path: passed.path,
                    identity: Some((&passed.identity).into()),
                    ok: conflict.is_none(),
                    code,
                    message,
                    accepted_kids: passed.kids.into_iter().collect(),
                    sha256: Some(passed.sha256),
                }
            }
        })
        .collect()
}

/// Where a package lies.
enum Place {
    File(PathBuf),
    Inside(Arc<Image>, RelPath),
}

impl Place {
    fn shown(&self) -> String {
        match self {
            Self::File(path) => shown(path),
            Self::Inside(image, path) => image.shown(path),
        }
    }

    /// The file on disk: the image's for a package inside one.
    fn on_disk(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Inside(image, _) => Path::new(image.path()),
        }
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::File(path) => files::read(path, MAX_PACKAGE).map_err(|error| error.to_string()),
            Self::Inside(image, path) => match image.read(path, MAX_PACKAGE) {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(format!("`{}` has no `{path}`", image.path())),
                Err(problem) => Err(problem.message.clone()),
            },
        }
    }

    fn read_sidecar(&self) -> Result<Option<Vec<u8>>, String> {
        let limit = Limit::SIDECAR.file();
        match self {
            Self::File(path) => match files::read(&sidecar_of(path), limit) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(FileError::Missing(_)) => Ok(None),
                Err(error) => Err(error.to_string()),
            },
            Self::Inside(image, path) => {
                image.read(&path.sidecar(), limit).map_err(|problem| problem.message.clone())
            }
        }
    }
}

fn unreadable_image(path: &Path, problem: &Problem) -> Box<Verdict> {
    Box::new(Verdict::refused(shown(path), "PATH_UNREADABLE", problem.message.as_str()))
}

/// All packages in the image at `path`.
fn all_inside(path: &Path) -> Vec<Result<Place, Box<Verdict>>> {
    let open = || {
        let image = Arc::new(Image::open(path)?);
        let packages = image.packages()?;
        Ok((image, packages))
    };
    match open() {
        Err(problem) => vec![Err(unreadable_image(path, &problem))],
        Ok((image, packages)) => packages
            .into_iter()
            .map(|inside| Ok(Place::Inside(Arc::clone(&image), inside)))
            .collect(),
    }
}

/// The packages named in images, each image opened once.
fn inside_images(list: &[(PathBuf, RelPath)]) -> Vec<Result<Place, Box<Verdict>>> {
    let mut images: BTreeMap<&Path, Result<Arc<Image>, Problem>> = BTreeMap::new();
    let open =
        |(path, inside): &'_ (PathBuf, RelPath), image: &Result<Arc<Image>, Problem>| match image {
            Ok(image) => Ok(Place::Inside(Arc::clone(image), inside.clone())),
            Err(problem) => Err(unreadable_image(path, problem)),
        };
    list.iter()
        .map(|one| {
            let image = images.entry(&one.0).or_insert_with(|| Image::open(&one.0).map(Arc::new));
            open(one, image)
        })
        .collect()
}

/// The packages meant by `paths`: a file itself, of a directory all `*.dmp` below it, sorted, of an
/// image those in it. A file that is named twice is meant once.
fn expand(paths: &[PathBuf]) -> Vec<Result<Place, Box<Verdict>>> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        match fs::metadata(path) {
            Err(error) => {
                let message = format!("cannot be read: {error}");
                let refused = Verdict::refused(shown(path), "PATH_UNREADABLE", message);
                files.push(Err(Box::new(refused)));
            }
            Ok(metadata) if metadata.is_dir() => {
                let (mut found, broken) = packages_below(path);
                found.sort();
                files.extend(broken.into_iter().map(|verdict| Err(Box::new(verdict))));
                files.extend(found.into_iter().map(|path| Ok(Place::File(path))));
            }
            Ok(_) if is_image(path) => files.extend(all_inside(path)),
            Ok(_) => files.push(Ok(Place::File(path.clone()))),
        }
    }
    files.retain(|file| match file {
        Ok(place) => {
            let path = place.on_disk();
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            let inside = match place {
                Place::File(_) => None,
                Place::Inside(_, inside) => Some(inside.clone()),
            };
            seen.insert((path, inside))
        }
        Err(_) => true,
    });
    files
}

/// All `*.dmp` below `root`, and what could not be looked at. Links to directories are not
/// followed, so the walk ends.
fn packages_below(root: &Path) -> (Vec<PathBuf>, Vec<Verdict>) {
    let mut found = Vec::new();
    let mut broken = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let entries = fs::read_dir(&directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("cannot be read: {error}");
                broken.push(Verdict::refused(shown(&directory), "PATH_UNREADABLE", message));
                continue;
            }
        };
        for entry in entries {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(path);
            } else if path.as_os_str().as_encoded_bytes().ends_with(b".dmp") {
                found.push(path);
            }
        }
    }
    (found, broken)
}

/// The directories below which unsigned packages are accepted, resolved.
fn unsigned_roots(request: &GateRequest) -> Vec<PathBuf> {
    if request.require_signatures {
        return Vec::new();
    }
    let given = request.allow_unsigned_from.iter().map(PathBuf::as_path);
    given
        .chain([Path::new(LOCAL_PACKAGES)])
        .filter_map(|root| fs::canonicalize(root).ok())
        .collect()
}

fn check_one(
    place: &Place,
    request: &GateRequest,
    roots: &[PathBuf],
    trust: &Trust,
) -> Result<Passed, Box<Verdict>> {
    let path = place.shown();
    let refused = |code, message: String| Box::new(Verdict::refused(path.clone(), code, message));
    let bytes = place.read().map_err(|message| refused("PATH_UNREADABLE", message))?;
    let full = container::read_full(&bytes)
        .map_err(|error| refused("PKG_FORMAT_INVALID", error.to_string()))?;
    let identity = container::read_identity(&full.manifest).map_err(|error: ContainerError| {
        let identity = Some(PartialIdentity::of_manifest(&full.manifest));
        Box::new(Verdict { identity, ..*refused("PKG_IDENTITY_MISSING", error.to_string()) })
    })?;
    let refused = |code, message: String| {
        let identity = Some((&identity).into());
        Box::new(Verdict { identity, ..Verdict::refused(path.clone(), code, message) })
    };
    let sidecar = place.read_sidecar().map_err(|message| refused("SIDECAR_INVALID", message))?;
    let marked = full.manifest.get("unsigned").is_some_and(Value::is_truthy);
    let allow_unsigned = !request.require_signatures
        && marked
        && fs::canonicalize(place.on_disk())
            .is_ok_and(|path| roots.iter().any(|root| path.starts_with(root)));
    let kids = verify_package(&bytes, &full.modules, sidecar.as_deref(), trust, allow_unsigned)
        .map_err(|distrust| refused(distrust.code(), distrust.to_string()))?;
    let sha256 = sha256_text(&Sha256::of(&bytes));
    Ok(Passed { path, identity, modules: full.modules, kids, sha256 })
}

/// Packages that cannot be used together, by their place in `results`. Which of them is the right
/// one nobody can tell, so all of them are refused.
fn conflicts(results: &[Result<Passed, Box<Verdict>>]) -> BTreeMap<usize, (&'static str, String)> {
    let mut by_id: BTreeMap<&str, BTreeMap<(&str, &str), Vec<usize>>> = BTreeMap::new();
    let mut by_module: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (at, passed) in results.iter().enumerate() {
        let Ok(passed) = passed else { continue };
        let identity = &passed.identity;
        by_id
            .entry(&identity.package_id)
            .or_default()
            .entry((&identity.version, &identity.target))
            .or_default()
            .push(at);
        for module in &passed.modules {
            by_module.entry(module).or_default().insert(at);
        }
    }
    let path = |at: usize| match results.get(at) {
        Some(Ok(passed)) => passed.path.as_str(),
        _ => "",
    };
    let mut conflicts = BTreeMap::new();
    for (package_id, versions) in by_id.iter().filter(|(_, versions)| versions.len() > 1) {
        let list: Vec<String> = versions
            .iter()
            .flat_map(|((version, target), all)| all.iter().map(move |at| (version, target, *at)))
            .map(|(version, target, at)| format!("{version} for {target} in `{}`", path(at)))
            .collect();
        let message =
            format!("multiple versions/targets of package `{package_id}`: {}", list.join(", "));
        for at in versions.values().flatten() {
            conflicts.insert(*at, ("MULTIPLE_VERSIONS", message.clone()));
        }
    }
    for (module, owners) in by_module.iter().filter(|(_, owners)| owners.len() > 1) {
        let list: Vec<String> = owners.iter().map(|at| format!("`{}`", path(*at))).collect();
        let message = format!("module `{module}` is in several files: {}", list.join(", "));
        for at in owners {
            conflicts.entry(*at).or_insert(("MODULE_COLLISION", message.clone()));
        }
    }
    conflicts
}
