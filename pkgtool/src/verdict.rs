//! What there is to say about a package: whether it is good, and whether this host can run it.

use std::path::Path;

use epk_format::manifest::{ApiVersion, Isolation, Manifest, ManifestError, ManifestStatus};
use epk_format::signature::Policy;
use epk_format::{Error, OpenOptions, Package, RejectCode};
use epkfs::policy::hints;
use serde_json::{Map, Value, json};

use crate::deep;
use crate::events;
use crate::exit::{Exit, Failure, exit_of, manifest_exit};
use crate::input::{self, open_file, signature_words};
use crate::loader::check as loader;
use crate::loader::problem::Problem;
use crate::pack::losses::counted;
use crate::store::Identity;

/// What is looked at besides structure, PackageHash, signature and manifest.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Looks {
    /// Every block and file.
    pub(crate) deep: bool,
    /// Whether this host can run it.
    pub(crate) compat: bool,
    /// Whether programs and libraries find what they need.
    pub(crate) loader: bool,
    /// The API version to judge by, instead of this host's.
    pub(crate) kernel_api: Option<ApiVersion>,
}

/// Everything that is said about one package.
#[derive(Default)]
pub(crate) struct Verdict {
    /// `None` when all is well.
    pub(crate) exit: Option<Exit>,
    code: Option<RejectCode>,
    /// Reading failed for a reason that isn't the package's.
    unreadable: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) package_hash: Option<String>,
    pub(crate) signature: &'static str,
    pub(crate) key_id: Option<String>,
    pub(crate) manifest: Option<Result<Manifest, ManifestError>>,
    pub(crate) compatibility: Option<Result<(), ManifestError>>,
    /// Installed under a name that isn't the manifest's.
    misnamed: Option<String>,
    findings: Vec<Error>,
    pub(crate) deep: Option<deep::Counts>,
    pub(crate) loader: Option<loader::Report>,
}

impl Verdict {
    fn fail(&mut self, exit: Exit) {
        self.exit = self.exit.max(Some(exit));
    }

    /// Compares the manifest with the name that the package is installed under.
    pub(crate) fn compare(&mut self, identity: &Identity) {
        if let Some(Ok(Manifest { name, version, .. })) = &self.manifest
            && (name, version) != (&identity.name, &identity.version)
        {
            let found = Identity { name: name.clone(), version: version.clone() };
            self.misnamed = Some(format!("installed as `{identity}`, the manifest says `{found}`"));
            self.fail(Exit::InvalidPackage);
        }
    }

    /// Tells the log what there is against the package, or for it.
    fn tell(&self, path: &Path) {
        self.findings.iter().for_each(|error| events::refused(path, error));
        match (&self.manifest, &self.compatibility) {
            (Some(Err(error)), _) | (_, Some(Err(error))) => events::manifest_refused(path, error),
            (Some(Ok(manifest)), Some(Ok(()))) => events::compatible(path, manifest),
            _ => {}
        }
    }

    fn find(&mut self, error: Error) {
        self.fail(exit_of(&error));
        match error.code() {
            Some(code) => self.code = self.code.or(Some(code)),
            None => self.unreadable = Some(error.to_string()),
        }
        self.findings.push(error);
    }
}

/// Judges the package at a path.
pub(crate) fn judge(path: &Path, options: &OpenOptions, looks: &Looks) -> Verdict {
    let mut verdict = Verdict { signature: "not-checked", ..Verdict::default() };
    let opened = open_file(path).map_err(|failure| {
        verdict.fail(failure.exit);
        verdict.unreadable = Some(failure.message().to_owned());
    });
    let Ok(file) = opened else { return verdict };
    match Package::open(file, options) {
        Ok(package) => {
            describe(&mut verdict, path, &package, looks);
            if verdict.findings.is_empty() {
                events::opened(path, &package);
            }
        }
        Err(error) => {
            (verdict.signature, verdict.key_id) = signature_of_refused(path, &error);
            verdict.find(error);
        }
    }
    verdict.tell(path);
    verdict
}

