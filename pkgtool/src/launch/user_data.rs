//! The folder that an application may write: `/user-data` inside, one a package outside.

use std::fmt::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use crate::exit::Failure;

/// The folder of the package `name`, made if it isn't there.
pub(crate) fn prepare(data_home: &Path, name: &str) -> Result<PathBuf, Failure> {
    let folder = data_home.join("epk").join("data").join(folder_name(name));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
        Failure::launch(format!("cannot make the data folder `{}`: {error}", folder.display()))
    })?;
    // The application's own to write: better said now than by each application in its own words.
    faccessat(AT_FDCWD, &folder, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS)
        .map_err(|errno| {
            let error = std::io::Error::from(errno);
            Failure::launch(format!("cannot write the data folder `{}`: {error}", folder.display()))
        })?;
    Ok(folder)
}

/// A name as one path component: every byte but ASCII letters, digits, `-`, `_`, `+` and `.`
/// becomes `%XX`, a leading `.` too. Different names have different folders.
fn folder_name(name: &str) -> String {
    let mut folder = String::new();
    for (at, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || b"-_+".contains(&byte) || (byte == b'.' && at > 0) {
            folder.push(char::from(byte));
        } else {
            let _ = write!(folder, "%{byte:02X}");
        }
    }
    folder
}

/// `$XDG_DATA_HOME`, or `$HOME/.local/share` (XDG Base Directory Specification): the first that
/// is an absolute path.
pub(crate) fn data_home() -> Result<PathBuf, Failure> {
    let absolute = |key: &str| std::env::var_os(key).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .ok_or_else(|| {
            Failure::launch("neither XDG_DATA_HOME nor HOME is an absolute path")
                .hint("set one: the application's data lies below it")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_single_components() {
        let cases = [
            ("org.example.app", "org.example.app"),
            ("..", "%2E."),
            (".", "%2E"),
            ("a/b", "a%2Fb"),
            ("a%2Fb", "a%252Fb"),
            ("ü x", "%C3%BC%20x"),
        ];
        for (name, folder) in cases {
            assert_eq!(folder_name(name), folder);
        }
    }
}
