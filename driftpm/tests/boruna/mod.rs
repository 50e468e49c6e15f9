//! A scratch directory in which the real binary runs.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "../scripts/mod.rs"]
mod scripts;

/// A temporary directory, removed at the end.
pub(crate) struct Place(tempfile::TempDir);

/// What a run came to.
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: i32,
}

impl Output {
    /// Its standard output, after checking that it succeeded.
    #[track_caller]
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.status, 0, "{}", self.stderr);
        self.stdout
    }

    /// Its standard error, after checking that it failed without output.
    #[track_caller]
    pub(crate) fn fails(self) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (1, ""), "{}", self.stderr);
        self.stderr
    }
}

pub(crate) fn lines(text: &str) -> std::str::Lines<'_> {
    text.lines()
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With `base.a@1.0.0` and, above it, `mid.b@1.0.0` in the default registry.
    pub(crate) fn with_two_packages() -> Self {
        let place = Self::new();
        place.package("sources/a", "base.a@1.0.0", "", &[]);
        place.package("sources/b", "mid.b@1.0.0", "base.a@1.0.0", &[]);
        for package in ["sources/a", "sources/b"] {
            place.run(&["publish", package]).succeeds();
        }
        place
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    pub(crate) fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap()
    }

    pub(crate) fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn directory(&self, relative: &str) {
        fs::create_dir_all(self.path(relative)).unwrap();
    }

    pub(crate) fn exists(&self, relative: &str) -> bool {
        fs::symlink_metadata(self.path(relative)).is_ok()
    }

    pub(crate) fn listing(&self, relative: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(relative)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn copy(&self, from: &str, to: &str) {
        fn copy_tree(from: &Path, to: &Path) {
            fs::create_dir_all(to).unwrap();
            for entry in fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                let target = to.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    copy_tree(&entry.path(), &target);
                } else {
                    fs::copy(entry.path(), target).unwrap();
                }
            }
        }
        copy_tree(&self.path(from), &self.path(to));
    }

    /// A shell script.
    pub(crate) fn script(&self, relative: &str, body: &str) {
        scripts::write(&self.path(relative), &format!("#!/bin/sh\n{body}\n"));
    }

    /// A manifest; dependencies as ids with blanks between them.
    pub(crate) fn project(&self, directory: &str, label: &str, dependencies: &str) {
        self.manifest(directory, label, dependencies, &[]);
    }

    fn manifest(&self, directory: &str, label: &str, dependencies: &str, capabilities: &[&str]) {
        let (name, version) = label.rsplit_once('@').unwrap();
        let dependencies: serde_json::Map<_, _> = dependencies
            .split_whitespace()
            .map(|id| id.rsplit_once('@').unwrap())
            .map(|(name, version)| (name.to_string(), version.into()))
            .collect();
        let manifest = serde_json::json!({
            "name": name,
            "version": version,
            "description": format!("Package {name}"),
            "dependencies": dependencies,
            "required_capabilities": capabilities,
            "exposed_modules": ["core"],
        });
        self.write(&format!("{directory}/package.ax.json"), &manifest.to_string());
    }

    /// A manifest and a source file.
    pub(crate) fn package(
        &self,
        directory: &str,
        label: &str,
        dependencies: &str,
        capabilities: &[&str],
    ) {
        self.manifest(directory, label, dependencies, capabilities);
        let source = format!("// {label}\nfn one() -> Int {{\n    1\n}}\n");
        self.write(&format!("{directory}/src/core.ax"), &source);
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_boruna-pkg"))
            .args(arguments)
            .current_dir(self.0.path())
            .env_remove("BORUNA_COMPILER")
            .env_remove("BORUNA_COMPAT")
            .output()
            .unwrap();
        Output {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            status: output.status.code().unwrap(),
        }
    }

    /// Runs a command that must succeed with this output and nothing on standard error.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str], stdout: &str) {
        let output = self.run(arguments);
        assert_eq!((output.stderr.as_str(), output.status), ("", 0), "{arguments:?}");
        assert_eq!(output.stdout, stdout, "{arguments:?}");
    }

    /// Runs a command that must fail with this message.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str], stderr: &str) {
        let output = self.run(arguments);
        assert_eq!((output.stdout.as_str(), output.status), ("", 1), "{arguments:?}");
        assert_eq!(output.stderr, stderr, "{arguments:?}");
    }
}
