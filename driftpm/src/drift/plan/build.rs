//! Following the plan with a compiler.
//!
//! For each target in order: the gate, the compiler, and of packages what the compiler does not
//! know (what they need, where they run, their native parts) is attached and the package published
//! into `localpkgs/`, before a target that needs it is compiled.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use epk_format::digest::Sha256;

use super::super::container;
use super::super::gate::gate;
use super::super::identity::Identity;
use super::super::metadata::{Metadata, attach};
use super::super::native::{Installed, Tool, Workshop, install_package};
use super::super::project::{Kind, Project};
use super::super::resolve::Constraint;
use super::gather::{Gathered, gate_request, gather, refusals};
use super::{Plan, PlanRequest, Step};
use crate::canonical_json::indented;
use crate::files::{self, MAX_PACKAGE};
use crate::json::{Value, object};
use crate::keys::sha256_text;
use crate::problem::Problem;
use crate::progress::Progress;
use crate::relpath::{RelPath, shown};

/// The name of the plan and of the compiler's words among a target's intermediates.
const PLAN_FILE: &str = "plan.json";
const LOG_FILE: &str = "compiler.log";
/// Tells the compiler where the plan is.
const PLAN_VARIABLE: &str = "DRIFT_PLAN";
/// The largest input of a native part.
const MAX_INPUT: u64 = 1 << 24;

/// What to build, and with what.
pub struct BuildRequest<'a> {
    /// The plan.
    pub plan: PlanRequest,
    /// The compiler.
    pub compiler: PathBuf,
    /// Arguments that it gets before those of the plan.
    pub compiler_arguments: Vec<String>,
    /// Where native parts are compiled.
    pub shop: Workshop<'a>,
}

impl std::fmt::Debug for BuildRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildRequest")
            .field("plan", &self.plan)
            .field("compiler", &self.compiler)
            .finish_non_exhaustive()
    }
}

/// A target that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Its name.
    pub name: String,
    /// What it has become.
    pub artifact: PathBuf,
    /// Its hash.
    pub sha256: String,
    /// Native parts that went into it.
    pub native: Vec<Installed>,
}

impl Built {
    /// The entry of reports.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object([
            ("name", self.name.as_str().into()),
            ("artifact", shown(&self.artifact).into()),
            ("sha256", self.sha256.as_str().into()),
            ("native", Value::Array(self.native.iter().map(Installed::to_json).collect())),
        ])
    }
}

/// Builds the target and what it needs. No network is used.
///
/// # Errors
/// The plan's problems, or the first thing that goes wrong: `COMPILER_MISSING`, `BUILD_FAILED`, a
/// code of the gate. What was built before stays.
pub fn build(
    request: &BuildRequest<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Built>, Vec<Problem>> {
    let gathered =
        gather(&request.plan, request.shop.platform, progress).map_err(|problem| vec![problem])?;
    if !gathered.plan.ok() {
        return Err(gathered.plan.problems);
    }
    if let Some(used) = gathered.plan.packages.iter().find(|used| used.place.file.is_none()) {
        let message = format!("{} lies in the image `{}`", used.identity, used.place.root);
        return Err(vec![
            Problem::new("PACKAGE_NOT_PRESENT", message)
                .about(used.identity.package_id.as_str())
                .hint(format!("`drift mount {}` makes files of it", used.place.root)),
        ]);
    }
    let mut run =
        Run { request, gathered: &gathered, tools: BTreeMap::new(), native: BTreeMap::new() };
    // Two builds at once would take each other's artifacts.
    let build_dir = request.plan.root.join(&request.plan.build_dir);
    let guard = files::create_dirs(&build_dir).and_then(|()| files::lock_directory(&build_dir));
    let _guard = guard.map_err(|error| vec![error.into()])?;
    let mut built = Vec::new();
    progress.begin("building", gathered.plan.targets.len());
    for step in &gathered.plan.targets {
        let done = run.build(step, progress);
        progress.step();
        match done {
            Ok(one) => built.push(one),
            Err(problems) => {
                progress.end();
                return Err(problems);
            }
        }
    }
    progress.end();
    Ok(built)
}

struct Run<'a> {
    request: &'a BuildRequest<'a>,
    gathered: &'a Gathered,
    tools: BTreeMap<String, Tool>,
    /// Native parts by package.
    native: BTreeMap<String, Vec<Installed>>,
}

