//! From the cache into the project: as files, or as one image.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::super::cache;
use super::super::image::{Content, Files, write_image};
use super::super::lock1::{LOCK_FILE, Locked, ProjectLock};
use super::super::resolve::Artifact;
use super::super::transfer::{StagedPackage, sync_directories, sync_staged};
use super::{Root, Roots};
use crate::files;
use crate::json::{Value, object};
use crate::problem::Problem;
use crate::progress::Progress;
use crate::relpath::{RelPath, shown, sidecar_of};

/// What was vendored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vendored {
    /// The packages' paths below the directory or in the image, sorted.
    pub places: Vec<RelPath>,
    /// Packages of other versions that were removed.
    pub removed: Vec<String>,
    /// Where they are.
    pub path: String,
    /// Of an image: its hash and size in bytes.
    pub image: Option<(String, u64)>,
}

impl Vendored {
    /// The fields of reports.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let image = self.image.as_ref().map(|(hash, size)| {
            crate::json::Object::from([
                ("package_hash", hash.as_str().into()),
                ("size", Value::Number((*size).into())),
            ])
        });
        let places: Vec<String> = self.places.iter().map(ToString::to_string).collect();
        object([
            ("path", self.path.as_str().into()),
            ("packages", places.into()),
            ("removed", self.removed.clone().into()),
            ("image", image.into()),
        ])
    }
}

/// One package after the other out of the cache, each held against the lock: its place, and its
/// sidecar if one is locked.
///
/// # Errors
/// `PACKAGE_NOT_PRESENT`, and whatever differs from the lock; what `take` says
fn each_cached(
    lock: &ProjectLock,
    cache_dir: &Path,
    mut take: impl FnMut(&Locked, RelPath, Artifact) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let cache = Roots::only(Root::Directory(cache::packages_dir(cache_dir)));
    for locked in lock.packages.values() {
        let (_, mut artifact) = cache.find(locked)?;
        artifact.sidecar = artifact.sidecar.filter(|_| locked.sig_sha256.is_some());
        take(locked, locked.place()?, artifact)?;
    }
    Ok(())
}

/// Copies the closure into the directory `dest`, and removes packages from it that are not in the
/// lock: a compiler that reads the whole directory must not meet two versions.
///
/// # Errors
/// `PACKAGE_NOT_PRESENT`, and whatever differs from the lock; then nothing is changed. `FILE_ERROR`
pub fn vendor_locked(
    lock: &ProjectLock,
    cache_dir: &Path,
    dest: &Path,
    progress: &dyn Progress,
) -> Result<Vendored, Problem> {
    files::create_dirs(dest)?;
    let _guard = files::lock_directory(dest)?;
    progress.begin("vendoring", lock.packages.len());
    let (mut places, mut staged) = (Vec::new(), Vec::new());
    let result = each_cached(lock, cache_dir, |_, place, artifact| {
        let Artifact { package, sidecar } = artifact;
        staged.push(StagedPackage::write(dest, &place, &package, sidecar.as_deref())?);
        places.push(place);
        progress.step();
        Ok(())
    });
    progress.end();
    result?;
    sync_staged(dest, staged.iter())?;
    for one in staged {
        one.commit()?;
    }
    sync_directories(dest, places.iter())?;
    let removed = remove_others(dest, &places.iter().collect())?;
    Ok(Vendored { places, removed, path: shown(dest), image: None })
}

/// Writes the closure and the lock into one image at `output`. The packages are read twice, since
/// the format wants all sizes first; they are never held all at once.
///
/// # Errors
/// `PACKAGE_NOT_PRESENT`, and whatever differs from the lock; `IMAGE_INVALID`, `FILE_ERROR`
pub fn vendor_image(
    lock: &ProjectLock,
    cache_dir: &Path,
    output: &Path,
) -> Result<Vendored, Problem> {
    let mut files = Files::new();
    let mut places = Vec::new();
    let cache = cache::packages_dir(cache_dir);
    each_cached(lock, cache_dir, |locked, place, artifact| {
        if let (Some(bytes), Some(hash)) = (artifact.sidecar, &locked.sig_sha256) {
            files.insert(place.sidecar(), Content::stored(&cache, &place.sidecar(), &bytes, hash));
        }
        files.insert(
            place.clone(),
            Content::stored(&cache, &place, &artifact.package, &locked.sha256),
        );
        places.push(place);
        Ok(())
    })?;
    let lock_path = RelPath::parse(LOCK_FILE)
        .map_err(|error| Problem::new("IMAGE_INVALID", error.to_string()))?;
    files.insert(lock_path, Content::Held(lock.to_bytes()));
    // The format demands something to run; packages run nothing, and the lock is what a reader
    // will want to see. The name was checked and needs no escapes.
    let manifest = format!(
        "name = \"{}\"\nversion = \"{}\"\narch = \"x86-64\"\nkernel_api = \"1.0\"\n\
         entry = \"/{LOCK_FILE}\"\n",
        lock.project, lock.rev
    );
    let (hash, size) = write_image(&files, &manifest, output)?;
    let image = Some((crate::keys::sha256_text(&hash), size));
    Ok(Vendored { places, removed: Vec::new(), path: shown(output), image })
}

/// Removes packages that lie where `drift vendor` puts them, `ID/VERSION/NAME.dmp`, and are none
/// of `wanted`.
fn remove_others(dest: &Path, wanted: &BTreeSet<&RelPath>) -> Result<Vec<String>, Problem> {
    let mut removed = Vec::new();
    for id in folders(dest)? {
        for version in folders(&dest.join(&id))? {
            let folder = dest.join(&id).join(&version);
            let mut left = 0_usize;
            for entry in fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))? {
                let entry = entry.map_err(|error| unreadable(&folder, &error))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let place = format!("{id}/{version}/{name}");
                let ours = name.ends_with(".dmp") && name.starts_with(&format!("{id}-{version}-"));
                if ours && !wanted.iter().any(|path| path.as_str() == place) {
                    files::remove_if_there(&entry.path())?;
                    files::remove_if_there(&sidecar_of(&entry.path()))?;
                    removed.push(place);
                } else {
                    left = left.saturating_add(1);
                }
            }
            if left == 0 || fs::read_dir(&folder).is_ok_and(|mut list| list.next().is_none()) {
                // An empty folder is only untidy.
                let _ = fs::remove_dir(&folder);
                let _ = fs::remove_dir(dest.join(&id));
            }
        }
    }
    removed.sort();
    Ok(removed)
}

fn unreadable(folder: &Path, error: &std::io::Error) -> Problem {
    Problem::new("FILE_ERROR", format!("cannot read `{}`: {error}", shown(folder)))
}

/// The names of the folders in `folder`; links are none.
fn folders(folder: &Path) -> Result<Vec<String>, Problem> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}
