//! The package's file: made without a name, or under a temporary one, and put in its place when it
//! is whole. Whatever happens before, nothing is left.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, renameat};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use signal_hook::iterator::{Handle, Signals};

use crate::exit::{Exit, Failure};
use crate::signals;

/// Permissions of a package, before the umask.
const MODE: Mode = Mode::from_bits_truncate(0o644);
/// How a package begins.
const MAGIC: &[u8; 4] = b"EPK1";
/// How a file with a temporary name is made.
const NEW: OFlag = OFlag::O_CREAT
    .union(OFlag::O_EXCL)
    .union(OFlag::O_RDWR)
    .union(OFlag::O_LARGEFILE)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
/// Temporary names that are tried.
const ATTEMPTS: u32 = 1000;

/// A package under way.
pub(crate) struct Output {
    path: PathBuf,
    folder: OwnedFd,
    name: OsString,
    file: File,
    temporary: Option<Temporary>,
    /// Whether something has the name that may be replaced.
    replaces: bool,
    force: bool,
}

impl Output {
    /// Opens a file in the folder of `path`. A package that is there already will be replaced;
    /// anything else only with `force`.
    pub(crate) fn create(path: &Path, force: bool) -> Result<Self, Failure> {
        Self::with(path, force, true)
    }

    fn with(path: &Path, force: bool, nameless: bool) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::system(format!("cannot create `{}`", path.display()), &error)
        };
        let name = path.file_name().ok_or_else(|| {
            Failure::new(Exit::Usage, format!("`{}` is no name for a file", path.display()))
        })?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = open(parent, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let replaces = may_replace(path, force)?;
        let made = if nameless { make_nameless(&folder) } else { Ok(None) };
        let (file, temporary) = match made.map_err(failed)? {
            Some(file) => (file, None),
            None => {
                let (file, temporary) = make_named(&folder).map_err(failed)?;
                (file, Some(temporary))
            }
        };
        let (path, name) = (path.to_owned(), name.to_owned());
        Ok(Self { path, folder, name, file, temporary, replaces, force })
    }

    /// The file to write.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// A file without a name in the same folder, and so on the same disk: for what is copied into
    /// the package at the end.
    pub(crate) fn spool(&self) -> Result<File, Failure> {
        let made = make_nameless(&self.folder).and_then(|file| match file {
            Some(file) => Ok(file),
            None => Ok(with_free_name(|name| {
                let file = openat(&self.folder, name, NEW, MODE)?;
                unlinkat(&self.folder, name, UnlinkatFlags::NoRemoveDir)?;
                Ok(File::from(file))
            })?),
        });
        made.map_err(|error| self.failed(&error))
    }

    /// Device and inode of the folder where the package will lie.
    pub(crate) fn folder_identity(&self) -> Result<(u64, u64), Failure> {
        let folder = self.folder.try_clone().and_then(|folder| File::from(folder).metadata());
        let metadata = folder.map_err(|error| self.failed(&error))?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// Makes the package durable and gives it its name.
    pub(crate) fn publish(mut self) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| self.failed(&error))?;
        match self.temporary.take() {
            Some(temporary) => self.rename(temporary)?,
            None => self.link()?,
        }
        self.sync_folder();
        Ok(())
    }

    /// Makes the package durable and gives it its name, unless something has it: then false.
    pub(crate) fn publish_new(mut self) -> Result<bool, Failure> {
        self.file.sync_all().map_err(|error| self.failed(&error))?;
        let linked = match self.temporary.take() {
            Some(temporary) => linkat(
                &self.folder,
                temporary.name.as_os_str(),
                &self.folder,
                self.name.as_os_str(),
                AtFlags::empty(),
            ),
            None => link_to(&self.file, &self.folder, &self.name),
        };
        match linked {
            Ok(()) => self.sync_folder(),
            Err(Errno::EEXIST) => return Ok(false),
            Err(error) => return Err(self.failed(&error)),
        }
        Ok(true)
    }

    /// A folder that can't be synced (some network filesystems) holds the package all the same.
    fn sync_folder(&self) {
        if let Ok(folder) = self.folder.try_clone() {
            let _ = File::from(folder).sync_all();
        }
    }

    /// Links the nameless file. `link(2)` replaces nothing, so an old package needs a detour by a
    /// temporary name, in which no signal may end us.
    fn link(&self) -> Result<(), Failure> {
        match link_to(&self.file, &self.folder, &self.name) {
            Err(Errno::EEXIST) if self.replaces => {}
            Err(Errno::EEXIST) => {
                // It was not there when we looked first.
                may_replace(&self.path, self.force)?;
            }
            linked => return linked.map_err(|error| self.failed(&error)),
        }
        let blocked = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        let before =
            blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(|error| self.failed(&error))?;
        let renamed = with_free_name(|temporary| {
            link_to(&self.file, &self.folder, temporary)?;
            let renamed = renameat(&self.folder, temporary, &self.folder, self.name.as_os_str());
            if renamed.is_err() {
                let _ = unlinkat(&self.folder, temporary, UnlinkatFlags::NoRemoveDir);
            }
            renamed
        });
        let _ = before.thread_set_mask();
        renamed.map_err(|error| self.failed(&error))
    }

    fn rename(&self, temporary: Temporary) -> Result<(), Failure> {
        if !self.replaces {
            may_replace(&self.path, self.force)?;
        }
        renameat(&self.folder, temporary.name.as_os_str(), &self.folder, self.name.as_os_str())
            .map_err(|error| self.failed(&error))?;
        temporary.keep();
        Ok(())
    }

    fn failed(&self, error: &dyn std::error::Error) -> Failure {
        Failure::system(format!("cannot create `{}`", self.path.display()), error)
    }
}

