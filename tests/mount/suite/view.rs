//! What a mount shows is what was packed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use epk_format::write::Compression;
use epk_tests::daemon::Place;
use epk_tests::tree::{Item, MANIFEST, Random, Tree};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{getgid, getuid};

/// A tree with everything that the format has.
fn sample() -> Tree {
    let mut random = Random::new(1);
    let mut tree = Tree::default()
        .with("bin", Item::Folder)
        .with("bin/app", Item::File { bytes: b"#!/bin/sh\necho hello\n".to_vec(), mode: 0o755 })
        .with("data", Item::Folder)
        .with("data/secret", Item::File { bytes: b"s".to_vec(), mode: 0o400 })
        .with("deep/er/and/deeper/alias", Item::Alias("bin".into()))
        .with("empty", Item::Folder)
        .with("sbin", Item::Alias("/bin".into()))
        .with("chain", Item::Alias("sbin".into()))
        .file("data/empty", "")
        .file("data/päckchen ☃", "name")
        .file("data/noise", random.noise(300_000))
        .file("data/text", random.text(1_000_001))
        .file(&format!("data/{}", "n".repeat(255)), "long name")
        .changed("bin/app", 1_709_251_198)
        .changed("data/text", -86_400)
        .changed("data", 1_000_000_000);
    for (name, size) in [("minus", 65_535), ("exact", 65_536), ("plus", 65_537), ("one", 1)] {
        tree = tree.file(&format!("sizes/{name}"), random.text(size));
    }
    tree
}

/// What a tree has at each path once it is mounted: folders that no item names, the manifest.
fn expected(tree: &Tree) -> BTreeMap<String, Item> {
    let mut items = tree.items.clone();
    items.insert("manifest.toml".into(), Item::File { bytes: MANIFEST.into(), mode: 0o644 });
    for path in tree.items.keys() {
        for (at, _) in path.match_indices('/') {
            items.entry(path[..at].into()).or_insert(Item::Folder);
        }
    }
    items
}

fn walk(root: &Path, prefix: &str, found: &mut BTreeMap<String, fs::Metadata>) {
    for entry in fs::read_dir(root.join(prefix)).expect("a folder") {
        let entry = entry.expect("a name");
        let name = entry.file_name().into_string().expect("UTF-8");
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let metadata = entry.metadata().expect("attributes");
        // d_type and d_ino come from the folder, the rest from the node.
        assert_eq!(entry.file_type().expect("a type"), metadata.file_type(), "{path}");
        assert_eq!(std::os::unix::fs::DirEntryExt::ino(&entry), metadata.ino(), "{path}");
        if metadata.is_dir() {
            walk(root, &path, found);
        }
        assert!(found.insert(path.clone(), metadata).is_none(), "{path} appears twice");
    }
}

#[test]
fn a_tree_equals_its_source() {
    for (chunk_size, compression) in
        [(65_536, Compression::Zlib), (4096, Compression::None), (100_000, Compression::Auto)]
    {
        let (place, tree) = (Place::default(), sample());
        tree.pack(&place.image(), chunk_size, compression);
        let daemon = place.mount(&[]);
        let root = place.mountpoint();
        let expected = expected(&tree);
        let mut found = BTreeMap::new();
        walk(&root, "", &mut found);
        assert_eq!(found.keys().collect::<BTreeSet<_>>(), expected.keys().collect::<BTreeSet<_>>(),);
        for (path, metadata) in &found {
            check(&root.join(path), metadata, &expected[path]);
            let time = tree.times.get(path).copied().unwrap_or(0);
            let times = [metadata.mtime(), metadata.atime(), metadata.ctime()];
            assert_eq!(times, [time; 3], "{path}");
            assert_eq!((metadata.uid(), metadata.gid()), (getuid().as_raw(), getgid().as_raw()));
            assert_eq!(metadata.blocks(), metadata.size().div_ceil(512), "{path}");
        }
        let inodes: BTreeSet<u64> = found.values().map(MetadataExt::ino).collect();
        assert_eq!(inodes.len(), found.len(), "inode numbers are unique");
        assert_eq!(daemon.counters().errors, 0);
    }
}

