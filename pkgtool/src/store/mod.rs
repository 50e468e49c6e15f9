//! The store: a folder of packages, one of the user and one of the system. What is installed is
//! told by the names of the files; nothing else is kept (`spec/store.md`).

pub(crate) mod commands;
mod name;
mod place;
pub(crate) mod signers;
mod version;

use std::cmp::Ordering;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use name::{Identity, Wanted, escape};
pub(crate) use place::{Admission, Placed, place};
pub(crate) use version::compare as compare_versions;

use crate::exit::Failure;
use crate::launch::user_data::data_home;

/// The system's packages.
const SYSTEM: &str = "/var/lib/epk/packages";

/// Whose store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// The user's, which comes first.
    User,
    /// The system's.
    System,
}

impl Owner {
    /// The word for it, in JSON too.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
        }
    }
}

/// A folder of packages. It may not exist yet.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) owner: Owner,
    pub(crate) folder: PathBuf,
}

/// An installed package: a file of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) owner: Owner,
    pub(crate) identity: Identity,
    pub(crate) path: PathBuf,
}

impl Store {
    /// The store of the user, or of the system.
    pub(crate) fn of(owner: Owner) -> Result<Self, Failure> {
        let folder = match owner {
            Owner::User => data_home()?.join("epk").join("packages"),
            Owner::System => PathBuf::from(SYSTEM),
        };
        Ok(Self { owner, folder })
    }

    /// All of them, in the order in which names are looked for.
    pub(crate) fn all() -> Result<[Self; 2], Failure> {
        Ok([Self::of(Owner::User)?, Self::of(Owner::System)?])
    }

    /// What is installed, by name, then from old to new. Other files are passed over.
    pub(crate) fn list(&self) -> Result<Vec<Installed>, Failure> {
        let mut found = self.beginning_with("")?;
        found.sort_by(|left, right| order(&left.identity, &right.identity));
        Ok(found)
    }

    /// The packages whose files' names begin so, in any order.
    fn beginning_with(&self, beginning: &str) -> Result<Vec<Installed>, Failure> {
        let failed = |error: io::Error| {
            Failure::system(format!("cannot list `{}`", self.folder.display()), &error)
        };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_str().filter(|name| name.starts_with(beginning));
            if let Some(identity) = name.and_then(Identity::of_file_name) {
                found.push(Installed { owner: self.owner, identity, path: entry.path() });
            }
        }
        Ok(found)
    }

    /// The installed versions of a package, in any order.
    pub(crate) fn versions_of(&self, name: &str) -> Result<Vec<Installed>, Failure> {
        self.beginning_with(&name::beginning(name))
    }

    /// The newest version of a package.
    fn newest(&self, name: &str) -> Result<Option<Installed>, Failure> {
        Ok(self
            .versions_of(name)?
            .into_iter()
            .max_by(|left, right| order(&left.identity, &right.identity)))
    }

    /// A version of a package.
    fn having(&self, name: &str, version: &str) -> Result<Option<Installed>, Failure> {
        let identity = Identity { name: name.to_owned(), version: version.to_owned() };
        let path = self.path_of(&identity);
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(Some(Installed { owner: self.owner, identity, path })),
            // A name that no file may have is no package's.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(Failure::system(format!("`{}`", path.display()), &error)),
        }
    }

    /// Makes it durable that files have gone. A file system that can't sync a folder has removed
    /// them all the same.
    pub(crate) fn sync(&self) {
        let _ = File::open(&self.folder).and_then(|folder| folder.sync_all());
    }

    /// Where a package of this name and version lies, or would.
    pub(crate) fn path_of(&self, identity: &Identity) -> PathBuf {
        self.folder.join(identity.file_name())
    }
}

fn order(left: &Identity, right: &Identity) -> Ordering {
    left.name.cmp(&right.name).then_with(|| version::compare(&left.version, &right.version))
}

/// Everything that is installed: by name, the user's first, each from old to new. So a bare name
/// means the last one of the first owner that has it, see [`meant_of_each`].
pub(crate) fn list(stores: &[Store]) -> Result<Vec<Installed>, Failure> {
    let mut found = Vec::new();
    for store in stores {
        found.extend(store.list()?);
    }
    found.sort_by(|left, right| {
        let (one, other) = (&left.identity, &right.identity);
        one.name.cmp(&other.name).then(left.owner.cmp(&right.owner)).then_with(|| order(one, other))
    });
    Ok(found)
}

