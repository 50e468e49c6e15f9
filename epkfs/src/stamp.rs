//! Paying for the hash of a whole image once.
//!
//! An image of format 1.0 can be trusted only when all of it was hashed. What that vouched for
//! ([`Stamp`]) is kept in the user's cache, in a file for each image, with what stat(2) said of the
//! image. As long as that says the same, the next opening hashes only what it holds in memory;
//! blocks are compared with their own hashes when they are read, as always.
//!
//! Who can write a stamp can forge a package. So stamps count only in folders that the user owns
//! and nobody else can write, reached without a symbolic link. Whatever is wrong with one, or with
//! the cache, costs only time.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use epk_format::digest::Sha256;
use epk_format::package::Stamp;
use epk_format::{Error, Format, OpenOptions, Package};
use rustix::fs::{AtFlags, Dir, unlinkat};
use serde::{Deserialize, Serialize};

use crate::own_cache::{FileState, OwnFolder};

/// The folders below the cache.
const FOLDERS: [&str; 2] = ["epk", "verified"];
/// What a stamp's file says that it is.
const SCHEMA: &str = "epk.verified/1";
/// More bytes than a stamp's file ever has.
const FILE_BYTES: u64 = 4096;
/// So many stamps are kept at most; then half of them go, the oldest first.
const MOST: usize = 512;

/// The user's cache: `$XDG_CACHE_HOME`, or `$HOME/.cache`, the first that is an absolute path (XDG
/// Base Directory Specification). The arguments are the values of the variables.
#[must_use]
pub fn cache_home(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|p| p.is_absolute());
    absolute(xdg).or_else(|| absolute(home).map(|home| home.join(".cache")))
}

/// Opens a package as [`Package::open`] does, with a stamp from below the folder `cache` if it is
/// of format 1.0, and leaves one there if it had to be hashed.
///
/// # Errors
/// Those of [`Package::open`].
pub fn open(
    image: File,
    options: &OpenOptions,
    cache: &Path,
    now: SystemTime,
) -> Result<Package<File>, Error> {
    let Some(before) = is_format_1(&image).then(|| state_of(&image)).flatten() else {
        return Package::open(image, options);
    };
    let known = read(cache, &before);
    let package = Package::open(image, &OpenOptions { stamp: known, ..options.clone() })?;
    let unchanged = state_of(package.source()) == Some(before);
    if let Some(stamp) = package.stamp()
        && package.format() == Format::V1
        && known != Some(stamp)
        && unchanged
        && before.is_settled(now)
        && let Err(error) = write(cache, &before, &stamp)
    {
        tracing::debug!(%error, "no stamp was left");
    }
    Ok(package)
}

fn is_format_1(image: &File) -> bool {
    let mut head = [0; 8];
    image.read_exact_at(&mut head, 0).is_ok() && head == *b"EPK1\0\0\x01\0"
}

/// `None` of anything but a regular file.
fn state_of(file: &File) -> Option<FileState> {
    file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| FileState::of(&metadata))
}

/// The name of an image's stamp: one for each image, replaced when the image is.
fn name_of(image: &FileState) -> String {
    format!("{:x}-{:x}", image.device, image.inode)
}

/// A stamp's file.
#[derive(Serialize, Deserialize)]
struct Record {
    schema: String,
    #[serde(flatten)]
    image: FileState,
    package_hash: String,
    held_hash: String,
}

fn read(cache: &Path, image: &FileState) -> Option<Stamp> {
    let folder = OwnFolder::open(cache, &FOLDERS, false).ok()?;
    let text = folder.read(&name_of(image), FILE_BYTES).ok()?;
    let record: Record = serde_json::from_slice(&text).ok()?;
    let (package_hash, held_hash) =
        (Sha256::from_hex(&record.package_hash)?, Sha256::from_hex(&record.held_hash)?);
    let fits = record.schema == SCHEMA && record.image == *image;
    fits.then_some(Stamp { package_hash, held_hash })
}

fn write(cache: &Path, image: &FileState, stamp: &Stamp) -> io::Result<()> {
    let folder = OwnFolder::open(cache, &FOLDERS, true)?;
    let record = Record {
        schema: SCHEMA.into(),
        image: *image,
        package_hash: stamp.package_hash.to_hex(),
        held_hash: stamp.held_hash.to_hex(),
    };
    let text = serde_json::to_vec(&record).map_err(io::Error::other)?;
    folder.write(&name_of(image), &text)?;
    tidy(&folder)
}

/// Removes the older half of too many stamps.
fn tidy(folder: &OwnFolder) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    if names.len() <= MOST {
        return Ok(());
    }
    names.sort_by_key(|name| {
        let stat = rustix::fs::statat(folder, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW);
        stat.map_or(0, |stat| stat.st_mtime)
    });
    for name in names.iter().take(names.len() - MOST / 2) {
        unlinkat(folder, name.as_c_str(), AtFlags::empty())?;
    }
    Ok(())
}
