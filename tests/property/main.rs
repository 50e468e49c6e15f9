//! What holds for every tree: packed, mounted, extracted, archived and converted, nothing changes
//! but what is named. `PROPTEST_CASES` says of how many trees it is shown.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use epk_tests::daemon::Place;
use epk_tests::files::temp_folder;
use epk_tests::generated::{
    Built, Shown, What, config, differences, shown, takes_attributes, trees,
};
use epk_tests::tool::{self, Outcome};
use epk_tests::tree::MANIFEST;
use proptest::prelude::*;
use tempfile::TempDir;

/// The filesystem that the second copy of a tree lies on.
const OTHER_FILESYSTEM: &str = "/dev/shm";

/// Runs `pkgtool` in a folder; it must succeed.
#[track_caller]
fn pkgtool(folder: &Path, words: &[&str]) -> Outcome {
    Outcome::of(tool::pkgtool().args(words).current_dir(folder)).exits(0)
}

/// Packs a tree into `image`.
#[track_caller]
fn pack(tree: &Built, image: &Path, more: &[&str]) {
    let folder = tree.root.parent().expect("not `/`");
    fs::write(folder.join("own.toml"), MANIFEST).expect("writable");
    let (root, image) = (tree.root.to_str().expect("text"), image.to_str().expect("text"));
    let mut words = vec!["pack", root, "-o", image, "--manifest", "own.toml"];
    let aliases = tree.alias_options();
    words.extend(aliases.iter().map(String::as_str));
    words.extend(more);
    let _said = pkgtool(folder, &words);
}

/// What is in a folder that a package was extracted to or mounted on. The manifest, which it shows,
/// is in no tree here.
fn without_manifest(root: &Path) -> Shown {
    let mut found = shown(root);
    let manifest = found.remove(b"manifest.toml".as_slice()).expect("shown");
    assert_eq!(manifest.bytes, MANIFEST.as_bytes());
    assert_eq!((manifest.mode, manifest.time), (0o100_644, (0, 0)));
    found
}

/// Extracts a package, and gives what it had.
#[track_caller]
fn extracted(folder: &Path, image: &str) -> Shown {
    let _quiet = pkgtool(folder, &["verify", "--deep", image]);
    let _quiet = pkgtool(folder, &["extract", image, "extracted"]);
    let root = folder.join("extracted");
    let found = without_manifest(&root);
    fs::set_permissions(&root, Permissions::from_mode(0o700)).expect("ours");
    fs::remove_dir_all(root).expect("ours");
    found
}