/// The packages that the names in a [`list`] mean, each once.
pub(crate) fn meant_of_each(installed: &[Installed]) -> impl Iterator<Item = &Installed> {
    let names = installed.chunk_by(|left, right| left.identity.name == right.identity.name);
    names.filter_map(|versions| {
        let mut owners = versions.chunk_by(|left, right| left.owner == right.owner);
        owners.next().and_then(<[_]>::last)
    })
}

/// The package that a name, or name and version, means: the user's before the system's, and of
/// these the newest.
pub(crate) fn meant(stores: &[Store], wanted: &Wanted) -> Result<Option<Installed>, Failure> {
    for store in stores {
        let found = match &wanted.version {
            Some(version) => store.having(&wanted.name, version)?,
            None => store.newest(&wanted.name)?,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The file that a user means by the first word after `run`: with a slash, or with `.epk` at the
/// end, a path; else an installed package; else a file of the working folder.
pub(crate) fn file_meant(word: &Path) -> Result<PathBuf, Failure> {
    let text = match word.to_str() {
        Some(text) if !text.contains('/') && !text.ends_with(".epk") => text,
        _ => return Ok(word.to_owned()),
    };
    let wanted = Wanted::parse(text)?;
    if let Some(package) = meant(&Store::all()?, &wanted)? {
        return Ok(package.path);
    }
    if word.exists() {
        return Ok(word.to_owned());
    }
    Err(Failure::environment(format!(
        "neither an installed package nor a file is named `{wanted}`"
    ))
    .hint("`pkgtool list` says what is installed"))
}

/// Says to [`is_running`] that a package is in use, for as long as anybody has this file open.
/// Where that cannot be said, the package can be used all the same.
pub(crate) fn hold(file: &File) {
    let _ = file.try_lock_shared();
}

/// Whether somebody runs or mounts a package: everyone who does holds a shared lock on its file.
pub(crate) fn is_running(path: &Path) -> io::Result<bool> {
    match File::open(path)?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_means() {
        let place = tempfile::tempdir().expect("a folder");
        let store = |owner: Owner, files: &[&str]| {
            let folder = place.path().join(owner.word());
            fs::create_dir(&folder).expect("made");
            for file in files {
                fs::write(folder.join(format!("{file}.epk")), "").expect("written");
            }
            Store { owner, folder }
        };
        let user =
            store(Owner::User, &["app@1.9", "app@1.10", "app@1.10-rc1", "app.x@2", "app%40@7"]);
        let system = store(Owner::System, &["app@3.0", "tool@1"]);
        let stores = [user, system];
        let version = |text| {
            let wanted = Wanted::parse(text).expect("a name");
            let found = meant(&stores, &wanted).expect("looked for");
            found.map(|package| (package.owner, package.identity.version))
        };
        for (text, owner, expected) in [
            ("app", Owner::User, "1.10"),
            ("app@1.9", Owner::User, "1.9"),
            ("app@3.0", Owner::System, "3.0"),
            ("app@@7", Owner::User, "7"),
            ("tool", Owner::System, "1"),
        ] {
            assert_eq!(version(text), Some((owner, expected.to_owned())), "{text}");
        }
        for text in ["app@2", "other", "ap", &format!("x@{}", "1".repeat(300))] {
            assert_eq!(version(text), None, "{text}");
        }
        let all = list(&stores).expect("listed");
        let each: Vec<String> = meant_of_each(&all).map(|one| one.identity.to_string()).collect();
        assert_eq!(each, ["app@1.10", "app.x@2", "app@@7", "tool@1"]);
    }

    #[test]
    fn other_files_are_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b@2.epk", "b@10.epk", "a@1.epk", ".epk-7-0.tmp", "letter", "x.epk"] {
            fs::write(folder.path().join(name), "").expect("written");
        }
        let store = Store { owner: Owner::User, folder: folder.path().to_owned() };
        let names: Vec<String> =
            store.list().expect("listed").iter().map(|p| p.identity.to_string()).collect();
        assert_eq!(names, ["a@1", "b@2", "b@10"]);
        let none = Store { owner: Owner::User, folder: folder.path().join("none") };
        assert_eq!(none.list().expect("empty"), []);
    }

    #[test]
    fn who_holds_a_file_uses_it() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(!is_running(file.path()).expect("asked"));
        let users =
            [File::open(file.path()).expect("open"), File::open(file.path()).expect("open")];
        users.iter().for_each(hold);
        assert!(is_running(file.path()).expect("asked"));
        drop(users);
        assert!(!is_running(file.path()).expect("asked"));
    }
}
