//! Temporary folders that everyone may enter, whoever the test's programs run as.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

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
