//! `pkgtool run --record-profile`: which files an application reads.

use std::fs;
use std::process::Command;

use epk_tests::app::{App, Stage};
use epk_tests::tool::{self, Outcome};

use super::output;

fn recording(stage: &Stage, profile: &str) -> Command {
    let plain = stage.run([""; 0]);
    let mut command = tool::pkgtool();
    command.args(["run", "--record-profile"]).arg(stage.folder().join(profile));
    command.arg(stage.image()).current_dir(stage.folder());
    for (key, value) in plain.get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    command
}

#[test]
fn files_are_noted_in_the_order_of_their_first_reads() {
    // Two readers of one file make one line; what is only looked at, or empty, makes none.
    let script = "cat /package/z /package/lib/b /package/z; cat /package/empty; \
        ls -lR /package > /dev/null; test -x /package/unread; cat /package/lib/a";
    let app = App::script(script)
        .with_file("lib/a", "A")
        .with_file("lib/b", "B")
        .with_file("z", "Z")
        .with_file("empty", "")
        .with_file("unread", "U");
    let stage = Stage::new(&app);
    let profile = stage.folder().join("own-profile");
    fs::write(&profile, "what was there before\n").expect("writable");
    assert_eq!(output(&mut recording(&stage, "own-profile")), "ZBZA");
    let text = fs::read_to_string(&profile).expect("written");
    assert_eq!(text, "bin/app\nz\nlib/b\nlib/a\n");
    stage.is_left_clean();

    // `pack` takes it.
    let tree = stage.folder().join("own-tree");
    let image = stage.folder().join("own-again");
    tool::pkgtool().arg("extract").args([&stage.image(), &tree]).status().expect("extracted");
    let mut pack = tool::pkgtool();
    pack.arg("pack").arg(&tree).args(["--format", "2", "--profile"]).arg(&profile);
    pack.arg("-o").arg(&image);
    let done = Outcome::of(&mut pack).exits(0);
    assert!(!done.stderr.contains("warning"), "{}", done.stderr);
}

#[test]
fn a_profile_that_cannot_be_written_is_refused() {
    let stage = Stage::new(&App::script("echo never"));
    Outcome::of(&mut recording(&stage, "no/folder")).fails(125, "cannot write");
    stage.is_left_clean();
}
