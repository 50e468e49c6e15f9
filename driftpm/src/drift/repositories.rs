//! The repositories of a project, opened.

use std::path::PathBuf;

use super::project::{Project, RepositoryKind, RepositorySpec};
use super::resolve::{DirectorySource, VersionSource};
use crate::problem::Problem;

/// Opens repositories over a network.
pub type OpenRemote<'a> = dyn Fn(&RepositorySpec) -> Result<Box<dyn VersionSource>, Problem> + 'a;

/// What opening repositories needs of the world.
#[derive(Default)]
pub struct Surroundings<'a> {
    /// Where a toolchain's packages lie, if the repository of type `toolchain` names no folder.
    pub toolchain_packages: Option<PathBuf>,
    /// Opens `http` and `s3`; without it they are refused.
    pub remote: Option<&'a OpenRemote<'a>>,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("toolchain_packages", &self.toolchain_packages)
            .field("remote", &self.remote.is_some())
            .finish()
    }
}

/// The repositories of a project, best first.
pub struct Repositories(Vec<Box<dyn VersionSource>>);

impl std::fmt::Debug for Repositories {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|source| source.name())).finish()
    }
}

impl Repositories {
    /// Opens all repositories of `project`. Nothing is read yet.
    ///
    /// # Errors
    /// `REPOSITORY_UNSUPPORTED`, and what opening a remote one says
    pub fn open(project: &Project, around: &Surroundings<'_>) -> Result<Self, Problem> {
        let specs = &project.file.repositories;
        let sources = specs.iter().map(|spec| open(project, spec, around));
        Ok(Self(sources.collect::<Result<Vec<_>, Problem>>()?))
    }

    /// All of them, best first.
    #[must_use]
    pub fn all(&self) -> Vec<&dyn VersionSource> {
        self.0.iter().map(AsRef::as_ref).collect()
    }

    /// The one of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&dyn VersionSource> {
        self.0.iter().map(AsRef::as_ref).find(|source| source.name() == name)
    }
}

fn open(
    project: &Project,
    spec: &RepositorySpec,
    around: &Surroundings<'_>,
) -> Result<Box<dyn VersionSource>, Problem> {
    let folder = match (spec.kind, &spec.url) {
        (RepositoryKind::Dir | RepositoryKind::Toolchain, Some(path))
            if !path.starts_with("file://") =>
        {
            project.root.join(path)
        }
        (RepositoryKind::Toolchain, None) => {
            around.toolchain_packages.clone().ok_or_else(|| {
                let message = "the toolchain's packages are nowhere to be found";
                Problem::new("REPOSITORY_UNREADABLE", message).about(spec.name.as_str())
            })?
        }
        (_, _) => {
            let Some(remote) = around.remote else {
                let message =
                    format!("repositories of type `{}` need a network", spec.kind.as_str());
                return Err(
                    Problem::new("REPOSITORY_UNSUPPORTED", message).about(spec.name.as_str())
                );
            };
            return remote(spec);
        }
    };
    Ok(Box::new(DirectorySource::new(&spec.name, &folder)))
}