fn describe(verdict: &mut Verdict, path: &Path, package: &Package<std::fs::File>, looks: &Looks) {
    verdict.format = Some(package.format().to_string());
    verdict.package_hash = Some(format!("sha256:{}", package.package_hash()));
    (verdict.signature, verdict.key_id) = signature_words(package.signature());
    let manifest = package.parse_manifest();
    if let Err(error) = &manifest {
        verdict.fail(manifest_exit(error));
    }
    if looks.compat
        && let Ok(manifest) = &manifest
    {
        let judged = manifest.check_compatibility(&input::host(looks.kernel_api));
        if let Err(error) = &judged {
            verdict.fail(manifest_exit(error));
        }
        verdict.compatibility = Some(judged);
    }
    if looks.loader
        && let Ok(manifest) = &manifest
    {
        match loader::check(package, path, manifest) {
            Ok(mut report) => {
                if !report.problems.is_empty() {
                    verdict.fail(Exit::Incomplete);
                }
                let errors = std::mem::take(&mut report.errors);
                // A deep look finds the same, and more.
                errors.into_iter().filter(|_| !looks.deep).for_each(|error| verdict.find(error));
                verdict.loader = Some(report);
            }
            Err(failure) => {
                verdict.fail(failure.exit);
                verdict.unreadable = Some(failure.message().to_owned());
            }
        }
    }
    verdict.manifest = Some(manifest);
    package.audit().into_iter().for_each(|finding| verdict.find(finding));
    if looks.deep {
        let (counts, findings) = deep::check(package);
        verdict.deep = Some(counts);
        findings.into_iter().for_each(|finding| verdict.find(finding));
    }
}

/// What can be said of the signature of a package that was refused.
fn signature_of_refused(path: &Path, error: &Error) -> (&'static str, Option<String>) {
    match error.code() {
        Some(
            code @ (RejectCode::SignatureFailed
            | RejectCode::SignatureUntrusted
            | RejectCode::SignatureRevoked),
        ) => {
            // Refused by policy or for being wrong? Only a milder policy tells them apart.
            let mild = OpenOptions { signature: Policy::Optional, ..OpenOptions::default() };
            let opened = open_file(path).ok().and_then(|file| Package::open(file, &mild).ok());
            match (code, opened.map(|package| signature_words(package.signature()))) {
                (RejectCode::SignatureRevoked, words) => {
                    ("revoked", words.and_then(|(_, key)| key))
                }
                (_, Some(words)) => words,
                (_, None) => ("bad", None),
            }
        }
        Some(RejectCode::SignatureWeakKey | RejectCode::SignatureTooLarge) => ("bad", None),
        Some(RejectCode::SignatureAlgorithmNone) => ("unsigned", None),
        _ => ("not-checked", None),
    }
}

impl Verdict {
    pub(crate) fn to_json(&self, path: &Path) -> Value {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("schema", json!("epk.verify/1"));
        put("path", json!(path.to_string_lossy()));
        put("valid", json!(self.exit.is_none()));
        let code = match (&self.unreadable, self.code) {
            (_, Some(code)) => (json!(code.number()), json!(code.name())),
            (Some(_), None) => (Value::Null, Value::Null),
            (None, None) => (json!(0), json!(epk_format::error::OK_NAME)),
        };
        put("code", code.0);
        put("code_name", code.1);
        put("format", json!(self.format));
        put("package_hash", json!(self.package_hash));
        put("signature", json!({ "state": self.signature, "key_id": self.key_id }));
        put("manifest", self.manifest_json());
        if let Some(compatibility) = &self.compatibility {
            let status = compatibility.as_ref().err().map_or(ManifestStatus::Ok, |e| e.status);
            let detail = compatibility.as_ref().err().map(|error| &error.detail);
            put(
                "compatibility",
                json!({
                    "status": status.number(),
                    "status_name": status.name(),
                    "detail": detail,
                }),
            );
        }
        if let Some(counts) = &self.deep {
            put("deep", json!({ "files": counts.files, "blocks": counts.blocks }));
        }
        if let Some(report) = &self.loader {
            let problems: Vec<Value> = report.problems.iter().map(Problem::to_json).collect();
            put(
                "loader",
                json!({
                    "programs": report.programs,
                    "libraries": report.libraries,
                    "problems": problems,
                }),
            );
        }
        let mut findings: Vec<Value> = self.findings.iter().map(finding_json).collect();
        let other = self.unreadable.iter().filter(|_| findings.is_empty());
        let other: Vec<&String> = other.chain(&self.misnamed).collect();
        findings.extend(
            other.iter().map(|text| json!({ "code": null, "code_name": null, "detail": text })),
        );
        put("findings", Value::Array(findings));
        Value::Object(object)
    }

