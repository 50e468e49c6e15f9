//! The files of trusted and revoked keys, one of the user and one of the system, to be changed.
//! Whoever only obeys them reads them by [`epkfs::policy`].

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use driftpm::files;
use epk_format::trust::TrustStore;
use epkfs::policy::{PolicyError, SYSTEM, TRUST};

use crate::exit::Failure;
use crate::input::{policy_folder, unusable};
use crate::output::Output;
use crate::store::Owner;

/// The most bytes of a file.
const LIMIT: u64 = 1 << 20;
/// What whoever changes a file of keys has locked. Only its owner can open it, so that nobody else
/// can make them wait.
const LOCK: &str = "trust.lock";

/// A file of keys that is being changed, or only shown.
pub(crate) struct TrustFile {
    pub(crate) owner: Owner,
    pub(crate) path: PathBuf,
    pub(crate) store: TrustStore,
}

impl TrustFile {
    /// Reads the file of the user or the system. It may not be there.
    pub(crate) fn read(owner: Owner) -> Result<Self, Failure> {
        let path = folder(owner)?.join(TRUST);
        let store = match files::read(&path, LIMIT) {
            Ok(bytes) => parse(&path, &bytes)?,
            Err(error) if error.is_missing() => TrustStore::default(),
            Err(error) => return Err(Failure::environment(error)),
        };
        Ok(Self { owner, path, store })
    }

    /// Changes a file: nobody else does meanwhile, and whoever reads it sees it before or after.
    pub(crate) fn change(
        owner: Owner,
        change: impl FnOnce(&mut TrustStore) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let folder = folder(owner)?;
        make(owner, &folder)?;
        let _lock = lock(&folder)?;
        let mut file = Self::read(owner)?;
        let before = file.store.clone();
        change(&mut file.store)?;
        if file.store != before {
            file.save()?;
        }
        Ok(file)
    }

    fn save(&self) -> Result<(), Failure> {
        let text = self.store.to_text().map_err(Failure::environment)?;
        let failed = |error: std::io::Error| {
            Failure::system(format!("cannot write `{}`", self.path.display()), &error)
        };
        let mut output = Output::create(&self.path, true)?;
        std::io::Write::write_all(output.file(), text.as_bytes()).map_err(failed)?;
        // Whatever the umask: what nobody can read, nobody can obey.
        output.file().set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
        output.publish()
    }
}

fn folder(owner: Owner) -> Result<PathBuf, Failure> {
    match owner {
        Owner::System => Ok(PathBuf::from(SYSTEM)),
        Owner::User => policy_folder().ok_or_else(|| {
            Failure::environment("neither XDG_CONFIG_HOME nor HOME is an absolute path")
        }),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<TrustStore, Failure> {
    TrustStore::parse(&String::from_utf8_lossy(bytes))
        .map_err(|source| unusable(&PolicyError::Wrong { path: path.to_owned(), source }))
}

/// Makes the folder. The user's is closed to others, the system's open for reading.
fn make(owner: Owner, folder: &Path) -> Result<(), Failure> {
    if folder.is_dir() {
        return Ok(());
    }
    let mode = match owner {
        Owner::User => 0o700,
        Owner::System => 0o755,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(folder)
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(mode)))
        .map_err(|error| Failure::system(format!("cannot make `{}`", folder.display()), &error))
}

fn lock(folder: &Path) -> Result<File, Failure> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    let opened = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = opened
        .map_err(|error| Failure::system(format!("cannot open `{}`", path.display()), &error))?;
    // Some file systems have no locks. The file stays whole without.
    let _ = file.lock();
    Ok(file)
}
