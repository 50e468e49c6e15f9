//! `pkgtool pack`, from a folder to the same folder again. The options have tests in pkgtool.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use epk_tests::disk::{self, Found};
use epk_tests::tree::Random;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::{Desk, usual};

/// A folder with an application, on a desk without a package.
fn source() -> Desk {
    let desk = Desk::empty();
    let mut random = Random::new(3);
    let files: [(&str, Vec<u8>, u32); 7] = [
        ("manifest.toml", usual().manifest().into_bytes(), 0o644),
        ("bin/app", b"#!/bin/sh\necho hi\n".to_vec(), 0o755),
        ("lib/text", random.text(300_000), 0o644),
        ("lib/noise", random.noise(200_000), 0o600),
        ("lib/exactly", random.text(2 * 65_536), 0o444),
        ("empty", Vec::new(), 0o640),
        ("l\u{fc}\n \u{1f980}", b"odd".to_vec(), 0o644),
    ];
    for (n, (name, bytes, mode)) in files.into_iter().enumerate() {
        let path = desk.path("app").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, bytes).expect("writable");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000 + n as u64);
        File::options().write(true).open(&path).expect("ours").set_modified(time).expect("ours");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("ours");
    }
    fs::create_dir_all(desk.path("app/hollow/deep")).expect("a folder");
    desk
}

#[test]
fn packed_verified_extracted_the_same() {
    let desk = source();
    for options in [
        &[][..],
        &["--format", "1"],
        &["--format", "1", "--compression", "none"],
        &["--compression", "zlib", "--level", "9", "--chunk-size", "4K"],
    ] {
        let words: Vec<&str> =
            ["pack", "app", "-o", "app.epk"].into_iter().chain(options.iter().copied()).collect();
        let done = desk.give(&words).exits(0);
        assert!(done.stdout.is_empty(), "data without --json: {}", done.text());
        let _line = desk.give(&["verify", "--deep", "app.epk"]).quietly();
        let _done = desk.give(&["extract", "app.epk", "out"]).quietly();
        let known = |mut tree: disk::Tree| {
            // In format 1.0 neither modes nor times of folders are kept.
            let folders = tree.values_mut().filter(|_| options.contains(&"1"));
            for (what, time) in folders {
                if let Found::Folder { mode } = what {
                    (*mode, *time) = (0, 0);
                }
            }
            // The manifest is no entry: it has no time and no mode of its own.
            if let Some((_, time)) = tree.get_mut(&b"manifest.toml"[..]) {
                *time = 0;
            }
            tree
        };
        let (source, out) =
            (known(disk::tree(&desk.path("app"))), known(disk::tree(&desk.path("out"))));
        assert_eq!(disk::differences(&source, &out), Vec::<String>::new(), "{options:?}");
        fs::remove_dir_all(desk.path("out")).expect("ours");
    }
    assert_eq!(desk.names(), ["app", "app.epk"]);
}

#[test]
fn the_summary_is_data() {
    let desk = source();
    let done = desk.give(&["pack", "app", "-o", "app.epk", "--json"]).exits(0);
    let lines = done.json();
    assert_eq!(lines.len(), 1, "{}", done.text());
    let verdict = desk.give(&["verify", "--json", "app.epk"]).exits(0);
    let hash = verdict.json()[0]["package_hash"].clone();
    assert!(lines[0].to_string().contains(hash.as_str().expect("text")), "{}", done.text());
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let desk = source();
    let _said = desk.give(&["pack", "app", "-o", "one.epk"]).exits(0);
    let mut command = desk.command(&["pack", "app", "-o", "two.epk", "--threads", "1"]);
    command.env("LANG", "tr_TR.UTF-8").env("TZ", "Asia/Kathmandu").env("COLUMNS", "20");
    let _said = epk_tests::tool::Outcome::of(&mut command).exits(0);
    let (one, two) = (fs::read(desk.path("one.epk")), fs::read(desk.path("two.epk")));
    assert!(one.expect("made") == two.expect("made"), "two packages of one folder differ");
}

#[test]
fn what_cannot_be_packed_leaves_no_package() {
    let desk = source();
    std::os::unix::fs::symlink("app", desk.path("app/bin/link")).expect("a link");
    let done = desk.give(&["pack", "app", "-o", "app.epk", "--format", "1"]).exits(1);
    assert!(done.stderr.contains("bin/link"), "{}", done.stderr);
    let hint = "hint: format 2.0 holds it: leave out `--format 1`\n";
    assert!(done.stderr.contains(hint), "{}", done.stderr);
    assert_eq!(desk.names(), ["app"]);
    let _done = desk.give(&["pack", "nothing", "-o", "app.epk"]).exits(3);
    let _done = desk.give(&["pack", "app"]).exits(2);
    assert_eq!(desk.names(), ["app"]);
}

#[test]
fn times_after_2038_are_kept() {
    let desk = source();
    std::os::unix::fs::symlink("app", desk.path("app/bin/link")).expect("a link");
    // 2100-01-01
    let late = Timespec { tv_sec: 4_102_444_800, tv_nsec: 5 };
    let late = Timestamps { last_access: late, last_modification: late };
    let times = |root: &str| {
        ["bin/link", "bin/app", "bin", ""].map(|name| {
            let metadata = fs::symlink_metadata(desk.path(root).join(name)).expect("it is there");
            (metadata.mtime(), metadata.mtime_nsec())
        })
    };
    for name in ["app/bin/link", "app/bin/app", "app/bin", "app"] {
        utimensat(CWD, desk.path(name), &late, AtFlags::SYMLINK_NOFOLLOW).expect("ours");
    }
    assert_eq!(times("app"), [(4_102_444_800, 5); 4]);
    let _done = desk.give(&["pack", "app", "-o", "app.epk"]).exits(0);
    let _done = desk.give(&["extract", "app.epk", "out"]).quietly();
    assert_eq!(times("out"), times("app"));
}

#[test]
fn large_files_are_no_obstacle() {
    let desk = source();
    // All of it would have to be read. That something is refused shows before that.
    File::create(desk.path("app/large")).expect("writable").set_len(5 << 30).expect("sparse");
    let _socket = std::os::unix::net::UnixListener::bind(desk.path("app/socket")).expect("bound");
    let refused = desk.give(&["pack", "app", "-o", "app.epk"]).exits(1);
    assert!(refused.stderr.contains("socket"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("large"), "{}", refused.stderr);
}
