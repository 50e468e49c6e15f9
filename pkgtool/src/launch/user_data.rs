//! The folder that an application may write: `/user-data` inside, one a package outside.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use crate::exit::Failure;
use crate::store::escape;

/// The usual folder of the package `name`, which may not exist.
pub(crate) fn of_package(name: &str) -> Result<PathBuf, Failure> {
    Ok(data_home()?.join("epk").join("data").join(escape(name)))
}

/// The folder beside the package's file, which goes where that goes.
pub(crate) fn beside(image: &Path) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".data");
    name.into()
}

/// Makes the folder if it isn't there, and refuses one that can't be written.
pub(crate) fn prepare(folder: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::launch(format!("cannot make the data folder `{}`: {error}", folder.display()))
    })?;
    // The application's own to write: better said now than by each application in its own words.
    faccessat(AT_FDCWD, folder, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS).map_err(
        |errno| {
            let error = std::io::Error::from(errno);
            Failure::launch(format!("cannot write the data folder `{}`: {error}", folder.display()))
        },
    )
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
