//! How mounts begin and end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use epk_format::write::Compression;
use epk_tests::daemon::{Daemon, PATIENCE, Place, unmount_idle};
use epk_tests::processes::{children, is_confined, is_gone};
use epk_tests::tree::{Random, Tree};
use epk_tests::wait;
use epkfs::control::{QueryError, query};
use epkfs::table::{self, MountInfo};
use epkfs::unmount::{UnmountError, clean_dead, is_dead, unmount};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The value of PATH, for fuse3's helper.
fn search_path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}

fn packed() -> (Place, Tree) {
    let place = Place::default();
    let tree = Tree::default().file("file", Random::new(8).text(300_000));
    tree.pack(&place.image(), 65_536, Compression::Zlib);
    (place, tree)
}

fn mounts_at(path: &Path) -> Vec<MountInfo> {
    let mounts = table::list().expect("a table of mounts");
    mounts.into_iter().filter(|mount| mount.mountpoint == path).collect()
}

#[test]
fn signals_unmount() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let (place, _) = packed();
        let mut daemon = place.mount(&[]);
        assert_eq!(mounts_at(&place.mountpoint()).len(), 1);
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0), "{signal}");
        assert_eq!(mounts_at(&place.mountpoint()), []);
        assert_eq!(fs::read_dir(place.mountpoint()).expect("a folder").count(), 0);
    }
}

