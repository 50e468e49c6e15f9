//! Packages and repositories into a registry of containers (`spec/repository.md` §7).

use std::fs::File;
use std::path::Path;

use driftpm::files;
use driftpm::index::{
    EPK_INDEX, EPK_KIND, INDEX_TAG, INDEX_TYPE, MAX_EPK_INDEX, Release, Signed, Statement,
    index_artifact, package_artifact, package_tag, verify,
};
use driftpm::json::Limit;
use driftpm::transport::oci::{Artifact, Content, Pointer, Reference, ReferenceError, is_tag};
use driftpm::transport::{Client, ErrorKind, Location, Silent, Transport as _};
use epk_format::OpenOptions;
use epk_format::digest::Sha256;

use super::release::{describe, hash};
use super::{Repository, failure, file_failure, now};
use crate::exit::{Exit, Failure};
use crate::fetch::transport;
use crate::input::open_file;
use crate::progress::Downloads;
use crate::store::{self, Identity};

/// A package in a registry.
pub(crate) struct Pushed {
    pub(crate) identity: Identity,
    pub(crate) release: Release,
    /// With its tag.
    pub(crate) reference: Reference,
    /// SHA-256 of the manifest.
    pub(crate) digest: Sha256,
    /// Bytes of the package that were sent.
    pub(crate) sent: u64,
    /// The tag named this very manifest already.
    pub(crate) was_there: bool,
}

/// A repository in a registry.
pub(crate) struct PushedRepository {
    /// With the index's tag.
    pub(crate) reference: Reference,
    /// SHA-256 of the index's manifest.
    pub(crate) digest: Sha256,
    pub(crate) statement: Statement,
    pub(crate) packages: usize,
    /// Packages that were not there before.
    pub(crate) pushed: usize,
    /// Bytes of packages that were sent.
    pub(crate) sent: u64,
}

/// Verifies a package and pushes it. A tag that names something else is moved only with `force`.
pub(crate) fn push(
    client: &Client,
    path: &Path,
    to: &Reference,
    options: &OpenOptions,
    force: bool,
) -> Result<Pushed, Failure> {
    let file = open_file(path)?;
    let copy = file
        .try_clone()
        .map_err(|error| Failure::environment(format!("`{}`: {error}", path.display())))?;
    let (package, manifest) = store::verify(path, copy, options, None)?;
    let identity = Identity { name: manifest.name, version: manifest.version };
    let release = describe(path, &file, &package, identity.file_name(), 0)?;
    let reference = with_tag(to, &identity)?;
    let artifact = package_artifact(&identity.name, &identity.version, &release)
        .map_err(|problem| failure(&problem.in_file(path.display().to_string())))?;
    let digest = digest_of(&reference, &artifact)?;
    let there = client.resolve(&reference).map_err(|error| transport(&error))?;
    if there.is_some_and(|there| there != digest) && !force {
        return Err(Failure::refused(format!("`{reference}` is something else"))
            .hint("a version has one package for ever: give another one another version")
            .hint("`--force` moves the tag"));
    }
    let was_there = there == Some(digest);
    let mut sent = 0;
    if !was_there {
        sent = send(client, &file, &identity, &reference, &artifact)?;
    }
    Ok(Pushed { identity, release, reference, digest, sent, was_there })
}

/// The reference with its tag, or with the version for one.
fn with_tag(to: &Reference, identity: &Identity) -> Result<Reference, Failure> {
    match to.pointer() {
        Some(Pointer::Tag(_)) => Ok(to.clone()),
        Some(Pointer::Digest(_)) => Err(Failure::usage(format!("`{to}` has a digest"))
            .hint("what is pushed has the digest that it has: name a tag, or nothing")),
        None if is_tag(&identity.version) => to.with_tag(&identity.version).map_err(unexpected),
        None => {
            let version = identity.version.escape_debug();
            Err(Failure::usage(format!("the version `{version}` cannot be a tag")).hint(format!(
                "`{to}:TAG` names one: at most 128 letters, digits, `_`, `.` and `-`"
            )))
        }
    }
}

fn unexpected(error: ReferenceError) -> Failure {
    Failure::environment(error)
}

fn digest_of(to: &Reference, artifact: &Artifact) -> Result<Sha256, Failure> {
    Client::digest_of(to, artifact).map_err(|error| transport(&error))
}

/// Sends the file of a package, and what is said of it. Gives the bytes of the file.
fn send(
    client: &Client,
    file: &File,
    identity: &Identity,
    to: &Reference,
    artifact: &Artifact,
) -> Result<u64, Failure> {
    let mut sent = 0;
    for layer in &artifact.layers {
        let bars = Downloads::new(&identity.to_string());
        sent += client
            .push_blob(to, Content::File(file), &layer.digest, &bars)
            .map_err(|error| transport(&error))?;
    }
    client.push_artifact(to, artifact).map_err(|error| transport(&error))?;
    Ok(sent)
}

