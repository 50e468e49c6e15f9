//! EXOS's images: what the library accepts is mounted and shown as the library and the source
//! have it, what it refuses isn't mounted. `interop` has compared the library with EXOS.
//!
//! The images lie outside the repository: `EPK_VECTORS` names their folder. Without it these
//! tests say so and pass.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use epk_format::package::{Kind, NodeId, Scratch};
use epk_format::{Error, OpenOptions, Package};
use epk_tests::daemon::Place;
use epk_tests::files::temp_folder;

/// The images of a folder of the vectors.
fn images(folder: &str) -> Vec<PathBuf> {
    let Some(root) = std::env::var_os("EPK_VECTORS") else {
        eprintln!("EPK_VECTORS is not set: nothing was compared");
        return Vec::new();
    };
    let folder = PathBuf::from(root).join("epk").join(folder);
    let mut images: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|file| file.expect("a name").path())
        .filter(|path| path.extension() == Some(OsStr::new("epk")))
        .collect();
    images.sort();
    assert!(images.len() >= 19, "only {} images in {}", images.len(), folder.display());
    images
}

#[test]
fn mounts_agree_with_the_library() {
    for image in ["valid", "handmade", "invalid"].into_iter().flat_map(images) {
        let place = Place::default();
        fs::copy(&image, place.image()).expect("it can be copied");
        let file = File::open(&image).expect("it opens");
        match Package::open(file, &OpenOptions::default()) {
            Ok(package) => {
                let daemon = place.mount(&[]);
                compare(&package, NodeId::ROOT, &place.mountpoint(), &image);
                drop(daemon);
            }
            Err(error) => {
                let output = place.command().output().expect("`epkfs` starts");
                let text = String::from_utf8_lossy(&output.stderr);
                assert!(matches!(output.status.code(), Some(4 | 5)), "{image:?}: {text}");
                assert!(text.contains(&error.to_string()), "{image:?}: {text}");
            }
        }
    }
}

/// Compares a folder of the package with the mount, and all below.
fn compare(package: &Package<File>, folder: NodeId, path: &Path, image: &Path) {
    let children = package.children(folder).expect("a folder");
    let names: BTreeSet<Vec<u8>> = fs::read_dir(path)
        .expect("a folder")
        .map(|entry| entry.expect("a name").file_name().as_bytes().to_vec())
        .collect();
    let expected: BTreeSet<Vec<u8>> = children.iter().map(|(name, ..)| name.clone()).collect();
    assert_eq!(names, expected, "{image:?}: {path:?}");
    for (name, id, kind) in children {
        let path = path.join(OsStr::from_bytes(&name));
        let metadata = fs::symlink_metadata(&path).expect("attributes");
        let node = package.node(id).expect("a node");
        let found = (metadata.mode() & 0o7777, metadata.nlink(), metadata.len(), metadata.mtime());
        let expected = (node.mode, u64::from(node.links), node.size, node.modified.seconds);
        assert_eq!(found, expected, "{image:?}: {path:?}");
        match kind {
            Kind::Folder => compare(package, id, &path, image),
            Kind::Link => {
                let target = fs::read_link(&path).expect("a link");
                assert_eq!(target.as_os_str().as_bytes(), package.link_target(id).expect("it"));
                assert!(fs::metadata(&path).expect("it leads somewhere").is_dir(), "{path:?}");
            }
            Kind::File => {
                let mut bytes = Vec::new();
                let whole: Result<(), Error> =
                    package.read(id, 0..u64::MAX, &mut Scratch::default(), |piece| {
                        bytes.extend_from_slice(piece);
                        Ok(())
                    });
                match (whole, fs::read(&path)) {
                    (Ok(()), Ok(found)) => assert!(found == bytes, "{image:?}: {path:?}"),
                    (Err(_), Err(error)) => assert_eq!(error.raw_os_error(), Some(5), "{path:?}"),
                    (library, mount) => panic!("{image:?}: {path:?}: {library:?}, {mount:?}"),
                }
            }
        }
    }
}

#[test]
fn mounts_of_valid_images_equal_their_sources() {
    for image in images("valid") {
        let (place, unpacked) = (Place::default(), temp_folder());
        fs::copy(&image, place.image()).expect("it can be copied");
        let archive = image.with_extension("tar");
        let mut source = image.with_extension("src");
        if archive.exists() {
            let mut tar = Command::new("tar");
            let tar = tar.arg("xpf").arg(&archive).arg("-C").arg(unpacked.path());
            assert!(tar.status().expect("`tar` runs").success());
            let folders: Vec<_> =
                fs::read_dir(unpacked.path()).expect("a folder").map(Result::unwrap).collect();
            let [folder] = &folders[..] else { panic!("{archive:?} has one folder") };
            source = folder.path();
        }
        let _daemon = place.mount(&[]);
        equal(&source, &place.mountpoint(), true);
    }
}

/// Compares what a source has with a mount: names, bytes, and the modes of files.
fn equal(source: &Path, mount: &Path, root: bool) {
    let names = |folder: &Path| -> BTreeSet<_> {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let names = entries.map(|entry| entry.expect("a name").file_name());
        // It may have been given to the packer by another path.
        names.filter(|name| !(root && name == "manifest.toml")).collect()
    };
    assert_eq!(names(source), names(mount), "{source:?}");
    for name in names(source) {
        let (source, mount) = (source.join(&name), mount.join(&name));
        let (left, right) = (fs::metadata(&source), fs::metadata(&mount));
        let (left, right) = (left.expect("attributes"), right.expect("attributes"));
        assert_eq!(left.is_dir(), right.is_dir(), "{source:?}");
        if left.is_dir() {
            equal(&source, &mount, false);
        } else {
            assert!(fs::read(&source).expect("readable") == fs::read(&mount).expect("readable"));
            let executable = |metadata: &fs::Metadata| metadata.permissions().mode() & 0o111;
            assert_eq!(executable(&left), executable(&right), "{source:?}");
        }
    }
}