/// Whether something is at `path`; refuses when it must not be replaced.
fn may_replace(path: &Path, force: bool) -> Result<bool, Failure> {
    let refuse = |what: &str| {
        Err(Failure::new(Exit::Finding, format!("`{}` exists and is {what}", path.display())))
    };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(Failure::system(format!("cannot look at `{}`", path.display()), &error));
        }
    };
    let kind = metadata.file_type();
    if kind.is_dir() {
        return refuse("a folder");
    }
    if !kind.is_file() && !kind.is_symlink() {
        return refuse("no regular file");
    }
    if force || (kind.is_file() && (metadata.len() == 0 || is_package(path))) {
        return Ok(true);
    }
    let what = if kind.is_symlink() { "a symbolic link" } else { "no package" };
    refuse(what).map_err(|failure| failure.hint("`--force` replaces it"))
}

fn is_package(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *MAGIC
}

/// A file without a name; `None` where the system has none.
fn make_nameless(folder: &OwnedFd) -> io::Result<Option<File>> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_LARGEFILE | OFlag::O_CLOEXEC;
    let file = match openat(folder, ".", flags, MODE) {
        Ok(file) => File::from(file),
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // It gets its name through /proc.
    let named = fs::symlink_metadata(process_path(&file)).is_ok();
    Ok(named.then_some(file))
}

