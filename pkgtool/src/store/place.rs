//! Putting a package into the store: copied, verified as a whole, and only then given its name.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use epk_format::manifest::{Host, Manifest};
use epk_format::{OpenOptions, Package};

use super::signers::{self, Signer};
use super::{Identity, Installed, Owner, Store};
use crate::deep;
use crate::events;
use crate::exit::Failure;
use crate::input::{self, open_file};
use crate::output::Output;

/// NAME_MAX of every file system in use (limits.h).
const LONGEST_NAME: usize = 255;

/// What has become of a package that was to be placed.
pub(crate) struct Placed {
    pub(crate) installed: Installed,
    /// Verified, open.
    pub(crate) package: Package<File>,
    /// Its very bytes were there already.
    pub(crate) was_there: bool,
}

/// What is asked of a package that this machine shall run.
pub(crate) struct Admission<'a> {
    /// What runs it.
    host: Host<'static>,
    /// New signers of known names that the user accepts.
    accepted: &'a [Signer],
    /// Says whether it is the package that was announced.
    announced: Option<Announced<'a>>,
}

/// Holds a package against what was announced of it.
pub(crate) type Announced<'a> = &'a dyn Fn(&Package<File>, &Identity) -> Result<(), Failure>;

impl<'a> Admission<'a> {
    /// What this machine asks.
    pub(crate) fn accepting(accepted: &'a [Signer]) -> Self {
        Self { host: input::host(None), accepted, announced: None }
    }

    /// The same, of one package, which must be the one that was announced.
    pub(crate) fn of<'b>(&self, announced: Announced<'b>) -> Admission<'b>
    where
        'a: 'b,
    {
        Admission { announced: Some(announced), accepted: self.accepted, host: self.host.clone() }
    }

    fn agrees(&self, package: &Package<File>, identity: &Identity) -> Result<(), Failure> {
        self.announced.map_or(Ok(()), |announced| announced(package, identity))
    }

    /// Whether the package's signer is one whom the name is known by.
    fn admits(
        &self,
        package: &Package<File>,
        identity: &Identity,
        store: &Store,
        options: &OpenOptions,
    ) -> Result<(), Failure> {
        let Some(signer) = Signer::of(package.signature()) else { return Ok(()) };
        if self.accepted.contains(&signer) {
            return Ok(());
        }
        signers::known(identity, store, &options.trust)?.admit(identity, &signer)
    }
}

/// Copies the package `source` into the store and verifies the copy: every rule, every block and
/// file, the signature as `options` want it, the manifest, and, with an `admission`, whether it is
/// what was announced, and this machine can run it and knows its signer. A crash at any moment
/// leaves the store as it was, or with the package.
pub(crate) fn place(
    source: &Path,
    store: &Store,
    options: &OpenOptions,
    admission: Option<&Admission<'_>>,
) -> Result<Placed, Failure> {
    let mut from = open_file(source)?;
    let copied = from.try_clone().map_err(|error| unreadable(source, &error))?;
    let (candidate, identity) = identify(source, copied, options)?;
    let length = identity.file_name().len();
    if length > LONGEST_NAME {
        return Err(Failure::refused(format!(
            "`{}`: name and version make a file name of {length} bytes, {LONGEST_NAME} is the most",
            source.display()
        )));
    }
    let path = store.path_of(&identity);
    let installed = Installed { owner: store.owner, identity: identity.clone(), path };
    // Before anything of the store is looked at: it may be about another package.
    admission.map_or(Ok(()), |asked| asked.agrees(&candidate, &identity))?;
    if let Some(there) = open_existing(&installed.path)? {
        return already(source, &mut from, installed, there, options);
    }
    // Before work is done for nothing.
    admission.map_or(Ok(()), |asked| asked.admits(&candidate, &identity, store, options))?;
    make_folder(store)?;
    let mut output = Output::create(&installed.path, false)?;
    rewind(source, &mut from)?;
    let failed = |error: io::Error| {
        Failure::system(format!("cannot write `{}`", installed.path.display()), &error)
    };
    io::copy(&mut from, output.file()).map_err(failed)?;
    // Whatever the umask: the system's packages are everybody's, and the user's folder is closed.
    output.file().set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
    let copy = output.file().try_clone().map_err(failed)?;
    let host = admission.map(|asked| &asked.host);
    let (package, manifest) = verify(source, copy, options, host)?;
    if identity_of(manifest) != installed.identity {
        return Err(Failure::environment(format!(
            "`{}` changed while it was read",
            source.display()
        )));
    }
    admission.map_or(Ok(()), |asked| asked.agrees(&package, &identity))?;
    if output.publish_new()? {
        // Another version may have come from another signer meanwhile. Whoever comes second sees the
        // first; of two who see each other neither stays.
        let admitted =
            admission.map_or(Ok(()), |asked| asked.admits(&package, &identity, store, options));
        if admitted.is_err() {
            let _ = std::fs::remove_file(&installed.path);
        }
        return admitted.map(|()| Placed { installed, package, was_there: false });
    }
    // Somebody else was faster.
    match open_existing(&installed.path)? {
        Some(there) => already(source, &mut from, installed, there, options),
        None => Err(Failure::environment(format!(
            "`{}` was added and removed by somebody else at the same time",
            installed.identity
        ))),
    }
}