impl Run<'_> {
    fn root(&self) -> &Path {
        &self.request.plan.root
    }

    fn project(&self) -> &Project {
        &self.gathered.project
    }

    fn plan(&self) -> &Plan {
        &self.gathered.plan
    }

    fn build(&mut self, step: &Step, progress: &dyn Progress) -> Result<Built, Vec<Problem>> {
        self.check_gate(step, progress)?;
        let native = self.native_parts(step).map_err(|problem| vec![problem])?;
        let sha256 = self.compile(step, &native).map_err(|problem| vec![problem])?;
        Ok(Built {
            name: step.target.name.clone(),
            artifact: step.artifact.clone(),
            sha256,
            native,
        })
    }

    /// The local packages that a target needs, as files.
    fn local_packages<'b>(&'b self, step: &'b Step) -> impl Iterator<Item = (&'b Step, PathBuf)> {
        let steps = self.plan().targets.iter();
        steps
            .filter(|other| step.local.contains(&other.target.name))
            .filter_map(|other| Some((other, self.root().join(other.local_package.as_ref()?))))
    }

    /// Asks the gate about everything that the compiler will read, just before it does.
    fn check_gate(&self, step: &Step, progress: &dyn Progress) -> Result<(), Vec<Problem>> {
        let mut asked = gate_request(&self.request.plan, self.project());
        let used = self.plan().packages.iter();
        let used = used.filter(|used| step.packages.contains(&used.identity.package_id));
        asked.paths.extend(used.filter_map(|used| used.place.file.clone()));
        asked.paths.extend(self.local_packages(step).map(|(_, path)| path));
        let problems = refusals(&gate(&asked, progress));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The native parts of everything that goes into a program.
    fn native_parts(&mut self, step: &Step) -> Result<Vec<Installed>, Problem> {
        if step.target.kind == Kind::Package {
            return Ok(Vec::new());
        }
        let mut packages: Vec<(String, Vec<u8>)> = Vec::new();
        for id in &step.packages {
            if let Some(bytes) = self.gathered.native.get(id) {
                packages.push((id.clone(), bytes.clone()));
            }
        }
        for (other, path) in self.local_packages(step) {
            if !other.target.native.is_empty() {
                packages.push((other.target.name.clone(), files::read(&path, MAX_PACKAGE)?));
            }
        }
        let mut all = Vec::new();
        for (id, bytes) in packages {
            if !self.native.contains_key(&id) {
                let installed = install_package(&bytes, &self.request.shop, &mut self.tools)?;
                self.native.insert(id.clone(), installed);
            }
            all.extend(self.native.get(&id).cloned().unwrap_or_default());
        }
        Ok(all)
    }

    /// Runs the compiler and makes of its output what the target is. Returns the artifact's hash.
    fn compile(&self, step: &Step, native: &[Installed]) -> Result<String, Problem> {
        let name = step.target.name.as_str();
        let failed = |message: String| Problem::new("BUILD_FAILED", message).about(name);
        let (root, artifact) = (self.root(), self.root().join(&step.artifact));
        let intermediates = root.join(&step.intermediates_dir);
        files::create_dirs(&root.join(&step.artifact_dir))?;
        files::create_dirs(&intermediates)?;
        let plan = intermediates.join(PLAN_FILE);
        files::write_atomically(&plan, indented(&self.plan().to_json()).as_bytes())?;
        files::remove_if_there(&artifact)?;
        let mut arguments = self.request.compiler_arguments.clone();
        arguments.extend(step.command.iter().cloned());
        for part in native {
            let object = part.object.strip_prefix(root).unwrap_or(&part.object);
            arguments.extend(["--native".to_owned(), shown(object)]);
            for library in &part.link {
                arguments.push(format!("-l{library}"));
            }
        }
        let plan = fs::canonicalize(&plan).unwrap_or(plan);
        let output = Command::new(&self.request.compiler)
            .args(&arguments)
            .current_dir(if root.as_os_str().is_empty() { Path::new(".") } else { root })
            .env(PLAN_VARIABLE, plan)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                let compiler = shown(&self.request.compiler);
                let message = format!("cannot run the compiler `{compiler}`: {error}");
                Problem::new("COMPILER_MISSING", message).about(name)
            })?;
        let mut log = output.stdout;
        log.extend_from_slice(&output.stderr);
        let log_file = intermediates.join(LOG_FILE);
        files::write_atomically(&log_file, &log)?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&log);
            let message = format!("the compiler failed, {}\n{}", output.status, text.trim_end());
            return Err(failed(message.trim_end().to_owned()).in_file(shown(&log_file)));
        }
        let bytes = match files::read(&artifact, MAX_PACKAGE) {
            Ok(bytes) => bytes,
            Err(error) => {
                return Err(failed(format!("the compiler succeeded, but {error}")));
            }
        };
        let bytes = match step.target.kind {
            Kind::Exec => bytes,
            Kind::Package => self.publish(step, &bytes, &artifact)?,
        };
        Ok(sha256_text(&Sha256::of(&bytes)))
    }

    /// Attaches metadata to a package and publishes it for the targets that need it.
    fn publish(&self, step: &Step, bytes: &[u8], artifact: &Path) -> Result<Vec<u8>, Problem> {
        let name = step.target.name.as_str();
        let failed = |message: String| {
            Problem::new("BUILD_FAILED", message).in_file(shown(artifact)).about(name)
        };
        let full = container::read_full(bytes)
            .map_err(|error| failed(format!("the compiler wrote no package: {error}")))?;
        let expected = Identity {
            package_id: step.target.name.clone(),
            version: step.target.version.to_string(),
            target: step.package_target.clone(),
        };
        let identity = container::read_identity(&full.manifest)
            .map_err(|error| failed(format!("the compiler wrote no package: {error}")))?;
        if identity != expected {
            let message = format!("the compiler wrote the package {identity}, not {expected}");
            return Err(failed(message));
        }
        let (metadata, inputs) = self.metadata(step)?;
        let bytes =
            attach(bytes, &full, &metadata, &inputs).map_err(|error| failed(error.to_string()))?;
        files::write_atomically(artifact, &bytes)?;
        if let Some(local) = &step.local_package {
            let local = self.root().join(local);
            let folder = files::parent_of(&local);
            files::create_dirs(folder)?;
            remove_other_versions(folder, name, &local)?;
            files::write_atomically(&local, &bytes)?;
        }
        Ok(bytes)
    }

    /// What a package says beyond what the compiler writes.
    fn metadata(&self, step: &Step) -> Result<(Metadata, BTreeMap<RelPath, Vec<u8>>), Problem> {
        let target = &step.target;
        let mut metadata = Metadata {
            platform: target.platform.clone(),
            native: target.native.clone(),
            ..Metadata::default()
        };
        for dependency in target.uses.iter().filter_map(|key| self.project().file.deps.get(key)) {
            let constraint = dependency.constraint.as_str().to_owned();
            metadata.dependencies.insert(dependency.package.clone(), constraint);
        }
        for other in self.plan().targets.iter().map(|step| &step.target) {
            if target.depends_on.contains(&other.name) {
                let constraint = Constraint::compatible(&other.version).to_string();
                metadata.dependencies.insert(other.name.clone(), constraint);
            }
        }
        let mut inputs = BTreeMap::new();
        let folder = self.root().join(&step.folder);
        for path in target.native.iter().flat_map(super::super::project::Shim::inputs) {
            let bytes = files::read_below(&folder, path, MAX_INPUT)?;
            metadata.files.insert(path.clone(), sha256_text(&Sha256::of(&bytes)));
            inputs.insert(path.clone(), bytes);
        }
        Ok((metadata, inputs))
    }
}

/// Removes what was published of `name` in other versions, and sidecars: a compiler that reads the
/// whole folder must not meet two.
fn remove_other_versions(folder: &Path, name: &str, keep: &Path) -> Result<(), Problem> {
    let unreadable = |error: std::io::Error| {
        Problem::new("FILE_ERROR", format!("cannot read `{}`: {error}", shown(folder)))
    };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_package = path.extension().is_some_and(|ending| ending == "dmp");
        if !is_package || path == keep {
            continue;
        }
        // By what it says it is: `a-1.0.0` may be `a` or `a-1`.
        let same = files::read(&path, MAX_PACKAGE).ok().is_some_and(|bytes| {
            container::read_light(&bytes).is_ok_and(|light| light.identity.package_id == name)
        });
        if same {
            files::remove_if_there(&crate::relpath::sidecar_of(&path))?;
            files::remove_if_there(&path)?;
        }
    }
    Ok(files::remove_if_there(&crate::relpath::sidecar_of(keep))?)
}
