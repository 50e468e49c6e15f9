//! Where the workspace's binaries are, built once a test process.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The variable that names a folder of binaries to be tested, instead of fresh ones.
pub const FOLDER_VARIABLE: &str = "EPK_TEST_BIN_DIR";

/// The path of a binary of the workspace: built by this call, or out of `EPK_TEST_BIN_DIR`.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    if let Some(folder) = env::var_os(FOLDER_VARIABLE) {
        let path = PathBuf::from(folder).join(name);
        assert!(path.is_file(), "{FOLDER_VARIABLE} has no `{name}`");
        return path;
    }
    // Held while building: the second test waits for the first one's build.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    built.entry(name.to_owned()).or_insert_with(|| build(name)).clone()
}

fn build(name: &str) -> PathBuf {
    let (target, profile) = target_folder();
    let release = (profile == "release").then_some("--release");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--bin", name])
        .args(release)
        .arg("--target-dir")
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--manifest-path", "../Cargo.toml"])
        .status()
        .expect("cargo starts");
    assert!(status.success(), "`{name}` cannot be built");
    target.join(profile).join(name)
}

/// The folder that this test was built into, and the profile's name: the test's program is
/// `TARGET/PROFILE/deps/NAME`.
fn target_folder() -> (PathBuf, String) {
    let program = env::current_exe().expect("a program has a path");
    let profile = program.ancestors().nth(2).expect("cargo's layout");
    let name = profile.file_name().expect("cargo's layout").to_string_lossy().into_owned();
    (profile.parent().map(Path::to_owned).expect("cargo's layout"), name)
}
