//! Temporary folders that everyone may enter, whoever the test's programs run as, and programs in
//! them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A folder of mode 0755, removed when it is dropped. It must not hold mounts by then.
#[must_use]
pub fn temp_folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("epk-test-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir()
        .expect("a temporary folder can be made")
}

/// Copies a program, for everyone. Another process does it: what this one has open for writing is
/// also in whatever its other threads start just then, and such a file cannot be executed meanwhile
/// (execve(2), ETXTBSY).
///
/// # Panics
/// When it can't be copied.
pub fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("install").args(["-m", "755", "--"]).arg(from).arg(to).status();
    assert!(status.expect("`install` starts").success(), "`{}`", from.display());
}
