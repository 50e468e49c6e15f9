//! Too few descriptors, too little memory: commands do what they should or say what they could not,
//! and servers give errors or end, with nothing wrong delivered and nothing left.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use epk_format::write::Format;
use epk_tests::app::{App, Stage};
use epk_tests::daemon::{Daemon, PATIENCE, Place};
use epk_tests::files::temp_folder;
use epk_tests::tool::{self, Outcome};
use epk_tests::wait;
use nix::sys::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::{BLOCK, descriptors, image, names, pkgtool, tree};

/// A command that prlimit(1) starts with one limit, which children inherit.
fn limited(limit: &str, command: &Command) -> Command {
    let mut starter = Command::new("prlimit");
    starter.arg(limit).arg("--");
    tool::started_by(starter, command)
}

/// Whether a program ended as one without memory may: by an error, or by its own hand.
pub(super) fn gave_up(done: &Outcome) -> bool {
    let code = done.status.code();
    code == Some(3)
        || code == Some(125)
        || code == Some(127)
        || code == Some(101)
        || done.status.signal() == Some(Signal::SIGABRT as i32)
        || done.status.signal() == Some(Signal::SIGSEGV as i32)
}

#[test]
fn too_few_descriptors_are_an_error() {
    let stage = Stage::new(&App::script("echo ran"));
    let (mut ran, mut failed) = (0, 0);
    for count in 3..24 {
        let done = Outcome::of(&mut limited(&format!("--nofile={count}"), &stage.run([""; 0])));
        if done.status.success() {
            assert_eq!(done.text(), "ran\n");
            ran += 1;
        } else {
            // The shell that would run the application lacks descriptors, too.
            let said = gave_up(&done)
                || done.stderr.starts_with("/bin/sh: ")
                || done.stderr.contains("the package's server has ended");
            assert!(said && !done.stderr.is_empty(), "{count} descriptors: {done:?}");
            failed += 1;
        }
        stage.is_left_clean();
    }
    assert!(ran > 0 && failed > 0, "{ran} ran, {failed} failed");
}

#[test]
fn too_few_descriptors_are_no_half_package() {
    let home = temp_folder();
    let packed = home.path().join("app.epk");
    fs::write(&packed, image(Format::V2, "1")).expect("written");
    let store = home.path().join("data/epk/packages");
    let mut added = 0;
    for count in 3..20 {
        let mut command = pkgtool(home.path());
        command.arg("add").arg(&packed);
        let done = Outcome::of(&mut limited(&format!("--nofile={count}"), &command));
        if done.status.success() {
            assert_eq!(names(&store), ["org.example.test@1.epk"]);
            fs::remove_file(store.join("org.example.test@1.epk")).expect("it is there");
            added += 1;
        } else {
            assert!(gave_up(&done), "{count} descriptors: {done:?}");
            assert!(!store.exists() || names(&store).is_empty(), "{count}: {:?}", names(&store));
        }
    }
    assert!((1..17).contains(&added), "{added}");
}

#[test]
fn a_mount_without_descriptors_is_no_mount() {
    let (mut mounted, mut failed) = (0, 0);
    for count in 3..20 {
        let place = Place::default();
        fs::write(place.image(), image(Format::V1, "1")).expect("written");
        let mut command = limited(&format!("--nofile={count}"), &place.command());
        command.args(["-f", "--ready-fd", "1"]);
        match Daemon::spawn(command, place.mountpoint()) {
            Ok(_daemon) => {
                let read = fs::read(place.mountpoint().join("c")).expect("readable");
                assert!(read == tree().bytes("c"));
                mounted += 1;
            }
            Err(_) => failed += 1,
        }
        wait::until("the mount is gone", || {
            let mounts = epkfs::table::list().expect("a table");
            mounts.iter().all(|mount| mount.mountpoint != place.mountpoint())
        });
    }
    assert!(mounted > 0 && failed > 0, "{mounted} mounted, {failed} failed");
}

#[test]
fn too_little_memory_is_an_error() {
    let stage = Stage::new(&App::script("echo ran"));
    let (mut ran, mut failed) = (0, 0);
    for pages in (0..40).map(|step| step * 96 + 1) {
        let limit = format!("--as={}", pages * 4096);
        let done = Outcome::of(&mut limited(&limit, &stage.run([""; 0])));
        if done.status.success() {
            assert_eq!(done.text(), "ran\n");
            ran += 1;
        } else {
            failed += 1;
        }
        stage.is_left_clean();
    }
    assert!(failed > 0, "{ran} ran, {failed} failed");
}

/// A server that has all the memory that it ever gets.
#[test]
fn a_server_without_memory_gives_errors_or_ends() {
    for spare in [0, 1 << 16, 1 << 20, 1 << 24, 1 << 32] {
        let place = Place::default();
        fs::write(place.image(), image(Format::V2, "1")).expect("written");
        let mut daemon = place.mount(&["threads=2"]);
        let pid = Pid::from_raw(daemon.pid().as_raw()).expect("a process");
        let statm = fs::read_to_string(format!("/proc/{}/statm", daemon.pid())).expect("there");
        let pages: u64 = statm.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        let limit = Rlimit { current: Some(pages * 4096 + spare), maximum: None };
        let maximum = getrlimit(Resource::As).maximum;
        prlimit(Some(pid), Resource::As, Rlimit { maximum, ..limit }).expect("it is ours");
        for path in ["a", "b", "c"] {
            // Right, or an error.
            if let Ok(bytes) = fs::read(place.mountpoint().join(path)) {
                assert!(bytes == tree().bytes(path), "wrong bytes of `{path}`");
            } else {
                assert!(spare < 1 << 32, "{spare} bytes are enough");
            }
        }
        if !daemon.is_running() {
            wait::until("the keeper has cleared up", || {
                let mounts = epkfs::table::list().expect("a table");
                mounts.iter().all(|mount| mount.mountpoint != place.mountpoint())
            });
        }
    }
}

/// What many readers have open is theirs, not the server's.
#[test]
fn a_thousand_open_files_are_no_descriptors_of_the_server() {
    let place = Place::default();
    fs::write(place.image(), image(Format::V2, "1")).expect("written");
    let daemon = place.mount(&[]);
    let count = descriptors(1200) - 200;
    let open = |number: usize| {
        let path = place.mountpoint().join(["a", "b", "c"][number % 3]);
        fs::File::open(path).expect("it opens")
    };
    let files: Vec<fs::File> = (0..count).map(open).collect();
    let held = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("there").count();
    assert!(held < 30, "{held} descriptors");
    let threads: Vec<_> = files
        .chunks(count.div_ceil(8))
        .map(|some| {
            let some: Vec<fs::File> =
                some.iter().map(|file| file.try_clone().expect("one more")).collect();
            std::thread::spawn(move || {
                for file in some {
                    let mut start = [0; BLOCK];
                    std::os::unix::fs::FileExt::read_exact_at(&file, &mut start, 0)
                        .expect("readable");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    drop(files);
    assert!(epkfs::control::query(&place.mountpoint(), PATIENCE).is_ok());
}
