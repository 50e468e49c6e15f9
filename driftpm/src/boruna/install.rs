//! `resolve` and `install`: from a project to its lockfile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::{Error, Failure};
use super::files;
use super::hash::Integrity;
use super::lockfile::{LOCKFILE_NAME, Lockfile, ORIGINAL_LOCKFILE_NAME};
use super::manifest::MANIFEST_NAME;
use super::name::PackageId;
use super::parallel;
use super::policy::{POLICY_NAME, Policies};
use super::project::Project;
use super::read_ahead::resolve_and_hash;
use super::registry::Registry;
use super::resolve::Resolution;

/// Which file is a project's lockfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockfileName {
    name: String,
    fall_back: bool,
}

impl Default for LockfileName {
    /// The specification's name; where only the original's file is there, that one is read.
    fn default() -> Self {
        Self { name: LOCKFILE_NAME.to_string(), fall_back: true }
    }
}

impl LockfileName {
    /// The lockfile of the given name and no other.
    ///
    /// # Errors
    ///
    /// A name that is not a plain file name, or one that has another meaning.
    pub fn new(name: &str) -> Result<Self, Error> {
        let odd = matches!(name, "" | "." | ".." | MANIFEST_NAME | POLICY_NAME);
        if odd || name.contains(['/', '\0']) {
            return Err(Error::Request(format!(
                "invalid lockfile name '{name}': must be a file name other than {MANIFEST_NAME} \
                 and {POLICY_NAME}"
            )));
        }
        Ok(Self { name: name.to_string(), fall_back: false })
    }

    /// Where the lockfile of `project` is written.
    #[must_use]
    pub fn to_write(&self, project: &Path) -> PathBuf {
        project.join(&self.name)
    }

    /// The name of the file from which the lockfile of `project` is read.
    #[must_use]
    pub fn name_to_read(&self, project: &Path) -> &str {
        let other = self.fall_back
            && !files::occupied(&project.join(&self.name))
            && files::occupied(&project.join(ORIGINAL_LOCKFILE_NAME));
        if other { ORIGINAL_LOCKFILE_NAME } else { &self.name }
    }

    /// Whether a file of this name is, or may be, the lockfile.
    #[must_use]
    pub fn matches(&self, file_name: &str) -> bool {
        file_name == self.name || file_name == ORIGINAL_LOCKFILE_NAME || file_name == LOCKFILE_NAME
    }
}

/// A project's closure with everything that was computed about it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The packages and their order.
    pub resolution: Resolution,
    /// Their content hashes, from their files.
    pub hashes: BTreeMap<PackageId, Integrity>,
}

impl Plan {
    /// Resolves a project and hashes its closure.
    ///
    /// # Errors
    ///
    /// Those of [`resolve`](super::resolve::resolve), and `read src/…` or `read dir …` of the first package in install
    /// order that can't be read.
    pub fn make(project: &Project, registry: &Registry) -> Result<Self, Error> {
        let (resolution, hashes) = resolve_and_hash(&project.manifest, registry)?;
        Ok(Self { resolution, hashes })
    }

    /// The lockfile that says so.
    #[must_use]
    pub fn lockfile(&self) -> Lockfile<'_> {
        Lockfile::new(&self.resolution, &self.hashes)
    }

    /// Packages whose `HASH` or `integrity` is not what their files and dependencies give.
    #[must_use]
    pub fn hash_failures(&self, registry: &Registry) -> Vec<Failure> {
        let order = &self.resolution.order;
        let recorded = parallel::each(order, |id| registry.recorded_hash(id));
        let mut failed: BTreeSet<&PackageId> = BTreeSet::new();
        let mut failures = Vec::new();
        for (id, recorded) in order.iter().zip(recorded) {
            let (Some(hash), Some(manifest)) =
                (self.hashes.get(id), self.resolution.packages.get(id))
            else {
                continue;
            };
            let computed = hash.as_str();
            let reason = match recorded {
                Err(error) => format!("read HASH: {error}"),
                Ok(None) => "HASH file not found".to_string(),
                Ok(Some(text)) if text != computed => {
                    let cause = manifest.dependency_ids().find(|id| failed.contains(id));
                    cause.map_or_else(
                        || format!("hash mismatch: HASH says {text}, its files give {computed}"),
                        |cause| format!("hash mismatch, as its dependency {cause} failed"),
                    )
                }
                Ok(Some(_)) => match &manifest.integrity {
                    Some(text) if text != computed => {
                        format!("integrity mismatch: the manifest says {text}, HASH {computed}")
                    }
                    _ => continue,
                },
            };
            failed.insert(id);
            failures.push(Failure { id: id.to_string(), reason });
        }
        failures
    }
}