/// The package with name and version, as the manifest has them: they name the file before the copy
/// is verified.
fn identify(
    source: &Path,
    file: File,
    options: &OpenOptions,
) -> Result<(Package<File>, Identity), Failure> {
    let package =
        Package::open(file, options).map_err(|error| Failure::opening(source, &error, options))?;
    let manifest = package.parse_manifest().map_err(|error| Failure::manifest(source, &error))?;
    Ok((package, identity_of(manifest)))
}

fn identity_of(manifest: Manifest) -> Identity {
    Identity { name: manifest.name, version: manifest.version }
}

/// Verifies a package as a whole, as it must be to be placed.
pub(crate) fn verify(
    source: &Path,
    file: File,
    options: &OpenOptions,
    host: Option<&Host<'_>>,
) -> Result<(Package<File>, Manifest), Failure> {
    let package =
        Package::open(file, options).map_err(|error| Failure::opening(source, &error, options))?;
    let manifest = package.parse_manifest().map_err(|error| Failure::manifest(source, &error))?;
    if let Some(host) = host {
        manifest.check_compatibility(host).map_err(|error| Failure::manifest(source, &error))?;
        events::compatible(source, &manifest);
    }
    let findings = package.audit().into_iter().chain(deep::check(&package).1);
    match findings.into_iter().next() {
        None => {
            events::opened(source, &package);
            Ok((package, manifest))
        }
        Some(first) => Err(Failure::package(source, &first)
            .hint(format!("`pkgtool verify --deep {}` lists all findings", source.display()))),
    }
}

fn open_existing(path: &Path) -> Result<Option<File>, Failure> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// The version is installed: fine if it is this very file.
fn already(
    source: &Path,
    from: &mut File,
    installed: Installed,
    mut there: File,
    options: &OpenOptions,
) -> Result<Placed, Failure> {
    rewind(source, from)?;
    let same = same_bytes(from, &mut there).map_err(|error| unreadable(source, &error))?;
    if !same {
        return Err(Failure::refused(format!(
            "`{}` is installed, and `{}` has other bytes",
            installed.identity,
            source.display()
        ))
        .hint("a version has one package for ever: give another one another version")
        .hint(format!("`pkgtool remove {}` makes room", installed.identity)));
    }
    let package = Package::open(there, options)
        .map_err(|error| Failure::opening(&installed.path, &error, options))?;
    Ok(Placed { installed, package, was_there: true })
}

fn same_bytes(left: &mut File, right: &mut File) -> io::Result<bool> {
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let mut buffers = [vec![0; 1 << 16], vec![0; 1 << 16]];
    let (mut left, mut right) = (BufReader::new(left), BufReader::new(right));
    let [one, other] = &mut buffers;
    loop {
        let count = left.read(one)?;
        if count == 0 {
            return Ok(right.read(other)? == 0);
        }
        let (Some(one), Some(other)) = (one.get(..count), other.get_mut(..count)) else {
            return Ok(false);
        };
        match right.read_exact(other) {
            Ok(()) if one == other => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// The user's folder is closed to others, the system's open for reading.
fn make_folder(store: &Store) -> Result<(), Failure> {
    let mode = match store.owner {
        Owner::User => 0o700,
        Owner::System => 0o755,
    };
    // Those in which one is made. Each must get to the disk for the package not to be lost with it.
    let above = store.folder.ancestors().skip(1);
    let missing = store.folder.ancestors().take_while(|folder| !folder.exists()).count();
    let changed: Vec<&Path> = above.take(missing).collect();
    DirBuilder::new().recursive(true).mode(mode).create(&store.folder).map_err(|error| {
        Failure::system(format!("cannot make `{}`", store.folder.display()), &error)
    })?;
    for folder in changed {
        // A file system that can't sync a folder has made them all the same.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

fn rewind(path: &Path, file: &mut File) -> Result<(), Failure> {
    file.seek(SeekFrom::Start(0)).map(drop).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!("`{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_compared_to_the_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            File::open(path).expect("open")
        };
        let long = vec![7; 200_000];
        let mut other = long.clone();
        *other.last_mut().expect("not empty") = 8;
        let cases: [(&[u8], &[u8], bool); 4] =
            [(&long, &long, true), (&long, &other, false), (b"", b"", true), (b"a", b"", false)];
        for (left, right, same) in cases {
            let (mut left, mut right) = (file("left", left), file("right", right));
            assert_eq!(same_bytes(&mut left, &mut right).expect("read"), same);
        }
    }
}