fn process_path(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn link_to(file: &File, folder: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    linkat(AT_FDCWD, &process_path(file), folder, name, AtFlags::AT_SYMLINK_FOLLOW)
}

/// Calls `make` with temporary names until one is free.
fn with_free_name<T>(mut make: impl FnMut(&OsStr) -> Result<T, Errno>) -> Result<T, Errno> {
    for attempt in 0..ATTEMPTS {
        let name = format!(".epk-{}-{attempt}.tmp", std::process::id());
        match make(OsStr::new(&name)) {
            Err(Errno::EEXIST) => {}
            made => return made,
        }
    }
    Err(Errno::EEXIST)
}

fn make_named(folder: &OwnedFd) -> io::Result<(File, Temporary)> {
    // Signals first: one that comes in between must find somebody who removes the file.
    let mut coming = Signals::new(signals::heeded())?;
    let (name, file) = with_free_name(|name| {
        let file = openat(folder, name, NEW, MODE)?;
        Ok((name.to_owned(), File::from(file)))
    })?;
    let handle = coming.handle();
    let temporary = Temporary { folder: folder.try_clone()?, name: name.clone(), handle };
    let folder = folder.try_clone()?;
    let wait = move || {
        if let Some(signal) = coming.forever().next() {
            let _ = unlinkat(&folder, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    };
    thread::Builder::new().spawn(wait)?;
    Ok((file, temporary))
}

/// A temporary name, removed when dropped or when a signal ends the program.
struct Temporary {
    folder: OwnedFd,
    name: OsString,
    handle: Handle,
}

impl Temporary {
    /// The name has gone to the package.
    fn keep(mut self) {
        self.name.clear();
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.handle.close();
        if !self.name.is_empty() {
            let _ = unlinkat(&self.folder, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};

    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.expect("an entry").file_name().to_string_lossy().into_owned()
        };
        entries.map(name).collect()
    }

    #[test]
    fn nothing_is_left_but_what_is_published() {
        for nameless in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("x.epk");
            let mut output = Output::with(&path, false, nameless).expect("created");
            assert_eq!(names(folder.path()).len(), usize::from(!nameless));
            output.file().write_all(b"EPK1 old").expect("written");
            drop(output);
            assert!(names(folder.path()).is_empty());
            // A new one, then one that replaces it.
            for text in [b"EPK1 one", b"EPK1 two"] {
                let mut output = Output::with(&path, false, nameless).expect("created");
                output.file().write_all(text).expect("written");
                output.publish().expect("published");
                assert_eq!(names(folder.path()), ["x.epk"]);
                assert_eq!(fs::read(&path).expect("readable"), text);
            }
        }
    }

    #[test]
    fn replaces_packages_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        let refused = |force| match Output::create(&path, force) {
            Ok(_) => None,
            Err(failure) => Some(failure.exit),
        };
        fs::write(&path, "letter to my mother").expect("written");
        assert_eq!((refused(false), refused(true)), (Some(Exit::Finding), None));
        fs::write(&path, "").expect("written");
        assert_eq!(refused(false), None);
        fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("nowhere", &path).expect("linked");
        assert_eq!((refused(false), refused(true)), (Some(Exit::Finding), None));
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        assert_eq!((refused(false), refused(true)), (Some(Exit::Finding), Some(Exit::Finding)));
    }

    #[test]
    fn what_appears_meanwhile_is_not_replaced() {
        for nameless in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("x");
            let output = Output::with(&path, false, nameless).expect("created");
            fs::write(&path, "letter").expect("written");
            assert_eq!(output.publish().expect_err("refused").exit, Exit::Finding);
            assert_eq!(names(folder.path()), ["x"]);
        }
    }

    #[test]
    fn what_is_there_stays_when_only_new_files_are_wanted() {
        for nameless in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("x.epk");
            for (text, published) in [("EPK1 one", true), ("EPK1 two", false)] {
                let mut output = Output::with(&path, false, nameless).expect("created");
                output.file().write_all(text.as_bytes()).expect("written");
                assert_eq!(output.publish_new().expect("no error"), published);
                assert_eq!(names(folder.path()), ["x.epk"]);
                assert_eq!(fs::read(&path).expect("readable"), b"EPK1 one");
            }
        }
    }

    const CHILD: &str = "PKGTOOL_TEST_TEMPORARY_FILE";

    /// Run by [`a_signal_removes_the_temporary_file`] in a process of its own.
    #[test]
    fn child_that_waits_for_a_signal() {
        let Some(path) = env::var_os(CHILD) else { return };
        let _output = Output::with(Path::new(&path), false, false).expect("created");
        // Straight to stdout: the test harness would keep it.
        io::stdout().write_all(b"ready\n").and_then(|()| io::stdout().flush()).expect("said");
        loop {
            thread::park();
        }
    }

    #[test]
    fn a_signal_removes_the_temporary_file() {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            let folder = tempfile::tempdir().expect("a folder");
            let mut child = Command::new(env::current_exe().expect("this program"))
                .args(["--exact", "output::tests::child_that_waits_for_a_signal"])
                .arg("--nocapture")
                .env(CHILD, folder.path().join("x"))
                .stdout(Stdio::piped())
                .spawn()
                .expect("started");
            let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
            let ready = lines.map_while(Result::ok).any(|line| line.ends_with("ready"));
            assert!(ready, "the child said nothing");
            assert_eq!(names(folder.path()).len(), 1);
            kill(Pid::from_raw(child.id().cast_signed()), signal).expect("sent");
            assert_eq!(child.wait().expect("ended").signal(), Some(signal as i32));
            assert!(names(folder.path()).is_empty());
        }
    }
}
