//! `vendor`: from the cache into the project, and the lock that pins it.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;

use epk_format::digest::Sha256;

use super::cache;
use super::container;
use super::identity::PartialIdentity;
use super::index::{Entry, EntryError, Index, Strictness};
use super::lock::{Lock, LockedPackage};
use super::transfer::{
    Claims, StagedPackage, in_order, read_sidecar, sync_directories, sync_staged,
};
use crate::files::{self, MAX_PACKAGE};
use crate::json::{Limit, Value, object};
use crate::keys::sha256_text;
use crate::progress::Progress;
use crate::relpath::shown;

/// Where a project's vendored packages lie.
pub const DEFAULT_DIR: &str = "vendor/driftpkgs";

/// What to vendor, and where to.
#[derive(Clone, Debug)]
pub struct VendorRequest {
    /// The cache.
    pub cache_dir: PathBuf,
    /// Where the packages go.
    pub dest_dir: PathBuf,
    /// Where the lock goes.
    pub lock: PathBuf,
    /// Only these packages; the others keep their place in the lock. None: all.
    pub package_ids: Vec<String>,
}

/// Why a package was not vendored, or nothing was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorError {
    /// The package, or nothing known of it.
    pub identity: PartialIdentity,
    /// A stable code, see `spec/drift.md`.
    pub reason_code: &'static str,
    /// What was found.
    pub message: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct VendorReport {
    /// How many packages are in place.
    pub vendored_count: usize,
    /// What went wrong, sorted by package and code.
    pub errors: Vec<VendorError>,
    /// Whether the lock was written: only if nothing went wrong.
    pub lock_written: bool,
    /// Where the lock goes.
    pub lock_path: String,
}

impl VendorReport {
    /// Whether everything was vendored and locked.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.errors.is_empty()
    }

    /// The JSON report.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let errors = self.errors.iter().map(|error| {
            object([
                ("package_id", error.identity.package_id.clone().unwrap_or_default().into()),
                ("version", error.identity.version.as_deref().into()),
                ("target", error.identity.target.as_deref().into()),
                ("reason_code", error.reason_code.into()),
                ("message", error.message.as_str().into()),
            ])
        });
        object([
            ("ok", self.ok().into()),
            ("vendored_count", self.vendored_count.into()),
            ("error_count", self.errors.len().into()),
            ("lock_written", self.lock_written.into()),
            ("lock_path", self.lock_path.as_str().into()),
            ("errors", Value::Array(errors.collect())),
        ])
    }
}

fn whole(reason_code: &'static str, message: impl Into<String>) -> VendorError {
    let identity = PartialIdentity::default();
    VendorError { identity, reason_code, message: message.into() }
}

/// Vendors, and reports.
#[must_use]
pub fn vendor(request: &VendorRequest, progress: &dyn Progress) -> VendorReport {
    let mut report = VendorReport {
        vendored_count: 0,
        errors: Vec::new(),
        lock_written: false,
        lock_path: shown(&request.lock),
    };
    if let Err(error) = run(request, progress, &mut report) {
        report.errors.push(error);
    }
    report.errors.sort_by(|a, b| {
        let key = |error: &VendorError| {
            (error.identity.package_id.clone().unwrap_or_default(), error.reason_code)
        };
        key(a).cmp(&key(b))
    });
    progress.end();
    report
}

fn run(
    request: &VendorRequest,
    progress: &dyn Progress,
    report: &mut VendorReport,
) -> Result<(), VendorError> {
    // Without a cache there is nothing to guard, and the next line says so.
    let _guard = files::lock_directory(&request.cache_dir).ok();
    let index = cache::read_index(&request.cache_dir)
        .map_err(|error| whole("CACHE_INDEX_INVALID", error.to_string()))?
        .unwrap_or_else(Index::empty);
    let mut lock = base_lock(request)?;
    let wanted: HashSet<&str> = request.package_ids.iter().map(String::as_str).collect();
    for package_id in wanted.iter().filter(|id| index.entry(id).is_none()) {
        let identity =
            PartialIdentity { package_id: Some((*package_id).to_owned()), ..Default::default() };
        let message = "the package is not in the cache's index; `drift fetch` puts it there";
        let message = message.to_owned();
        report.errors.push(VendorError {
            identity,
            reason_code: "REQUESTED_NOT_IN_CACHE",
            message,
        });
    }
    let entries = index.entries();
    if entries.is_empty() && wanted.is_empty() {
        // An empty lock would make the next fetch select nothing, and call that success.
        let message = format!(
            "the cache `{}` has no packages; `drift fetch` comes first",
            shown(&request.cache_dir)
        );
        return Err(whole("NOTHING_TO_VENDOR", message));
    }
    let mut claims = Claims::default();
    let jobs: Vec<Result<Job<'_>, VendorError>> = entries
        .into_iter()
        .filter(|(id, _)| wanted.is_empty() || wanted.contains(id))
        .map(|(id, value)| Job::new(id, value, request, &mut claims))
        .collect();

    progress.begin("vendoring", jobs.len());
    let failed = in_order(
        &jobs,
        progress,
        |job| job.as_ref().map_err(Clone::clone)?.stage(),
        |staged| {
            let staged = staged.iter().flatten().map(|(_, staged)| staged);
            match sync_staged(&request.dest_dir, staged) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(whole("VENDOR_ERROR", error.to_string())),
            }
        },
        |job, prepared| {
            let done = prepared.and_then(|(package, staged)| {
                let job = job.as_ref().map_err(Clone::clone)?;
                staged.commit().map_err(|error| job.error(&error))?;
                Ok(package)
            });
            match done {
                Ok(package) => {
                    report.vendored_count = report.vendored_count.saturating_add(1);
                    lock.insert(package);
                }
                Err(error) => report.errors.push(error),
            }
            ControlFlow::Continue(())
        },
    );
    report.errors.extend(failed);
    let paths = jobs.iter().flatten().map(|job| &job.entry.path);
    if report.vendored_count > 0 {
        let existing = paths.filter(|path| path.below(&request.dest_dir).exists());
        sync_directories(&request.dest_dir, existing)
            .map_err(|e| whole("VENDOR_ERROR", e.to_string()))?;
    }
    if report.errors.is_empty() {
        let written = files::create_dirs(files::parent_of(&request.lock))
            .and_then(|()| files::write_atomically(&request.lock, &lock.to_bytes()));
        written.map_err(|error| whole("VENDOR_ERROR", error.to_string()))?;
        report.lock_written = true;
    }
    Ok(())
}

