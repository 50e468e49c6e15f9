//! The same for an ordinary user, and what only one meets.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use epk_tests::app::App;
use epk_tests::files::temp_folder;
use epk_tests::tool::Outcome;
use epk_tests::users::{Copies, has_ordinary_user, is_machine_root, ordinary};

#[test]
fn the_suite_passes_for_an_ordinary_user() {
    let mut command = ordinary("/usr/bin/env");
    command.env_remove("XDG_DATA_HOME");
    Copies::new(&["pkgtool"]).rerun(command, "suite::", 40);
}

#[test]
fn folders_that_may_not_be_written() {
    if !has_ordinary_user() {
        return;
    }
    let copies = Copies::new(&["pkgtool"]);
    let folder = temp_folder();
    let image = folder.path().join("app.epk");
    fs::write(&image, App::script("x").image()).expect("writable");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).expect("ours");
    let give = |words: &[&str]| {
        let mut command = ordinary(copies.folder().join("pkgtool"));
        Outcome::of(command.args(words).current_dir(folder.path()))
    };
    give(&["extract", "app.epk", "out"]).fails(3, "Permission denied");
    give(&["keygen", "key"]).fails(3, "Permission denied");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("readable").collect();
    assert_eq!(left.len(), 1, "{left:?}");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("ours");
}

#[test]
fn packages_and_keys_that_may_not_be_read() {
    if !has_ordinary_user() {
        return;
    }
    let copies = Copies::new(&["pkgtool"]);
    let folder = temp_folder();
    let image = folder.path().join("app.epk");
    fs::write(&image, App::script("x").image()).expect("writable");
    fs::set_permissions(&image, Permissions::from_mode(0o000)).expect("ours");
    for words in [&["verify"][..], &["ls"], &["inspect"], &["cat"], &["extract"]] {
        let mut command = ordinary(copies.folder().join("pkgtool"));
        command.args(words).arg(&image);
        if matches!(words, ["cat" | "extract"]) {
            command.arg("x");
        }
        let done = Outcome::of(&mut command).exits(3);
        assert!(
            format!("{}{}", done.text(), done.stderr).contains("Permission denied"),
            "{words:?}"
        );
    }
}

#[test]
fn others_may_look_at_a_mount_and_not_say_what_is_timed() {
    if !is_machine_root() {
        eprintln!("not run by root: nothing was tested");
        return;
    }
    let copies = Copies::new(&["pkgtool"]);
    let folder = temp_folder();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("ours");
    fs::write(folder.path().join("app.epk"), App::script("x").image()).expect("writable");
    let mountpoint = folder.path().join("mnt");
    fs::create_dir(&mountpoint).expect("writable");
    let ours = |words: &[&str]| {
        Outcome::of(epk_tests::tool::pkgtool().args(words).current_dir(folder.path()))
    };
    let _nothing = ours(&["mount", "app.epk", "mnt", "-o", "allow_other"]).quietly();
    let theirs = |words: &[&str]| {
        let mut command = ordinary(copies.folder().join("pkgtool"));
        Outcome::of(command.args(words).current_dir(folder.path()))
    };
    let looked = theirs(&["stats", "mnt", "--json"]);
    let switched = theirs(&["stats", "mnt", "--timing", "on"]);
    let timed = ours(&["stats", "mnt", "--json"]);
    let _nothing = ours(&["umount", "--lazy", "mnt"]).quietly();
    assert_eq!(looked.exits(0).json()[0]["requests"]["timed"], false);
    switched.fails(1, "`mnt` is another user's mount\nhint: ");
    assert_eq!(timed.exits(0).json()[0]["requests"]["timed"], false);
}
