//! Bundling: a project's locked closure as one EPK image.
//!
//! The image's tree is a registry: mounted or unpacked, `--registry` accepts it, and a project
//! builds from a read-only, verified file. The same closure gives the same bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::Path;

use epk_format::digest::Sha256;
use epk_format::write::{self, ContentId, Contents, Format, Options, Plan as ImagePlan, PlanEntry};
use rayon::prelude::*;

use super::error::{Error, Failure};
use super::files;
use super::hash::ContentState;
use super::install::{LockfileName, Plan, compare, read_lockfile};
use super::lockfile::LOCKFILE_NAME;
use super::manifest::{MANIFEST_NAME, PackageManifest};
use super::name::PackageId;
use super::policy::Policies;
use super::project::Project;
use super::publish::BYTECODE_DIRECTORY;
use super::registry::{HASH_NAME, Registry, place};
use super::source_tree::{self, SOURCE_DIRECTORY};

/// What was bundled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundled {
    /// The packages in it, in install order.
    pub packages: Vec<PackageId>,
    /// The image's PackageHash.
    pub package_hash: Sha256,
    /// Bytes of the image.
    pub size: u64,
}

/// Writes the closure in the lockfile of the project in `directory` to `output`.
///
/// Every package's files are read once, and what was read is held against the lockfile before
/// any of it is written, so nothing else can get into the image. The closure is held in memory.
///
/// # Errors
///
/// The lockfile is missing, broken or not what the dependencies resolve to, a package is not
/// what it records, the policy forbids it, `output` is something other than an image, or the
/// system's. `output` is then as it was.
pub fn bundle(
    directory: &Path,
    registry: &Path,
    lockfile: &LockfileName,
    output: &Path,
) -> Result<Bundled, Error> {
    let project = Project::load_checked(directory)?;
    let registry = Registry::open(registry)?;
    let (name, locked) = read_lockfile(directory, lockfile)?;
    let plan = Plan::make(&project, &registry)?;
    compare(&name, &locked, &plan.lockfile())?;
    let failures = plan.hash_failures(&registry);
    if !failures.is_empty() {
        return Err(Error::Hashes(failures));
    }
    Policies::load(directory, &project.text)?.check(Some(&project.manifest), &plan.resolution)?;

    let mut tree = Tree::default();
    tree.file(LOCKFILE_NAME.to_string(), plan.lockfile().to_pretty_json().into_bytes());
    let gathered: Vec<_> =
        plan.resolution.order.par_iter().map(|id| gather(&registry, &plan, id)).collect();
    for part in gathered {
        tree.extend(part?);
    }
    refuse_to_replace(output)?;
    let temporary = files::temporary_beside(output);
    let written = emit(&tree, &image_manifest(&project.manifest), &temporary).and_then(|written| {
        let appear = || {
            fs::rename(&temporary, output)?;
            files::sync_directory(files::parent_of(output))
        };
        appear().map_err(Error::io(format!("write {}", output.display())))?;
        Ok(written)
    });
    if written.is_err() {
        // The error that matters is the first; a leftover is only untidy.
        let _ = fs::remove_file(&temporary);
    }
    let written = written?;
    Ok(Bundled {
        packages: plan.resolution.order,
        package_hash: written.package_hash,
        size: written.size,
    })
}

/// What goes into the image, held in memory.
#[derive(Default)]
struct Tree {
    folders: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
}

impl Tree {
    fn file(&mut self, path: String, bytes: Vec<u8>) {
        self.files.push((path, bytes));
    }

    fn extend(&mut self, other: Self) {
        self.folders.extend(other.folders);
        self.files.extend(other.files);
    }
}

impl Contents for Tree {
    fn open(&self, id: ContentId, path: &[u8]) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.files.get(id.0) {
            Some((_, bytes)) => Ok(Box::new(bytes.as_slice())),
            None => Err(io::Error::other(format!("no content for {}", path.escape_ascii()))),
        }
    }
}

