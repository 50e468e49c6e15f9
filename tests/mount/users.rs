//! The same for an ordinary user, with fuse3's helper and in a user namespace; and what users
//! see of each other's mounts. These tests become other users: only root can.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use epk_format::write::Compression;
use epk_tests::binaries::{FOLDER_VARIABLE, binary};
use epk_tests::daemon::{Place, unmount_idle};
use epk_tests::files::temp_folder;
use epk_tests::tree::Tree;
use nix::unistd::{User, geteuid};

/// The variable that names the ordinary user, `nobody` by default.
const USER_VARIABLE: &str = "EPK_TEST_USER";

/// A command that the ordinary user runs.
fn as_user(program: impl AsRef<Path>) -> Command {
    assert!(geteuid().is_root(), "this test becomes another user, which only root can");
    let name = std::env::var(USER_VARIABLE).unwrap_or_else(|_| "nobody".into());
    let user = User::from_name(&name).expect("readable users").expect("the user exists");
    let mut command = Command::new(program.as_ref());
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/");
    command.env_remove("HOME").env_remove("XDG_RUNTIME_DIR");
    command
}

/// Copies of this test and of what it needs, where everyone can read and run them: the checkout
/// may be root's alone.
struct Copies(tempfile::TempDir);

impl Copies {
    fn new() -> Self {
        let folder = temp_folder();
        let test = std::env::current_exe().expect("a program has a path");
        for (from, name) in [(test, "tests"), (binary("epkfs"), "epkfs")] {
            let to = folder.path().join(name);
            fs::copy(from, &to).expect("it can be copied");
            fs::set_permissions(&to, Permissions::from_mode(0o755)).expect("it is ours");
        }
        Self(folder)
    }

    /// Runs the suite with a command's help: what comes before the test's own path.
    fn run(&self, mut command: Command) {
        let test = self.0.path().join("tests");
        command.arg(test).args(["suite::", "--test-threads", "4"]);
        command.env(FOLDER_VARIABLE, self.0.path());
        let output = command.output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        let passed = text.lines().filter(|line| line.ends_with(" ... ok")).count();
        assert!(passed > 30, "only {passed} tests ran:\n{text}");
    }
}

#[test]
fn the_suite_passes_with_the_helper() {
    Copies::new().run(as_user("/usr/bin/env"));
}

#[test]
fn the_suite_passes_in_a_user_namespace() {
    let mut command = as_user("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--"]);
    // The helper would fail here, where mount(2) must do.
    command.env("PATH", "/usr/bin:/bin");
    Copies::new().run(command);
}

fn packed() -> Place {
    let place = Place::default();
    Tree::default().file("f", "content").pack(&place.image(), 65_536, Compression::Zlib);
    place
}

#[test]
fn mount_fuse3_can_mount_it() {
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
    let place = Place::default();
    let secret = epk_tests::tree::Item::File { bytes: b"content".to_vec(), mode: 0o400 };
    Tree::default().with("f", secret).pack(&place.image(), 65_536, Compression::Zlib);
    let daemon = place.mount(&["allow_other"]);
    assert!(!cat_as_user(&place).status.success(), "the file is root's");
    drop(daemon);
    let name = std::env::var(USER_VARIABLE).unwrap_or_else(|_| "nobody".into());
    let user = User::from_name(&name).expect("readable users").expect("the user exists");
    let _daemon = place.mount(&[&format!("allow_other,uid={},gid={}", user.uid, user.gid)]);
    assert_eq!(cat_as_user(&place).stdout, b"content");
}

#[test]
fn ordinary_users_need_leave_to_let_others_in() {
    let configuration = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    let allowed = configuration.lines().any(|line| line.trim() == "user_allow_other");
    assert!(!allowed, "`/etc/fuse.conf` has `user_allow_other`, with which there is no error");
    let (place, copies) = (packed(), Copies::new());
    let mountpoint = temp_folder();
    fs::set_permissions(mountpoint.path(), Permissions::from_mode(0o777)).expect("it is ours");
    let output = as_user(copies.0.path().join("epkfs"))
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
    let (place, copies) = (packed(), Copies::new());
    // A user namespace without a mount namespace of its own: nothing may be mounted, and a
    // setuid helper's root isn't the machine's.
    let output = as_user("unshare")
        .args(["--user", "--map-root-user", "--"])
        .arg(copies.0.path().join("epkfs"))
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
