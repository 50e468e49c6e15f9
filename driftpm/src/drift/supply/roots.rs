//! Package roots: where a compiler's packages are looked for, in one order for everybody.

use std::path::{Path, PathBuf};

use super::super::cache;
use super::super::gate::LOCAL_PACKAGES;
use super::super::image::{Image, is_image};
use super::super::lock1::Locked;
use super::super::resolve::Artifact;
use super::super::transfer::read_sidecar;
use super::super::vendor;
use super::check_locked;
use crate::files::{self, FileError, MAX_PACKAGE};
use crate::json::Limit;
use crate::problem::Problem;
use crate::relpath::{RelPath, package_file_name, shown};

/// One root.
#[derive(Debug)]
pub enum Root {
    /// A directory.
    Directory(PathBuf),
    /// An image, read without being mounted.
    Image(Box<Image>),
}

impl Root {
    /// Opens what lies at `path`.
    ///
    /// # Errors
    /// `IMAGE_INVALID`
    pub fn open(path: &Path) -> Result<Self, Problem> {
        if is_image(path) {
            return Ok(Self::Image(Box::new(Image::open(path)?)));
        }
        Ok(Self::Directory(path.to_owned()))
    }

    /// Its path.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Directory(path) => shown(path),
            Self::Image(image) => image.path().to_owned(),
        }
    }

    /// Package and sidecar at `place`; `None` if there is no package.
    fn read(&self, place: &RelPath) -> Result<Option<Artifact>, Problem> {
        match self {
            Self::Directory(root) => match files::read_below(root, place, MAX_PACKAGE) {
                Ok(package) => Ok(Some(Artifact { package, sidecar: read_sidecar(root, place)? })),
                Err(FileError::Missing(_)) => Ok(None),
                Err(error) => Err(error.into()),
            },
            Self::Image(image) => match image.read(place, MAX_PACKAGE)? {
                None => Ok(None),
                Some(package) => {
                    let sidecar = image.read(&place.sidecar(), Limit::SIDECAR.file())?;
                    Ok(Some(Artifact { package, sidecar }))
                }
            },
        }
    }
}

/// Where a package was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where {
    /// The root's path.
    pub root: String,
    /// The package's path below the root.
    pub place: RelPath,
    /// The file, if it is one; a package inside an image is none until it is mounted.
    pub file: Option<PathBuf>,
}

/// Roots in the order in which they are looked into.
#[derive(Debug)]
pub struct Roots(Vec<Root>);

impl Roots {
    /// The roots of the project in `root`: what was built here, what is vendored, what is cached,
    /// then `explicit` ones in their order.
    ///
    /// # Errors
    /// `IMAGE_INVALID`, `FILE_ERROR` if an explicit one is not there
    pub fn of_project(
        root: &Path,
        build_dir: &Path,
        explicit: &[PathBuf],
    ) -> Result<Self, Problem> {
        let mut roots = vec![
            Root::Directory(local_packages(root, build_dir)),
            Root::Directory(root.join(vendor::DEFAULT_DIR)),
            Root::Directory(cache::packages_dir(&root.join(cache::DEFAULT_DIR))),
        ];
        for path in explicit {
            if !path.exists() {
                return Err(FileError::Missing(shown(path)).into());
            }
            roots.push(Root::open(path)?);
        }
        Ok(Self(roots))
    }

    /// One root alone.
    #[must_use]
    pub fn only(root: Root) -> Self {
        Self(vec![root])
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Root> {
        self.0.iter()
    }

    /// Looks for a locked package. The first root that has a file in one of its places is the one:
    /// if that is not the locked package, nothing else is tried.
    ///
    /// # Errors
    /// `PACKAGE_NOT_PRESENT`, and what [`check_locked`] says
    pub fn find(&self, locked: &Locked) -> Result<(Where, Artifact), Problem> {
        let places = places(locked)?;
        for root in &self.0 {
            for place in &places {
                let Some(artifact) = root.read(place)? else { continue };
                let file = match root {
                    Root::Directory(root) => Some(place.below(root)),
                    Root::Image(_) => None,
                };
                let from = match (&file, root) {
                    (Some(file), _) => shown(file),
                    (None, Root::Image(image)) => image.shown(place),
                    (None, Root::Directory(_)) => place.to_string(),
                };
                check_locked(locked, &artifact.package, artifact.sidecar.as_deref(), &from)?;
                let found = Where { root: root.shown(), place: place.clone(), file };
                return Ok((found, artifact));
            }
        }
        let roots: Vec<String> = self.0.iter().map(|root| format!("`{}`", root.shown())).collect();
        let message = format!("{} is in none of {}", locked.identity, roots.join(", "));
        Err(Problem::new("PACKAGE_NOT_PRESENT", message)
            .about(locked.identity.package_id.as_str())
            .hint("`drift fetch` puts what is locked into the cache"))
    }
}

/// The folder of packages built here.
#[must_use]
pub fn local_packages(root: &Path, build_dir: &Path) -> PathBuf {
    if build_dir == Path::new(super::super::plan::DEFAULT_BUILD_DIR) {
        return root.join(LOCAL_PACKAGES);
    }
    root.join(build_dir).join("localpkgs")
}

/// Where a package may lie below a root: the way of projects, the way of `publish`, and the path
/// in its repository, as `vendor` and `fetch` of format 0 keep it.
fn places(locked: &Locked) -> Result<Vec<RelPath>, Problem> {
    let identity = &locked.identity;
    let mut places = vec![locked.place()?];
    if let Ok(name) = package_file_name(&identity.package_id, &identity.version, &identity.target) {
        places.push(name);
    }
    if let Ok(path) = RelPath::parse(&locked.path)
        && !locked.path.contains("://")
        && !places.contains(&path)
    {
        places.push(path);
    }
    Ok(places)
}