fn check(path: &Path, metadata: &fs::Metadata, item: &Item) {
    match item {
        Item::File { bytes, mode } => {
            assert!(metadata.is_file(), "{path:?}");
            assert_eq!(metadata.permissions().mode() & 0o7777, *mode, "{path:?}");
            assert_eq!((metadata.len(), metadata.nlink()), (bytes.len() as u64, 1), "{path:?}");
            assert!(fs::read(path).expect("readable") == *bytes, "{path:?}");
        }
        Item::Folder => {
            let folders = fs::read_dir(path)
                .expect("a folder")
                .filter(|entry| entry.as_ref().is_ok_and(|e| e.file_type().unwrap().is_dir()))
                .count();
            assert!(metadata.is_dir() && !metadata.file_type().is_fifo(), "{path:?}");
            assert_eq!(metadata.permissions().mode() & 0o7777, 0o755, "{path:?}");
            assert_eq!(metadata.nlink(), 2 + folders as u64, "{path:?}");
        }
        Item::Alias(_) => {
            let target = fs::read_link(path).expect("a link");
            assert!(metadata.is_symlink() && target.is_relative(), "{path:?}");
            assert_eq!(metadata.len(), target.as_os_str().len() as u64, "{path:?}");
            assert!(path.join("app").is_file(), "{path:?} leads to the folder `bin`");
        }
    }
}

#[test]
fn inode_numbers_outlive_the_daemon() {
    let (place, tree) = (Place::default(), sample());
    tree.pack(&place.image(), 65_536, Compression::Zlib);
    let numbers = || {
        let _daemon = place.mount(&[]);
        let mut found = BTreeMap::new();
        walk(&place.mountpoint(), "", &mut found);
        found.into_iter().map(|(path, metadata)| (path, metadata.ino())).collect::<Vec<_>>()
    };
    assert_eq!(numbers(), numbers());
}

#[test]
fn folders_list_themselves_and_their_parents() {
    let place = Place::default();
    sample().pack(&place.image(), 65_536, Compression::Zlib);
    let _daemon = place.mount(&[]);
    let number = |path: &str| fs::metadata(place.mountpoint().join(path)).expect("exists").ino();
    for (folder, parent) in [("deep/er/and", "deep/er"), ("deep", ""), ("empty", "")] {
        let path = place.mountpoint().join(folder);
        let mut listing = Dir::open(&path, OFlag::O_RDONLY, Mode::empty()).expect("a folder");
        // Twice: the second time after rewinding, from the kernel's cache.
        for _ in 0..2 {
            let entries: Vec<_> = listing.iter().map(|entry| entry.expect("a name")).collect();
            let dot = |name: &[u8]| {
                let entry = entries.iter().find(|entry| entry.file_name().to_bytes() == name);
                let entry = entry.expect("the dots are listed");
                assert_eq!(entry.file_type(), Some(Type::Directory));
                entry.ino()
            };
            assert_eq!(dot(b"."), number(folder));
            // The kernel puts the mountpoint's own parent above a root.
            assert_eq!(dot(b".."), number(parent), "{folder}");
        }
    }
}

#[test]
fn large_folders_are_listed_completely() {
    const FILES: usize = 5000;
    let place = Place::default();
    let tree = (0..FILES).fold(Tree::default(), |tree, number| {
        tree.file(&format!("many/file-{number}-{}", "x".repeat(number % 200)), "")
    });
    tree.pack(&place.image(), 65_536, Compression::Zlib);
    let _daemon = place.mount(&[]);
    let names: BTreeSet<String> = fs::read_dir(place.mountpoint().join("many"))
        .expect("a folder")
        .map(|entry| format!("many/{}", entry.expect("a name").file_name().to_string_lossy()))
        .collect();
    assert!(names.iter().eq(tree.items.keys()), "{} of {FILES} names", names.len());
}

