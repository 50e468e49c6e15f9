//! The build plan: what a compiler needs to know, decided without a network and without writing
//! anything. `drift build` is one way to follow it.

mod build;
mod command;
mod gather;

pub use build::{BuildRequest, Built, build};
pub use gather::{PlanRequest, accepted_native, plan};

use std::path::PathBuf;

use super::gate::Verdict;
use super::identity::Identity;
use super::lock1::Locked;
use super::platform::Platform;
use super::project::Target;
use super::supply::Where;
use crate::json::{Object, Value, object};
use crate::problem::Problem;
use crate::relpath::shown;

/// Where things are built, below the project's root.
pub const DEFAULT_BUILD_DIR: &str = "build/drift";

/// A plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The project's name.
    pub project: String,
    /// The target that is wanted.
    pub target: String,
    /// Where things are built, from the project's root.
    pub build_dir: PathBuf,
    /// For which platform.
    pub platform: Platform,
    /// Revision of the lock; none without dependencies and lock.
    pub lock_rev: Option<u64>,
    /// The package roots in their order: path, and whether it is there.
    pub roots: Vec<(String, bool)>,
    /// What is built, each after what it needs.
    pub targets: Vec<Step>,
    /// The packages of others that it takes, sorted by id.
    pub packages: Vec<Used>,
    /// What is wrong; a plan with problems must not be followed.
    pub problems: Vec<Problem>,
}

/// One target to be built.
#[derive(Clone, Debug)]
pub struct Step {
    /// The target.
    pub target: Target,
    /// Its folder, from the project's root.
    pub folder: PathBuf,
    /// Of a package: the target part of its identity.
    pub package_target: String,
    /// Where what it becomes goes, from the project's root.
    pub artifact_dir: PathBuf,
    /// Where everything else goes that arises on the way.
    pub intermediates_dir: PathBuf,
    /// What it becomes.
    pub artifact: PathBuf,
    /// Of a package: where it is published for targets that need it.
    pub local_package: Option<PathBuf>,
    /// Ids of the packages of others that it takes, however indirectly, sorted.
    pub packages: Vec<String>,
    /// Names of targets that it needs, however indirectly, in their order.
    pub local: Vec<String>,
    /// The compiler's arguments.
    pub command: Vec<String>,
}

/// A package of somebody else's.
#[derive(Clone, Debug)]
pub struct Used {
    /// What it is.
    pub identity: Identity,
    /// Hash of its file.
    pub sha256: String,
    /// Where it was found.
    pub place: Where,
    /// What the gate says.
    pub verdict: Option<Verdict>,
    /// Whether it has native parts.
    pub native: bool,
}

impl Plan {
    /// Whether it may be followed.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.problems.is_empty()
    }

    /// The JSON report.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let roots = self.roots.iter().map(|(path, exists)| {
            object([("path", path.as_str().into()), ("exists", (*exists).into())])
        });
        object([
            ("ok", self.ok().into()),
            ("format", Value::from(1_usize)),
            ("project", self.project.as_str().into()),
            ("target", self.target.as_str().into()),
            ("build_dir", shown(&self.build_dir).into()),
            ("platform", self.platform.to_json()),
            ("platform_key", self.platform.key().into()),
            ("lock_rev", self.lock_rev.map_or(Value::Null, |rev| Value::Number(rev.into()))),
            ("package_roots", Value::Array(roots.collect())),
            ("targets", Value::Array(self.targets.iter().map(Step::to_json).collect())),
            ("packages", Value::Array(self.packages.iter().map(Used::to_json).collect())),
            ("errors", Value::Array(self.problems.iter().map(Problem::to_json).collect())),
        ])
    }
}

impl Step {
    fn to_json(&self) -> Value {
        let mut modules = Object::new();
        for (id, path) in &self.target.modules {
            modules.insert(id.as_str(), shown(&path.below(&self.folder)));
        }
        let local = self.local_package.as_ref().map(|path| shown(path));
        object([
            ("name", self.target.name.as_str().into()),
            ("kind", self.target.kind.as_str().into()),
            ("version", self.target.version.to_string().into()),
            ("package_target", self.package_target.as_str().into()),
            ("folder", shown(&self.folder).into()),
            ("modules", modules.into()),
            ("entry", self.target.entry.as_deref().into()),
            ("artifact_dir", shown(&self.artifact_dir).into()),
            ("intermediates_dir", shown(&self.intermediates_dir).into()),
            ("artifact", shown(&self.artifact).into()),
            ("local_package", local.into()),
            ("packages", self.packages.clone().into()),
            ("depends_on", self.local.clone().into()),
            ("command", self.command.clone().into()),
        ])
    }
}

impl Used {
    /// The locked package that was found at `place`; nobody has asked the gate yet.
    fn new(locked: &Locked, place: Where) -> Self {
        Self {
            identity: locked.identity.clone(),
            sha256: locked.sha256.clone(),
            place,
            verdict: None,
            native: locked.native,
        }
    }

    fn to_json(&self) -> Value {
        let file = self.place.file.as_ref().map(|path| shown(path));
        let gate = self.verdict.as_ref().map_or(Value::Null, |verdict| {
            object([
                ("ok", verdict.ok.into()),
                ("code", verdict.code.into()),
                ("message", verdict.message.as_str().into()),
                ("accepted_kids", verdict.accepted_kids.clone().into()),
            ])
        });
        object([
            ("package_id", self.identity.package_id.as_str().into()),
            ("version", self.identity.version.as_str().into()),
            ("target", self.identity.target.as_str().into()),
            ("sha256", self.sha256.as_str().into()),
            ("root", self.place.root.as_str().into()),
            ("place", self.place.place.as_str().into()),
            ("file", file.into()),
            ("native", self.native.into()),
            ("gate", gate),
        ])
    }
}
