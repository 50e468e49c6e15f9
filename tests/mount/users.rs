//! The same on packages of format 2.0 and for an ordinary user, with fuse3's helper and in a user namespace; and what users
//! see of each other's mounts. These tests become other users: where root doesn't run them, they
//! say so and pass.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use epk_format::write::Compression;
use epk_tests::binaries::binary;
use epk_tests::daemon::{Place, unmount_idle};
use epk_tests::files::temp_folder;
use epk_tests::tree::{FORMAT_VARIABLE, Tree};
use epk_tests::users::{Copies, is_machine_root, ordinary, ordinary_user};

/// A command that the ordinary user runs.
fn as_user(program: impl AsRef<Path>) -> Command {
    assert!(is_machine_root(), "only root can become another user");
    ordinary(program)
}

/// Whether this process may become another user. CI's is root.
fn root() -> bool {
    if !is_machine_root() {
        eprintln!("not run by root: nothing was tested");
    }
    is_machine_root()
}

fn copies() -> Copies {
    Copies::new(&["epkfs"])
}

#[test]
fn the_suite_passes_with_the_helper() {
    if !root() {
        return;
    }
    copies().rerun(as_user("/usr/bin/env"), "suite::", 30);
}

#[test]
fn the_suite_passes_in_a_user_namespace() {
    if !root() {
        return;
    }
    let mut command = as_user("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--"]);
    // The helper would fail here, where mount(2) must do.
    command.env("PATH", "/usr/bin:/bin");
    copies().rerun(command, "suite::", 30);
}

#[test]
fn the_suite_passes_on_format_2() {
    let copies = copies();
    let mut command = Command::new("/usr/bin/env");
    command.env(FORMAT_VARIABLE, "2");
    copies.rerun(command, "suite::", 30);
}

fn packed() -> Place {
    let place = Place::default();
    Tree::default().file("f", "content").pack(&place.image(), 65_536, Compression::Zlib);
    place
}

#[test]
fn mount_fuse3_can_mount_it() {
    if !root() {
        return;
    }
    let place = packed();
    let source = format!("{}#{}", binary("epkfs").display(), place.image().display());
    let output = Command::new("mount.fuse3")
        .arg(source)
        .arg(place.mountpoint())
        .args(["-o", "ro,x-systemd.automount"])
        .output()
        .expect("fuse3 is installed");
    assert!(output.status.success(), "{output:?}");
    let content = fs::read(place.mountpoint().join("f"));
    unmount_idle(&place.mountpoint()).expect("it unmounts");
    assert_eq!(content.expect("readable"), b"content");
}

fn cat_as_user(place: &Place) -> Output {
    as_user("cat").arg(place.mountpoint().join("f")).output().expect("`cat` starts")
}

#[test]
fn other_users_enter_when_allowed_only() {
    if !root() {
        return;
    }
    let place = packed();
    let daemon = place.mount(&[]);
    let output = cat_as_user(&place);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied"));
    drop(daemon);
    let _daemon = place.mount(&["allow_other"]);
    assert_eq!(cat_as_user(&place).stdout, b"content");
}

#[test]
fn permissions_are_checked() {
    if !root() {
        return;
    }
    let place = Place::default();
    let secret = epk_tests::tree::Item::File { bytes: b"content".to_vec(), mode: 0o400 };
    Tree::default().with("f", secret).pack(&place.image(), 65_536, Compression::Zlib);
    let daemon = place.mount(&["allow_other"]);
    assert!(!cat_as_user(&place).status.success(), "the file is root's");
    drop(daemon);
    let user = ordinary_user();
    let _daemon = place.mount(&[&format!("allow_other,uid={},gid={}", user.uid, user.gid)]);
    assert_eq!(cat_as_user(&place).stdout, b"content");
}

#[test]
fn ordinary_users_need_leave_to_let_others_in() {
    if !root() {
        return;
    }
    let configuration = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    let allowed = configuration.lines().any(|line| line.trim() == "user_allow_other");
    assert!(!allowed, "`/etc/fuse.conf` has `user_allow_other`, with which there is no error");
    let (place, copies) = (packed(), copies());
    let mountpoint = temp_folder();
    fs::set_permissions(mountpoint.path(), Permissions::from_mode(0o777)).expect("it is ours");
    let output = as_user(copies.folder().join("epkfs"))
        .arg(place.image())
        .arg(mountpoint.path())
        .args(["-o", "allow_other"])
        .output()
        .expect("`epkfs` starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("mount(2): operation not permitted; /"), "{error}");
    assert!(error.contains("hint: `allow_other` by ordinary users needs"), "{error}");
}

#[test]
fn without_a_way_to_mount_each_way_is_named() {
    if !root() {
        return;
    }
    let (place, copies) = (packed(), copies());
    // A user namespace without a mount namespace of its own: nothing may be mounted, and a
    // setuid helper's root isn't the machine's.
    let output = as_user("unshare")
        .args(["--user", "--map-root-user", "--"])
        .arg(copies.folder().join("epkfs"))
        .arg(place.image())
        .arg(place.mountpoint())
        .output()
        .expect("`unshare` starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("mount(2): operation not permitted"), "{error}");
    assert!(error.contains("fusermount3: "), "{error}");
    assert!(error.contains("hint: `pkgtool run` needs neither"), "{error}");
}