#[test]
fn a_mount_in_use_hides_at_a_signal_and_ends_with_its_last_user() {
    let (place, tree) = packed();
    let mut daemon = place.mount(&[]);
    let mut file = File::open(place.mountpoint().join("file")).expect("it opens");
    daemon.signal(Signal::SIGTERM);
    while !mounts_at(&place.mountpoint()).is_empty() {
        std::thread::yield_now();
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("still served");
    assert!(bytes == tree.bytes("file") && daemon.is_running());
    drop(file);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_second_signal_kills() {
    let (place, _) = packed();
    let mut daemon = place.mount(&[]);
    let _file = File::open(place.mountpoint().join("file")).expect("it opens");
    daemon.signal(Signal::SIGTERM);
    while !mounts_at(&place.mountpoint()).is_empty() {
        std::thread::yield_now();
    }
    daemon.signal(Signal::SIGTERM);
    let status = daemon.wait();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "{status}");
}

#[test]
fn unmounting_ends_the_daemon() {
    let (place, _) = packed();
    let mut daemon = place.mount(&[]);
    unmount_idle(&place.mountpoint()).expect("not in use");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_mount_in_use_is_unmounted_on_request_only() {
    let (place, _) = packed();
    let mut daemon = place.mount(&[]);
    let file = File::open(place.mountpoint().join("file")).expect("it opens");
    let search_path = search_path();
    let busy = unmount(&place.mountpoint(), false, search_path.as_deref());
    assert!(matches!(busy, Err(UnmountError::Busy(_))), "{busy:?}");
    unmount(&place.mountpoint(), true, search_path.as_deref()).expect("lazily");
    assert_eq!(mounts_at(&place.mountpoint()), []);
    drop(file);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_dead_mount_is_recognised_and_cleaned() {
    let (place, tree) = packed();
    let kill = |daemon: &mut Daemon| {
        daemon.kill();
        assert_eq!(mounts_at(&place.mountpoint()).len(), 1, "it is left behind");
        assert!(is_dead(&place.mountpoint()).expect("a table"));
    };
    // Once with the root folder in the kernel's caches, where it looks alive, once without.
    let mut daemon = place.mount(&[]);
    fs::metadata(place.mountpoint()).expect("attributes");
    assert!(!is_dead(&place.mountpoint()).expect("a table"));
    kill(&mut daemon);
    let status = query(&place.mountpoint(), PATIENCE);
    assert!(matches!(status, Err(QueryError::Dead(_))), "{status:?}");

    // A new mount takes its place.
    let mut second = place.mount(&[]);
    assert_eq!(mounts_at(&place.mountpoint()).len(), 1);
    kill(&mut second);
    let mut third = place.mount(&[]);
    assert!(fs::read(place.mountpoint().join("file")).expect("readable") == tree.bytes("file"));

    // Or it's removed, also by a path that leads there in another way.
    kill(&mut third);
    let link = place.folder().join("link");
    std::os::unix::fs::symlink(place.folder(), &link).expect("a link");
    unmount_idle(&link.join("mnt")).expect("nobody uses it");
    assert_eq!(mounts_at(&place.mountpoint()), []);
    assert!(!clean_dead(&place.mountpoint(), None).expect("nothing to do"));
}

#[test]
fn a_server_that_is_killed_leaves_no_mount() {
    for in_use in [false, true] {
        let (place, tree) = packed();
        let mut daemon = place.mount(&[]);
        let file = File::open(place.mountpoint().join("file")).expect("it opens");
        let file = in_use.then_some(file);
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        wait::until("the keeper has cleared up", || mounts_at(&place.mountpoint()).is_empty());
        let log = place.log();
        assert!(log.iter().any(|line| line["message"] == "the server was killed"), "{log:?}");
        if let Some(mut file) = file {
            let error = file.read_to_end(&mut Vec::new()).expect_err("nobody serves it");
            assert_eq!(error.raw_os_error(), Some(Errno::ENOTCONN as i32), "{error}");
        }
        let _again = place.mount(&[]);
        let bytes = fs::read(place.mountpoint().join("file")).expect("readable");
        assert!(bytes == tree.bytes("file"));
    }
}

#[test]
fn a_signal_ends_a_server_that_has_no_keeper() {
    let (place, _) = packed();
    let mut daemon = place.mount(&[]);
    let keeper = Pid::from_raw(children(daemon.pid().as_raw())[0]);
    kill(keeper, Signal::SIGKILL).expect("ours");
    wait::until("the keeper is gone", || is_gone(keeper.as_raw()));
    // It serves on.
    assert!(place.mountpoint().join("file").exists());
    daemon.signal(Signal::SIGTERM);
    let status = daemon.wait();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "{status}");
}

#[test]
fn a_server_is_confined_and_its_keeper_holds_nothing_of_it() {
    for threads in [1, 4] {
        let (place, tree) = packed();
        let daemon = place.mount(&[&format!("threads={threads}")]);
        let bytes = fs::read(place.mountpoint().join("file")).expect("readable");
        assert!(bytes == tree.bytes("file"));
        is_confined(daemon.pid());
        let keeper = children(daemon.pid().as_raw())[0];
        let held = |target: &str| target.starts_with("socket:") || target.ends_with("/log");
        wait::until("the keeper has let go of all else", || {
            let open: Vec<_> = fs::read_dir(format!("/proc/{keeper}/fd"))
                .expect("a process")
                .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
                .filter(|target| target.as_os_str() != "/dev/null")
                .collect();
            open.len() <= 2 && open.iter().all(|target| held(&target.to_string_lossy()))
        });
        let name = fs::read_to_string(format!("/proc/{keeper}/comm")).expect("a process");
        assert_eq!(name, "epkfs-keeper\n");
    }
}

#[test]
fn what_is_not_ours_is_not_unmounted() {
    let (place, _) = packed();
    let _daemon = place.mount(&[]);
    for path in [place.folder().to_owned(), place.mountpoint().join("file"), "/proc".into()] {
        let result = unmount(&path, true, None);
        assert!(matches!(result, Err(UnmountError::NotMounted(_))), "{path:?}: {result:?}");
    }
    assert_eq!(mounts_at(&place.mountpoint()).len(), 1);
}

/// What somebody mounts over a mount, or in its place, is theirs, whatever becomes of ours.
#[test]
fn what_covers_a_mount_stays() {
    let (place, _) = packed();
    let at = place.mountpoint();
    let own = || mount(Some("own"), &at, Some("tmpfs"), MsFlags::empty(), None::<&str>);
    let mut daemon = place.mount(&[]);
    if let Err(Errno::EPERM) = own() {
        eprintln!("only root can cover a mount: nothing was tested");
        return;
    }
    let covered = unmount(&at, true, None);
    assert!(matches!(covered, Err(UnmountError::NotMounted(_))), "{covered:?}");
    daemon.signal(Signal::SIGTERM);
    let said = |what: &str| place.log().iter().any(|line| line["message"] == what);
    wait::until("the keeper has tried", || said("the mount stays"));
    fs::write(at.join("file"), "theirs").expect("it is still there");
    assert_eq!(mounts_at(&at).len(), 1);
    // Nor when the server ends.
    let keeper = children(daemon.pid().as_raw())[0];
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    wait::until("the keeper ends", || is_gone(keeper));
    assert_eq!(fs::read(at.join("file")).expect("it is still there"), b"theirs");
    // What is below is for whoever comes next.
    umount(&at).expect("it is ours");
    let mut daemon = place.mount(&[]);
    assert_eq!(mounts_at(&at).len(), 1);
    unmount_idle(&at).expect("nobody uses it");
    assert!(daemon.wait().success());
}

#[test]
fn a_daemon_that_hangs_does_not_hang_who_asks() {
    let (place, _) = packed();
    let daemon = place.mount(&[]);
    daemon.stop();
    let status = query(&place.mountpoint(), Duration::from_millis(200));
    assert!(matches!(status, Err(QueryError::Timeout(..))), "{status:?}");
    daemon.signal(Signal::SIGCONT);
    query(&place.mountpoint(), PATIENCE).expect("it answers again");
}

#[test]
fn the_table_of_mounts_shows_type_source_and_safety() {
    // Letters that mean something in lists of options and in the table.
    let (place, _) = packed();
    let image = place.folder().join("a,suid b\\c#\u{e9}.epk");
    fs::rename(place.image(), &image).expect("it can be renamed");
    let mut command = std::process::Command::new(epk_tests::binaries::binary("epkfs"));
    command.arg(&image).arg(place.mountpoint()).args(["-f", "--ready-fd", "1", "-o", "exec"]);
    let _daemon = Daemon::spawn(command, place.mountpoint()).expect("it mounts");
    let [mount] = &mounts_at(&place.mountpoint())[..] else { panic!("one mount") };
    assert_eq!(mount.filesystem_type, "fuse.epkfs");
    assert_eq!(mount.source, image);
    let options: Vec<&str> = mount.options.split(',').collect();
    for option in ["ro", "nosuid", "nodev", "default_permissions", "max_read=65536"] {
        assert!(options.contains(&option), "{option} in {options:?}");
    }
    for option in ["rw", "suid", "dev", "allow_other"] {
        assert!(!options.contains(&option), "{option} in {options:?}");
    }
    fs::rename(&image, place.image()).expect("it can be renamed");
}

/// Threads of a daemon that wait for requests.
fn loops(pid: impl std::fmt::Display) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("fuser-")).count()
}

#[test]
fn any_number_of_threads_serves() {
    for threads in [1, 2, 7] {
        let (place, tree) = packed();
        let daemon = place.mount(&[&format!("threads={threads}")]);
        let bytes = fs::read(place.mountpoint().join("file")).expect("readable");
        assert!(bytes == tree.bytes("file"));
        assert_eq!(daemon.status().threads, threads);
        // The first loop may have answered before the last one has its name.
        let deadline = Instant::now() + PATIENCE;
        while loops(daemon.pid()) != threads && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(loops(daemon.pid()), threads);
        let devices = fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
            .expect("a process")
            .filter_map(|file| fs::read_link(file.expect("a file").path()).ok())
            .filter(|target| target.as_os_str() == OsStr::new("/dev/fuse"))
            .count();
        // With more than one processor a descriptor more, to look out for requests.
        let processors = rustix::thread::sched_getaffinity(None).expect("a mask").count();
        let expected = threads + usize::from(processors > 1);
        assert_eq!(devices, expected, "a queue for each loop");
    }
}
