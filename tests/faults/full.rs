//! A disk that fills up: a command does what it should or says what it could not, and leaves
//! nothing of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epk_format::write::Format;
use epk_tests::binaries::binary;
use epk_tests::disk;
use epk_tests::failing::{FailingDisk, Faults};
use epk_tests::files::temp_folder;
use epk_tests::tool::{self, Outcome};

use super::{image, names, pkgtool, tree};

/// Runs a command with ever more room on the disk, until it succeeds. Until then it fails as it
/// should, and `clean` finds nothing of it.
#[track_caller]
fn until_there_is_room(
    disk: &FailingDisk,
    mut command: impl FnMut() -> Command,
    clean: impl Fn() -> bool,
    word: &str,
) {
    let used = disk.content().used();
    let mut failures = 0;
    for room in (0..).map(|step| step * 90_000) {
        disk.fail(Faults { room: Some(used + room), ..Faults::default() });
        let done = Outcome::of(&mut command());
        match done.status.code() {
            Some(0) => break,
            Some(3) => {
                assert!(done.stderr.contains("No space left"), "{word}: {}", done.stderr);
                assert!(clean(), "{word} with {room} bytes: something was left");
                // What nobody has open any more takes no room.
                failures += 1;
            }
            _ => panic!("{word} with {room} bytes: {done:?}"),
        }
        assert!(room < 40_000_000, "{word} never succeeds");
        disk.forget_removed();
    }
    assert!(failures > 1, "{word} was never short of room");
    disk.fail(Faults::default());
}

fn empty(folder: &Path) -> bool {
    !folder.exists() || names(folder).is_empty()
}

#[test]
fn pack_leaves_no_half_package() {
    for format in ["1", "2"] {
        let disk = FailingDisk::default();
        let source = temp_folder();
        let home = temp_folder();
        let packed = home.path().join("app.epk");
        fs::write(&packed, image(Format::V1, "1")).expect("written");
        let folder = source.path().join("app");
        let _done =
            tool::run(["extract".as_ref(), packed.as_os_str(), folder.as_os_str()]).quietly();
        let output = disk.path("out.epk");
        let command = || {
            let mut command = pkgtool(home.path());
            command.args(["pack", "--format", format]).arg(&folder).arg("-o").arg(&output);
            command
        };
        until_there_is_room(&disk, command, || empty(&disk.path("")), "pack");
        let _done = tool::run(["verify".as_ref(), "--deep".as_ref(), output.as_os_str()]).exits(0);
        assert_eq!(names(&disk.path("")), ["out.epk"]);
        // A package that is replaced stays until its successor is whole.
        let before = fs::read(&output).expect("there");
        fs::write(folder.join("more"), vec![7; 1000]).expect("written");
        let kept =
            || fs::read(&output).expect("there") == before && names(&disk.path("")).len() == 1;
        until_there_is_room(&disk, command, kept, "pack again");
        assert_ne!(fs::read(&output).expect("there"), before);
    }
}

/// A package beside the disk.
fn packed(folder: &Path) -> PathBuf {
    let path = folder.join("app.epk");
    fs::write(&path, image(Format::V2, "1")).expect("written");
    path
}

#[test]
fn add_leaves_no_half_package() {
    let disk = FailingDisk::default();
    let home = temp_folder();
    let packed = packed(home.path());
    let command = || {
        let mut command = pkgtool(home.path());
        command.arg("add").arg(&packed).env("XDG_DATA_HOME", disk.path("data"));
        command
    };
    let store = disk.path("data/epk/packages");
    until_there_is_room(&disk, command, || empty(&store), "add");
    assert_eq!(names(&store), ["org.example.test@1.epk"]);
    assert!(
        fs::read(store.join("org.example.test@1.epk")).expect("there") == image(Format::V2, "1")
    );
}

#[test]
fn extract_leaves_no_half_tree() {
    let disk = FailingDisk::default();
    let home = temp_folder();
    let packed = packed(home.path());
    let command = || {
        let mut command = pkgtool(home.path());
        command.arg("extract").arg(&packed).arg(disk.path("tree"));
        command
    };
    until_there_is_room(&disk, command, || empty(&disk.path("")), "extract");
    let found = disk::tree(&disk.path("tree"));
    for path in ["a", "b", "c", "bin/app"] {
        let Some((disk::Found::File { bytes, .. }, _)) = found.get(path.as_bytes()) else {
            panic!("no `{path}`");
        };
        assert!(bytes == tree().bytes(path));
    }
}

#[test]
fn fetch_leaves_no_half_package() {
    // Beside `pkgtool`, which has it talk to repositories.
    let _built = binary("pkgtool-remote");
    let (disk, home) = (FailingDisk::default(), temp_folder());
    let path = |name: &str| home.path().join(name);
    let run = |arguments: &[&str]| {
        let mut command = pkgtool(home.path());
        command.args(arguments).current_dir(home.path()).env("XDG_DATA_HOME", disk.path("data"));
        command
    };
    fs::write(path("app.epk"), image(Format::V2, "1")).expect("written");
    let key = Outcome::of(&mut run(&["keygen", "--json", "repo.key"])).exits(0).json().remove(0);
    let key = key["key_id"].as_str().expect("text").to_owned();
    let _made = Outcome::of(&mut run(&["repo", "init", "repo", "--title", "Things"])).exits(0);
    let added = &["repo", "add", "repo", "app.epk", "--sign", "repo.key"];
    let _added = Outcome::of(&mut run(added)).exits(0);
    let url = format!("file://{}", path("repo").display());
    let _added = Outcome::of(&mut run(&["source", "add", "things", &url, "--key", &key])).exits(0);
    let store = disk.path("data/epk/packages");
    let none = || !store.exists() || names(&store).iter().all(|name| !name.ends_with(".epk"));
    until_there_is_room(&disk, || run(&["fetch", "org.example.test"]), none, "fetch");
    assert_eq!(names(&store), ["org.example.test@1.epk"]);
    assert!(
        fs::read(store.join("org.example.test@1.epk")).expect("there") == image(Format::V2, "1")
    );
}