    fn manifest_json(&self) -> Value {
        match &self.manifest {
            Some(Ok(manifest)) => json!({
                "status": 0,
                "status_name": ManifestStatus::Ok.name(),
                "name": manifest.name,
                "version": manifest.version,
                "arch": manifest.arch,
                "kernel_api": manifest.kernel_api,
                "entry": manifest.entry,
                "commands": manifest.commands,
                "isolation": manifest.isolation.map(Isolation::name),
            }),
            Some(Err(error)) => json!({
                "status": error.status.number(),
                "status_name": error.status.name(),
                "detail": error.detail,
            }),
            None => json!({
                "status": ManifestStatus::InvalidPackage.number(),
                "status_name": ManifestStatus::InvalidPackage.name(),
            }),
        }
    }

    pub(crate) fn to_line(&self, path: &Path) -> String {
        if self.exit.is_some() {
            let mut lines = vec![format!("{}: {}", path.display(), self.word())];
            lines.extend(self.reasons().into_iter().map(|reason| format!("  {reason}")));
            return lines.join("\n");
        }
        let what = match &self.manifest {
            Some(Ok(manifest)) => format!(
                "{} {} for {}",
                manifest.name.escape_debug(),
                manifest.version.escape_debug(),
                manifest.arch.escape_debug()
            ),
            _ => String::new(),
        };
        let signed = match (&self.key_id, self.signature) {
            (Some(id), "valid") => format!("signed by `{id}`, trusted"),
            (Some(id), _) => format!("signed by `{id}`, not known to be trusted"),
            (None, "not-checked") => "signature not checked".to_owned(),
            (None, state) => state.to_owned(),
        };
        let hash = self.package_hash.as_deref().unwrap_or_default();
        let deep = self.deep.as_ref().map_or(String::new(), |counts| {
            format!(", all {} files and {} blocks intact", counts.files, counts.blocks)
        });
        let loader = self.loader.as_ref().map_or(String::new(), |report| {
            let programs = counted(report.programs as u64, "program");
            let found = match report.libraries {
                1 => "1 library".to_owned(),
                libraries => format!("{libraries} libraries"),
            };
            format!(", what {programs} and {found} need is there")
        });
        format!("{}: valid, {what}, {signed}{deep}{loader}, {hash}", path.display())
    }

    fn word(&self) -> &'static str {
        match self.exit {
            Some(Exit::Environment) => "could not be read",
            Some(Exit::Signature) => "signature refused",
            Some(Exit::Incompatible) => "incompatible",
            Some(Exit::Incomplete) => "incomplete",
            _ => "invalid",
        }
    }

    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        if reasons.is_empty() {
            reasons.extend(self.unreadable.clone());
        }
        reasons.extend(self.misnamed.clone());
        reasons.extend(
            self.manifest.iter().filter_map(|manifest| Some(manifest.as_ref().err()?.to_string())),
        );
        reasons.extend(
            self.compatibility.iter().filter_map(|judged| Some(judged.as_ref().err()?.to_string())),
        );
        let problems = self.loader.iter().flat_map(|report| &report.problems);
        reasons.extend(problems.map(ToString::to_string));
        reasons
    }

    /// How a command ends that was about this package.
    pub(crate) fn failure(&self, exit: Exit, path: &Path, policy: Policy) -> Failure {
        let hints = self.findings.first().map(|error| hints(error, policy));
        let failure = Failure::new(exit, format!("`{}`: {}", path.display(), self.word()));
        hints.into_iter().flatten().fold(failure, Failure::hint)
    }
}

fn finding_json(error: &Error) -> Value {
    let (at, detail) = match error {
        Error::Rejected(reject) => (json!(reject.at.to_string()), reject.detail.clone()),
        other => (Value::Null, other.to_string()),
    };
    json!({
        "code": error.code().map(RejectCode::number),
        "code_name": error.code().map(RejectCode::name),
        "at": at,
        "detail": detail,
    })
}
