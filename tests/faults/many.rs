//! Very many mounts at once.

use std::fs;
use std::time::Instant;

use epk_format::write::Format;
use epk_tests::daemon::unmount_idle;
use epk_tests::files::temp_folder;
use epk_tests::processes::mentioning;
use epk_tests::tool::Outcome;
use epk_tests::wait;

use super::{image, pkgtool, tree};

/// How many are mounted at once.
fn mounts() -> usize {
    match std::env::var("EPK_TEST_MOUNTS") {
        Ok(text) => text.parse().expect("EPK_TEST_MOUNTS is a number"),
        Err(_) => 100,
    }
}

#[test]
fn each_of_many_mounts_serves_and_ends() {
    let folder = temp_folder();
    let image_path = folder.path().join("app.epk");
    fs::write(&image_path, image(Format::V2, "1")).expect("written");
    let count = mounts();
    let at = |number: usize| folder.path().join(format!("mnt-{number}"));
    let start = Instant::now();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let each = |work: &(dyn Fn(usize) + Sync)| {
        next.store(0, std::sync::atomic::Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        work(number);
                    }
                });
            }
        });
    };
    each(&|number| {
        fs::create_dir(at(number)).expect("a folder");
        let mut command = pkgtool(folder.path());
        command.arg("mount").arg(&image_path).arg(at(number)).args(["-o", "threads=1"]);
        let _mounted = Outcome::of(&mut command).quietly();
    });
    let ours = || {
        let mounts = epkfs::table::list().expect("a table");
        mounts.iter().filter(|mount| mount.mountpoint.starts_with(folder.path())).count()
    };
    assert_eq!(ours(), count);
    each(&|number| {
        for path in ["a", "c"] {
            let bytes = fs::read(at(number).join(path)).expect("readable");
            assert!(bytes == tree().bytes(path), "wrong bytes in mount {number}");
        }
    });
    each(&|number| unmount_idle(&at(number)).expect("nobody uses it"));
    assert_eq!(ours(), 0);
    let name = folder.path().to_string_lossy().into_owned();
    wait::until("all servers and keepers end", || mentioning(&name).is_empty());
    println!("{count} mounts in {:?}", start.elapsed());
}
