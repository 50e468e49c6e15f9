//! A download on its way: `<name>.part`, and beside it what is needed to go on later.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
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
    /// Opens or makes the part of `to`, waiting until no other process has it.
    pub(super) fn open(to: &Path) -> io::Result<Self> {
        let (path, origin_path) = (with_suffix(to, ".part"), with_suffix(to, ".part.json"));
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            file.lock()?;
            // Whoever had the lock may have finished and renamed the file.
            let same = fs::metadata(&path).is_ok_and(|there| {
                use std::os::unix::fs::MetadataExt as _;
                file.metadata()
                    .is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
            });
            if same {
                let length = file.metadata()?.len();
                return Ok(Self { file, path, origin_path, to: to.to_owned(), length });
            }
        }
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
        remove(&self.origin_path)
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
