//! A place for a launch by root or an ordinary user, on a machine that lacks things.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use epk_tests::app::{App, Stage};
use epk_tests::users::{Copies, is_machine_root, ordinary_user};

/// Whether this test can arrange what it needs. CI's is root.
pub(crate) fn root() -> bool {
    if !is_machine_root() {
        eprintln!("not run by root: nothing was tested");
    }
    is_machine_root()
}

/// Whether a program is there, which it must be if `EPK_TEST_PROGRAMS` is set.
pub(crate) fn has(program: &str) -> bool {
    let there = Command::new("/bin/sh").args(["-c", &format!("command -v {program}")]).output();
    let there = there.is_ok_and(|output| output.status.success());
    let required = std::env::var_os("EPK_TEST_PROGRAMS").is_some();
    assert!(there || !required, "`{program}` is missing");
    if !there {
        eprintln!("no `{program}`: nothing was tested");
    }
    there
}

/// What a machine lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lacks {
    /// Something else is at `/dev/fuse`.
    pub(crate) device: bool,
    /// User namespaces are forbidden, as they are in a chroot (unshare(2)).
    pub(crate) namespaces: bool,
    /// `/proc` can't be written, so that a user namespace is granted and good for nothing.
    pub(crate) maps: bool,
}

/// Root's binaries, where everyone can run them.
pub(crate) fn copies() -> &'static Copies {
    static COPIES: OnceLock<Copies> = OnceLock::new();
    COPIES.get_or_init(|| Copies::new(&["pkgtool", "epkfs"]))
}

/// A stage whose folders belong to the ordinary user.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
}

impl Scene {
    pub(crate) fn new(app: &App) -> Self {
        Self::of_image(&app.image())
    }

    pub(crate) fn of_image(image: &[u8]) -> Self {
        let scene = Self { stage: Stage::of_image(image) };
        for name in ["own-cache", "own-runtime", "own-root", "own-config"] {
            fs::create_dir(scene.path(name)).expect("a folder can be made");
        }
        if is_machine_root() {
            let user = ordinary_user();
            let (user, group) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            for name in ["", "data", "temporary", "own-cache", "own-runtime", "own-config"] {
                chown(scene.path(name), user, group).expect("root may");
            }
        }
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.stage.folder().join(name)
    }

    /// `pkgtool` with these words, by the ordinary user, where things are lacking.
    pub(crate) fn pkgtool(&self, lacks: Lacks, words: &[&str]) -> Command {
        self.program(lacks, &copies().folder().join("pkgtool"), words)
    }

    /// The same with another program.
    pub(crate) fn program(&self, lacks: Lacks, program: &Path, words: &[&str]) -> Command {
        let mut script = String::new();
        if lacks.device {
            script.push_str("mount --bind /dev/null /dev/fuse\n");
        }
        if lacks.maps {
            script.push_str("mount --bind /proc /proc\nmount -o remount,bind,ro /proc\n");
        }
        let user = ordinary_user();
        let (user, group) = (user.uid, user.gid);
        if lacks.namespaces {
            script.push_str(&format!(
                "mount --rbind / {0}\nexec chroot --userspec={user}:{group} {0} \"$@\"\n",
                self.path("own-root").display()
            ));
        } else {
            script.push_str(&format!(
                "exec setpriv --reuid={user} --regid={group} --clear-groups -- \"$@\"\n"
            ));
        }
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--mount", "--", "/bin/sh", "-ec", &script, "sh"]);
        command.arg(program).args(words).current_dir("/").env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("XDG_DATA_HOME", self.stage.data_home());
        command.env("XDG_CACHE_HOME", self.path("own-cache"));
        command.env("XDG_CONFIG_HOME", self.path("own-config"));
        command.env("XDG_RUNTIME_DIR", self.path("own-runtime"));
        command.env("TMPDIR", self.path("temporary"));
        command
    }

    /// `pkgtool run` of the scene's package.
    pub(crate) fn run(&self, lacks: Lacks, words: &[&str]) -> Command {
        let image = self.stage.image();
        let image = image.to_str().expect("UTF-8");
        let mut all = vec!["run"];
        all.extend_from_slice(words);
        all.push(image);
        self.pkgtool(lacks, &all)
    }

    /// What is in the folder of extractions, sorted.
    pub(crate) fn extractions(&self) -> Vec<String> {
        names(&self.path("own-cache/epk/extracted"))
    }

    /// What is left of mounts in the host's sight.
    pub(crate) fn lent(&self) -> Vec<String> {
        names(&self.path("own-runtime/epk"))
    }
}

/// The names in a folder, sorted; none if there is no folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
