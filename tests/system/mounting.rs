//! Other programs that mount: mount(8), `/etc/fstab`, systemd.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use epk_format::write::Compression;
use epk_tests::binaries::binary;
use epk_tests::daemon::{PATIENCE, Place};
use epk_tests::tool::Outcome;
use epk_tests::tree::Tree;
use epk_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::files::unit;
use crate::scene::{has, root};

fn packed() -> Place {
    let place = Place::default();
    Tree::default().file("f", "content").pack(&place.image(), 65_536, Compression::Zlib);
    place
}

/// A script in a mount namespace of its own, with `epkfs` where mount(8), which clears the
/// environment, has it found.
fn privately(script: &str) -> Outcome {
    let mut command = Command::new("/usr/bin/unshare");
    let script = format!(
        "mount -t tmpfs none /usr/local/bin; cp {} /usr/local/bin/\n{script}",
        binary("epkfs").display()
    );
    command.args(["--mount", "--", "/bin/sh", "-ec", &script]).env_clear();
    Outcome::of(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
}

#[test]
fn mount_knows_the_type() {
    if !root() || !has("mount.fuse3") {
        return;
    }
    let place = packed();
    let (image, mountpoint) = (place.image(), place.mountpoint());
    let (image, mountpoint) = (image.display(), mountpoint.display());
    let show = format!(
        "cat {mountpoint}/f; grep -o ' - fuse.epkfs .*' /proc/self/mountinfo; umount {mountpoint}"
    );
    let done =
        privately(&format!("mount -t fuse.epkfs {image} {mountpoint} -o noexec,cache=1M; {show}"));
    let done = done.exits(0);
    assert!(
        done.text().starts_with(&format!("content - fuse.epkfs {image} ro,")),
        "{}",
        done.text()
    );
    // The line that an administrator writes.
    let table = place.folder().join("fstab");
    let line = format!(
        "{image} {mountpoint} fuse.epkfs ro,noauto,nofail,x-systemd.automount,allow_other 0 0\n"
    );
    fs::write(&table, line).expect("writable");
    let done =
        privately(&format!("mount --fstab {} {mountpoint}; {show}", table.display())).exits(0);
    assert!(done.text().starts_with("content - fuse.epkfs "), "{}", done.text());
    let done = privately(&format!("mount -t fuse.epkfs {image} {mountpoint} -o nonsense"));
    assert!(!done.status.success());
    assert!(done.stderr.contains("unknown option `nonsense`"), "{}", done.stderr);
}

/// A unit's command for an instance, with the folders of this test.
fn command(unit: &str, place: &Place) -> Command {
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let options = unit.split("EPK_OPTIONS=").nth(1).and_then(|rest| rest.lines().next());
    let words = line.split_whitespace().map(|word| match word {
        "/usr/bin/epkfs" => binary("epkfs").into_os_string(),
        "${EPK_IMAGE}" => place.image().into(),
        "${EPK_MOUNTPOINT}" => place.mountpoint().into(),
        "${EPK_OPTIONS}" => options.expect("options").into(),
        word => word.into(),
    });
    let words: Vec<_> = words.collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

#[test]
fn the_services_tell_when_they_are_ready_and_stop_cleanly() {
    for name in ["system", "user"] {
        let unit = unit(name);
        assert!(unit.contains("Type=notify\n"));
        // Options of the system's variant are for root.
        if name == "system" && !root() {
            continue;
        }
        let place = packed();
        let path = place.folder().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut child = command(&unit, &place)
            .env("NOTIFY_SOCKET", &path)
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut message = [0; 256];
        let length = socket.recv(&mut message).expect("a message");
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        assert_eq!(text, format!("READY=1\nMAINPID={}\n", child.id()));
        assert_eq!(fs::read(place.mountpoint().join("f")).expect("mounted"), b"content");
        kill(Pid::from_raw(i32::try_from(child.id()).expect("an id")), Signal::SIGTERM)
            .expect("there");
        assert_eq!(wait::for_end(&mut child).code(), Some(0), "{name}");
        assert!(!place.mountpoint().join("f").exists(), "{name}: unmounted");
        // What can't be mounted says nothing of being ready.
        fs::write(place.image(), "nonsense").expect("writable");
        let status =
            command(&unit, &place).env("NOTIFY_SOCKET", &path).stderr(Stdio::null()).status();
        assert_eq!(status.expect("it starts").code(), Some(4));
        socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        assert!(socket.recv(&mut message).is_err(), "{name}: a message without a mount");
    }
}
