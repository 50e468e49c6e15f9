//! Applications made for a test, and a place of their own to run in.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getsid};
use tempfile::TempDir;

use crate::files::temp_folder;
use crate::processes;
use crate::tool;
use crate::tree::{Item, Recipe, Tree};
use crate::wait;

/// A package in the making.
#[derive(Debug, Clone)]
pub struct App {
    /// The manifest's `name`.
    pub name: String,
    /// The manifest's `arch`.
    pub arch: String,
    /// The manifest's `kernel_api`.
    pub kernel_api: String,
    /// The manifest's `entry`.
    pub entry: String,
    /// The manifest's `[commands]`.
    pub commands: BTreeMap<String, String>,
    /// What is in it.
    pub tree: Tree,
}

impl App {
    /// An application whose entry, `/bin/app`, is a shell script.
    #[must_use]
    pub fn script(body: &str) -> Self {
        Self::empty().with_script("bin/app", body)
    }

    /// An application with nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            name: "org.example.app".into(),
            arch: "x86-64".into(),
            kernel_api: "1.0".into(),
            entry: "/bin/app".into(),
            commands: BTreeMap::new(),
            tree: Tree::default(),
        }
    }

    /// Adds an executable shell script.
    #[must_use]
    pub fn with_script(self, path: &str, body: &str) -> Self {
        self.with_program(path, format!("#!/bin/sh\n{body}\n"))
    }

    /// Adds an executable file.
    #[must_use]
    pub fn with_program(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.tree = self.tree.with(path, Item::File { bytes: bytes.into(), mode: 0o755 });
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn with_file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.tree = self.tree.file(path, bytes);
        self
    }

    /// Adds a command.
    #[must_use]
    pub fn with_command(mut self, name: &str, target: &str) -> Self {
        self.commands.insert(name.into(), target.into());
        self
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> String {
        let Self { name, arch, kernel_api, entry, .. } = self;
        let mut text = format!(
            "name = \"{name}\"\nversion = \"1.2.3\"\narch = \"{arch}\"\n\
             kernel_api = \"{kernel_api}\"\nentry = \"{entry}\"\n\n[commands]\n"
        );
        for (name, target) in &self.commands {
            text.push_str(&format!("{name} = \"{target}\"\n"));
        }
        text
    }

    /// The package.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.tree.image(&Recipe { manifest: self.manifest(), ..Recipe::default() })
    }
}

/// A folder with a package, a home for data and one for temporary files.
#[derive(Debug)]
pub struct Stage {
    folder: TempDir,
}

impl Stage {
    /// A stage for an application.
    #[must_use]
    pub fn new(app: &App) -> Self {
        Self::of_image(&app.image())
    }

    /// A stage for an image.
    #[must_use]
    pub fn of_image(image: &[u8]) -> Self {
        let stage = Self { folder: temp_folder() };
        fs::write(stage.image(), image).expect("the image can be written");
        for name in ["data", "temporary"] {
            fs::create_dir(stage.folder().join(name)).expect("a folder can be made");
        }
        stage
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The package.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder().join("app.epk")
    }

    /// `XDG_DATA_HOME`.
    #[must_use]
    pub fn data_home(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// What the application of the usual name sees as `/user-data`.
    #[must_use]
    pub fn user_data(&self) -> PathBuf {
        self.data_home().join("epk/data/org.example.app")
    }

    /// `pkgtool run PACKAGE WORDS…`
    #[must_use]
    pub fn run<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.run_with(&[]);
        command.args(words);
        command
    }

    /// `pkgtool run OPTIONS… PACKAGE`
    #[must_use]
    pub fn run_with(&self, options: &[&str]) -> Command {
        let mut command = tool::pkgtool();
        command.arg("run").args(options).arg(self.image()).current_dir(self.folder());
        command.env("XDG_DATA_HOME", self.data_home());
        command.env("TMPDIR", self.folder().join("temporary"));
        command
    }

    /// The processes that were started here, or work for one that was.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        processes::mentioning(&self.folder().to_string_lossy())
    }

    /// The process that serves the package of a launch: it left the launcher's session.
    #[must_use]
    pub fn server(&self, launcher: u32) -> Pid {
        let session = |pid| getsid(Some(Pid::from_raw(pid))).ok();
        let ours = session(launcher.cast_signed());
        let others: Vec<i32> =
            self.processes().into_iter().filter(|&pid| session(pid) != ours).collect();
        assert_eq!(others.len(), 1, "one process serves: {others:?}");
        Pid::from_raw(others[0])
    }

    /// The mounts that this process should not see.
    #[must_use]
    pub fn mounts(&self) -> Vec<String> {
        processes::mounts_about(&self.folder().to_string_lossy())
    }

    /// Waits for the last process, and demands that no mount and no temporary file is left.
    #[track_caller]
    pub fn is_left_clean(&self) {
        wait::until("every process of the run is gone", || self.processes().is_empty());
        assert_eq!(self.mounts(), Vec::<String>::new(), "mounts were left");
        let left = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).expect("a folder").flatten();
            let mut names: Vec<String> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(left(&self.folder().join("temporary")), Vec::<String>::new());
        for name in left(self.folder()) {
            let usual = ["app.epk", "data", "temporary"].contains(&name.as_str());
            // Tests that need more bring it in names of this kind.
            assert!(usual || name.starts_with("own-"), "`{name}` was left");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A failed test's applications may wait for ever for what it would have told them.
        if std::thread::panicking() {
            for pid in self.processes() {
                let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}
