//! A download on its way: `<name>.part`, and beside it what is needed to go on later.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Which file the first bytes are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The URL.
    pub(super) url: String,
    /// What the server calls this state of the file.
    pub(super) validator: String,
    /// Its size in bytes.
    pub(super) size: u64,
}

/// An open `.part` file that nobody else writes.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    origin_path: PathBuf,
    to: PathBuf,
    length: u64,
}

impl Part {
    /// Opens or makes the part of `to`; `None` if somebody else has it at the moment.
    pub(super) fn open(to: &Path) -> io::Result<Option<Self>> {
        let (path, origin_path) = (with_suffix(to, ".part"), with_suffix(to, ".part.json"));
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Some file systems know no locks: then two may do the same work, and the hash tells.
            Err(TryLockError::Error(_)) => {}
        }
        // Whoever had the lock may have finished and renamed the file.
        let (ours, there) = (file.metadata()?, fs::metadata(&path));
        if there.is_ok_and(|there| (ours.dev(), ours.ino()) == (there.dev(), there.ino())) {
            let length = ours.len();
            return Ok(Some(Self { file, path, origin_path, to: to.to_owned(), length }));
        }
        Ok(None)
    }

    /// How many bytes there are, and of what; nothing if that is not known for sure.
    pub(super) fn origin(&self) -> Option<Origin> {
        let bytes = fs::read(&self.origin_path).ok()?;
        let origin: Origin = serde_json::from_slice(&bytes).ok()?;
        (self.length > 0 && self.length <= origin.size).then_some(origin)
    }

    /// Bytes there are.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Begins anew with a file of `origin`; without one, it cannot be continued another time.
    pub(super) fn restart(&mut self, origin: Option<&Origin>) -> io::Result<()> {
        remove(&self.origin_path)?;
        self.file.set_len(0)?;
        self.length = 0;
        if let Some(origin) = origin {
            fs::write(&self.origin_path, serde_json::to_vec(origin)?)?;
        }
        Ok(())
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(bytes)?;
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.to)?;
        remove(&self.origin_path)?;
        let folder = self.to.parent().filter(|folder| *folder != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