/// One package as it goes into the image, held against its hash in the lockfile.
fn gather(registry: &Registry, plan: &Plan, id: &PackageId) -> Result<Tree, Error> {
    let package = format!("{}/", place(id));
    let folder = registry.folder();
    let read = |relative: &str| {
        folder
            .read(&format!("{package}{relative}"))
            .map_err(Error::io(format!("read {id} {relative}")))
    };
    let sources = source_tree::list(folder, &package, SOURCE_DIRECTORY)?;
    let bytecode = source_tree::list(folder, &package, BYTECODE_DIRECTORY)?;
    let manifest = read(MANIFEST_NAME)?;
    let mut files = Vec::new();
    for path in sources.files {
        let bytes = read(&path)?;
        files.push((path, bytes));
    }
    let Some(hash) = integrity(plan, id, &manifest, &files) else {
        let reason = "changed while it was read".to_string();
        return Err(Error::Hashes(vec![Failure { id: id.to_string(), reason }]));
    };
    for path in bytecode.files {
        let bytes = read(&path)?;
        files.push((path, bytes));
    }
    files.push((MANIFEST_NAME.to_string(), manifest));
    files.push((HASH_NAME.to_string(), hash.into_bytes()));

    let tops = [SOURCE_DIRECTORY, BYTECODE_DIRECTORY].map(str::to_string);
    let folders = tops.into_iter().chain(sources.directories).chain(bytecode.directories);
    Ok(Tree {
        folders: folders.map(|path| format!("{package}{path}")).collect(),
        files: files.into_iter().map(|(path, bytes)| (format!("{package}{path}"), bytes)).collect(),
    })
}

/// The hash of what was read, if it is the one in the lockfile.
fn integrity(
    plan: &Plan,
    id: &PackageId,
    manifest: &[u8],
    sources: &[(String, Vec<u8>)],
) -> Option<String> {
    let text = std::str::from_utf8(manifest).ok()?;
    let manifest = PackageManifest::from_json(text).ok()?;
    let dependencies: Option<Vec<_>> = manifest
        .dependencies
        .keys()
        .zip(manifest.dependency_ids())
        .map(|(name, id)| Some((name.as_str(), plan.hashes.get(&id)?.as_str())))
        .collect();
    let files = sources.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()));
    let hash = ContentState::of(files, &manifest).finish(dependencies?);
    (plan.hashes.get(id) == Some(&hash)).then(|| hash.to_string())
}

/// The image's own manifest. The format demands something to run; a registry runs nothing, and
/// the lockfile is what a reader will want to see.
fn image_manifest(project: &PackageManifest) -> String {
    // Name and version were checked and need no escapes.
    format!(
        "name = \"{}\"\nversion = \"{}\"\narch = \"x86-64\"\nkernel_api = \"1.0\"\n\
         entry = \"/{LOCKFILE_NAME}\"\n",
        project.name, project.version
    )
}

/// A slip of the hand must not cost a file that is no image.
fn refuse_to_replace(output: &Path) -> Result<(), Error> {
    let mut magic = [0; 3];
    match File::open(output).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if magic == *b"EPK" => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(Error::Bundle(format!(
            "{} is there already and is no image; it is not replaced",
            output.display()
        ))),
    }
}

fn emit(tree: &Tree, manifest: &str, path: &Path) -> Result<write::Written, Error> {
    let size = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let entries = tree
        .files
        .iter()
        .enumerate()
        .map(|(number, (path, bytes))| {
            PlanEntry::file(path.as_bytes(), 0o644, ContentId(number), size(bytes))
        })
        .chain(tree.folders.iter().map(|path| PlanEntry::folder(path.as_bytes())))
        .collect();
    let plan =
        ImagePlan::new(Format::V1, entries).map_err(|error| Error::Bundle(error.to_string()))?;
    let threads = NonZeroUsize::new(rayon::current_num_threads()).unwrap_or(NonZeroUsize::MIN);
    let options = Options { threads, ..Options::default() };
    let failed = |reason| Error::Io { action: format!("write {}", path.display()), reason };
    let mut file =
        OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(failed)?;
    let written = write::write(&plan, tree, manifest.as_bytes(), &options, None, &(), &mut file)
        .map_err(|error| Error::Bundle(error.to_string()))?;
    file.sync_all().map_err(failed)?;
    Ok(written)
}
