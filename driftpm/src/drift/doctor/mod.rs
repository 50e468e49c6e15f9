//! `doctor`: what is wrong with a project's Drift files, in six checks that always all run, and
//! one more in the folder of a project.
//!
//! It reads what the gatekeeper reads and as the gatekeeper reads it: a trust store that the
//! gate would refuse, a package that the gate would not open, a signer that the gate would not
//! accept any more, are findings here.

mod copies;
mod indexes;
mod inspect;
mod locks;
mod project;
mod sources;
mod trust;

use std::path::PathBuf;

use super::finding::{Finding, Mode, sort_findings};
use super::platform::Platform;
use crate::json::{Object, Value, object};
use crate::progress::Progress;

/// What to look at.
#[derive(Clone, Debug)]
pub struct DoctorRequest {
    /// The sources file.
    pub sources: PathBuf,
    /// The project's trust store.
    pub trust_store: PathBuf,
    /// The other stores that the gate reads: the user's and the toolchain's.
    pub other_stores: Vec<OtherStore>,
    /// The lock.
    pub lock: PathBuf,
    /// The cache.
    pub cache_dir: PathBuf,
    /// The vendored packages.
    pub vendor_dir: PathBuf,
    /// Also read every package.
    pub deep: bool,
    /// The folder that may be a project's, and the platform of now.
    pub project: Option<(PathBuf, Platform)>,
}

/// A trust store beside the project's, of which the revocations count.
#[derive(Clone, Debug)]
pub struct OtherStore {
    /// Where it is.
    pub path: PathBuf,
    /// Whether its absence is worth a finding.
    pub must_exist: bool,
}

/// How bad a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Nothing to say.
    Ok,
    /// Not looked at.
    Info,
    /// Something should be repaired.
    Degraded,
    /// Something does not work.
    Fatal,
}

impl Status {
    /// The status's name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Degraded => "degraded",
            Self::Fatal => "fatal",
        }
    }
}

/// One check and what it found.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name.
    pub check_id: &'static str,
    /// How it came out.
    pub status: Status,
    /// One line for people.
    pub summary: String,
    /// What it found, sorted.
    pub findings: Vec<Finding>,
    /// What it counted.
    pub data: Option<Object>,
}

impl Check {
    fn new(check_id: &'static str, status: Status, summary: impl Into<String>) -> Self {
        let summary = summary.into();
        Self { check_id, status, summary, findings: Vec::new(), data: None }
    }

    /// With findings; they decide nothing, the status stays.
    fn with_findings(mut self, mut findings: Vec<Finding>) -> Self {
        sort_findings(&mut findings);
        self.findings = findings;
        self
    }

    fn with_data<const N: usize>(mut self, data: [(&str, Value); N]) -> Self {
        self.data = Some(Object::from(data));
        self
    }

    /// With one count more.
    fn counting(mut self, name: &str, count: usize) -> Self {
        self.data.get_or_insert_default().insert(name, count);
        self
    }

    fn to_json(&self) -> Value {
        object([
            ("check_id", self.check_id.into()),
            ("status", self.status.as_str().into()),
            ("summary", self.summary.as_str().into()),
            ("findings", Value::Array(self.findings.iter().map(Finding::to_json).collect())),
            ("data", self.data.clone().into()),
        ])
    }
}

fn finding(reason_code: &'static str, message: impl Into<String>) -> Finding {
    Finding::new(Mode::Doctor, reason_code, message)
}

/// All checks.
#[derive(Clone, Debug)]
pub struct DoctorReport {
    /// Sorted by name.
    pub checks: Vec<Check>,
}

impl DoctorReport {
    /// How many checks came out with `status`.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }

    /// Whether nothing is degraded or fatal.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.status < Status::Degraded)
    }

    /// The JSON report.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object([
            ("ok", self.ok().into()),
            ("fatal_count", self.count(Status::Fatal).into()),
            ("degraded_count", self.count(Status::Degraded).into()),
            ("info_count", self.count(Status::Info).into()),
            ("checks", Value::Array(self.checks.iter().map(Check::to_json).collect())),
        ])
    }
}

/// Looks at everything.
#[must_use]
pub fn doctor(request: &DoctorRequest, progress: &dyn Progress) -> DoctorReport {
    let (mut sources_check, sources) = sources::check(&request.sources);
    let project = request.project.as_ref().filter(|(root, _)| project::is_project(root));
    if project.is_some() && sources.is_none() && !request.sources.exists() {
        // A project has repositories; a sources file beside them may be, and need not.
        sources_check = Check::new("sources", Status::Info, "no sources file, as in a project");
    }
    let (trust_check, revoked) = trust::check(request);
    let lock = locks::load(&request.lock);
    let indexes = indexes::load(sources.as_deref());
    let mut inspector = inspect::Inspector::default();
    if request.deep {
        let mut places = indexes.places();
        places.extend(locks::places(&lock, sources.as_deref()));
        inspector.read_all(places, progress);
    }
    let indexes_check = indexes::check(&indexes, request.deep, &inspector);
    let lock_check = locks::check(&lock, request, sources.as_deref(), &revoked, &inspector);
    // A lock that cannot be relied on says nothing about copies.
    let reliable = (lock_check.status < Status::Fatal).then_some(lock.packages()).flatten();
    let vendor_check = copies::check_vendor(request, reliable, progress);
    let cache_check = copies::check_cache(request, reliable, progress);
    let project_check = project.map(|(root, platform)| {
        let copies = (request.cache_dir.as_path(), request.vendor_dir.as_path());
        project::check(root, platform, &revoked, request.deep.then_some(copies))
    });
    progress.end();
    let mut checks =
        vec![sources_check, indexes_check, trust_check, lock_check, vendor_check, cache_check];
    checks.extend(project_check);
    checks.sort_by_key(|check| check.check_id);
    DoctorReport { checks }
}
