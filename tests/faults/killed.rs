//! Servers and keepers of mounts, killed at any moment.

use std::fs;
use std::io::{self, Read as _};
use std::process::Stdio;
use std::time::Duration;

use epk_format::write::Format;
use epk_tests::daemon::Place;
use epk_tests::processes::{children, is_gone};
use epk_tests::tree::Random;
use epk_tests::wait;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{image, tree};

fn is_mounted(place: &Place) -> bool {
    let mounts = epkfs::table::list().expect("a table");
    mounts.iter().any(|mount| mount.mountpoint == place.mountpoint())
}

/// What a reader gets while its server dies: right bytes, or that there is nobody.
fn read(place: &Place, path: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    let read = fs::File::open(place.mountpoint().join(path))
        .and_then(|mut file| file.read_to_end(&mut bytes));
    assert!(tree().bytes(path).starts_with(&bytes), "wrong bytes of `{path}`");
    read.map(|length| assert_eq!(length, tree().bytes(path).len(), "half of `{path}`"))
}

#[test]
fn whenever_the_server_is_killed_the_mount_goes() {
    let mut random = Random::new(23);
    let image = image(Format::V1, "1");
    let (mut before, mut after) = (0, 0);
    for round in 0..60 {
        let place = Place::default();
        fs::write(place.image(), &image).expect("written");
        let mut command = place.command();
        command.arg("-f").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        // However slow the machine is, some are killed early and some late.
        match round % 3 {
            0 => {}
            1 => wait::until("it has mounted", || is_mounted(&place)),
            _ => wait::a_while(Duration::from_micros(random.below(40_000))),
        }
        if is_mounted(&place) {
            after += 1;
            match read(&place, "a").map_err(|error| error.raw_os_error().map(Errno::from_raw)) {
                // Before the server has said that it is there, nobody has.
                Ok(()) | Err(Some(Errno::ENOTCONN | Errno::ENOENT)) => {}
                Err(error) => panic!("{error:?}"),
            }
        } else {
            before += 1;
        }
        let server = child.id().cast_signed();
        let keepers = children(server);
        child.kill().expect("ours");
        let _killed = child.wait();
        for keeper in keepers {
            wait::until("the keeper ends", || is_gone(keeper));
        }
        // Between mount(2) and the keeper's birth there is nobody who clears up, and just after it
        // somebody who isn't among those that were waited for.
        wait::until("the mount is gone", || {
            let _cleaned = epkfs::unmount::clean_dead(&place.mountpoint(), None);
            !is_mounted(&place)
        });
        let daemon = place.mount(&[]);
        read(&place, "b").expect("readable");
        drop(daemon);
    }
    println!("killed: {before} before they had mounted, {after} after");
    assert!(after >= 20);
}

#[test]
fn a_killed_keeper_takes_nothing_with_it() {
    for _ in 0..10 {
        let place = Place::default();
        fs::write(place.image(), image(Format::V2, "1")).expect("written");
        let mut daemon = place.mount(&[]);
        let keepers = children(daemon.pid().as_raw());
        kill(Pid::from_raw(keepers[0]), Signal::SIGKILL).expect("ours");
        wait::until("it is gone", || is_gone(keepers[0]));
        for path in ["a", "b", "c"] {
            read(&place, path).expect("served on");
        }
        epk_tests::daemon::unmount_idle(&place.mountpoint()).expect("nobody uses it");
        assert!(daemon.wait().success());
    }
}

#[test]
fn readers_of_a_server_that_is_killed_get_right_bytes_or_an_error() {
    let mut random = Random::new(29);
    let image = image(Format::V2, "1");
    for _ in 0..20 {
        let place = Place::default();
        fs::write(place.image(), &image).expect("written");
        let mut daemon = place.mount(&["cache=0"]);
        let moment = Duration::from_micros(random.below(8_000));
        std::thread::scope(|scope| {
            for path in ["a", "b", "c"] {
                let place = &place;
                scope.spawn(move || while read(place, path).is_ok() {});
            }
            wait::a_while(moment);
            daemon.signal(Signal::SIGKILL);
        });
        daemon.wait();
        wait::until("the keeper has cleared up", || !is_mounted(&place));
    }
}
