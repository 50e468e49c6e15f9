//! What commands on projects need of the machine: the binary knows, the library does not.

use std::path::{Path, PathBuf};

use super::super::native::Sandbox;
use super::super::platform::Platform;
use super::super::problem::Problem;
use super::super::project::RepositorySpec;
use super::super::resolve::VersionSource;

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

    /// Opens a repository over a network.
    ///
    /// # Errors
    /// `REPOSITORY_UNSUPPORTED`, or why it cannot be used
    fn remote(&self, spec: &RepositorySpec) -> Result<Box<dyn VersionSource>, Problem>;
}
