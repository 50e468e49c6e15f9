//! Extended attributes that tell of the package.

use std::fs;
use std::path::Path;

use epk_format::digest::Sha256;
use epk_format::write::Compression;
use epk_tests::daemon::Place;
use epk_tests::tree::{Item, Tree};
use rustix::fs::{getxattr, listxattr};
use rustix::io::Errno;

fn get(path: &Path, name: &str) -> Result<String, Errno> {
    let mut value = [0; 4096];
    let length = getxattr(path, name, &mut value[..])?;
    Ok(String::from_utf8(value[..length].to_vec()).expect("text"))
}

#[test]
fn files_tell_of_themselves_and_their_package() {
    let place = Place::default();
    let tree = Tree::default()
        .file("folder/file", "content")
        .file("empty", "")
        .with("link", Item::Alias("folder".into()));
    tree.pack(&place.image(), 65_536, Compression::Zlib);
    let daemon = place.mount(&[]);
    let root = place.mountpoint();
    let hash = daemon.status().package_hash;
    let manifest = fs::read_to_string(root.join("manifest.toml")).expect("readable");
    let told = |key: &str| {
        let line = manifest.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
        line.and_then(|rest| rest.strip_suffix('"')).expect("a line").to_owned()
    };
    for path in ["", "folder", "folder/file", "empty", "manifest.toml"] {
        let path = root.join(path);
        assert_eq!(get(&path, "user.epk.package-hash"), Ok(hash.clone()));
        assert_eq!(get(&path, "user.epk.name"), Ok(told("name")));
        assert_eq!(get(&path, "user.epk.version"), Ok(told("version")));
        let format = get(&path, "user.epk.format").expect("told");
        assert!(["1.0", "2.0"].contains(&&*format), "{format}");
        for name in ["user.epk.nothing", "user.epk.", "user.epk", "user.x"] {
            assert_eq!(get(&path, name), Err(Errno::NODATA), "{name}");
        }
        // They are asked for by name: copies shall not have them.
        let names = listxattr(&path, &mut [0_u8; 4096][..]);
        assert!(matches!(names, Ok(0) | Err(Errno::OPNOTSUPP)), "{names:?}");
    }
    let content = format!("sha256:{}", Sha256::of(b"content"));
    assert_eq!(get(&root.join("folder/file"), "user.epk.hash"), Ok(content));
    for none in ["", "folder", "empty"] {
        assert_eq!(get(&root.join(none), "user.epk.hash"), Err(Errno::NODATA), "{none}");
    }
    // A value that is too long for the room says so.
    let path = root.join("empty");
    assert_eq!(getxattr(&path, "user.epk.package-hash", &mut [0_u8; 3][..]), Err(Errno::RANGE));
    assert_eq!(daemon.counters().errors, 0);
}