/// Resolves a project and writes its lockfile.
///
/// # Errors
///
/// Those of [`Project::load_checked`], [`Registry::open`], [`Plan::make`], [`Lockfile::save`].
pub fn resolve_project(
    directory: &Path,
    registry: &Path,
    lockfile: &LockfileName,
) -> Result<Plan, Error> {
    let project = Project::load_checked(directory)?;
    let registry = Registry::open(registry)?;
    let plan = Plan::make(&project, &registry)?;
    plan.lockfile().save(&lockfile.to_write(directory))?;
    Ok(plan)
}

/// How to install.
#[derive(Debug, Clone, Default)]
pub struct InstallOptions {
    /// Demand a lockfile that says what the dependencies resolve to, and write nothing.
    pub locked: bool,
    /// As the original: write the lockfile before the policy is looked at, and leave the
    /// project's own capabilities out of the policy.
    pub compat: bool,
    /// The lockfile.
    pub lockfile: LockfileName,
}

/// Resolves a project, checks every package's hash and the policy, and writes the lockfile,
/// or with `locked` compares it.
///
/// # Errors
///
/// Those of [`resolve_project`], [`Error::Hashes`], those of [`Policies`], and with `locked`
/// those of [`read_lockfile`] and [`compare`].
pub fn install(directory: &Path, registry: &Path, options: &InstallOptions) -> Result<Plan, Error> {
    let project = Project::load_checked(directory)?;
    let registry = Registry::open(registry)?;
    let locked =
        if options.locked { Some(read_lockfile(directory, &options.lockfile)?) } else { None };
    let plan = Plan::make(&project, &registry)?;
    if let Some((name, lockfile)) = &locked {
        compare(name, lockfile, &plan.lockfile())?;
    }
    let failures = plan.hash_failures(&registry);
    if !failures.is_empty() {
        return Err(Error::Hashes(failures));
    }
    let write = || match locked {
        Some(_) => Ok(()),
        None => plan.lockfile().save(&options.lockfile.to_write(directory)),
    };
    let check = || {
        let policies = Policies::load(directory, &project.text)?;
        let root = (!options.compat).then_some(&project.manifest);
        policies.check(root, &plan.resolution)
    };
    if options.compat {
        write()?;
        check()?;
    } else {
        check()?;
        write()?;
    }
    Ok(plan)
}

/// The lockfile of a project, with the name of its file.
///
/// # Errors
///
/// [`Error::Lockfile`] when there is none, and those of [`Lockfile::load`].
pub fn read_lockfile(
    directory: &Path,
    name: &LockfileName,
) -> Result<(String, Lockfile<'static>), Error> {
    let name = name.name_to_read(directory);
    match Lockfile::load(&directory.join(name)) {
        Ok(lockfile) => Ok((name.to_string(), lockfile)),
        Err(Error::Io { reason, .. }) if files::is_absent(&reason) => Err(Error::Lockfile(
            format!("lockfile {name} not found: run `boruna-pkg resolve` to write it"),
        )),
        Err(error) => Err(error),
    }
}

/// That a lockfile says what a plan came to.
///
/// # Errors
///
/// [`Error::LockfileDiffers`].
pub fn compare(name: &str, found: &Lockfile<'_>, wanted: &Lockfile<'_>) -> Result<(), Error> {
    let difference = found.difference(wanted);
    if difference.is_empty() {
        Ok(())
    } else {
        Err(Error::LockfileDiffers { name: name.to_string(), difference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockfile_names() {
        for name in ["llm.lock.json", "x", ".lock"] {
            assert!(LockfileName::new(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "/x", "package.ax.json", "policy.ax.json", "a\0"] {
            assert!(LockfileName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_originals_lockfile_is_read_when_it_is_the_only_one() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let name = LockfileName::default();
        assert_eq!(name.name_to_read(dir.path()), "ax.lock.json");
        std::fs::write(dir.path().join("llm.lock.json"), "")?;
        assert_eq!(name.name_to_read(dir.path()), "llm.lock.json");
        std::fs::write(dir.path().join("ax.lock.json"), "")?;
        assert_eq!(name.name_to_read(dir.path()), "ax.lock.json");
        assert_eq!(name.to_write(dir.path()), dir.path().join("ax.lock.json"));
        Ok(())
    }
}
