//! Packages unpacked for machines where nothing can be mounted: one folder for each content, in
//! the user's cache, made once, used by many launches, removed when it was not used for long.
//!
//! A file beside each folder is locked (flock(2)) by whoever makes, uses or removes it. The
//! application inherits that lock, so that it lasts as long as its last process.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use epk_format::Package;
use epk_format::package::Kind;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::{geteuid, syncfs};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, chmodat, openat, statat};

use crate::exit::Failure;
use crate::extract;
use crate::select;
use crate::signals::Deferred;

/// The folders below the cache.
const FOLDERS: [&str; 2] = ["epk", "extracted"];
/// How long an extraction is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How far the time of a use may lie ahead of the clock, as those of other machines on a shared disk do.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
/// The most plain bytes that are unpacked without being asked for.
pub(crate) const MOST: u64 = 1 << 30;

/// An unpacked package that stays as long as this, or whoever inherits it, is there.
#[derive(Debug)]
pub(crate) struct Extracted {
    pub(crate) folder: PathBuf,
    lock: File,
}

impl Extracted {
    /// Lets the program that this process becomes, and its children, inherit the lock.
    pub(crate) fn hand_down(&self) -> io::Result<()> {
        fcntl(self.lock.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    }
}

/// The extraction of a package, made if it isn't there. One of more than `most` plain bytes is not
/// made.
pub(crate) fn prepare(
    cache: &Path,
    package: &Package<File>,
    image: &Path,
    most: u64,
) -> Result<Extracted, Failure> {
    let store = open_store(cache)?;
    let name = package.package_hash().to_hex();
    let folder = store.join(&name);
    let extracted = loop {
        let lock = open_lock(&store, &name)?;
        let locked = |result: io::Result<()>| result.map_err(|error| failure(&store, &error));
        locked(lock.lock_shared())?;
        if !is_still(&lock, &store, &name) {
            continue;
        }
        if folder.is_dir() {
            // So that it counts as used. If it doesn't, it is made anew some day.
            let _touched = lock.set_modified(SystemTime::now());
            break Extracted { folder, lock };
        }
        locked(lock.unlock())?;
        locked(lock.lock())?;
        if is_still(&lock, &store, &name) && !folder.is_dir() {
            make(&store, &name, package, image, most)?;
        }
        // Locked anew for use: what was made meanwhile is found then.
    };
    collect(&store, &name);
    Ok(extracted)
}

/// Unpacks under another name first; the caller has the lock.
fn make(
    store: &Path,
    name: &str,
    package: &Package<File>,
    image: &Path,
    most: u64,
) -> Result<(), Failure> {
    let mut bytes: u64 = 0;
    select::walk(package, image, &[], |visit| {
        let size = if visit.node.kind == Kind::File { visit.node.size } else { 0 };
        bytes = bytes.saturating_add(size);
        Ok(())
    })?;
    if bytes > most {
        let message =
            format!("its {bytes} bytes are more than the {most} that are unpacked unasked");
        return Err(Failure::launch(message).hint("`--via extract` asks for it"));
    }
    let partial = store.join(partial_name(name));
    // What a process left that was killed.
    remove(&partial).map_err(|error| failure(&partial, &error))?;
    DirBuilder::new().mode(0o700).create(&partial).map_err(|error| failure(&partial, &error))?;
    let signals =
        Deferred::new().map_err(|error| Failure::system("cannot catch signals", &error))?;
    let unpacked = unpack(package, image, &partial, &signals).and_then(|()| {
        let handle = File::open(&partial).map_err(|error| failure(&partial, &error))?;
        // The name must not be there before the bytes are.
        syncfs(handle.as_fd()).map_err(|errno| failure(&partial, &errno.into()))?;
        fs::rename(&partial, store.join(name)).map_err(|error| failure(&partial, &error))
    });
    if unpacked.is_err() {
        // The next one tries again.
        let _left = remove(&partial);
    }
    signals.end();
    unpacked
}

fn unpack(
    package: &Package<File>,
    image: &Path,
    target: &Path,
    signals: &Deferred,
) -> Result<(), Failure> {
    let mut writer = extract::Writer::new(package, image, target, signals)?.read_only();
    select::walk(package, image, &[], |visit| writer.write(&visit))?;
    writer.finish()
}

/// Removes what nobody used for long, as far as that works: it is only a cache.
fn collect(store: &Path, but: &str) {
    let now = SystemTime::now();
    let unused = |path: &Path| {
        let used = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
        match used.map(|used| now.duration_since(used)) {
            Ok(Ok(since)) => since > KEPT,
            // Used by a clock that ran ahead, which would keep it until then.
            Ok(Err(ahead)) if ahead.duration() > AHEAD => {
                let mut options = File::options();
                let options = options.write(true).custom_flags(OFlag::O_NOFOLLOW.bits());
                let _touched = options.open(path).and_then(|file| file.set_modified(now));
                false
            }
            _ => false,
        }
    };
    for entry in fs::read_dir(store).into_iter().flatten().flatten() {
        let path = entry.path();
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(LOCK)) else {
            continue;
        };
        if name == but || !unused(&path) {
            continue;
        }
        let Ok(lock) = open_lock(store, name) else { continue };
        if lock.try_lock().is_err() || !is_still(&lock, store, name) || !unused(&path) {
            continue;
        }
        let gone = remove(&store.join(name)).and_then(|()| remove(&store.join(partial_name(name))));
        if gone.is_ok() {
            let _removed = fs::remove_file(&path);
        }
    }
}