/// What the lock has before this run adds to it: nothing, unless only some packages are vendored
/// and the others must not fall out of it.
fn base_lock(request: &VendorRequest) -> Result<Lock, VendorError> {
    if request.package_ids.is_empty() {
        return Ok(Lock::default());
    }
    match files::read(&request.lock, Limit::INDEX.file()) {
        Ok(bytes) => Lock::parse(&bytes).map_err(|error| whole("LOCK_INVALID", error.to_string())),
        Err(error) if error.is_missing() => Ok(Lock::default()),
        Err(error) => Err(whole("LOCK_INVALID", error.to_string())),
    }
}

/// A package of the cache that is to be vendored.
struct Job<'a> {
    entry: Entry,
    source_id: String,
    request: &'a VendorRequest,
}

impl<'a> Job<'a> {
    fn new(
        package_id: &str,
        value: &Value,
        request: &'a VendorRequest,
        claims: &mut Claims,
    ) -> Result<Self, VendorError> {
        let error = |reason_code, message: String| VendorError {
            identity: PartialIdentity::of_entry(package_id, value),
            reason_code,
            message,
        };
        let source_id = value
            .as_object()
            .and_then(|entry| entry.text("source_id"))
            .filter(|id| *id != "unknown")
            .ok_or_else(|| {
                let message = "the cache's entry has no `source_id`, so nothing can be locked";
                error("MISSING_SOURCE_ID", message.to_owned())
            })?;
        let entry = Entry::parse(package_id, value, Strictness::Present)
            .map_err(|problem: EntryError| error("VENDOR_ERROR", problem.to_string()))?;
        claims.claim(&entry.path, package_id).map_err(|owner| {
            let message = format!("`{}` is the place of `{owner}` too", entry.path);
            error("VENDOR_ERROR", message)
        })?;
        Ok(Self { entry, source_id: source_id.to_owned(), request })
    }

    fn error(&self, message: &dyn ToString) -> VendorError {
        VendorError {
            identity: (&self.entry.identity).into(),
            reason_code: "VENDOR_ERROR",
            message: message.to_string(),
        }
    }

    /// Reads and checks the package and stages it, with what the lock will say about it.
    fn stage(&self) -> Result<(LockedPackage, StagedPackage), VendorError> {
        let packages_dir = cache::packages_dir(&self.request.cache_dir);
        let path = &self.entry.path;
        let failed = |error: files::FileError| self.error(&error);
        let bytes = files::read_below(&packages_dir, path, MAX_PACKAGE).map_err(failed)?;
        let sha256 = sha256_text(&Sha256::of(&bytes));
        let expected = &self.entry.sha256;
        if !expected.is_empty() && *expected != sha256 {
            let message =
                format!("the cached package has {sha256}, the cache's index says {expected}");
            return Err(self.error(&message));
        }
        let full = container::read_full(&bytes).map_err(|error| self.error(&error))?;
        let identity =
            container::read_identity(&full.manifest).map_err(|error| self.error(&error))?;
        if identity != self.entry.identity {
            let message = format!(
                "the cached package is {identity}, the cache's index says {}",
                self.entry.identity
            );
            return Err(self.error(&message));
        }
        let sidecar = read_sidecar(&packages_dir, path).map_err(failed)?;
        let staged = StagedPackage::write(&self.request.dest_dir, path, &bytes, sidecar.as_deref())
            .map_err(failed)?;
        let texts = |texts: Vec<String>| -> Vec<String> {
            let unique: BTreeSet<String> = texts.into_iter().filter(|t| !t.is_empty()).collect();
            unique.into_iter().collect()
        };
        let package = LockedPackage {
            identity,
            pkg_sha256: sha256,
            sig_sha256: sidecar.map(|bytes| sha256_text(&Sha256::of(&bytes))),
            sig_kids: texts(self.entry.signers.clone()),
            modules: texts(full.modules),
            source_id: self.source_id.clone(),
            path: path.as_str().to_owned(),
        };
        Ok((package, staged))
    }
}
