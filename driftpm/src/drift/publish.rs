//! `publish`: packages into a repository directory.
//!
//! Everything is read and checked before anything is written: a refused publish changes nothing.

use std::path::{Path, PathBuf};

use epk_format::digest::Sha256;
use rayon::prelude::*;

use super::container::{self, ContainerError};
use super::index::{self, Conflict, Entry, Index, IndexError, NewEntry, Strictness};
use super::sidecar::{SidecarError, check_for_publishing, parse_for_publishing};
use super::transfer::{Claims, StagedPackage, sync_directories, sync_staged};
use crate::files::{self, FileError, MAX_PACKAGE};
use crate::json::Limit;
use crate::keys::sha256_text;
use crate::progress::Progress;
use crate::relpath::{RelPath, UnsafeName, package_file_name, shown, sidecar_of};

/// What to publish, and where to.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// The package files.
    pub packages: Vec<PathBuf>,
    /// The repository.
    pub dest_dir: PathBuf,
    /// Replace other versions and other bytes.
    pub force: bool,
    /// Do without sidecars.
    pub allow_unsigned: bool,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is no package.
    #[error("`{path}` is not published: {error}")]
    Container {
        /// Which file.
        path: String,
        /// Why not.
        error: ContainerError,
    },
    /// An identity cannot become a file name.
    #[error("`{path}` is not published: {error}")]
    Name {
        /// Which file.
        path: String,
        /// Why not.
        error: UnsafeName,
    },
    /// A package has no sidecar.
    #[error("`{0}` is not published: it has no signature sidecar; `--allow-unsigned` does without")]
    Unsigned(String),
    /// A sidecar is unusable.
    #[error("`{path}` is not published: {error}")]
    Sidecar {
        /// Which file.
        path: String,
        /// Why not.
        error: SidecarError,
    },
    /// The repository's index is unusable.
    #[error("`{path}`: {error}")]
    Index {
        /// Which file.
        path: String,
        /// Why not.
        error: IndexError,
    },
    /// The index has something else under that name.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// Two packages would have one file.
    #[error("{identity} is not published: its file `{path}` is the one of `{owner}`")]
    Collision {
        /// Which package.
        identity: String,
        /// Which file.
        path: RelPath,
        /// Whose file.
        owner: String,
    },
}

/// A package that was checked, with its new entry.
struct Checked {
    entry: NewEntry,
    path: RelPath,
    source: PathBuf,
    sidecar: Option<Vec<u8>>,
}

/// Publishes all packages or none.
///
/// # Errors
/// [`PublishError`]
pub fn publish(request: &PublishRequest, progress: &dyn Progress) -> Result<(), PublishError> {
    let result = run(request, progress);
    progress.end();
    result
}

fn run(request: &PublishRequest, progress: &dyn Progress) -> Result<(), PublishError> {
    progress.begin("checking", request.packages.len());
    let results: Vec<Result<Checked, PublishError>> = request
        .packages
        .par_iter()
        .map(|path| {
            let result = check(path, request.allow_unsigned);
            progress.step();
            result
        })
        .collect();
    // The first refusal in the order of the command line, whichever thread met one first.
    let checked = results.into_iter().collect::<Result<Vec<Checked>, PublishError>>()?;
    files::create_dirs(&request.dest_dir)?;
    let _guard = files::lock_directory(&request.dest_dir)?;
    let index_path = request.dest_dir.join(index::FILE_NAME);
    let mut index = match files::read(&index_path, Limit::INDEX.file()) {
        Ok(bytes) => Index::parse(&bytes)
            .map_err(|error| PublishError::Index { path: shown(&index_path), error })?,
        Err(error) if error.is_missing() => Index::empty(),
        Err(error) => return Err(error.into()),
    };
    let mut claims = claims_of(&index);
    for one in &checked {
        if !request.force {
            index.check(&one.entry)?;
        }
        claims.claim(&one.path, &one.entry.identity.package_id).map_err(|owner| {
            let (identity, path) = (one.entry.identity.to_string(), one.path.clone());
            PublishError::Collision { identity, path, owner }
        })?;
        index.replace(&one.entry);
    }

    progress.begin("publishing", checked.len());
    let staged: Vec<Result<StagedPackage, FileError>> = checked
        .par_iter()
        .map(|one| {
            let result = stage(one, &request.dest_dir);
            progress.step();
            result
        })
        .collect();
    let staged = staged.into_iter().collect::<Result<Vec<StagedPackage>, FileError>>()?;
    sync_staged(&request.dest_dir, staged.iter())?;
    for one in staged {
        one.commit()?;
    }
    sync_directories(&request.dest_dir, checked.iter().map(|one| &one.path))?;
    files::write_atomically(&index_path, &index.to_bytes())?;
    Ok(())
}

/// Reads the package again rather than hold many at once, and stages it; other bytes than those
/// checked would not be the ones in the index.
fn stage(one: &Checked, dest_dir: &Path) -> Result<StagedPackage, FileError> {
    let bytes = read_package(&one.source)?;
    if sha256_text(&Sha256::of(&bytes)) != one.entry.sha256 {
        let error = std::io::Error::other("it changed while being published");
        return Err(FileError::Io { action: "read", path: shown(&one.source), error });
    }
    StagedPackage::write(dest_dir, &one.path, &bytes, one.sidecar.as_deref())
}

/// Whose files the index lists: `a-1` in version `2` and `a` in version `1-2` have one file name.
fn claims_of(index: &Index) -> Claims {
    let mut claims = Claims::default();
    for (package_id, value) in index.entries() {
        if let Ok(entry) = Entry::parse(package_id, value, Strictness::Present) {
            // Of two that share a file already, the first has it.
            let _ = claims.claim(&entry.path, package_id);
        }
    }
    claims
}

fn read_package(path: &Path) -> Result<Vec<u8>, FileError> {
    files::read(path, MAX_PACKAGE)
}

fn check(path: &Path, allow_unsigned: bool) -> Result<Checked, PublishError> {
    let shown_path = shown(path);
    let bytes = read_package(path)?;
    let no_package = |error| PublishError::Container { path: shown_path.clone(), error };
    // The light reader first, so that what every reader refuses is named as they name it.
    let identity = container::read_light(&bytes).map_err(no_package)?.identity;
    container::read_full(&bytes).map_err(no_package)?;
    let path_there = package_file_name(&identity.package_id, &identity.version, &identity.target)
        .map_err(|error| PublishError::Name { path: shown_path.clone(), error })?;
    let sidecar_path = sidecar_of(path);
    let sidecar = match files::read(&sidecar_path, Limit::SIDECAR.file()) {
        Ok(sidecar) => Some(sidecar),
        Err(error) if error.is_missing() && allow_unsigned => None,
        Err(error) if error.is_missing() => return Err(PublishError::Unsigned(shown_path)),
        Err(error) => return Err(error.into()),
    };
    let signers = match &sidecar {
        None => Vec::new(),
        Some(sidecar) => parse_for_publishing(sidecar)
            .and_then(|kids| check_for_publishing(sidecar, &bytes).map(|()| kids))
            .map_err(|error| PublishError::Sidecar { path: shown(&sidecar_path), error })?,
    };
    let entry = NewEntry {
        identity,
        sha256: sha256_text(&Sha256::of(&bytes)),
        filename: path_there.as_str().to_owned(),
        signers,
        unsigned: sidecar.is_none(),
        source_id: None,
    };
    Ok(Checked { entry, path: path_there, source: path.to_owned(), sidecar })
}
