//! `install`: native parts out of packages that the gate accepts, into the cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use epk_format::digest::Sha256;

use super::super::cache;
use super::super::container;
use super::super::identity::Identity;
use super::super::metadata::{Metadata, blob_bytes};
use super::super::platform::Platform;
use super::super::project::Shim;
use super::{Job, Recipe, Sandbox, Tool};
use crate::canonical_json::canonical;
use crate::files;
use crate::json::{Value, object};
use crate::keys::sha256_text;
use crate::problem::Problem;
use crate::relpath::{RelPath, package_file_name, shown};

/// The largest input of a native part: a shim is small.
const MAX_INPUT: u64 = 1 << 24;
/// Beside an output: what went into it.
const RECIPE_FILE: &str = "recipe.json";

/// A native part that is in the cache now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The package.
    pub package: Identity,
    /// The native part's name.
    pub name: String,
    /// The object file.
    pub object: PathBuf,
    /// Libraries of the system to link with it.
    pub link: Vec<String>,
    /// Hash of everything that went in.
    pub recipe: Sha256,
    /// Whether it was there already.
    pub present: bool,
}

impl Installed {
    /// The entry of reports.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object([
            ("package_id", self.package.package_id.as_str().into()),
            ("version", self.package.version.as_str().into()),
            ("name", self.name.as_str().into()),
            ("object", shown(&self.object).into()),
            ("link", self.link.clone().into()),
            ("recipe", sha256_text(&self.recipe).into()),
            ("present", self.present.into()),
        ])
    }
}

/// Where native parts are compiled, by what and for what.
pub struct Workshop<'a> {
    /// The cache into which they go.
    pub cache_dir: PathBuf,
    /// The platform for which they are.
    pub platform: &'a Platform,
    /// The platform on which the compilers run.
    pub machine: &'a Platform,
    /// Where compilers are looked for.
    pub search_path: Vec<PathBuf>,
    /// What they run in.
    pub sandbox: &'a dyn Sandbox,
}

impl std::fmt::Debug for Workshop<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workshop").field("cache_dir", &self.cache_dir).finish_non_exhaustive()
    }
}

/// Compiles the native parts of `packages`, each the bytes of a package that the gate has
/// accepted, in their order.
///
/// # Errors
/// See [`install_package`]
pub fn install(packages: &[Vec<u8>], shop: &Workshop<'_>) -> Result<Vec<Installed>, Problem> {
    let mut tools = BTreeMap::new();
    let mut installed = Vec::new();
    for bytes in packages {
        installed.extend(install_package(bytes, shop, &mut tools)?);
    }
    Ok(installed)
}

/// Compiles the native parts of one package into the cache, if they are not there. `tools` are the
/// compilers found so far.
///
/// # Errors
/// `NATIVE_REFUSED`, `NATIVE_TOOL_MISSING`, `NATIVE_FAILED`, `SANDBOX_UNAVAILABLE`,
/// `PLATFORM_MISMATCH`
pub fn install_package(
    bytes: &[u8],
    shop: &Workshop<'_>,
    tools: &mut BTreeMap<String, Tool>,
) -> Result<Vec<Installed>, Problem> {
    let Workshop { cache_dir, platform, machine, search_path, sandbox } = shop;
    let invalid = |message: String| Problem::new("LOCK_PKG_FORMAT_INVALID", message);
    let full = container::read_full(bytes).map_err(|error| invalid(error.to_string()))?;
    let identity =
        container::read_identity(&full.manifest).map_err(|error| invalid(error.to_string()))?;
    let id = identity.package_id.clone();
    // It becomes a part of paths.
    package_file_name(&id, &identity.version, &identity.target)
        .map_err(|error| invalid(error.to_string()))?;
    let about = |problem: Problem| problem.about(id.as_str());
    let metadata = Metadata::of_manifest(&full.manifest, &id).map_err(about)?;
    if let Some(lacking) = metadata.platform.unmet_by(platform) {
        let message = format!("{identity} cannot be used here: {lacking}");
        return Err(about(Problem::new("PLATFORM_MISMATCH", message)));
    }
    let kind =
        |platform: &Platform| (platform.os.clone(), platform.arch.clone(), platform.abi.clone());
    if !metadata.native.is_empty() && kind(platform) != kind(machine) {
        let message = format!(
            "native parts are compiled where they run: for {platform} on {machine} they are not"
        );
        return Err(about(Problem::new("NATIVE_REFUSED", message)));
    }
    let mut installed = Vec::new();
    for shim in &metadata.native {
        if !tools.contains_key(&shim.tool) {
            tools.insert(
                shim.tool.clone(),
                find_tool(&shim.tool, search_path, *sandbox).map_err(about)?,
            );
        }
        let Some(tool) = tools.get(&shim.tool) else { continue };
        let recipe = Recipe::new(shim, &metadata, tool, platform).map_err(about)?;
        let folder = cache_dir
            .join("native")
            .join(&identity.package_id)
            .join(&identity.version)
            .join(platform.key())
            .join(recipe.hash().to_string());
        let object = folder.join(recipe.output());
        let present = is_complete(&folder, &recipe);
        if !present {
            let inputs = inputs(shim, &metadata, bytes, &full).map_err(about)?;
            compile(&recipe, tool, &inputs, &folder, *sandbox).map_err(about)?;
        }
        installed.push(Installed {
            package: identity.clone(),
            name: shim.name.clone(),
            object,
            link: shim.link.iter().map(|library| library.0.clone()).collect(),
            recipe: recipe.hash(),
            present,
        });
    }
    Ok(installed)
}

