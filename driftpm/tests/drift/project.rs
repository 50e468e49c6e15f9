//! A project folder in which the real `drift` is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use driftpm::drift::container_write::{Module, Package, write_package};
use driftpm::drift::identity::Identity;
use driftpm::json::Value as Json;
use driftpm::keys::PrivateKey;
use serde_json::{Value, json};

/// A fresh folder; the home directory is `home` in it.
pub(crate) struct Project(tempfile::TempDir);

/// What a command left behind.
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The report on stdout, which must be alone.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stderr, "", "nothing but the report");
        assert!(self.stdout.ends_with('\n') && self.stdout.is_ascii(), "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }

    /// The only error's code in a report of `fetch` or `vendor`.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.exit, 2);
        let report = self.json();
        assert_eq!(report["ok"], false);
        let errors = report["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{report}");
        errors[0]["reason_code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.exit, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// A usage or operational error: status 2, one line on stderr, nothing on stdout.
    pub(crate) fn refused(&self, part: &str) {
        assert_eq!((self.exit, self.stdout.as_str()), (2, ""));
        assert!(self.stderr.contains(part), "{part:?} is not in {:?}", self.stderr);
    }
}

impl Project {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn drift(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_drift"))
            .args(arguments)
            .current_dir(self.0.path())
            .env("HOME", self.path("home"))
            .output()
            .unwrap();
        Ran {
            exit: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("`{name}`: {error}"))
    }

    pub(crate) fn read_json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Changes one file of JSON.
    pub(crate) fn change_json(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = self.read_json(name);
        change(&mut value);
        self.write(name, value.to_string());
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// All files below `name`, sorted.
    pub(crate) fn files(&self, name: &str) -> Vec<String> {
        fn walk(directory: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else {
                    found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path(name), &self.path(name), &mut found);
        found.sort();
        found
    }

    /// Writes a sources file naming `(id, priority, directory)`.
    pub(crate) fn sources(&self, sources: &[(&str, i64, &str)]) {
        let list: Vec<Value> = sources
            .iter()
            .map(|(id, priority, path)| {
                json!({"kind": "dir", "id": id, "priority": priority, "path": path})
            })
            .collect();
        let file = json!({"format": "drift-sources", "version": 0, "sources": list});
        self.write("drift-sources.json", file.to_string());
    }

    /// Writes a key file and trusts the key for `namespace`.
    pub(crate) fn trusted_key(&self, number: u8, namespace: &str) {
        self.key_file(number);
        let pubkey = key(number).public().to_base64();
        self.drift(&["trust", "add-key", "--namespace", namespace, "--pubkey", &pubkey]).ok();
    }

    pub(crate) fn key_file(&self, number: u8) {
        self.write(&format!("k{number}"), key(number).to_file_text());
    }

    /// Writes a package, signed by the given keys.
    pub(crate) fn package(&self, name: &str, id: &str, version: &str, keys: &[u8]) {
        self.write(name, package(id, version, &[id]));
        for number in keys {
            self.key_file(*number);
            let key = format!("k{number}");
            let mut arguments = vec!["sign", name, "--key", &key];
            if self.exists(&format!("{name}.sig")) {
                arguments.push("--add-signature");
            }
            self.drift(&arguments).ok();
        }
    }

    /// A project with `acme.http` and `acme.json`, trusted, published, fetched and vendored.
    pub(crate) fn vendored() -> Self {
        let project = Self::new();
        project.trusted_key(1, "acme.*");
        project.package("dist/http.dmp", "acme.http", "1.4.0", &[1]);
        project.package("dist/json.dmp", "acme.json", "0.9.0", &[1]);
        project.drift(&["publish", "--dest-dir", "repo", "dist/http.dmp", "dist/json.dmp"]).ok();
        project.sources(&[("main", 1, "repo")]);
        project.drift(&FETCH).ok();
        project.drift(&["vendor", "--json"]).ok();
        project
    }
}

/// `drift fetch` with a report.
pub(crate) const FETCH: [&str; 4] = ["fetch", "--sources", "drift-sources.json", "--json"];

/// The key whose seed is 32 times `number`.
pub(crate) fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed(&[number; 32])
}

/// The bytes of a package for any target whose modules are nearly empty.
pub(crate) fn package(id: &str, version: &str, modules: &[&str]) -> Vec<u8> {
    let identity =
        Identity { package_id: id.into(), version: version.into(), target: "any".into() };
    let modules = modules
        .iter()
        .map(|module| Module {
            id: (*module).into(),
            exports: Json::Null,
            interface: json!({"module_id": module}).to_string().into_bytes(),
            payload: json!({"module_id": module, "of": [id, version]}).to_string().into_bytes(),
        })
        .collect();
    write_package(&Package { identity, build_epoch: None, modules }).unwrap()
}
