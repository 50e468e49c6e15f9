//! Publishing: a package is built whole in a hidden directory of the registry and appears
//! under its name in one step, or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::compiler::Compiler;
use super::error::Error;
use super::files;
use super::folder::Folder;
use super::hash::{ContentState, Integrity};
use super::manifest::{MANIFEST_NAME, PackageManifest};
use super::name::PackageId;
use super::project::Project;
use super::registry::{HASH_NAME, Registry, check_manifest};
use super::source_tree::{self, SOURCE_DIRECTORY};

/// The directory of a published package that holds compiled modules.
pub const BYTECODE_DIRECTORY: &str = "bytecode";

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The package.
    pub id: PackageId,
    /// Its content hash.
    pub integrity: Integrity,
    /// The modules that were compiled; none without a compiler.
    pub compiled: Vec<String>,
}

/// Publishes the package in `directory`.
///
/// # Errors
///
/// A broken manifest, a module name that is no file name, a dependency that is not published,
/// a package that is there already, a module without source or with a fault in it, or the
/// system's. The registry is then as it was.
pub fn publish(
    directory: &Path,
    registry: &Path,
    compiler: Option<&Compiler>,
) -> Result<Published, Error> {
    let registry = Registry::open(registry)?;
    let project = Project::load(directory)?;
    let id = project.manifest.checked_id()?;
    let manifest = PackageManifest { integrity: None, ..project.manifest };
    check_modules(&manifest)?;
    let target = registry.package_dir(&id);
    if files::occupied(&target) {
        return Err(Error::AlreadyPublished(id.to_string()));
    }
    let dependencies = published_dependencies(&registry, &id, &manifest)?;

    let staging = Staging::make(&target, registry.root())?;
    let package = staging.path().join("package");
    let work = staging.path().join("work");
    for made in [&package, &work] {
        fs::create_dir(made).map_err(Error::io("create package dir"))?;
    }
    let directories = copy_sources(directory, &package)?;
    let compiled = compile(&manifest, &package, &work, compiler)?;
    let staged = Folder::open(&package).map_err(Error::io("write package"))?;
    let integrity = ContentState::read(&staged, "", &manifest)?
        .finish(dependencies.iter().map(|(name, hash)| (name.as_str(), hash.as_str())));
    let write = |name: &str, text: &str| {
        files::write_new(&package.join(name), text.as_bytes())
            .map_err(Error::io(format!("write {name}")))
    };
    write(HASH_NAME, &integrity.to_string())?;
    let manifest = PackageManifest { integrity: Some(integrity.to_string()), ..manifest };
    write(MANIFEST_NAME, &manifest.to_pretty_json())?;
    for relative in directories.iter().map(String::as_str).chain([""]) {
        files::sync_directory(&package.join(relative)).map_err(Error::io("write package"))?;
    }
    appear(&package, &target, &id)?;
    Ok(Published { id, integrity, compiled })
}

/// Refuses module names from which no path inside the package can be built.
fn check_modules(manifest: &PackageManifest) -> Result<(), Error> {
    for module in &manifest.exposed_modules {
        let odd = module.is_empty()
            || module.starts_with('.')
            || module.contains(['/', '\\'])
            || module.chars().any(char::is_control);
        if odd {
            return Err(Error::Publish(format!(
                "invalid module name {module:?}: must be a file name without '/', '\\' and a \
                 leading dot"
            )));
        }
    }
    Ok(())
}

/// The hashes of the direct dependencies by name. A package's hash is made of theirs, so they
/// have to be there first; this also keeps cycles out.
fn published_dependencies(
    registry: &Registry,
    id: &PackageId,
    manifest: &PackageManifest,
) -> Result<Vec<(String, Integrity)>, Error> {
    let mut found = Vec::new();
    for dependency in manifest.dependency_ids() {
        if dependency == *id {
            return Err(Error::Publish(format!("package {id} depends on itself")));
        }
        let unpublished = |why: String| {
            Error::Publish(format!("dependency {dependency} is not published: {why}"))
        };
        let stored = registry.manifest(&dependency).map_err(|e| unpublished(e.to_string()))?;
        check_manifest(&dependency, &stored).map_err(|e| unpublished(e.to_string()))?;
        let text = registry
            .recorded_hash(&dependency)
            .map_err(|error| unpublished(format!("read HASH: {error}")))?
            .ok_or_else(|| unpublished("HASH file not found".to_string()))?;
        let hash = Integrity::parse(&text)
            .ok_or_else(|| unpublished(format!("its HASH file says '{text}'")))?;
        found.push((dependency.name().to_string(), hash));
    }
    Ok(found)
}

