//! Becoming an ordinary user, for tests that root runs.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{User, geteuid};
use tempfile::TempDir;

use crate::binaries::{FOLDER_VARIABLE, binary};
use crate::files::{copy_program, temp_folder};

/// The variable that names the ordinary user, `nobody` by default.
const USER_VARIABLE: &str = "EPK_TEST_USER";

/// Whether this process is root's, be it of a user namespace.
#[must_use]
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether this process is root of the machine: root of a user namespace isn't.
#[must_use]
pub fn is_machine_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").expect("/proc is mounted");
    let numbers: Vec<u64> = map.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    is_root() && numbers == [0, 0, u64::from(u32::MAX)]
}

/// Whether [`ordinary`] makes a command one by an ordinary user. Root of a user namespace that
/// holds nobody else can't, and says so.
#[must_use]
pub fn has_ordinary_user() -> bool {
    let has = !is_root() || is_machine_root();
    if !has {
        eprintln!("no ordinary user in this namespace: nothing was tested");
    }
    has
}

/// The ordinary user that root becomes.
#[must_use]
pub fn ordinary_user() -> User {
    let name = std::env::var(USER_VARIABLE).unwrap_or_else(|_| "nobody".into());
    User::from_name(&name).expect("readable users").expect("the user exists")
}

/// A command run by the ordinary user, or by this one who is ordinary already.
#[must_use]
pub fn ordinary(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    if is_machine_root() {
        let user = ordinary_user();
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.current_dir("/").env_remove("HOME").env_remove("XDG_RUNTIME_DIR");
    command
}

/// Copies of this test and of the binaries that it needs, where everyone can read and run them:
/// the checkout may be root's alone.
#[derive(Debug)]
pub struct Copies(TempDir);

impl Copies {
    /// Copies this test, and `binaries`.
    #[must_use]
    pub fn new(binaries: &[&str]) -> Self {
        let copies = Self(temp_folder());
        let test = std::env::current_exe().expect("a program has a path");
        copies.add(&test, "tests");
        for name in binaries {
            copies.add(&binary(name), name);
        }
        copies
    }

    fn add(&self, from: &Path, name: &str) {
        let to = self.0.path().join(name);
        copy_program(from, &to);
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Runs the tests whose names begin with `filter` with a command's help: what comes before
    /// the test's own path. At least `least` of them must have run.
    #[track_caller]
    pub fn rerun(&self, mut command: Command, filter: &str, least: usize) {
        command.arg(self.0.path().join("tests")).args([filter, "--test-threads", "4"]);
        command.env(FOLDER_VARIABLE, self.0.path());
        let output = command.output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        let passed = text.lines().filter(|line| line.ends_with(" ... ok")).count();
        assert!(passed >= least, "only {passed} tests ran:\n{text}");
    }
}