/// What the name of a lock ends with.
const LOCK: &str = ".lock";

fn partial_name(name: &str) -> String {
    format!("{name}.partial")
}

fn open_lock(store: &Path, name: &str) -> Result<File, Failure> {
    let path = store.join(format!("{name}{LOCK}"));
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(&path)
        .map_err(|error| failure(&path, &error))
}

/// Whether the file that was locked is the one that has the name: it may have been removed between
/// opening and locking.
fn is_still(lock: &File, store: &Path, name: &str) -> bool {
    let named = fs::symlink_metadata(store.join(format!("{name}{LOCK}")));
    match (lock.metadata(), named) {
        (Ok(ours), Ok(named)) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// The folder of extractions. Whoever can write it decides what is run, so it must be this user's
/// alone.
fn open_store(cache: &Path) -> Result<PathBuf, Failure> {
    let mut path = cache.to_owned();
    let create = |path: &Path| {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| failure(path, &error))
    };
    create(&path)?;
    for name in FOLDERS {
        path.push(name);
        create(&path)?;
        let metadata = fs::symlink_metadata(&path).map_err(|error| failure(&path, &error))?;
        let ours = metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o022 == 0;
        if !metadata.is_dir() || !ours {
            let reason = "is not this user's alone: others could change what runs";
            return Err(failure(&path, &io::Error::other(reason)));
        }
    }
    // The view is put together elsewhere, and the application starts in another folder.
    fs::canonicalize(&path).map_err(|error| failure(&path, &error))
}

/// Removes a tree whose folders may not be writable. One that isn't there is as good.
fn remove(top: &Path) -> io::Result<()> {
    match fs::symlink_metadata(top) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    chmodat(rustix::fs::CWD, top, Mode::RWXU, AtFlags::empty())?;
    let root = openat(rustix::fs::CWD, top, flags, Mode::empty())?;
    // Paths from the root, which are short enough however long the root's own is.
    let mut folders = vec![PathBuf::from(".")];
    while let Some(folder) = folders.pop() {
        chmodat(&root, &folder, Mode::RWXU, AtFlags::empty())?;
        let handle = openat(&root, &folder, flags, Mode::empty())?;
        for entry in Dir::read_from(&handle)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let name = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
                folders.push(folder.join::<&std::ffi::OsStr>(name));
            }
        }
    }
    fs::remove_dir_all(top)
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::launch(format!("cannot unpack the package: `{}`: {error}", path.display()))
}
