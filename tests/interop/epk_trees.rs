//! Packages that EXOS's packer made, through our binaries: verified, mounted, extracted. The three
//! trees - mounted, extracted, and what the packer was given - are one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epk_tests::daemon::Place;
use epk_tests::disk::{self, Found, Tree};
use epk_tests::files::temp_folder;
use epk_tests::tool;

/// The images of a folder of vectors, by name.
fn images(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("a folder").map(|file| file.expect("an entry").path());
    let mut images: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "epk")).collect();
    images.sort();
    images
}

/// What an image shows when it is mounted.
fn mounted(image: &Path) -> Tree {
    let place = Place::default();
    fs::copy(image, place.image()).expect("it can be copied");
    let _daemon = place.mount(&[]);
    disk::tree(&place.mountpoint())
}

/// What an image becomes when it is extracted; `None` when it is damaged.
fn extracted(image: &Path) -> Option<Tree> {
    let folder = temp_folder();
    let target = folder.path().join("out");
    let done = tool::Outcome::of(tool::pkgtool().arg("extract").arg(image).arg(&target));
    done.status.success().then(|| disk::tree(&target))
}

/// What the packer was given: a folder, or an archive of one. And whether modes are right: those
/// of folders in these read-only vectors aren't.
fn source(image: &Path) -> (Tree, bool) {
    let folder = image.with_extension("src");
    if folder.is_dir() {
        return (disk::tree(&folder), false);
    }
    let place = temp_folder();
    let archive = image.with_extension("tar");
    let status = Command::new("tar").arg("-xpf").arg(&archive).arg("-C").arg(place.path()).status();
    assert!(status.expect("`tar` starts").success(), "{}", archive.display());
    (disk::tree(&place.path().join(folder.file_name().expect("a name"))), true)
}

/// Without what the packer doesn't keep, or only if it was told to.
fn packed(mut tree: Tree, modes: bool) -> Tree {
    for (path, (what, time)) in &mut tree {
        *time = 0;
        match what {
            Found::File { mode, .. } if !modes || path == b"manifest.toml" => *mode = 0,
            Found::Folder { mode } => *mode = 0,
            _ => {}
        }
    }
    tree
}

#[test]
fn every_valid_package_is_one_tree_mounted_extracted_and_given() {
    let Some(vectors) = crate::epk_vectors() else { return };
    let images = images(&vectors.join("valid"));
    assert!(images.len() >= 19, "only {} packages", images.len());
    for image in images {
        let name = image.display();
        let path = image.to_str().expect("text");
        let verdict = &tool::run(["verify", "--deep", "--json", path]).exits(0).json()[0];
        assert_eq!((&verdict["valid"], &verdict["code"]), (&true.into(), &0.into()), "{name}");

        let mounted = mounted(&image);
        let extracted = extracted(&image).unwrap_or_else(|| panic!("{name} can't be extracted"));
        let different = disk::differences(&mounted, &extracted);
        assert!(different.is_empty(), "{name}, mounted and extracted: {different:#?}");

        let (mut given, modes) = source(&image);
        for (what, _) in given.values_mut() {
            // Set-user-id bits and their like are no part of the format.
            if let Found::File { mode, .. } = what {
                *mode &= 0o777;
            }
        }
        if let Ok(bytes) = fs::read(image.with_extension("manifest.toml")) {
            // A manifest from elsewhere: shown unless the folder has a file of that name.
            let shown = (Found::File { mode: 0o644, bytes }, 0);
            given.entry(b"manifest.toml".to_vec()).or_insert(shown);
        }
        let different = disk::differences(&packed(mounted, modes), &packed(given, modes));
        assert!(different.is_empty(), "{name}, mounted and given: {different:#?}");
    }
}

#[test]
fn every_accepted_handmade_package_is_one_tree_mounted_and_extracted() {
    let Some(vectors) = crate::epk_vectors() else { return };
    let (mut compared, mut refused, mut damaged) = (0, 0, 0);
    for image in images(&vectors.join("handmade")) {
        let name = image.display();
        let path = image.to_str().expect("text");
        // A bad manifest is no reason not to look into a package.
        let opens = tool::run(["ls", path]).status.success();
        if !opens {
            refused += 1;
            assert!(extracted(&image).is_none(), "{name} was refused, and extracted");
            continue;
        }
        let Some(extracted) = extracted(&image) else {
            damaged += 1;
            let verdict = tool::run(["verify", "--deep", path]);
            assert_eq!(verdict.status.code(), Some(4), "{name} is intact, but not extracted");
            continue;
        };
        let different = disk::differences(&mounted(&image), &extracted);
        assert!(different.is_empty(), "{name}, mounted and extracted: {different:#?}");
        compared += 1;
    }
    assert!(
        compared > 30 && refused > 10,
        "{compared} compared, {refused} refused, {damaged} damaged"
    );
}
