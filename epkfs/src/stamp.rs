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
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use epk_format::digest::Sha256;
use epk_format::package::Stamp;
use epk_format::{Error, Format, OpenOptions, Package};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

/// The folders below the cache.
const FOLDERS: [&str; 2] = ["epk", "verified"];
/// How folders are opened.
const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What a stamp's file says that it is.
const SCHEMA: &str = "epk.verified/1";
/// More bytes than a stamp's file ever has.
const FILE_BYTES: u64 = 4096;
/// An image that changed in the last seconds might change again within a tick of its clock.
const SETTLED: u64 = 2;
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
    let Some(before) = is_format_1(&image).then(|| Identity::of(&image)).flatten() else {
        return Package::open(image, options);
    };
    let known = read(cache, &before);
    let package = Package::open(image, &OpenOptions { stamp: known, ..options.clone() })?;
    let unchanged = Identity::of(package.source()) == Some(before);
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

/// What stat(2) says of an image, and what changes when somebody changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// `None` of anything but a regular file.
    fn of(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether the last change, which nobody can set, was long enough ago that the next one will
    /// have another time.
    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        u64::try_from(self.changed.0).is_ok_and(|changed| changed.saturating_add(SETTLED) < now)
    }

    /// The name of its stamp: one for each image, replaced when the image is.
    fn name(&self) -> String {
        format!("{:x}-{:x}", self.device, self.inode)
    }
}

/// A stamp's file.
#[derive(Serialize, Deserialize)]
struct Record {
    schema: String,
    #[serde(flatten)]
    image: Identity,
    package_hash: String,
    held_hash: String,
}

fn read(cache: &Path, image: &Identity) -> Option<Stamp> {
    let folder = open_folder(cache, false).ok()?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(&folder, image.name(), flags, Mode::empty()).ok()?;
    check_ours(&file).ok()?;
    let file = File::from(file);
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES).read_to_end(&mut text).ok()?;
    let record: Record = serde_json::from_slice(&text).ok()?;
    let (package_hash, held_hash) =
        (Sha256::from_hex(&record.package_hash)?, Sha256::from_hex(&record.held_hash)?);
    let fits = record.schema == SCHEMA && record.image == *image;
    fits.then_some(Stamp { package_hash, held_hash })
}

/// Writes a stamp under another name first: nobody sees half of one. It isn't synced: what a
/// crash makes of it is no stamp, and costs a hash.
fn write(cache: &Path, image: &Identity, stamp: &Stamp) -> io::Result<()> {
    let folder = open_folder(cache, true)?;
    let record = Record {
        schema: SCHEMA.into(),
        image: *image,
        package_hash: stamp.package_hash.to_hex(),
        held_hash: stamp.held_hash.to_hex(),
    };
    let text = serde_json::to_vec(&record).map_err(io::Error::other)?;
    let temporary = format!(".{}-{}.tmp", image.name(), std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What a killed process of the same number left.
    let _absent = unlinkat(&folder, &temporary, AtFlags::empty());
    let file = openat(&folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
    let written = File::from(file)
        .write_all(&text)
        .and_then(|()| Ok(renameat(&folder, &temporary, &folder, image.name())?));
    if written.is_err() {
        let _left = unlinkat(&folder, &temporary, AtFlags::empty());
    }
    written.and_then(|()| tidy(&folder))
}

/// Removes the older half of too many stamps.
fn tidy(folder: &OwnedFd) -> io::Result<()> {
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

/// The folder of stamps. Only one that is this user's alone is one.
fn open_folder(cache: &Path, make: bool) -> io::Result<OwnedFd> {
    if make {
        DirBuilder::new().recursive(true).mode(0o700).create(cache)?;
    }
    let mut folder = openat(CWD, cache, FOLDER, Mode::empty())?;
    check_ours(&folder)?;
    for name in FOLDERS {
        if make {
            match mkdirat(&folder, name, Mode::RWXU) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        folder = openat(&folder, name, FOLDER, Mode::empty())?;
        check_ours(&folder)?;
    }
    Ok(folder)
}

/// Whether an open file or folder is this user's, and nobody else can write it. An access list
/// that lets somebody shows in the group's bits (acl(5)).
fn check_ours(file: impl AsFd) -> io::Result<()> {
    let stat = fstat(file)?;
    let others = Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH);
    if stat.st_uid == geteuid().as_raw() && !others {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "others can write it"))
    }
}
