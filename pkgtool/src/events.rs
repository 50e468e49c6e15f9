//! What the log is told of packages, and of launches: a line of JSON each (`spec/runtime.md` §15).
//! Never arguments, variables or contents, which may be secret.

use std::fs::File;
use std::path::{Path, PathBuf};

use epk_format::manifest::{Manifest, ManifestError};
use epk_format::{Error, Package};
use epkfs::log::{self, Destination};

use crate::exit::Failure;
use crate::input::signature_words;
use crate::isolation::Plan;

/// The variable that names the file of the log.
const VARIABLE: &str = "EPK_LOG";

/// The file that the environment names for the log.
pub(crate) fn file() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Appends the log of this process to the file that the environment names, if it names one.
pub(crate) fn start() -> Result<(), Failure> {
    if let Some(path) = file() {
        log::start(Destination::File(open(&path)?));
    }
    Ok(())
}

/// Opens a log.
pub(crate) fn open(path: &Path) -> Result<File, Failure> {
    let file = File::options().create(true).append(true).open(path);
    file.map_err(|error| Failure::system(format!("`{}`", path.display()), &error))
}

/// A package keeps all rules that are looked at when it is opened.
pub(crate) fn opened(path: &Path, package: &Package<File>) {
    let (signature, key) = signature_words(package.signature());
    tracing::info!(
        target: "epk::validate",
        image = %path.display(),
        package_hash = %format_args!("sha256:{}", package.package_hash()),
        signature,
        key_id = key,
        "valid"
    );
}

/// A package breaks a rule, or can't be read.
pub(crate) fn refused(path: &Path, error: &Error) {
    tracing::warn!(
        target: "epk::validate",
        code = error.code().map_or(-1, |code| i64::from(code.number())),
        code_name = error.code().map_or("IO", |code| code.name()),
        image = %path.display(),
        detail = %error,
        "refused"
    );
}

/// This host can run a package.
pub(crate) fn compatible(path: &Path, manifest: &Manifest) {
    tracing::info!(
        target: "epk::compatibility",
        image = %path.display(),
        name = manifest.name,
        version = manifest.version,
        arch = manifest.arch,
        kernel_api = manifest.kernel_api,
        "compatible"
    );
}

/// A manifest is none, or not for this host.
pub(crate) fn manifest_refused(path: &Path, error: &ManifestError) {
    tracing::warn!(
        target: "epk::compatibility",
        code = error.status.number(),
        code_name = error.status.name(),
        image = %path.display(),
        detail = %error,
        "refused"
    );
}

/// An application is about to begin.
pub(crate) fn launching(image: &Path, target: &str, plan: &Plan, way: &str) {
    tracing::info!(
        target: "epk::launch",
        image = %image.display(),
        program = target,
        isolation = plan.level.name(),
        via = way,
        pid = std::process::id(),
        "launching"
    );
}

/// An application did not begin.
pub(crate) fn not_launched(image: &Path, failure: &Failure) {
    tracing::error!(
        target: "epk::launch",
        image = %image.display(),
        status = failure.exit as u8,
        detail = failure.message(),
        "not launched"
    );
}
