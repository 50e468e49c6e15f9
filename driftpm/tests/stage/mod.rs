//! A user with a project, and publishers with repositories, for tests of the real `drift`.

#![allow(dead_code)] // Each test binary uses some of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use driftpm::drift::container::read_full;
use driftpm::drift::container_write::{Module, Package, write_package};
use driftpm::drift::identity::Identity;
use driftpm::drift::metadata::{Metadata, attach};
use driftpm::json::Value as Json;
use driftpm::keys::PrivateKey;
use serde_json::{Value, json};

pub(crate) const DAY: u64 = 86_400;

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

/// A user with a project, and publishers with repositories, in one temporary folder.
pub(crate) struct Stage(pub(crate) tempfile::TempDir);

pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.exit, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stderr, "");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The code of the only problem.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.exit, 2, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        let report = self.json();
        assert_eq!(report["errors"].as_array().unwrap().len(), 1, "{report}");
        report["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        for seed in 1..=3 {
            let text = key(seed).to_file_text();
            fs::write(stage.path(&format!("key{seed}")), text).unwrap();
        }
        fs::create_dir(stage.path("app")).unwrap();
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn drift(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_drift"))
            .args(arguments)
            .current_dir(self.path("app"))
            .env("HOME", self.path("home"))
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CACHE_HOME")
            .envs([("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        Ran {
            exit: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Puts a signed package into the repository `repository`.
    pub(crate) fn package(
        &self,
        repository: &str,
        id: &str,
        version: &str,
        signer: u8,
        needs: &[(&str, &str)],
    ) {
        let bytes = package(id, version, needs);
        let folder = self.path(repository);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{id}-{version}-any.dmp"));
        fs::write(&path, bytes).unwrap();
        let _ = fs::remove_file(format!("{}.sig", path.display()));
        let (path, key) = (path.display().to_string(), self.shown(&format!("key{signer}")));
        self.drift(&["sign", &path, "--key", &key, "--include-pubkey"]).ok();
    }

    /// Builds and signs the index of a repository.
    pub(crate) fn publish(&self, repository: &str, signer: u8, more: &[&str]) {
        let index = self.shown(&format!("{repository}/drift-index.json"));
        let folder = self.shown(repository);
        let mut build = vec!["index", "build", "--artifacts", &folder, "--out", &index];
        build.extend(more);
        self.drift(&build).ok();
        let key = self.shown(&format!("key{signer}"));
        self.drift(&["index", "sign", "--in", &index, "--key", &key]).ok();
        self.drift(&["index", "verify", "--in", &index]).ok();
    }

    /// The project's file: repositories by name and URL, best first, and what it needs.
    pub(crate) fn project(&self, repositories: &[(&str, &str)], needs: &[(&str, &str)]) {
        let repositories: Vec<Value> = repositories
            .iter()
            .enumerate()
            .map(|(priority, (name, url))| {
                let kind = if url.starts_with("s3:") {
                    "s3"
                } else if url.starts_with("http") {
                    "http"
                } else {
                    "dir"
                };
                json!({"name": name, "type": kind, "url": url, "priority": priority})
            })
            .collect();
        let deps: serde_json::Map<String, Value> =
            needs.iter().map(|(id, constraint)| ((*id).to_owned(), json!(constraint))).collect();
        let file = json!({"format": 1, "name": "app", "repositories": repositories, "deps": deps});
        fs::write(self.path("app/drift-project.json"), file.to_string()).unwrap();
    }

    pub(crate) fn locked(&self, package: &str) -> Value {
        let lock = fs::read(self.path("app/drift-project.lock.json")).unwrap();
        let lock: Value = serde_json::from_slice(&lock).unwrap();
        lock["packages"][package].clone()
    }

    pub(crate) fn trust(&self) -> Value {
        let store = fs::read(self.path("app/drift/trust.json")).unwrap();
        serde_json::from_slice(&store).unwrap()
    }

    pub(crate) fn resolve(&self) -> Ran {
        self.drift(&["resolve", "--json", "--trust-on-first-use"])
    }

    pub(crate) fn update(&self) -> Ran {
        self.drift(&["update", "--json"])
    }

    pub(crate) fn fetch(&self) -> Ran {
        self.drift(&["fetch", "--json", "--trust-on-first-use"])
    }
}

/// A package with one module of its own name and a megabyte of nothing.
pub(crate) fn package(id: &str, version: &str, needs: &[(&str, &str)]) -> Vec<u8> {
    let empty = " ".repeat(100_000);
    let bytes = write_package(&Package {
        identity: Identity { package_id: id.into(), version: version.into(), target: "any".into() },
        build_epoch: None,
        modules: vec![Module {
            id: id.into(),
            exports: Json::Null,
            interface: b"{}".to_vec(),
            payload: format!("{{\"version\":\"{version}\"{empty}}}").into_bytes(),
        }],
    })
    .unwrap();
    let dependencies = needs.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned()));
    let metadata = Metadata { dependencies: dependencies.collect(), ..Metadata::default() };
    attach(&bytes, &read_full(&bytes).unwrap(), &metadata, &Default::default()).unwrap()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