#[test]
fn reads_at_any_offset_end_where_the_file_ends() {
    let (place, tree) = (Place::default(), sample());
    tree.pack(&place.image(), 10_007, Compression::Zlib);
    let _daemon = place.mount(&[]);
    for path in ["data/text", "data/noise", "sizes/plus", "sizes/one", "data/empty"] {
        let (file, bytes) = (File::open(place.mountpoint().join(path)), tree.bytes(path));
        let file = file.expect("it opens");
        let mut random = Random::new(2);
        let edges = [(0, 1), (bytes.len() as u64, 100), (1 << 40, 10), (10_006, 2)];
        let offsets = (0..200).map(|_| {
            let offset = random.below(bytes.len() as u64 + 10);
            (offset, usize::try_from(random.below(200_000)).expect("small"))
        });
        for (offset, size) in edges.into_iter().chain(offsets) {
            let mut buffer = vec![0; size];
            let read = file.read_at(&mut buffer, offset).expect("readable");
            let start = usize::try_from(offset).expect("64 bits").min(bytes.len());
            let rest = &bytes[start..bytes.len().min(start + size)];
            assert!(buffer[..read] == *rest, "{path} from {offset}, {size} bytes");
        }
    }
}

#[test]
fn what_is_not_there_is_not_there() {
    let place = Place::default();
    sample().pack(&place.image(), 65_536, Compression::Zlib);
    let _daemon = place.mount(&[]);
    let error = |path: &[u8]| {
        let path = place.mountpoint().join(OsStr::from_bytes(path));
        fs::symlink_metadata(path).expect_err("nothing there").raw_os_error()
    };
    assert_eq!(error(b"nothing"), Some(Errno::ENOENT as i32));
    assert_eq!(error(b"data/nothing"), Some(Errno::ENOENT as i32));
    assert_eq!(error(b"data/\xff\xfe"), Some(Errno::ENOENT as i32));
    assert_eq!(error(b"data/noise/x"), Some(Errno::ENOTDIR as i32));
    assert_eq!(error(&[b'x'; 256]), Some(Errno::ENAMETOOLONG as i32));
    let link = fs::read_link(place.mountpoint().join("data")).expect_err("a folder");
    assert_eq!(link.kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_filesystem_is_full_and_says_how_large() {
    let place = Place::default();
    sample().pack(&place.image(), 65_536, Compression::Zlib);
    let _daemon = place.mount(&[]);
    let text = |format: &str| {
        let mut stat = Command::new("stat");
        stat.args(["-f", "-c", format]).arg(place.mountpoint());
        let output = stat.output().expect("`stat` runs");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let blocks = fs::metadata(place.image()).expect("exists").len().div_ceil(4096);
    assert_eq!(text("%b %f %a %S %d %l"), format!("{blocks} 0 0 4096 0 255"));
    let nodes: usize = text("%c").parse().expect("a number");
    assert_eq!(nodes, expected(&sample()).len() + 1);
}

#[test]
fn programs_run_from_a_mount_unless_forbidden() {
    let (place, tree) = (Place::default(), sample());
    tree.pack(&place.image(), 65_536, Compression::Zlib);
    let program = place.mountpoint().join("bin/app");
    let daemon = place.mount(&[]);
    let output = Command::new(&program).output().expect("it runs");
    assert_eq!(output.stdout, b"hello\n");
    drop(daemon);
    let _daemon = place.mount(&["noexec"]);
    let error = Command::new(&program).output().expect_err("it can't");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn the_owner_can_be_chosen() {
    let place = Place::default();
    sample().pack(&place.image(), 65_536, Compression::Zlib);
    // In a user namespace other users than the mapped one don't exist.
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let _daemon = place.mount(&[&format!("uid={uid},gid={gid}")]);
    let metadata = fs::metadata(place.mountpoint().join("bin/app")).expect("exists");
    assert_eq!((metadata.uid(), metadata.gid()), (uid, gid));
}
