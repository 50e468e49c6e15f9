//! What was installed for a package on the desktop, so that exactly that can be removed: a file
//! of JSON for each package's name.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use epk_format::digest::Sha256;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::store::escape;

pub(super) const SCHEMA: &str = "epk.desktop-record/1";

/// What is there for one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The package's file.
    pub(crate) package: PathBuf,
    pub(crate) package_hash: String,
    pub(crate) files: Vec<Installed>,
    /// Folders that were made for them, parents first.
    pub(crate) folders: Vec<PathBuf>,
}

/// A file, and what was written into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Installed {
    pub(crate) path: PathBuf,
    pub(crate) sha256: String,
}

impl Installed {
    pub(super) fn of(path: PathBuf, bytes: &[u8]) -> Self {
        Self { path, sha256: Sha256::of(bytes).to_hex() }
    }

    /// Whether the file is there, and as it was written.
    pub(super) fn state(&self) -> io::Result<State> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::Gone),
            Err(error) => Err(error),
            Ok(metadata) if !metadata.is_file() => Ok(State::Changed),
            Ok(_) => {
                let same = Sha256::of(&fs::read(&self.path)?).to_hex() == self.sha256;
                Ok(if same { State::Same } else { State::Changed })
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Same,
    Changed,
    Gone,
}

impl Record {
    /// Where the record of a package's name is, below the user's data.
    pub(super) fn path(data_home: &Path, name: &str) -> PathBuf {
        data_home.join("epk").join("desktop").join(format!("{}.json", escape(name)))
    }

    /// The record at a path, if there is one.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| failed(path, &error))?,
        };
        let record: Self = serde_json::from_slice(&text).map_err(|error| {
            Failure::environment(format!("`{}` is not a record of ours: {error}", path.display()))
        })?;
        if record.schema != SCHEMA {
            let (path, schema) = (path.display(), &record.schema);
            let message = format!("`{path}` has the schema `{schema}`, not `{SCHEMA}`");
            return Err(Failure::environment(message));
        }
        Ok(Some(record))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec(self).map_err(|error| failed(path, &error.into()))?;
        write(path, &text).map_err(|error| failed(path, &error))
    }
}

/// Writes a file under another name first, and gives it its own in one step.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".epk-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

pub(super) fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!("`{}`: {error}", path.display()))
}