#[track_caller]
fn equal(what: &str, found: &Shown, expected: &Shown) {
    assert_eq!(differences(expected, found), Vec::<String>::new(), "{what}");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn mounted_and_extracted_a_tree_is_what_it_was(tree in trees(), small: bool) {
        let place = Place::default();
        let tree = tree.build(&place.folder().join("tree"), false);
        let expected = tree.expected();
        pack(&tree, &place.image(), if small { &["--chunk-size", "4K"] } else { &[] });
        equal("extracted", &extracted(place.folder(), "image.epk"), &expected);
        let daemon = place.mount(&[]);
        equal("mounted", &without_manifest(&place.mountpoint()), &expected);
        drop(daemon);
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes(tree in trees()) {
        let (here, there) = (temp_folder(), other_filesystem());
        let first = tree.build(&here.path().join("tree"), false);
        let second = tree.build(&there.path().join("tree"), true);
        let images: Vec<Vec<u8>> = [(&first, "1"), (&first, "2"), (&first, "5"), (&second, "3")]
            .into_iter()
            .map(|(tree, threads)| {
                let image = here.path().join("image.epk");
                pack(tree, &image, &["--threads", threads]);
                fs::read(image).expect("made")
            })
            .collect();
        for (number, image) in images.iter().enumerate() {
            prop_assert!(*image == images[0], "package {number} is another one");
        }
    }

    #[test]
    fn an_archive_brings_the_tree_back(tree in trees()) {
        let folder = temp_folder();
        let at = folder.path();
        let tree = tree.build(&at.join("tree"), false);
        pack(&tree, &at.join("one.epk"), &[]);
        let _quiet = pkgtool(at, &["extract", "--to-tar", "one.tar", "one.epk"]);
        let _said = pkgtool(at, &["import", "one.tar", "-o", "two.epk"]);
        equal("imported", &extracted(at, "two.epk"), &tree.expected());
        let _said = pkgtool(at, &["diff", "one.epk", "two.epk"]);
        let _quiet = pkgtool(at, &["extract", "--to-tar", "two.tar", "two.epk"]);
        let bytes = |name: &str| fs::read(at.join(name)).expect("made");
        prop_assert!(bytes("one.tar") == bytes("two.tar"), "another archive");
    }

    #[test]
    fn converting_loses_what_it_names_and_nothing_else(tree in trees()) {
        let folder = temp_folder();
        let at = folder.path();
        let tree = tree.build(&at.join("tree"), false);
        let expected = tree.expected();
        pack(&tree, &at.join("two.epk"), &[]);
        let convert = |from: &str, to: &str| {
            let done = pkgtool(at, &["convert", from, "-o", to, "--lossy", "--json"]);
            let lost = done.json()[0]["lost"].as_array().expect("an array").clone();
            let path = |loss: &serde_json::Value| {
                let path = loss["path"].as_str().expect("text");
                path.strip_prefix('/').expect("a path").as_bytes().to_vec()
            };
            lost.iter().map(path).collect::<Vec<_>>()
        };
        let named = convert("two.epk", "one.epk");
        let one = extracted(at, "one.epk");
        let (before, after) = (alone(&expected, &one), alone(&one, &one));
        for (path, what) in &before {
            let shown = String::from_utf8_lossy(path);
            let (found, is_named) = (after.get(path), named.contains(path));
            let differs = found != Some(what);
            prop_assert!(differs == is_named, "`{shown}`: {what:?} and {found:?}, {is_named}");
        }
        prop_assert!(after.keys().all(|path| before.contains_key(path)), "something new");
        // From here on there is nothing to lose.
        prop_assert_eq!(convert("one.epk", "again.epk"), Vec::<Vec<u8>>::new());
        equal("1.0 to 2.0", &extracted(at, "again.epk"), &one);
        prop_assert_eq!(convert("again.epk", "last.epk"), Vec::<Vec<u8>>::new());
        equal("1.0 to 2.0 to 1.0", &extracted(at, "last.epk"), &one);
        let bytes = |name: &str| fs::read(at.join(name)).expect("made");
        prop_assert!(bytes("last.epk") == bytes("one.epk"), "1.0 to 2.0 to 1.0");
    }
}

/// The tree with each name told whether it is the first of its file that is there in `kept`: that
/// one has lost nothing of its own when names become files.
fn alone(tree: &Shown, kept: &Shown) -> Shown {
    let mut seen = BTreeSet::new();
    let mut paths: Vec<_> = tree.iter().collect();
    // Folder by folder, as packages are walked.
    paths.sort_by_key(|(path, _)| path.split(|&byte| byte == b'/').collect::<Vec<_>>());
    let alone = paths.into_iter().map(|(path, what)| {
        let first = kept.contains_key(path) && seen.insert(&what.same_as);
        (path.clone(), What { same_as: vec![u8::from(first)], ..what.clone() })
    });
    alone.collect()
}

/// A folder on another filesystem; without one, in another place on this.
fn other_filesystem() -> TempDir {
    let here = fs::metadata(std::env::temp_dir()).expect("there").dev();
    let other = fs::metadata(OTHER_FILESYSTEM).is_ok_and(|folder| folder.dev() != here);
    let folder =
        other.then(|| tempfile::Builder::new().prefix("epk-test-").tempdir_in(OTHER_FILESYSTEM));
    match folder.and_then(Result::ok).filter(|folder| takes_attributes(folder.path())) {
        Some(folder) => folder,
        None => {
            eprintln!("`{OTHER_FILESYSTEM}` is no other filesystem with attributes: one is used");
            temp_folder()
        }
    }
}
