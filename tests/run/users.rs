//! The same for an ordinary user, and what only one meets.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use epk_tests::app::{App, Stage};
use epk_tests::tool::Outcome;
use epk_tests::users::{Copies, has_ordinary_user, is_machine_root, ordinary, ordinary_user};

/// Makes a command the ordinary user's, for whom no program is setuid any more.
fn without_privileges() -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    if is_machine_root() {
        let user = ordinary_user();
        command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid));
        command.arg("--clear-groups");
    }
    command.args(["--no-new-privs", "--"]).current_dir("/").env_remove("HOME");
    command
}

#[test]
fn the_suite_passes_without_privileges_and_helpers() {
    Copies::new(&["pkgtool"]).rerun(without_privileges(), "suite::", 40);
}

#[test]
fn the_suite_passes_as_root_of_a_user_namespace() {
    let mut command = without_privileges();
    command.args(["/usr/bin/unshare", "--user", "--map-root-user", "--"]);
    Copies::new(&["pkgtool"]).rerun(command, "suite::", 40);
}

#[test]
fn the_suite_passes_as_a_user_of_a_user_namespace() {
    // Without capabilities in that namespace: a second one is needed inside.
    let mut command = without_privileges();
    command.args(["/usr/bin/unshare", "--user", "--map-current-user", "--"]);
    Copies::new(&["pkgtool"]).rerun(command, "suite::launch::", 8);
}

/// A stage that belongs to the ordinary user, and a command that runs in it as that user.
fn stage(app: &App, copies: &Copies) -> (Stage, Command) {
    let stage = Stage::new(app);
    if is_machine_root() {
        let user = ordinary_user();
        for folder in
            [stage.folder().to_owned(), stage.data_home(), stage.folder().join("temporary")]
        {
            std::os::unix::fs::chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .expect("root may");
        }
    }
    let like = stage.run([""; 0]);
    let mut command = ordinary(copies.folder().join("pkgtool"));
    command.args(like.get_args()).env_clear();
    for (key, value) in like.get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    (stage, command)
}

#[test]
fn a_data_folder_that_cannot_be_written_is_refused() {
    if !has_ordinary_user() {
        return;
    }
    let copies = Copies::new(&["pkgtool"]);
    let (stage, mut command) = stage(&App::script("echo never"), &copies);
    // There is no room for a folder.
    fs::set_permissions(stage.data_home(), Permissions::from_mode(0o555)).expect("ours");
    Outcome::of(&mut command).fails(125, "cannot make the data folder");
    fs::set_permissions(stage.data_home(), Permissions::from_mode(0o755)).expect("ours");
    // The folder is there, but not the user's to write.
    fs::create_dir_all(stage.user_data()).expect("writable");
    fs::set_permissions(stage.user_data(), Permissions::from_mode(0o555)).expect("ours");
    Outcome::of(&mut command).fails(125, "cannot write the data folder");
    stage.is_left_clean();
}

#[test]
fn a_package_that_cannot_be_read_is_refused() {
    if !has_ordinary_user() {
        return;
    }
    let copies = Copies::new(&["pkgtool"]);
    let (stage, mut command) = stage(&App::script("echo never"), &copies);
    fs::set_permissions(stage.image(), Permissions::from_mode(0o000)).expect("ours");
    Outcome::of(&mut command).fails(125, "Permission denied");
    stage.is_left_clean();
}

#[test]
fn a_fuse_device_that_cannot_be_opened_is_named() {
    if !has_ordinary_user() {
        return;
    }
    let copies = Copies::new(&["pkgtool"]);
    let (stage, inner) = stage(&App::script("echo never"), &copies);
    // In a namespace of the user's own, a file that is root's alone covers the device.
    let mut command = ordinary("/usr/bin/unshare");
    command.args(["--user", "--map-root-user", "--mount", "--", "/bin/sh", "-ec"]);
    command.arg("mount --bind /etc/shadow /dev/fuse; exec \"$0\" \"$@\"").arg(inner.get_program());
    command.args(inner.get_args()).env_clear();
    for (key, value) in inner.get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    command.env("EPK_RUN_VIA", "userns");
    let done = Outcome::of(&mut command).exits(125);
    assert!(done.stderr.contains("cannot mount the package: /dev/fuse: "), "{}", done.stderr);
    assert!(done.stderr.contains("hint: `/dev/fuse` must be open to you"), "{}", done.stderr);
    stage.is_left_clean();
}

#[test]
fn an_application_gains_nothing() {
    if !has_ordinary_user() {
        return;
    }
    let copies = Copies::new(&["pkgtool"]);
    let script = "grep -E '^(CapEff|CapPrm|CapAmb)' /proc/self/status; mount -t tmpfs x /user-data \
        2>/dev/null && echo mounted; umount /package 2>/dev/null && echo unmounted; id -G; exit 0";
    let (_stage, mut command) = stage(&App::script(script), &copies);
    let text = super::users::text(&mut command);
    let none = "0000000000000000";
    assert!(text.contains(&format!("CapPrm:\t{none}")), "{text}");
    assert!(text.contains(&format!("CapEff:\t{none}")), "{text}");
    assert!(text.contains(&format!("CapAmb:\t{none}")), "{text}");
    assert!(!text.contains("mounted"), "{text}");
}

fn text(command: &mut Command) -> String {
    Outcome::of(command).exits(0).text().to_owned()
}
