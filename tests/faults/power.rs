//! Power cuts: what a command did to the disk is recorded, and after each step of it looked at what a
//! cut would leave, by how much of what nobody synced gets to the disk. A package is there as a
//! whole or not at all; what a command has said to be done stays done.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epk_format::write::Format;
use epk_tests::failing::{Content, Cut, FailingDisk, Step};
use epk_tests::files::temp_folder;
use epk_tests::tool::Outcome;

use super::{image, names, pkgtool};

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Packages by their paths; other files are nobody's.
fn packages(files: &Files) -> Files {
    let is_package = |path: &Path| {
        path.extension() == Some(OsStr::new("epk"))
            && path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
    };
    files.iter().filter(|(path, _)| is_package(path)).map(|(p, b)| (p.clone(), b.clone())).collect()
}

/// Runs a command, which must succeed, and gives what it did to the disk.
#[track_caller]
fn recorded(disk: &FailingDisk, command: &mut Command) -> Vec<Step> {
    let _earlier = disk.take_steps();
    let done = Outcome::of(command).exits(0);
    let steps = disk.take_steps();
    assert!(!steps.is_empty(), "{done:?}");
    steps
}

/// Demands that a cut at any moment leaves the packages as they were before or as they are after
/// the command, each of them; and one at the end, as they are after it.
#[track_caller]
fn is_old_or_new(before: &Content, steps: &[Step], word: &str) -> usize {
    let (old, mut new) = (packages(&before.files()), before.clone());
    steps.iter().for_each(|step| new.apply(step));
    let new = packages(&new.files());
    assert_ne!(old, new, "{word} does something");
    let mut looked = 0;
    for count in 0..=steps.len() {
        for cut in Cut::ALL {
            let left = Content::after_power_cut(before, &steps[..count], cut);
            let left = packages(&left.files());
            for (path, bytes) in &left {
                let whole = [&old, &new].iter().any(|files| files.get(path) == Some(bytes));
                let path = path.display();
                assert!(whole, "{word}: after step {count}, {cut:?}: `{path}` is not whole");
            }
            for path in old.keys().filter(|path| new.contains_key(*path)) {
                let path_shown = path.display();
                assert!(
                    left.contains_key(path),
                    "{word}: step {count}, {cut:?}: lost `{path_shown}`"
                );
            }
            if count == steps.len() {
                assert_eq!(
                    left.keys().collect::<Vec<_>>(),
                    new.keys().collect::<Vec<_>>(),
                    "{word}, {cut:?}: done, and undone by the cut"
                );
            }
            looked += 1;
        }
    }
    looked
}

struct Desk {
    disk: FailingDisk,
    home: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { disk: FailingDisk::default(), home: temp_folder() };
        for version in ["1", "2"] {
            let file = desk.home.path().join(format!("{version}.epk"));
            fs::write(file, image(Format::V2, version)).expect("written");
        }
        desk
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = pkgtool(self.home.path());
        command.args(words).current_dir(self.home.path());
        command.env("XDG_DATA_HOME", self.disk.path("data"));
        command
    }
}

#[test]
fn the_store_is_old_or_new() {
    let desk = Desk::new();
    let mut looked = 0;
    for words in [&["add", "1.epk"][..], &["add", "2.epk"], &["remove", "org.example.test@1"]] {
        let before = desk.disk.content();
        let steps = recorded(&desk.disk, &mut desk.command(words));
        looked += is_old_or_new(&before, &steps, &words.join(" "));
    }
    println!("{looked} states after power cuts");
    assert!(looked > 40);
}

/// What a cut left is no obstacle for who comes after it.
#[test]
fn after_a_cut_add_does_it() {
    let desk = Desk::new();
    let before = desk.disk.content();
    let steps = recorded(&desk.disk, &mut desk.command(&["add", "1.epk"]));
    let store = desk.disk.path("data/epk/packages");
    for count in 0..=steps.len() {
        for cut in Cut::ALL {
            desk.disk.replace(Content::after_power_cut(&before, &steps[..count], cut));
            let listed = Outcome::of(&mut desk.command(&["list"])).exits(0);
            assert!(matches!(listed.text().lines().count(), 0 | 1), "{}", listed.text());
            let _added = Outcome::of(&mut desk.command(&["add", "1.epk"])).exits(0);
            let verify = &["verify", "--installed", "--deep"];
            let _verified = Outcome::of(&mut desk.command(verify)).exits(0);
            assert!(names(&store).contains(&"org.example.test@1.epk".to_owned()));
        }
    }
}

#[test]
fn a_package_that_is_packed_is_old_or_new() {
    let desk = Desk::new();
    let folder = desk.home.path().join("app");
    let _done =
        Outcome::of(&mut desk.command(&["extract", "1.epk", &folder.to_string_lossy()])).exits(0);
    let output = desk.disk.path("out.epk");
    for round in ["a new one", "a successor"] {
        fs::write(folder.join("more"), round).expect("written");
        let before = desk.disk.content();
        let mut command = desk.command(&["pack", "app", "-o", &output.to_string_lossy()]);
        let steps = recorded(&desk.disk, &mut command);
        is_old_or_new(&before, &steps, round);
    }
}

#[test]
fn a_disk_that_stops_taking_anything_is_an_error() {
    let desk = Desk::new();
    let _added = Outcome::of(&mut desk.command(&["add", "1.epk"])).exits(0);
    let before = desk.disk.content().files();
    desk.disk.fail(epk_tests::failing::Faults { broken: true, ..Default::default() });
    for words in [&["add", "2.epk"][..], &["remove", "org.example.test@1"]] {
        let done = Outcome::of(&mut desk.command(words)).exits(3);
        assert!(done.stderr.contains("nput/output"), "{}", done.stderr);
    }
    desk.disk.fail(epk_tests::failing::Faults::default());
    assert!(desk.disk.content().files() == before);
}
