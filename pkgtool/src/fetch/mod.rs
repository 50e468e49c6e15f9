//! Fetching packages from sources: first the signed index, then the package, then what `add` does.

mod client;
mod delta;
mod offers;
mod updates;
mod work;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use driftpm::index::Seen;
use driftpm::transport::{Client, Downloaded, Request, Transport as _};
use epk_format::digest::Sha256;
use epk_format::{OpenOptions, Package};

pub(crate) use client::{client, transport};
pub(crate) use offers::{Offer, choose, of_registry, offers};
pub(crate) use updates::{Updates, updates};

use crate::exit::{Exit, Failure};
use crate::input;
use crate::progress::Downloads;
use crate::repository::release::hash;
use crate::store::signers::Signer;
use crate::store::{self, Admission, Identity, Placed, Store};
use work::Work;

/// What all fetching needs.
pub(crate) struct Network {
    client: Client,
    seen: Seen,
    cache: PathBuf,
}

/// What was fetched, or would be.
pub(crate) struct Fetched {
    /// Bytes that came from the source.
    pub(crate) bytes: u64,
    /// Bytes that were taken from installed packages, or from an earlier try.
    pub(crate) reused: u64,
    /// Where it is installed; not with `--dry-run`.
    pub(crate) placed: Option<Placed>,
}

impl Network {
    /// Reads what the environment says about the network. Nothing is connected yet.
    pub(crate) fn open() -> Result<Self, Failure> {
        let client = client()?;
        let cache = input::cache_home().ok_or_else(|| no_folder("XDG_CACHE_HOME"))?;
        let state = state_home().ok_or_else(|| no_folder("XDG_STATE_HOME"))?;
        let seen = Seen::in_folder(&state.join("epk").join("indexes"));
        Ok(Self { client, seen, cache: cache.join("epk").join("fetch") })
    }

    /// Fetches a package and installs it. With `dry_run` only as much as is needed to say what
    /// would be fetched.
    pub(crate) fn fetch(
        &self,
        offer: &Offer,
        store: &Store,
        (options, admission): (&OpenOptions, &Admission<'_>),
        dry_run: bool,
    ) -> Result<Fetched, Failure> {
        let there = |placed| Ok(Fetched { bytes: 0, reused: 0, placed: Some(placed) });
        if let Some(placed) = installed(offer, store, options)? {
            work::forget(&self.cache, offer);
            return there(placed);
        }
        let work = Work::open(&self.cache, offer)?;
        // Whoever was waited for may have installed it.
        if let Some(placed) = installed(offer, store, options)? {
            work.remove()?;
            return there(placed);
        }
        let file = work.file();
        let mut fetched = match delta::fetch(self, offer, &work, dry_run)? {
            Some(fetched) => fetched,
            None if dry_run => whole_dry(offer, &file),
            None => self.whole(offer, &file)?,
        };
        if dry_run {
            return Ok(fetched);
        }
        let announced =
            |package: &Package<fs::File>, identity: &Identity| agrees(offer, package, identity);
        let placed = check(offer, &file)
            .and_then(|()| store::place(&file, store, options, Some(&admission.of(&announced))));
        // Right or wrong: nobody should find it here again.
        let removed = work.remove();
        fetched.placed = Some(placed?);
        removed?;
        Ok(fetched)
    }

    /// Downloads the whole file; goes on where an earlier try has ended.
    fn whole(&self, offer: &Offer, file: &Path) -> Result<Fetched, Failure> {
        let request = Request {
            from: offer.location.clone(),
            to: file.to_owned(),
            limit: offer.release.size,
            size: Some(offer.release.size),
        };
        let bars = Downloads::new(&offer.identity.to_string());
        let answers = self.client.download(&[request], &bars);
        let Downloaded { size, resumed } = answers
            .into_iter()
            .next()
            .transpose()
            .map_err(|error| transport(&error))?
            .unwrap_or(Downloaded { size: 0, resumed: 0 });
        Ok(Fetched { bytes: size.saturating_sub(resumed), reused: resumed, placed: None })
    }
}

fn whole_dry(offer: &Offer, file: &Path) -> Fetched {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let there = fs::metadata(part).map_or(0, |found| found.len()).min(offer.release.size);
    Fetched { bytes: offer.release.size.saturating_sub(there), reused: there, placed: None }
}

/// The package, if it is installed already.
fn installed(
    offer: &Offer,
    store: &Store,
    options: &OpenOptions,
) -> Result<Option<Placed>, Failure> {
    let path = store.path_of(&offer.identity);
    let package = match fs::File::open(&path) {
        Ok(file) => Package::open(file, options)
            .map_err(|error| Failure::opening(&path, &error, options))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::system(format!("`{}`", path.display()), &error)),
    };
    let found = package.package_hash().to_string();
    if found != offer.release.package_hash {
        return Err(Failure::refused(format!(
            "`{}` is installed with PackageHash {found}, `{}` has it with {}",
            offer.identity, offer.source, offer.release.package_hash
        ))
        .hint("a version has one package for ever: somebody has published another one"));
    }
    let owner = store.owner;
    let installed = store::Installed { owner, identity: offer.identity.clone(), path };
    Ok(Some(Placed { installed, package, was_there: true }))
}

/// Holds the file against what was announced: size, then SHA-256.
fn check(offer: &Offer, file: &Path) -> Result<(), Failure> {
    let (size, sha256) = fs::File::open(file)
        .and_then(|file| hash(&file))
        .map_err(|error| Failure::environment(format!("`{}`: {error}", file.display())))?;
    let told = &offer.release;
    if (size, Some(sha256)) == (told.size, Sha256::from_hex(&told.sha256)) {
        return Ok(());
    }
    let message = format!(
        "{size} bytes with SHA-256 {sha256} came, {} bytes with {} were announced",
        told.size, told.sha256
    );
    Err(mismatch(offer, &message))
}

/// Holds a package against what was announced: its name, PackageHash and signer.
fn agrees(offer: &Offer, package: &Package<fs::File>, identity: &Identity) -> Result<(), Failure> {
    if *identity != offer.identity {
        return Err(mismatch(offer, &format!("the package says that it is `{identity}`")));
    }
    let hash = package.package_hash().to_string();
    if hash != offer.release.package_hash {
        let message = format!("its PackageHash is {hash}, another one was announced");
        return Err(mismatch(offer, &message));
    }
    // Under `disabled` nobody knows whose signature it is.
    if let Some(signer) = Signer::of(package.signature())
        && !offer.release.key_ids.is_empty()
        && !offer.release.key_ids.iter().any(|told| signer.is(told))
    {
        let told = offer.release.key_ids.join("`, `");
        let message = format!("it is signed by {signer}, `{told}` was announced");
        return Err(mismatch(offer, &message));
    }
    Ok(())
}

fn mismatch(offer: &Offer, message: &str) -> Failure {
    let Offer { identity, source, .. } = offer;
    let message = format!("`{identity}` of `{source}`: {message} (PACKAGE_MISMATCH)");
    Failure::new(Exit::Signature, message)
}

/// `$XDG_STATE_HOME`, or `$HOME/.local/state`.
fn state_home() -> Option<PathBuf> {
    let absolute =
        |key: &str| std::env::var_os(key).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
}

fn no_folder(variable: &str) -> Failure {
    Failure::environment(format!("neither {variable} nor HOME is an absolute path"))
}
