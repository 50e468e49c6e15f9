//! What the log says of mounts (`spec/runtime.md` §15).

use std::fs;
use std::os::unix::net::UnixDatagram;

use epk_format::package::BlockIndex;
use epk_format::write::Compression;
use epk_format::{OpenOptions, Package};
use epk_tests::daemon::{Place, unmount_idle};
use epk_tests::tree::{Random, Tree};
use nix::sys::signal::Signal;
use serde_json::Value;

fn packed() -> Place {
    let place = Place::default();
    Tree::default().file("f", Random::new(5).noise(200_000)).pack(
        &place.image(),
        4096,
        Compression::None,
    );
    place
}

/// The line that says this, of which there must be one.
#[track_caller]
fn line(place: &Place, message: &str) -> Value {
    let log = place.log();
    let mut found: Vec<Value> =
        log.iter().filter(|line| line["message"] == message).cloned().collect();
    assert_eq!(found.len(), 1, "`{message}` in {log:#?}");
    let line = found.remove(0);
    assert!(line["timestamp"].is_string(), "{line}");
    line
}

#[test]
fn a_mount_is_told_from_its_beginning_to_its_end() {
    let place = packed();
    let mut daemon = place.mount(&[]);
    let mounted = line(&place, "mounted");
    assert_eq!((&mounted["target"], &mounted["level"]), (&"epkfs::mount".into(), &"INFO".into()));
    assert_eq!(mounted["image"], place.image().to_str().expect("UTF-8"));
    assert_eq!(mounted["mountpoint"], place.mountpoint().to_str().expect("UTF-8"));
    let status = daemon.status();
    assert_eq!(mounted["package_hash"], status.package_hash);
    assert_eq!((&mounted["pid"], &mounted["signature"]), (&status.pid.into(), &"unsigned".into()));
    assert!(mounted.get("key_id").is_none(), "{mounted}");
    let offered = epkfs::confine::offered();
    assert_eq!(mounted["landlock"], offered.landlock.unwrap_or(0));
    assert_eq!(mounted["system_call_filter"], offered.filter);
    unmount_idle(&place.mountpoint()).expect("nobody uses it");
    daemon.wait();
    assert_eq!(line(&place, "no longer mounted")["reason"], "unmounted");
}

#[test]
fn a_signal_is_a_reason() {
    let place = packed();
    let mut daemon = place.mount(&[]);
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    assert_eq!(line(&place, "no longer mounted")["reason"], "signal");
}

#[test]
fn what_is_not_mounted_is_told_with_its_code() {
    let place = packed();
    let mut image = fs::read(place.image()).expect("readable");
    image[3] = b'2';
    fs::write(place.image(), image).expect("writable");
    for arguments in [&["-f"][..], &[]] {
        let output = place.command().args(arguments).output().expect("it starts");
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        let told = line(&place, "not mounted");
        assert_eq!((&told["target"], &told["level"]), (&"epkfs::mount".into(), &"ERROR".into()));
        assert_eq!(
            (&told["code"], &told["code_name"]),
            (&2.into(), &"EPK_VALIDATION_INVALID_MAGIC".into())
        );
        assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("image.epk")));
        fs::remove_file(place.folder().join("log")).expect("ours");
    }
    // What is no fault of the package has no code.
    fs::remove_file(place.image()).expect("ours");
    let output = place.command().arg("-f").output().expect("it starts");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(line(&place, "not mounted").get("code").is_none());
}

/// A disk that is bad all over fills no log.
#[test]
fn of_very_much_damage_not_all_is_told() {
    let place = Place::default();
    let tree = Tree::default().file("f", Random::new(6).noise(4096 * 600));
    tree.pack(&place.image(), 4096, Compression::None);
    let daemon = place.mount(&["threads=1"]);
    let good = fs::read(place.image()).expect("readable");
    let package = Package::open(good.as_slice(), &OpenOptions::default()).expect("good");
    let mut wrong = good.clone();
    for block in (0..package.block_count()).map(BlockIndex) {
        let offset = package.block(block).expect("a block").offset;
        wrong[usize::try_from(offset).expect("small")] ^= 1;
    }
    fs::write(place.image(), wrong).expect("writable");
    let file = fs::File::open(place.mountpoint().join("f")).expect("it opens");
    super::random_access(&file);
    for block in 0..600 {
        let read = std::os::unix::fs::FileExt::read_at(&file, &mut [0; 16], block * 4096);
        read.expect_err("damaged");
    }
    assert_eq!(daemon.counters().damaged_blocks, 600);
    let log = place.log();
    let about = |line: &&Value| line["target"] == "epkfs::log";
    let told = place.damage().len();
    // On a machine that takes minutes for this there are more, and each minute says so.
    let notes = log.iter().filter(about).count();
    assert!(told >= 100 && told <= 100 * (notes + 1), "{told} lines, {notes} notes");
    assert!(notes > 0 || told == 600, "{told} lines, {notes} notes");
}

/// The keeper takes lines to where the server can't.
#[test]
fn servers_in_the_background_reach_the_systems_log() {
    if !epk_tests::users::is_machine_root() || std::path::Path::new("/dev/log").exists() {
        eprintln!("not root, or the machine has a log: nothing was tested");
        return;
    }
    let place = packed();
    let socket = UnixDatagram::bind("/dev/log").expect("root may");
    let _removed = Removed("/dev/log");
    socket.set_read_timeout(Some(epk_tests::daemon::PATIENCE)).expect("a timeout");
    let mut command = std::process::Command::new(epk_tests::binaries::binary("epkfs"));
    let output = command.arg(place.image()).arg(place.mountpoint()).output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let image = place.image().to_string_lossy().into_owned();
    // Other tests' servers say something, too.
    let next = |message: &str| loop {
        let mut line = [0; 4096];
        let length = socket.recv(&mut line).expect("a line in time");
        let line = String::from_utf8_lossy(&line[..length]).into_owned();
        let (head, json) = line.split_once(": ").expect("a head");
        let value: Value = serde_json::from_str(json).expect("JSON");
        let ours = value["image"] == image
            || value["mountpoint"] == place.mountpoint().to_str().expect("UTF-8");
        if ours && value["message"] == message {
            return head.to_owned();
        }
    };
    assert!(next("mounted").starts_with("<30>epkfs["));
    // Behind the walls.
    fs::metadata(place.mountpoint().join("f")).expect("good");
    fs::File::options()
        .write(true)
        .open(place.image())
        .and_then(|file| file.set_len(5_000))
        .expect("ours");
    fs::read(place.mountpoint().join("f")).expect_err("damaged");
    assert!(next("block cannot be delivered").starts_with("<27>epkfs["));
    unmount_idle(&place.mountpoint()).expect("nobody uses it");
    assert!(next("no longer mounted").starts_with("<30>epkfs["));
}

struct Removed(&'static str);

impl Drop for Removed {
    fn drop(&mut self) {
        let _removed = fs::remove_file(self.0);
    }
}