/// Copies all of `src/` and makes `bytecode/`. Gives the directories made.
fn copy_sources(from: &Path, to: &Path) -> Result<Vec<String>, Error> {
    let from = Folder::open(from).map_err(Error::io("read package"))?;
    let tree = source_tree::list(&from, "", SOURCE_DIRECTORY)?;
    let made: Vec<String> = [SOURCE_DIRECTORY, BYTECODE_DIRECTORY]
        .map(str::to_string)
        .into_iter()
        .chain(tree.directories)
        .collect();
    for relative in &made {
        fs::create_dir(to.join(relative)).map_err(Error::io(format!("write {relative}")))?;
    }
    for file in tree.files {
        let copy = || -> io::Result<()> {
            let mut source = File::open(from.path().join(&file))?;
            let mut target =
                fs::OpenOptions::new().write(true).create_new(true).open(to.join(&file))?;
            io::copy(&mut source, &mut target)?;
            target.sync_all()
        };
        copy().map_err(Error::io(format!("copy {file}")))?;
    }
    Ok(made)
}

fn compile(
    manifest: &PackageManifest,
    package: &Path,
    work: &Path,
    compiler: Option<&Compiler>,
) -> Result<Vec<String>, Error> {
    let package = fs::canonicalize(package).map_err(Error::io("write package"))?;
    let work = fs::canonicalize(work).map_err(Error::io("write package"))?;
    let mut compiled: Vec<String> = Vec::new();
    for module in &manifest.exposed_modules {
        let relative = format!("{SOURCE_DIRECTORY}/{module}.ax");
        let source = package.join(&relative);
        if !source.is_file() {
            return Err(Error::Publish(format!("source file not found: {relative}")));
        }
        files::read_text(&source).map_err(Error::io(format!("read source {module}.ax")))?;
        let Some(compiler) = compiler else { continue };
        if compiled.contains(module) {
            continue;
        }
        let text = compiler
            .compile(&source, module, &work)
            .map_err(|message| Error::Publish(format!("compile {module}: {message}")))?;
        let path = package.join(BYTECODE_DIRECTORY).join(format!("{module}.axbc"));
        files::write_new(&path, text.as_bytes())
            .map_err(Error::io(format!("write bytecode {module}")))?;
        compiled.push(module.clone());
    }
    Ok(compiled)
}

/// Moves the finished package to its place.
fn appear(package: &Path, target: &Path, id: &PackageId) -> Result<(), Error> {
    let parent = files::parent_of(target);
    let made_parent = match fs::create_dir(parent) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(reason) => return Err(Error::Io { action: "create package dir".to_string(), reason }),
    };
    if let Err(reason) = fs::rename(package, target) {
        if made_parent {
            // Only if it is still empty; the error that matters is the first.
            let _ = fs::remove_dir(parent);
        }
        let taken = matches!(
            reason.kind(),
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
        );
        return Err(if taken {
            Error::AlreadyPublished(id.to_string())
        } else {
            Error::Io { action: "write package".to_string(), reason }
        });
    }
    files::sync_directory(parent)
        .and_then(|()| files::sync_directory(files::parent_of(parent)))
        .map_err(Error::io("write package"))
}

/// A hidden directory in the registry, gone when this value is.
struct Staging(PathBuf);

impl Staging {
    fn make(target: &Path, registry: &Path) -> Result<Self, Error> {
        let name = files::temporary_beside(target);
        let name = name.file_name().unwrap_or_default();
        let path = registry.join(name);
        fs::create_dir(&path).map_err(Error::io("create package dir"))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nowhere to report it, and a hidden leftover is ignored by every command.
        let _ = fs::remove_dir_all(&self.0);
    }
}
