//! Very many mounts at once, and very many who open files of one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Instant;

use epk_format::write::Format;
use epk_tests::daemon::{Place, unmount_idle};
use epk_tests::files::temp_folder;
use epk_tests::processes::mentioning;
use epk_tests::tool::Outcome;
use epk_tests::tree::Random;
use epk_tests::wait;

use super::{descriptors, image, pkgtool, tree};

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

/// Threads of this process that open files.
const OPENERS: usize = 64;
/// Other processes that read at the same time.
const READERS: usize = 200;

/// Thousands of files are open at the same moment, and as many are being opened.
#[test]
fn each_of_thousands_of_openers_gets_its_bytes() {
    let place = Place::default();
    fs::write(place.image(), image(Format::V2, "1")).expect("written");
    let mut daemon = place.mount(&["cache=1M"]);
    let at = |path: &str| place.mountpoint().join(path);
    let tree = tree();
    // A reader whose pipe is full keeps its file open.
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut command = Command::new("cat");
            command.args([at("a"), at("b"), at("c")]).stdin(Stdio::null()).stdout(Stdio::piped());
            command.spawn().expect("it starts")
        })
        .collect();
    let each = (descriptors(6_000) - 2 * READERS) / OPENERS;
    assert!(each >= 8, "this user may open too few files for this test");
    let all_are_open = Barrier::new(OPENERS);
    std::thread::scope(|scope| {
        for opener in 0..OPENERS {
            let (tree, all_are_open, at) = (&tree, &all_are_open, &at);
            scope.spawn(move || {
                let mut random = Random::new(7 + opener as u64);
                let mut pick = |bound: usize| {
                    usize::try_from(random.below(bound as u64)).expect("below a length")
                };
                let files: Vec<_> = (0..each)
                    .map(|_| {
                        let path = ["a", "b", "c", "bin/app", "manifest.toml"][pick(5)];
                        File::open(at(path)).map(|file| (path, file))
                    })
                    .collect();
                // Before anyone may fail: the others would wait for ever.
                all_are_open.wait();
                for opened in files {
                    let (path, file) = opened.expect("it opens");
                    let mut bytes = [0; 100];
                    if path == "manifest.toml" {
                        file.read_at(&mut bytes, 0).expect("readable");
                        continue;
                    }
                    let right = tree.bytes(path);
                    let start = pick(right.len());
                    let got = file.read_at(&mut bytes, start as u64).expect("readable");
                    let end = right.len().min(start + bytes.len());
                    assert!(bytes[..got] == right[start..end], "wrong bytes of `{path}`");
                }
            });
        }
    });
    let right = [tree.bytes("a"), tree.bytes("b"), tree.bytes("c")].concat();
    for reader in readers {
        let output = reader.wait_with_output().expect("a child");
        assert!(output.status.success() && output.stdout == right);
    }
    assert_eq!(daemon.counters().errors, 0);
    let held = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("there").count();
    assert!(held < 30, "{held} descriptors");
    println!("{} files open at once, {READERS} processes", each * OPENERS);
    unmount_idle(&place.mountpoint()).expect("nobody uses it");
    assert!(daemon.wait().success());
}
