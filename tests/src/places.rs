//! Who uses the tool: root, an ordinary user, and one inside of another user namespace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::app::{App, Stage};
use crate::users::{Copies, is_machine_root, ordinary_user};

/// A kind of user.
#[derive(Debug)]
pub struct Place {
    /// Its name.
    pub name: &'static str,
    /// The words before the tool's own.
    prefix: Vec<String>,
    /// Whether this is the machine's root, who may do anything.
    pub root: bool,
    /// Whether it is in a user namespace of its own.
    pub in_user_namespace: bool,
    copies: &'static Copies,
}

static COPIES: LazyLock<Copies> = LazyLock::new(|| Copies::new(&["pkgtool"]));

/// All kinds that this process can become.
#[must_use]
pub fn places() -> Vec<Place> {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut ordinary = Vec::new();
    let mut places = Vec::new();
    if is_machine_root() {
        let user = ordinary_user();
        ordinary = words(&["/usr/bin/setpriv", "--clear-groups"]);
        ordinary.extend([format!("--reuid={}", user.uid), format!("--regid={}", user.gid)]);
        ordinary.push("--".to_owned());
        places.push(Place { root: true, ..Place::of("root", Vec::new()) });
    }
    let mut nested = ordinary.clone();
    nested.extend(words(&["/usr/bin/unshare", "--user", "--map-current-user", "--"]));
    places.push(Place::of("ordinary user", ordinary));
    let nested = Place::of("user in a user namespace", nested);
    places.push(Place { in_user_namespace: true, ..nested });
    places
}

impl Place {
    fn of(name: &'static str, prefix: Vec<String>) -> Self {
        Self { name, prefix, root: false, in_user_namespace: false, copies: &COPIES }
    }

    /// A stage that belongs to whoever launches here.
    #[must_use]
    pub fn stage(&self, app: &App) -> Stage {
        self.stage_of_image(&app.image())
    }

    /// The same of an image.
    #[must_use]
    pub fn stage_of_image(&self, image: &[u8]) -> Stage {
        let stage = Stage::of_image(image);
        for path in [stage.data_home(), stage.folder().join("temporary"), stage.folder().into()] {
            self.give(&path);
        }
        stage
    }

    /// Gives a file or folder to whoever launches here.
    pub fn give(&self, path: &Path) {
        if is_machine_root() && !self.root {
            let user = ordinary_user();
            let (uid, gid) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            std::os::unix::fs::chown(path, uid, gid).expect("root may");
        }
    }

    /// `pkgtool run OPTIONS PACKAGE WORDS`
    #[must_use]
    pub fn run(&self, stage: &Stage, options: &[&str], words: &[&str]) -> Command {
        self.run_after(&[], stage, options, words)
    }

    /// The same, started by another program, which gets it as further words.
    #[must_use]
    pub fn run_after(
        &self,
        before: &[&str],
        stage: &Stage,
        options: &[&str],
        words: &[&str],
    ) -> Command {
        let mut command = self.command(stage, before, &["run"]);
        command.args(options).arg(stage.image()).args(words);
        command
    }

    /// `pkgtool` with these words, started by another program if `before` has one.
    #[must_use]
    pub fn command(&self, stage: &Stage, before: &[&str], words: &[&str]) -> Command {
        let tool = self.tool();
        let tool = tool.to_str().expect("text");
        self.line(stage, &[before, &[tool], words].concat())
    }

    /// A program with these words.
    #[must_use]
    pub fn program(&self, stage: &Stage, program: &Path, words: &[&str]) -> Command {
        self.line(stage, &[&[program.to_str().expect("text")], words].concat())
    }

    fn line(&self, stage: &Stage, words: &[&str]) -> Command {
        let mut line: Vec<String> = self.prefix.clone();
        line.extend(words.iter().map(ToString::to_string));
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]);
        command.current_dir(stage.folder()).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("XDG_DATA_HOME", stage.data_home());
        command.env("TMPDIR", stage.folder().join("temporary"));
        command
    }

    /// The tool, where this user can execute it.
    #[must_use]
    pub fn tool(&self) -> PathBuf {
        self.copies.folder().join("pkgtool")
    }
}
