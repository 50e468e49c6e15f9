//! The comparison of trees again, by an ordinary user.

use std::process::Command;

use epk_tests::users::{Copies, is_machine_root, ordinary};

#[test]
fn the_trees_are_one_for_an_ordinary_user() {
    let Some(vectors) = crate::epk_vectors() else { return };
    if !is_machine_root() {
        // Then the comparison itself was an ordinary user's.
        return;
    }
    let copies = Copies::new(&["pkgtool", "epkfs"]);
    // The vectors may lie where only root may read.
    let own = copies.folder().join("vectors");
    std::fs::create_dir(&own).expect("ours");
    let status = Command::new("cp").arg("-r").arg(&vectors).arg(own.join("epk")).status();
    assert!(status.expect("`cp` starts").success(), "{}", vectors.display());
    let mut command = ordinary("/usr/bin/env");
    command.env("EPK_VECTORS", &own);
    copies.rerun(command, "epk_trees::", 2);
}
