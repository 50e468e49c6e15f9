//! What desktops compute from the files: their own programs do that, where they are installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Record;

/// Which program keeps which folder's computed files, and what those are named.
const DATABASES: [(&str, &str, &[&str]); 2] = [
    ("update-desktop-database", "applications", &["mimeinfo.cache"]),
    (
        "update-mime-database",
        "mime",
        &[
            "XMLnamespaces",
            "aliases",
            "generic-icons",
            "globs",
            "globs2",
            "icons",
            "magic",
            "mime.cache",
            "subclasses",
            "treemagic",
            "types",
            "version",
        ],
    ),
];

/// Has the databases of the folders computed anew in which files of a record are or were.
pub(super) fn update(data_home: &Path, record: &Record) {
    for (program, folder, _) in DATABASES {
        let folder = data_home.join(folder);
        if !record.files.iter().any(|file| file.path.starts_with(&folder)) || !folder.is_dir() {
            continue;
        }
        let status = Command::new(program)
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        // Desktops without the program look into the folder themselves.
        if let Ok(status) = status
            && !status.success()
        {
            eprintln!("warning: `{program} {}` failed: {status}", folder.display());
        }
    }
}

/// Removes what was computed in folders that were made for a package, and that hold nothing else
/// any more.
pub(super) fn forget(folders: &[PathBuf]) {
    for (_, name, computed) in DATABASES {
        for folder in folders.iter().filter(|folder| folder.ends_with(name)) {
            let is_ours = |path: &Path| {
                path.file_name()
                    .and_then(|name| name.to_str())
                    .is_some_and(|name| computed.contains(&name))
            };
            let entries: Vec<PathBuf> = fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            // A folder among them holds something, unless it was made for the same package.
            let empty = |path: &Path| {
                path.is_dir()
                    && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
            };
            if entries.iter().all(|path| is_ours(path) || empty(path)) {
                for path in entries {
                    // What can't be removed stays, and the folder with it.
                    let _removed =
                        if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
                }
            }
        }
    }
}
