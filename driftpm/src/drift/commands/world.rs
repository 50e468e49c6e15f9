//! What commands on projects need of the machine: the binary knows, the library does not.

use std::path::{Path, PathBuf};

use super::super::native::Sandbox;
use super::super::platform::Platform;
use crate::problem::Problem;
use crate::transport::Settings;

/// The machine.
pub trait World {
    /// What it is.
    fn platform(&self) -> Platform;

    /// The folders in which programs are looked for.
    fn search_path(&self) -> Vec<PathBuf>;

    /// Where compilers of native parts run.
    fn sandbox(&self) -> &dyn Sandbox;

    /// Mounts an EPK image on an empty folder.
    ///
    /// # Errors
    /// `MOUNT_FAILED`
    fn mount(&self, image: &Path, folder: &Path) -> Result<(), Problem>;

    /// How servers are reached.
    fn network(&self) -> Settings;

    /// The folder for what programs remember about the user, `~/.local/state`.
    fn state_dir(&self) -> Option<PathBuf>;

    /// The folder for what programs could get again, `~/.cache`.
    fn cache_dir(&self) -> Option<PathBuf>;

    /// Puts a question to the user that is answered by yes or no; `None` if nobody can be asked.
    fn asker(&self) -> Option<fn(&str) -> bool>;
}
