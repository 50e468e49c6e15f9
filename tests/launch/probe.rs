//! The application of these tests: a static program that tells what it sees.

use std::process::Command;
use std::sync::LazyLock;

use epk_tests::app::App;

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