/// Whether the folder has the output of exactly this recipe. The recipe's file is written last.
fn is_complete(folder: &Path, recipe: &Recipe<'_>) -> bool {
    let expected = |object: &[u8]| recipe_file(recipe, object);
    let read = |name: &str| files::read(&folder.join(name), MAX_INPUT);
    match (read(&recipe.output()), read(RECIPE_FILE)) {
        (Ok(object), Ok(file)) => file == expected(&object),
        _ => false,
    }
}

/// What is written beside an output: the recipe and the output's hash.
fn recipe_file(recipe: &Recipe<'_>, object_bytes: &[u8]) -> Vec<u8> {
    let document = object([
        ("recipe", recipe.to_json().clone()),
        ("output_sha256", sha256_text(&Sha256::of(object_bytes)).into()),
    ]);
    canonical(&document).into_bytes()
}

/// The bytes of the inputs, out of the package.
fn inputs(
    shim: &Shim,
    metadata: &Metadata,
    bytes: &[u8],
    full: &container::Full,
) -> Result<Vec<(RelPath, Vec<u8>)>, Problem> {
    let refused = |message: String| Problem::new("NATIVE_REFUSED", message);
    let mut list = Vec::new();
    for path in shim.inputs() {
        let hash = metadata.files.get(path).map(String::as_str).unwrap_or_default();
        let blob = full.blobs.iter().find(|blob| sha256_text(&blob.sha256) == hash);
        let blob = blob.ok_or_else(|| refused(format!("`{path}` is not in the package")))?;
        if blob.length > MAX_INPUT {
            let message =
                format!("`{path}` has {} bytes, at most {MAX_INPUT} are allowed", blob.length);
            return Err(refused(message));
        }
        list.push((path.clone(), blob_bytes(bytes, blob).unwrap_or_default().to_vec()));
    }
    Ok(list)
}

/// Finds a compiler on the search path and asks for its version.
fn find_tool(name: &str, path: &[PathBuf], sandbox: &dyn Sandbox) -> Result<Tool, Problem> {
    let missing = || {
        let message = format!("the compiler `{name}` is not on the search path");
        Problem::new("NATIVE_TOOL_MISSING", message)
    };
    let program = path
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(missing)?;
    let work = temporary()?;
    let arguments = ["--version".to_owned()];
    let job =
        Job { program: &program, arguments: &arguments, inputs: work.path(), outputs: work.path() };
    let ran = sandbox.run(&job)?;
    let version = String::from_utf8_lossy(&ran.stdout);
    match version.lines().next().filter(|line| ran.ok && !line.is_empty()) {
        Some(line) => Ok(Tool { name: name.to_owned(), path: program, version: line.to_owned() }),
        None => Err(Problem::new(
            "NATIVE_FAILED",
            format!("`{name} --version`: {}: {}", ran.status, words(&ran.stderr)),
        )),
    }
}

fn temporary() -> Result<tempfile::TempDir, Problem> {
    tempfile::Builder::new().prefix("drift-native-").tempdir().map_err(|error| {
        Problem::new("FILE_ERROR", format!("cannot make a temporary folder: {error}"))
    })
}

/// Runs the recipe's commands and puts what came of them into `folder`.
fn compile(
    recipe: &Recipe<'_>,
    tool: &Tool,
    inputs: &[(RelPath, Vec<u8>)],
    folder: &Path,
    sandbox: &dyn Sandbox,
) -> Result<(), Problem> {
    let work = temporary()?;
    let (input_dir, output_dir) = (work.path().join("in"), work.path().join("out"));
    let failed = |error: std::io::Error| {
        Problem::new("FILE_ERROR", format!("cannot write `{}`: {error}", shown(work.path())))
    };
    fs::create_dir(&input_dir).and_then(|()| fs::create_dir(&output_dir)).map_err(failed)?;
    for (path, bytes) in inputs {
        files::create_parents_below(&input_dir, path)?;
        fs::write(path.below(&input_dir), bytes).map_err(failed)?;
    }
    for arguments in recipe.commands(&output_dir) {
        let job = Job {
            program: &tool.path,
            arguments: &arguments,
            inputs: &input_dir,
            outputs: &output_dir,
        };
        let ran = sandbox.run(&job)?;
        if !ran.ok {
            let message = format!(
                "`{} {}`: {}\n{}",
                tool.name,
                arguments.join(" "),
                ran.status,
                words(&ran.stderr)
            );
            return Err(Problem::new("NATIVE_FAILED", message.trim_end().to_owned()));
        }
    }
    let output = RelPath::parse(&recipe.output())
        .map_err(|error| Problem::new("NATIVE_REFUSED", error.to_string()))?;
    // Not through a link: the compiler may have left anything.
    let object = files::read_below(&output_dir, &output, MAX_INPUT)?;
    files::create_dirs(folder)?;
    files::write_atomically(&folder.join(recipe.output()), &object)?;
    files::write_atomically(&folder.join(RECIPE_FILE), &recipe_file(recipe, &object))?;
    Ok(())
}

/// What a compiler wrote, for people: without control characters, and not without end.
fn words(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .filter(|c| *c == '\n' || *c == '\t' || !c.is_control())
        .take(4000)
        .collect();
    text.trim_end().to_owned()
}

/// Where a project's native parts are kept: below its cache.
#[must_use]
pub(in crate::drift) fn cache_of(root: &Path) -> PathBuf {
    root.join(cache::DEFAULT_DIR)
}