/// Pushes a signed repository: its packages, and then the index in one step.
pub(crate) fn push_repository(
    client: &Client,
    folder: &Path,
    to: &Reference,
) -> Result<PushedRepository, Failure> {
    // Nobody changes it meanwhile.
    let (repository, _lock) = Repository::open(folder)?;
    let path = folder.join(EPK_INDEX);
    let read = |suffix: &str| {
        let path = folder.join(format!("{EPK_INDEX}{suffix}"));
        files::read(&path, MAX_EPK_INDEX).map_err(|error| file_failure(&error))
    };
    let index = read("")?;
    let signed = verify(&path, &index, EPK_KIND, now()).map_err(|problem| {
        let sign = format!("`pkgtool repo sign {} --sign KEY` signs it", folder.display());
        failure(&problem.hint(sign))
    })?;
    if signed.statement.packed.is_none() {
        return Err(Failure::refused(format!(
            "`{}` is signed without a packed index",
            path.display()
        ))
        .hint("`pkgtool repo sign` packs it, too"));
    }
    let reference = to.with_tag(INDEX_TAG).map_err(unexpected)?;
    check_state(client, &reference, &signed)?;
    let (mut packages, mut pushed, mut sent) = (0, 0, 0);
    for (name, releases) in &repository.index.packages {
        for (version, release) in releases {
            packages += 1;
            let identity = Identity { name: name.clone(), version: version.clone() };
            let to = to.with_tag(&package_tag(name, version)).map_err(unexpected)?;
            let bytes = push_release(client, folder, &identity, release, &to)?;
            pushed += usize::from(bytes.is_some());
            sent += bytes.unwrap_or(0);
        }
    }
    let (statement, packed) = (read(".sig")?, read(".zst")?);
    let files = [&*statement, &*packed, &*index];
    let artifact = index_artifact(files);
    let digest = digest_of(&reference, &artifact)?;
    if client.resolve(&reference).map_err(|error| transport(&error))? != Some(digest) {
        for (layer, bytes) in artifact.layers.iter().zip(files) {
            client
                .push_blob(&reference, Content::Bytes(bytes), &layer.digest, &Silent)
                .map_err(|error| transport(&error))?;
        }
        client.push_artifact(&reference, &artifact).map_err(|error| transport(&error))?;
    }
    let statement = signed.statement;
    Ok(PushedRepository { reference, digest, statement, packages, pushed, sent })
}

/// Pushes a package of a repository, unless it is there. Gives the bytes that were sent.
fn push_release(
    client: &Client,
    folder: &Path,
    identity: &Identity,
    release: &Release,
    to: &Reference,
) -> Result<Option<u64>, Failure> {
    let artifact = package_artifact(&identity.name, &identity.version, release)
        .map_err(|problem| failure(&problem.about(identity.to_string())))?;
    let digest = digest_of(to, &artifact)?;
    if client.resolve(to).map_err(|error| transport(&error))? == Some(digest) {
        return Ok(None);
    }
    let path = folder.join(&release.file);
    let file = open_file(&path)?;
    let (size, found) = hash(&file)
        .map_err(|error| Failure::environment(format!("`{}`: {error}", path.display())))?;
    if (size, found.to_string()) != (release.size, release.sha256.clone()) {
        let message = format!(
            "`{}`: it has {size} bytes with SHA-256 {found}, the index says {} with {} (PACKAGE_MISMATCH)",
            path.display(),
            release.size,
            release.sha256
        );
        return Err(Failure::new(Exit::Signature, message));
    }
    send(client, &file, identity, to, &artifact).map(Some)
}

/// Refuses to put a state where a later one is, or another one of that number: readers would
/// refuse it.
fn check_state(client: &Client, index: &Reference, ours: &Signed) -> Result<(), Failure> {
    let artifact = match client.artifact(index) {
        Ok((_, artifact)) => artifact,
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(transport(&error)),
    };
    if artifact.kind != INDEX_TYPE {
        let kind = artifact.kind.escape_debug();
        return Err(Failure::refused(format!("`{index}` is a `{kind}`, no index of packages")));
    }
    let Some(layer) = artifact.layer(&format!("{EPK_INDEX}.sig")) else { return Ok(()) };
    let statement = client
        .read(&Location::of_blob(index, &layer.digest), Limit::SIDECAR.file())
        .map_err(|error| transport(&error))?;
    // What nobody can read holds nobody back.
    let Ok(there) = Signed::parse(&statement, EPK_KIND) else { return Ok(()) };
    let (found, number) = (there.statement.number, ours.statement.number);
    let code = match found.cmp(&number) {
        std::cmp::Ordering::Less => return Ok(()),
        std::cmp::Ordering::Equal if there.statement_sha256 == ours.statement_sha256 => {
            return Ok(());
        }
        std::cmp::Ordering::Equal => "INDEX_EQUIVOCATION",
        std::cmp::Ordering::Greater => "INDEX_ROLLBACK",
    };
    let message = format!("`{index}` has another state {found}, this one is {number} ({code})");
    let sign =
        format!("`pkgtool repo sign --number {}` makes a later one", found.saturating_add(1));
    Err(Failure::new(Exit::Signature, message).hint(sign))
}
