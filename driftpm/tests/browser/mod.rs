//! A page as a browser sees it: headless Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

/// With this variable, a test fails if there is no Chromium.
const DEMAND: &str = "EPK_TEST_CHROMIUM";

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os(DEMAND).is_none(),
            "Chromium is not installed, but {DEMAND} is set"
        );
        eprintln!("Chromium is not installed: this test passes without having tested anything");
    }
    found
}

/// The document that the page at `path` becomes, opened from the disk with `#fragment`, or
/// `None` if there is no browser and nobody demands one.
pub(crate) fn document(path: &Path, fragment: &str) -> Option<String> {
    let program = program()?;
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .args(["--headless", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"])
        // Root may not have the sandbox, and nothing but the page of the test is opened.
        .arg("--no-sandbox")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg("--dump-dom")
        .arg(format!("file://{}{fragment}", path.display()))
        .env("HOME", profile.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("</html>"), "{text}\n{said}");
    Some(text)
}
