//! Packages with dependencies, platforms and native parts, for projects to use.

use std::collections::BTreeMap;

use driftpm::drift::container::read_full;
use driftpm::drift::metadata::{Metadata, attach};
use driftpm::drift::sidecar::Draft;
use driftpm::json::{Limit, Value as Json, parse};
use driftpm::keys::sha256_text;
use driftpm::relpath::RelPath;
use epk_format::digest::Sha256;
use serde_json::{Value, json};

use super::project::{Project, Ran, key, package};

/// A package with `drift_package` and files of native parts.
pub(crate) fn rich_package(
    id: &str,
    version: &str,
    mut extra: Value,
    files: &[(&str, &str)],
) -> Vec<u8> {
    let bytes = package(id, version, &[id]);
    extra["format"] = json!(1);
    for (path, text) in files {
        extra["files"][path] = json!(sha256_text(&Sha256::of(text.as_bytes())));
    }
    let document = json!({"drift_package": extra}).to_string();
    let Ok(Json::Object(manifest)) = parse(document.as_bytes(), Limit::MANIFEST) else {
        panic!("{document}")
    };
    let metadata = Metadata::of_manifest(&manifest, id).unwrap();
    let files: BTreeMap<RelPath, Vec<u8>> = files
        .iter()
        .map(|(path, text)| (RelPath::parse(path).unwrap(), text.as_bytes().to_vec()))
        .collect();
    attach(&bytes, &read_full(&bytes).unwrap(), &metadata, &files).unwrap()
}

impl Project {
    /// Puts a signed package with dependencies into the repository `folder`.
    pub(crate) fn offer(&self, folder: &str, id: &str, version: &str, needs: &[(&str, &str)]) {
        let needs: BTreeMap<&str, &str> = needs.iter().copied().collect();
        self.offer_bytes(
            folder,
            id,
            version,
            &rich_package(id, version, json!({"dependencies": needs}), &[]),
        );
    }

    /// Puts a package into the repository `folder`, signed by key 1.
    pub(crate) fn offer_bytes(&self, folder: &str, id: &str, version: &str, bytes: &[u8]) {
        let path = format!("{folder}/{id}-{version}-any.dmp");
        let mut sidecar = Draft::new(&Sha256::of(bytes));
        sidecar.sign(&key(1), bytes, false);
        self.write(&path, bytes);
        self.write(&format!("{path}.sig"), sidecar.to_bytes());
    }

    /// Writes `drift-project.json` with the repository `repo` and these dependencies.
    pub(crate) fn project(&self, deps: &Value) {
        self.project_with(&json!({
            "format": 1, "name": "demo", "deps": deps,
            "repositories": [{"name": "main", "type": "dir", "url": "repo"}],
        }));
    }

    pub(crate) fn project_with(&self, document: &Value) {
        self.write("drift-project.json", document.to_string());
    }

    /// The locked versions, `ID VERSION`, sorted.
    pub(crate) fn locked(&self) -> Vec<String> {
        let lock = self.read_json("drift-project.lock.json");
        let packages = lock["packages"].as_object().unwrap().iter();
        packages.map(|(id, one)| format!("{id} {}", one["version"].as_str().unwrap())).collect()
    }

    /// A project with `acme.http`, which needs `acme.json`, locked and fetched; key 1 is trusted
    /// for `acme.*`.
    pub(crate) fn fetched() -> Self {
        let project = Self::new();
        project.trusted_key(1, "acme.*");
        project.offer("repo", "acme.http", "1.4.0", &[("acme.json", "^1.2")]);
        project.offer("repo", "acme.json", "1.2.0", &[]);
        project.offer("repo", "acme.json", "1.3.0", &[]);
        project.project(&json!({"http": {"package": "acme.http", "constraint": "^1"}}));
        project.drift(&["resolve"]).ok();
        project.drift(&["fetch"]).ok();
        project
    }
}

impl Ran {
    /// The codes of the errors in the report of a command on projects, which must have failed.
    pub(crate) fn codes(&self) -> Vec<String> {
        assert_eq!(self.exit, 2, "{}{}", self.stdout, self.stderr);
        let report = self.json();
        assert_eq!(report["ok"], false);
        let errors = report["errors"].as_array().unwrap();
        for error in errors {
            let keys: Vec<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys, ["code", "field", "file", "hint", "message", "subject"]);
        }
        errors.iter().map(|error| error["code"].as_str().unwrap().to_owned()).collect()
    }

    /// The report of a command that went well.
    pub(crate) fn report(self) -> Value {
        let report = self.ok().json();
        assert_eq!(report["ok"], true);
        assert_eq!(report["errors"], json!([]));
        report
    }
}
