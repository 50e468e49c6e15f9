//! Repositories: a folder of packages with a signed index, which any web server, object store or
//! USB stick can hold (`spec/repository.md`). Here they are made; [`crate::fetch`] uses them.

mod check;
mod page;
pub(crate) mod push;
pub(crate) mod release;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use driftpm::files::{self, FileError};
use driftpm::index::{
    EPK_INDEX, EPK_KIND, EpkIndex, MAX_EPK_INDEX, Publication, Release, Statement, publish,
};
use driftpm::keys::PrivateKey;
use driftpm::problem::Problem;
use epk_format::OpenOptions;

pub(crate) use check::{Checked, check};

use crate::exit::{Exit, Failure};
use crate::input::open_file;
use crate::store::{self, Identity, Owner, Store};

/// The folder of packages.
const PACKAGES: &str = "packages";
/// The page for people.
const PAGE: &str = "index.html";

/// A repository on this machine.
pub(crate) struct Repository {
    folder: PathBuf,
    pub(crate) index: EpkIndex,
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A problem of the libraries as a failure of a command, with its code.
pub(crate) fn failure(problem: &Problem) -> Failure {
    let exit = match problem.code {
        "INDEX_SIGNATURE_MISSING"
        | "INDEX_SIGNATURE_INVALID"
        | "INDEX_STATEMENT_INVALID"
        | "INDEX_KIND"
        | "INDEX_EXPIRED"
        | "INDEX_ROLLBACK"
        | "INDEX_EQUIVOCATION"
        | "INDEX_CONTENT_MISMATCH"
        | "INDEX_MEMORY_DAMAGED"
        | "TRANSPORT_WRONG_CONTENT"
        | "SIGNER_CHANGED" => Exit::Signature,
        "FILE_ERROR" => Exit::Environment,
        code if code.starts_with("TRANSPORT_") => Exit::Environment,
        _ => Exit::Finding,
    };
    let place = problem.file.as_deref().or(problem.subject.as_deref());
    let place = place.map(|place| format!("`{}`: ", place.escape_debug())).unwrap_or_default();
    let made = Failure::new(exit, format!("{place}{} ({})", problem.message, problem.code));
    problem.hint.iter().fold(made, Failure::hint)
}

fn file_failure(error: &FileError) -> Failure {
    Failure::environment(error)
}

impl Repository {
    /// Makes a repository without packages.
    pub(crate) fn init(folder: &Path, title: &str) -> Result<Self, Failure> {
        let path = folder.join(EPK_INDEX);
        if path.exists() {
            return Err(Failure::refused(format!("`{}` is a repository", folder.display())));
        }
        fs::create_dir_all(folder.join(PACKAGES)).map_err(|error| {
            Failure::system(format!("cannot make `{}`", folder.display()), &error)
        })?;
        let repository = Self { folder: folder.to_owned(), index: EpkIndex::new(title) };
        repository.save()?;
        Ok(repository)
    }

    /// Opens a repository to change it; whoever else wants to, waits.
    pub(crate) fn open(folder: &Path) -> Result<(Self, fs::File), Failure> {
        let lock = match files::lock_directory(folder) {
            Ok(lock) => lock,
            Err(_) if !folder.join(EPK_INDEX).exists() => return Err(no_repository(folder)),
            Err(error) => return Err(file_failure(&error)),
        };
        files::remove_left_behind(folder);
        Ok((Self { folder: folder.to_owned(), index: read_index(folder)?.1 }, lock))
    }

    /// Verifies a package and takes it in.
    pub(crate) fn add(
        &mut self,
        file: &Path,
        options: &OpenOptions,
    ) -> Result<(Identity, Release), Failure> {
        let store = Store { owner: Owner::System, folder: self.folder.join(PACKAGES) };
        let placed = store::place(file, &store, options, None)?;
        let identity = placed.installed.identity.clone();
        let name = format!("{PACKAGES}/{}", identity.file_name());
        let releases = self.index.packages.entry(identity.name.clone()).or_default();
        // When it was published stays what it was.
        let published = releases.get(&identity.version).map_or_else(now, |old| old.published);
        let path = &placed.installed.path;
        let bytes = open_file(path)?;
        let release = release::describe(path, &bytes, &placed.package, name, published)?;
        releases.insert(identity.version.clone(), release.clone());
        Ok((identity, release))
    }

    /// Takes a version out of the index. Gives its file, which [`save`](Self::save) must precede
    /// the removal of.
    pub(crate) fn remove(&mut self, identity: &Identity) -> Option<PathBuf> {
        let releases = self.index.packages.get_mut(&identity.name)?;
        let release = releases.remove(&identity.version)?;
        if releases.is_empty() {
            self.index.packages.remove(&identity.name);
        }
        Some(self.folder.join(release.file))
    }

    /// Writes index and page.
    pub(crate) fn save(&self) -> Result<(), Failure> {
        let bytes = self.index.to_bytes().map_err(|problem| failure(&problem))?;
        let write = |name: &str, bytes: &[u8]| {
            files::write_atomically(&self.folder.join(name), bytes)
                .map_err(|error| file_failure(&error))
        };
        write(PAGE, page::page(&self.index).to_html().as_bytes())?;
        write(EPK_INDEX, &bytes)
    }

    /// Signs the index as it was saved.
    pub(crate) fn sign(
        &self,
        keys: &[PrivateKey],
        number: Option<u64>,
        valid_for: u64,
    ) -> Result<Statement, Failure> {
        let path = self.folder.join(EPK_INDEX);
        let bytes = files::read(&path, MAX_EPK_INDEX).map_err(|error| file_failure(&error))?;
        let keys = keys.iter().collect();
        let how = Publication { kind: EPK_KIND, keys, number, now: now(), valid_for, pack: true };
        publish(&path, &bytes, &how).map_err(|problem| failure(&problem))
    }
}

/// The index of a folder, as bytes and read.
fn read_index(folder: &Path) -> Result<(Vec<u8>, EpkIndex), Failure> {
    let path = folder.join(EPK_INDEX);
    let bytes = match files::read(&path, MAX_EPK_INDEX) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Err(no_repository(folder)),
        Err(error) => return Err(file_failure(&error)),
    };
    let shown = path.display().to_string();
    let index = EpkIndex::parse(&bytes).map_err(|problem| failure(&problem.in_file(shown)))?;
    Ok((bytes, index))
}

fn no_repository(folder: &Path) -> Failure {
    Failure::environment(format!("`{}` has no `{EPK_INDEX}`", folder.display()))
        .hint("`pkgtool repo init DIR` makes a repository")
}
