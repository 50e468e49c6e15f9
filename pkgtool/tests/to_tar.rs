//! `pkgtool extract --to-tar`, and the way back by `pkgtool import`.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, setxattr, utimensat};
use support::{Place, noise, tool};

/// A folder with one of everything, packed as `app.epk`.
fn everything() -> Place {
    let place = Place::app();
    place.link("app/usr", "../anywhere/else");
    place.link("app/long-link", &"target/".repeat(30));
    fs::hard_link(place.path("app/lib/text"), place.path("app/bin/more")).expect("linked");
    fs::set_permissions(place.path("app/share"), fs::Permissions::from_mode(0o710)).expect("set");
    for name in ["app/lib/text", "app/lib"] {
        let value = b"two\nlines = \xff\0";
        setxattr(place.path(name), "user.a", value, XattrFlags::empty()).expect("xattrs");
        setxattr(place.path(name), "user.b", b"", XattrFlags::empty()).expect("xattrs");
    }
    place.file("app/zeros", &vec![0; 300_000], 0o600);
    place.file(&format!("app/{}/{}", "deep/".repeat(30), "n".repeat(200)), b"deep", 0o644);
    place.file("app/caf\u{e9} au lait", b"coffee", 0o444);
    for (name, seconds, nanoseconds) in
        [("app/lib/empty", -5, 500_000_000), ("app/usr", 7, 1), ("app/lib-a", 1 << 33, 0)]
    {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, place.path(name), &times, AtFlags::SYMLINK_NOFOLLOW).expect("set");
    }
    place.pack(&["--format", "2"]).ok();
    place
}

#[test]
fn the_way_there_and_back_changes_nothing() {
    let place = everything();
    for name in ["one.tar", "two.tar"] {
        place.run(&["extract", "--to-tar", name, "app.epk"]).ok();
    }
    let archive = fs::read(place.path("one.tar")).expect("an archive");
    assert!(archive == fs::read(place.path("two.tar")).expect("an archive"), "not deterministic");
    assert_eq!(archive.len() % 10240, 0);
    let printed = place.command().args(["extract", "app.epk", "--to-tar", "-"]).output();
    assert!(printed.expect("ran").stdout == archive, "standard output has something else");
    place.run(&["import", "one.tar", "-o", "back.epk"]).ok();
    assert!(fs::read(place.path("back.epk")).expect("a package") == place.image());
    assert_eq!(place.run(&["diff", "app.epk", "back.epk"]).ok().stdout, "");
}

#[test]
fn other_programs_read_it() {
    let place = everything();
    place.run(&["extract", "app.epk", "ours"]).ok();
    place.run(&["extract", "--to-tar", "app.tar", "app.epk"]).ok();
    fs::create_dir(place.path("theirs")).expect("made");
    tool(&place.path("theirs"), "tar", &["--xattrs", "-xpf", "../app.tar"]);
    for name in ["ours", "theirs"] {
        let output = format!("{name}.epk");
        place.run(&["pack", name, "-o", &output, "--format", "2"]).ok();
    }
    assert_eq!(place.run(&["diff", "ours.epk", "theirs.epk"]).ok().stdout, "");
}

#[test]
fn a_part_can_be_chosen() {
    let place = Place::app();
    place.pack(&[]).ok();
    place.run(&["extract", "--to-tar", "part.tar", "app.epk", "lib/t*", "share"]).ok();
    let bytes = fs::read(place.path("part.tar")).expect("an archive");
    let mut archive = tar::Archive::new(&bytes[..]);
    let names = archive.entries().expect("an archive").map(|entry| {
        String::from_utf8(entry.expect("an entry").path_bytes().into_owned()).expect("text")
    });
    assert_eq!(names.collect::<Vec<_>>(), ["lib/text", "share/", "share/empty/"]);
    place.run(&["extract", "--to-tar", "none.tar", "app.epk", "none"]).fails(1, &["/none"]);
    assert!(!place.path("none.tar").exists());
}

#[test]
fn nothing_is_replaced_and_nothing_half_written() {
    let place = Place::app();
    place.pack(&["--format", "2", "--compression", "none"]).ok();
    fs::write(place.path("there.tar"), "mine").expect("written");
    place.run(&["extract", "--to-tar", "there.tar", "app.epk"]).fails(1, &["`there.tar` exists"]);
    assert_eq!(fs::read(place.path("there.tar")).expect("there"), b"mine");
    // A byte of a file: only who reads it finds out.
    let mut image = place.image();
    let at = image.windows(6).position(|text| text == b"line 0").expect("there");
    image[at] ^= 1;
    fs::write(place.path("app.epk"), image).expect("written");
    place.run(&["extract", "--to-tar", "new.tar", "app.epk"]).fails(4, &["app.epk"]);
    assert!(!place.path("new.tar").exists());
}

/// A folder of whatever the numbers say.
fn generate(place: &Place, seed: usize) {
    let numbers = noise(4000 + seed);
    let mut numbers = numbers[seed * 31..]
        .chunks_exact(2)
        .map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
    let mut next = move |below: usize| numbers.next().expect("enough numbers") % below;
    let (mut folders, mut files) = (vec!["app".to_owned()], Vec::new());
    for number in 0..60 {
        let folder = &folders[next(folders.len())];
        let names = ["a", "\u{e9}\u{e8}", "with space", "-x", "new\nline", "long"];
        let name = names[next(names.len())].repeat(1 + next(12));
        let path = format!("{folder}/{name}{number}");
        match next(7) {
            0 | 1 => {
                fs::create_dir(place.path(&path)).expect("made");
                folders.push(path.clone());
            }
            2 => place.link(&path, &"../x/".repeat(1 + next(40))),
            3 if !files.is_empty() => {
                let first: &String = &files[next(files.len())];
                fs::hard_link(place.path(first), place.path(&path)).expect("linked");
            }
            _ => {
                let size = [0, 1, 511, 512, 513, 5000, 70_000, 200_000][next(8)];
                let bytes = if next(3) == 0 { vec![0; size] } else { noise(size) };
                place.file(&path, &bytes, 0o600 | next(0o200) as u32);
                files.push(path.clone());
            }
        }
        if !place.path(&path).is_symlink() && next(3) == 0 {
            let value = noise(next(300));
            setxattr(place.path(&path), "user.x", &value, XattrFlags::empty()).expect("set");
        }
        let seconds = [0, -1, 1, 1 << 31, 1 << 33, 1 << 34][next(6)];
        let time = Timespec { tv_sec: seconds, tv_nsec: [0, 1, 999_999_999][next(3)] };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, place.path(&path), &times, AtFlags::SYMLINK_NOFOLLOW).expect("set");
    }
}

#[test]
fn generated_trees_come_back_as_archives_and_folders() {
    for seed in 0..12 {
        let place = Place::empty();
        generate(&place, seed);
        place.pack(&["--format", "2"]).ok();
        place.run(&["extract", "--to-tar", "app.tar", "app.epk"]).ok();
        place.run(&["import", "app.tar", "-o", "back.epk"]).ok();
        assert!(fs::read(place.path("back.epk")).expect("a package") == place.image(), "{seed}");
        place.run(&["extract", "app.epk", "folder"]).ok();
        place.run(&["pack", "folder", "-o", "folder.epk", "--format", "2"]).ok();
        assert_eq!(place.run(&["diff", "app.epk", "folder.epk"]).ok().stdout, "", "{seed}");
    }
}
