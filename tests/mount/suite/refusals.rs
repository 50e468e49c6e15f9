//! What isn't mounted, and what is said about it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use epk_format::write::{Compression, Format};
use epk_tests::daemon::Place;
use epk_tests::tree::{Tree, format};

fn packed() -> Place {
    let place = Place::default();
    Tree::default().file("f", "content").pack(&place.image(), 65_536, Compression::Zlib);
    place
}

/// Runs `epkfs`, which must fail with `code`, say all of `words`, and mount nothing.
fn refused(place: &Place, arguments: &[&str], code: i32, words: &[&str]) {
    for foreground in [false, true] {
        let mut command = place.command();
        command.args(arguments).args(foreground.then_some("-f"));
        let output = command.output().expect("`epkfs` starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        for word in words {
            assert!(error.contains(word), "`{word}` in: {error}");
        }
        assert!(error.starts_with("epkfs: "), "{error}");
        let mounts = epkfs::table::list().expect("a table");
        assert!(mounts.iter().all(|mount| mount.mountpoint != place.mountpoint()));
    }
}

#[test]
fn options_that_make_no_sense() {
    let place = packed();
    refused(&place, &["-o", "rw"], 2, &["`rw`", "never changes"]);
    refused(&place, &["-o", "ro,fast"], 2, &["unknown option `fast`", "hint: "]);
    refused(&place, &["-x"], 2, &["unknown option `-x`"]);
    refused(&place, &["third"], 2, &["two paths"]);
}

#[test]
fn images_that_are_none() {
    let place = packed();
    fs::remove_file(place.image()).expect("removable");
    let path = place.image();
    let path = path.to_str().expect("UTF-8");
    refused(&place, &[], 3, &[path, "No such file"]);
    fs::create_dir(place.image()).expect("a folder");
    refused(&place, &[], 3, &[path]);
    fs::remove_dir(place.image()).expect("removable");
    fs::write(place.image(), "").expect("writable");
    refused(&place, &[], 4, &[path]);
}

#[test]
fn images_that_are_damaged() {
    let place = packed();
    let image = fs::File::options().write(true).open(place.image()).expect("it opens");
    // The last byte is the manifest's in format 1.0; in 2.0 it is a block's, which nobody reads.
    let at = match format() {
        Format::V1 => image.metadata().expect("attributes").len() - 1,
        Format::V2 => 128,
    };
    image.write_all_at(b"!", at).expect("writable");
    refused(&place, &[], 4, &["EPK_VALIDATION_HASH_MISMATCH (11)"]);
}

#[test]
fn packages_that_nobody_vouches_for() {
    let place = packed();
    refused(&place, &["-o", "signature=required"], 5, &["signature"]);
    let trust = place.folder().join("trust");
    fs::write(&trust, "# no key\nnonsense\n").expect("writable");
    let option = format!("trust={}", trust.display());
    refused(&place, &["-o", &option], 5, &["line 2"]);
    refused(&place, &["-o", "trust=/nonexistent"], 3, &["/nonexistent"]);
}

#[test]
fn mountpoints_that_are_no_folders() {
    let place = packed();
    fs::remove_dir(place.mountpoint()).expect("removable");
    refused(&place, &[], 3, &["cannot mount on", "No such file"]);
    fs::write(place.mountpoint(), "").expect("writable");
    refused(&place, &[], 3, &["cannot mount on", "Not a directory"]);
    assert!(Path::new(&place.mountpoint()).is_file());
}
