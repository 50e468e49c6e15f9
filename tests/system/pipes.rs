//! Readers that leave early.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use epk_tests::app::App;
use epk_tests::files::temp_folder;
use epk_tests::tool::pkgtool;
use epk_tests::tree::Item;
use nix::sys::signal::Signal;

#[test]
fn a_reader_that_has_left_is_no_error() {
    let folder = temp_folder();
    let mut app = App::script("");
    for file in 0..2000 {
        app.tree = app
            .tree
            .with(&format!("f{file:0100}"), Item::File { bytes: vec![0; 100], mode: 0o644 });
    }
    std::fs::write(folder.path().join("app.epk"), app.image()).expect("writable");
    std::fs::write(folder.path().join("b.epk"), App::script("b").image()).expect("writable");
    for words in [
        &["ls", "app.epk"][..],
        &["ls", "--json", "app.epk"],
        &["inspect", "app.epk"],
        &["diff", "app.epk", "b.epk"],
        &["extract", "--to-tar", "-", "app.epk"],
    ] {
        let mut child = pkgtool()
            .args(words)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        // One byte, and gone.
        let mut byte = [0];
        child.stdout.take().expect("a pipe").read_exact(&mut byte).expect("a byte");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
        assert_eq!(
            output.status.signal(),
            Some(Signal::SIGPIPE as i32),
            "{words:?}: {}",
            output.status
        );
    }
}
