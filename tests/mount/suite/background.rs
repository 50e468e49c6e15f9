//! `epkfs` without `-f`: it returns when the mount answers, and a daemon stays.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output, Stdio};

use epk_format::write::Compression;
use epk_tests::binaries::binary;
use epk_tests::daemon::{PATIENCE, Place, unmount_idle};
use epk_tests::tree::Tree;
use epkfs::control::query;

/// A mount by `epkfs` in the background, unmounted when dropped.
struct Background<'p> {
    place: &'p Place,
    output: Output,
}

impl<'p> Background<'p> {
    fn start(place: &'p Place, command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().expect("`epkfs` starts");
        assert!(output.status.success(), "{output:?}");
        Self { place, output }
    }
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        unmount_idle(&self.place.mountpoint()).expect("it unmounts");
    }
}

fn packed() -> Place {
    let place = Place::default();
    Tree::default().file("f", "content").pack(&place.image(), 65_536, Compression::Zlib);
    place
}

#[test]
fn it_returns_when_the_mount_answers() {
    let place = packed();
    let mounted = Background::start(&place, &mut place.command());
    // The daemon holds none of our pipes, or `output` would still wait.
    assert_eq!((&*mounted.output.stdout, &*mounted.output.stderr), (&b""[..], &b""[..]));
    assert_eq!(fs::read(place.mountpoint().join("f")).expect("readable"), b"content");
    let pid = query(&place.mountpoint(), PATIENCE).expect("it answers").pid;
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).expect("a process");
    for name in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(link(name).to_str(), Some("/dev/null"), "{name}");
    }
    assert_eq!(link("cwd").to_str(), Some("/"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let session = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3));
    let ours = fs::read_to_string("/proc/self/stat").expect("this process");
    let ours = ours.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3));
    assert_ne!(session, ours, "it has a session of its own");
}

#[test]
fn relative_paths_lead_where_they_led_at_the_start() {
    let place = packed();
    let mut command = Command::new(binary("epkfs"));
    command.args(["image.epk", "./mnt"]).current_dir(place.folder());
    let _mounted = Background::start(&place, &mut command);
    let status = query(&place.mountpoint(), PATIENCE).expect("it answers");
    assert_eq!(status.image, Some(place.image()));
}

#[test]
fn readiness_is_written_to_a_descriptor() {
    let place = packed();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" --ready-fd 7 7>&1"]);
    command.arg(binary("epkfs")).arg(place.image()).arg(place.mountpoint());
    let mounted = Background::start(&place, &mut command);
    let line: serde_json::Value =
        serde_json::from_slice(&mounted.output.stdout).expect("a line of JSON");
    let pid = query(&place.mountpoint(), PATIENCE).expect("it answers").pid;
    let mountpoint = place.mountpoint();
    let expected = serde_json::json!({"ready": true, "mountpoint": mountpoint, "pid": pid});
    assert_eq!(line, expected);
}

#[test]
fn nothing_inherited_is_kept() {
    let place = packed();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 8<. 9</dev/null"]).current_dir(place.folder());
    command.arg(binary("epkfs")).arg(place.image()).arg(place.mountpoint());
    let _mounted = Background::start(&place, &mut command);
    let pid = query(&place.mountpoint(), PATIENCE).expect("it answers").pid;
    let open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("a process")
        .map(|file| fs::read_link(file.expect("a file").path()).expect("a link"))
        .filter(|target| !target.ends_with("null") && !target.ends_with("fuse"))
        // Its keeper's.
        .filter(|target| !target.to_string_lossy().starts_with("socket:"))
        .collect();
    assert_eq!(open, [place.image()]);
}

#[test]
fn under_mounts_name_for_it_mounts_options_are_accepted() {
    let place = packed();
    let helper = place.folder().join("mount.fuse.epkfs");
    std::os::unix::fs::symlink(binary("epkfs"), &helper).expect("a link");
    let mut command = Command::new(helper);
    command.arg(place.image()).arg(place.mountpoint()).args(["-n", "-o", "rw,dev,suid"]);
    let _mounted = Background::start(&place, &mut command);
    let mounts = epkfs::table::list().expect("a table");
    let mount = mounts.into_iter().find(|mount| mount.mountpoint == place.mountpoint());
    assert!(mount.expect("it's there").options.starts_with("ro,nosuid,nodev,"));
}

#[test]
fn systemd_is_told() {
    let place = packed();
    let path = place.folder().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let _mounted = Background::start(&place, place.command().env("NOTIFY_SOCKET", &path));
    let mut message = [0; 100];
    let length = socket.recv(&mut message).expect("a message");
    let pid = query(&place.mountpoint(), PATIENCE).expect("it answers").pid;
    let expected = format!("READY=1\nMAINPID={pid}\n");
    assert_eq!(std::str::from_utf8(&message[..length]), Ok(&*expected));
}

#[test]
fn what_goes_wrong_in_the_background_is_said_in_the_foreground() {
    let place = packed();
    fs::write(place.image(), "no package").expect("writable");
    for foreground in [false, true] {
        let mut command = place.command();
        command.args(["--ready-fd", "1"]).args(foreground.then_some("-f"));
        let output = command.output().expect("`epkfs` starts");
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("EPK_VALIDATION_INVALID"), "{error}");
        let line: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let told = line["error"].as_str().expect("a text");
        assert!(error.contains(told), "{told}");
    }
}
