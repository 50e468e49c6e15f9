//! Shell scripts that stand for other programs.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes one, by another process: what this one has open for writing is also in whatever its other
/// threads start just then, and such a file cannot be executed meanwhile (execve(2), ETXTBSY).
pub(crate) fn write(path: &Path, text: &str) {
    let mut command = Command::new("install");
    command.args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}
