//! Where launches are tried: as root, as an ordinary user, and as one inside of another user
//! namespace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use epk_tests::app::{App, Stage};
use epk_tests::users::{Copies, is_machine_root, ordinary_user};

/// The static program of these tests.
pub(crate) static PROBE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("probe");
    let compiled = Command::new("cc")
        .args(["-O1", "-static", "-s", "-o"])
        .arg(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/launch/probe.c"))
        .status()
        .expect("a C compiler");
    assert!(compiled.success(), "the probe cannot be compiled");
    std::fs::read(program).expect("it was made")
});

/// A package whose entry is the probe.
pub(crate) fn probe() -> App {
    App::empty().with_program("bin/app", PROBE.clone()).with_file("file", "content\n")
}

/// A kind of user.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    /// The words before the tool's own.
    prefix: Vec<String>,
    /// Whether this is the machine's root, who may do anything.
    pub(crate) root: bool,
    copies: &'static Copies,
}

static COPIES: LazyLock<Copies> = LazyLock::new(|| Copies::new(&["pkgtool"]));

/// All kinds that this process can become.
pub(crate) fn places() -> Vec<Place> {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let copies = &*COPIES;
    let mut ordinary = Vec::new();
    let mut places = Vec::new();
    if is_machine_root() {
        let user = ordinary_user();
        ordinary = words(&["/usr/bin/setpriv", "--clear-groups"]);
        ordinary.extend([format!("--reuid={}", user.uid), format!("--regid={}", user.gid)]);
        ordinary.push("--".to_owned());
        places.push(Place { name: "root", prefix: Vec::new(), root: true, copies });
    }
    let mut nested = ordinary.clone();
    nested.extend(words(&["/usr/bin/unshare", "--user", "--map-current-user", "--"]));
    places.push(Place { name: "ordinary user", prefix: ordinary, root: false, copies });
    places.push(Place { name: "user in a user namespace", prefix: nested, root: false, copies });
    places
}

impl Place {
    /// A stage that belongs to whoever launches here.
    pub(crate) fn stage(&self, app: &App) -> Stage {
        self.stage_of_image(&app.image())
    }

    pub(crate) fn stage_of_image(&self, image: &[u8]) -> Stage {
        let stage = Stage::of_image(image);
        for path in [stage.data_home(), stage.folder().join("temporary"), stage.folder().into()] {
            self.give(&path);
        }
        stage
    }

    /// Gives a file or folder to whoever launches here.
    pub(crate) fn give(&self, path: &std::path::Path) {
        if is_machine_root() && !self.root {
            let user = ordinary_user();
            let (uid, gid) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            std::os::unix::fs::chown(path, uid, gid).expect("root may");
        }
    }

    /// `pkgtool run OPTIONS PACKAGE WORDS`
    pub(crate) fn run(&self, stage: &Stage, options: &[&str], words: &[&str]) -> Command {
        self.run_after(&[], stage, options, words)
    }

    /// The same, started by another program, which gets it as further words.
    pub(crate) fn run_after(
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
    pub(crate) fn command(&self, stage: &Stage, before: &[&str], words: &[&str]) -> Command {
        let tool = self.tool();
        let tool = tool.to_str().expect("text");
        self.line(stage, &[before, &[tool], words].concat())
    }

    /// A program with these words.
    pub(crate) fn program(&self, stage: &Stage, program: &Path, words: &[&str]) -> Command {
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
    pub(crate) fn tool(&self) -> PathBuf {
        self.copies.folder().join("pkgtool")
    }
}
