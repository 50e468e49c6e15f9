//! Clocks that jump, and files of times to come: what was verified once is believed by more than
//! its times.

use std::fs;
use std::time::{Duration, SystemTime};

use epk_format::write::Format;
use epk_tests::failing::FailingDisk;
use epk_tests::files::temp_folder;
use epk_tests::tool::Outcome;

use super::{image, names, pkgtool, tree};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// `cat a` of an image on a disk whose times are not the clock's.
fn read(disk: &FailingDisk, home: &std::path::Path) -> Outcome {
    Outcome::of(pkgtool(home).arg("cat").arg(disk.path("app.epk")).arg("a"))
}

#[test]
fn an_image_of_any_time_is_read_rightly() {
    let now = SystemTime::now();
    let image = image(Format::V1, "1");
    let days = |count: u32| DAY * count;
    let times = [
        SystemTime::UNIX_EPOCH,
        SystemTime::UNIX_EPOCH - days(3650),
        now - days(1),
        now,
        now + Duration::from_secs(5),
        now + days(400),
        now + days(365 * 90),
    ];
    let (disk, home) = (FailingDisk::default(), temp_folder());
    fs::write(disk.path("app.epk"), &image).expect("written");
    // Back and forth.
    for time in times.iter().chain(times.iter().rev()) {
        disk.set_times(*time);
        for _ in 0..2 {
            assert!(read(&disk, home.path()).quietly() == tree().bytes("a"));
        }
    }
    // Only of settled times there are stamps, and one image has one.
    assert_eq!(names(&home.path().join("cache/epk/verified")).len(), 1);
}

#[test]
fn a_changed_image_with_the_old_times_gives_no_wrong_byte() {
    let (disk, home) = (FailingDisk::default(), temp_folder());
    let good = image(Format::V1, "1");
    fs::write(disk.path("app.epk"), &good).expect("written");
    disk.set_times(SystemTime::now() - DAY);
    assert!(read(&disk, home.path()).quietly() == tree().bytes("a"));
    assert_eq!(names(&home.path().join("cache/epk/verified")).len(), 1);
    // The clock was set back, and somebody wrote at what is the same second again.
    let mut wrong = 0;
    for at in (0..good.len()).step_by(good.len() / 60) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(disk.path("app.epk"), &bad).expect("written");
        let done = read(&disk, home.path());
        if done.status.success() {
            assert!(done.stdout == tree().bytes("a"), "a wrong byte, changed at {at}");
        } else {
            assert!(tree().bytes("a").starts_with(&done.stdout), "a wrong byte, changed at {at}");
            wrong += 1;
        }
    }
    assert!(wrong > 10, "{wrong}");
}

#[test]
fn stamps_of_times_to_come_are_no_harm() {
    let home = temp_folder();
    let file = home.path().join("app.epk");
    fs::write(&file, image(Format::V1, "1")).expect("written");
    let old = SystemTime::now() - DAY;
    fs::File::options().write(true).open(&file).and_then(|f| f.set_modified(old)).expect("ours");
    let read = || Outcome::of(pkgtool(home.path()).arg("cat").arg(&file).arg("a"));
    assert!(read().quietly() == tree().bytes("a"));
    let stamps = home.path().join("cache/epk/verified");
    for name in if stamps.exists() { names(&stamps) } else { Vec::new() } {
        let stamp = fs::File::options().write(true).open(stamps.join(name)).expect("ours");
        stamp.set_modified(SystemTime::now() + 400 * DAY).expect("ours");
    }
    assert!(read().quietly() == tree().bytes("a"));
}
