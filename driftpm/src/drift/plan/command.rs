//! The compiler's command line: the options that the existing compiler knows, and for programs two
//! more. The same plan makes the same words.

use std::path::{Path, PathBuf};

use super::super::project::{Kind, ProjectFile, Target};
use crate::relpath::shown;

/// What a command line is made of.
pub(super) struct Words<'a> {
    pub(super) project: &'a ProjectFile,
    pub(super) target: &'a Target,
    pub(super) folder: &'a Path,
    pub(super) package_target: &'a str,
    pub(super) artifact: &'a Path,
    /// Package files, others' first.
    pub(super) packages: &'a [PathBuf],
    /// Folders from which unsigned packages are accepted, beside the usual one.
    pub(super) unsigned: &'a [PathBuf],
}

/// The arguments, all paths from the project's root.
pub(super) fn arguments(words: &Words<'_>) -> Vec<String> {
    let Words { project, target, folder, package_target, artifact, packages, unsigned } = words;
    let mut list: Vec<String> = Vec::new();
    let mut option = |name: &str, value: String| list.extend([name.to_owned(), value]);
    match target.kind {
        Kind::Package => {
            option("--emit-package", shown(artifact));
            option("--package-id", target.name.clone());
            option("--package-version", target.version.to_string());
            option("--package-target", (*package_target).to_owned());
            if let Some(epoch) = &project.epoch {
                option("--package-build-epoch", epoch.clone());
            }
        }
        Kind::Exec => {
            option("-o", shown(artifact));
            option("--entry", target.entry.clone().unwrap_or_default());
        }
    }
    for package in *packages {
        option("--package-root", shown(package));
    }
    if let Some(store) = &project.trust.store {
        option("--trust-store", store.to_string());
    }
    for folder in *unsigned {
        option("--allow-unsigned-from", shown(folder));
    }
    if project.trust.require_signatures {
        list.push("--require-signatures".to_owned());
    }
    list.extend(target.modules.values().map(|path| shown(&path.below(folder))));
    list
}
