//! Looking for everything that is wrong with a repository, before somebody else does.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use driftpm::index::{EPK_KIND, Release, Statement, verify};
use epk_format::signature::Policy;
use epk_format::{OpenOptions, Package};

use super::release::hash;
use super::{PACKAGES, failure, now, read_index};
use crate::deep;
use crate::events;
use crate::exit::{Exit, Failure};
use crate::input::signature_words;
use crate::store::Identity;

/// Something that is wrong.
pub(crate) struct Finding {
    /// A stable code.
    pub(crate) code: &'static str,
    /// The package's name and version, or a file.
    pub(crate) about: String,
    pub(crate) message: String,
}

/// What was looked at, and what was found.
pub(crate) struct Checked {
    pub(crate) packages: usize,
    pub(crate) statement: Option<Statement>,
    pub(crate) key_ids: Vec<String>,
    pub(crate) findings: Vec<Finding>,
}

/// Checks index, statement and each package. Of the keys in `trusted` one must have signed, if
/// there are any.
pub(crate) fn check(folder: &Path, trusted: &[String]) -> Result<Checked, Failure> {
    let (bytes, index) = read_index(folder)?;
    let path = folder.join(driftpm::index::EPK_INDEX);
    let mut findings = Vec::new();
    let (statement, key_ids) = match verify(&path, &bytes, EPK_KIND, now()) {
        Ok(signed) => (Some(signed.statement), signed.signers.into_keys().collect()),
        Err(problem) if failure(&problem).exit == Exit::Signature => {
            let about = problem.file.clone().unwrap_or_else(|| path.display().to_string());
            let message = problem.message.clone();
            findings.push(Finding { code: problem.code, about, message });
            (None, Vec::new())
        }
        Err(problem) => return Err(failure(&problem)),
    };
    if statement.is_some() && !trusted.is_empty() && !key_ids.iter().any(|id| trusted.contains(id))
    {
        findings.push(Finding {
            code: "SIGNER_CHANGED",
            about: path.display().to_string(),
            message: format!("signed by `{}`, none of the keys given", key_ids.join("`, `")),
        });
    }
    let mut files = BTreeSet::new();
    let mut packages = 0;
    for (name, releases) in &index.packages {
        for (version, release) in releases {
            packages += 1;
            files.insert(release.file.clone());
            let identity = Identity { name: name.clone(), version: version.clone() };
            if let Err((code, message)) = check_release(folder, &identity, release) {
                findings.push(Finding { code, about: identity.to_string(), message });
            }
        }
    }
    findings.extend(strays(folder, &files)?);
    Ok(Checked { packages, statement, key_ids, findings })
}

/// The first thing that is wrong with a package, with its code.
fn check_release(
    folder: &Path,
    identity: &Identity,
    release: &Release,
) -> Result<(), (&'static str, String)> {
    let path = folder.join(&release.file);
    let unreadable = |error: std::io::Error| ("FILE_ERROR", format!("`{}`: {error}", release.file));
    let other = |what: &str, found: String, told: &str| {
        Err(("PACKAGE_MISMATCH", format!("{what} is `{found}`, the index says `{told}`")))
    };
    let (size, sha256) = File::open(&path).and_then(|file| hash(&file)).map_err(unreadable)?;
    if size != release.size {
        return other("the size", size.to_string(), &release.size.to_string());
    }
    if sha256.to_string() != release.sha256 {
        return other("SHA-256", sha256.to_string(), &release.sha256);
    }
    let options = OpenOptions { signature: Policy::Optional, ..OpenOptions::default() };
    let bad = |error: &epk_format::Error| {
        events::refused(&path, error);
        ("PACKAGE_INVALID", error.to_string())
    };
    let file = File::open(&path).map_err(unreadable)?;
    let package = Package::open(file, &options).map_err(|error| bad(&error))?;
    if let Some(first) = package.audit().into_iter().chain(deep::check(&package).1).next() {
        return Err(bad(&first));
    }
    events::opened(&path, &package);
    let manifest = package.parse_manifest().map_err(|error| {
        events::manifest_refused(&path, &error);
        ("PACKAGE_INVALID", error.to_string())
    })?;
    let key_id = signature_words(package.signature()).1.unwrap_or_default();
    for (what, found, told) in [
        ("the name", &manifest.name, &identity.name),
        ("the version", &manifest.version, &identity.version),
        ("arch", &manifest.arch, &release.arch),
        ("kernel_api", &manifest.kernel_api, &release.kernel_api),
        ("the format", &package.format().to_string(), &release.format),
        ("PackageHash", &package.package_hash().to_string(), &release.package_hash),
        ("the signer", &key_id, &release.key_ids.join(" ")),
    ] {
        if found != told {
            return other(what, found.clone(), told);
        }
    }
    if package.head_size() != release.head_size {
        return other(
            "the size of the head",
            format!("{:?}", package.head_size()),
            &format!("{:?}", release.head_size),
        );
    }
    if !manifest.commands.keys().eq(&release.commands) {
        let found: Vec<&str> = manifest.commands.keys().map(String::as_str).collect();
        return other("the list of commands", found.join(" "), &release.commands.join(" "));
    }
    Ok(())
}

/// Files beside the packages that the index does not know.
fn strays(folder: &Path, files: &BTreeSet<String>) -> Result<Vec<Finding>, Failure> {
    let packages = folder.join(PACKAGES);
    let failed = |error: std::io::Error| {
        Failure::system(format!("cannot list `{}`", packages.display()), &error)
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(&packages).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let file = format!("{PACKAGES}/{name}");
        if !files.contains(&file) {
            let message = "the index does not have it".to_owned();
            found.push(Finding { code: "FILE_UNKNOWN", about: file, message });
        }
    }
    found.sort_by(|left, right| left.about.cmp(&right.about));
    Ok(found)
}
