//! What was asked once isn't asked again.

use std::fs::{self, File};
use std::io::Read;

use epk_format::write::{Compression, Format};
use epk_tests::daemon::{Daemon, Place};
use epk_tests::tree::{Item, MANIFEST, Random, Tree, format};
use epkfs::stats::Counts;

/// The counters without the question for them.
fn counters(daemon: &Daemon) -> Counts {
    let mut counters = daemon.counters();
    counters.ioctl = 0;
    counters
}

#[test]
fn a_second_read_makes_no_request() {
    let place = Place::default();
    let tree = Tree::default()
        .file("folder/file", Random::new(4).text(1_000_000))
        .file("folder/small", "small")
        .with("link", Item::Alias("folder".into()));
    tree.pack(&place.image(), 65_536, Compression::Zlib);
    let daemon = place.mount(&[]);
    let root = place.mountpoint();
    let use_everything = || {
        for path in ["folder/file", "link/small", "manifest.toml"] {
            let mut bytes = Vec::new();
            let mut file = File::open(root.join(path)).expect("it opens");
            file.read_to_end(&mut bytes).expect("readable");
            assert_eq!(file.metadata().expect("attributes").len(), bytes.len() as u64);
        }
        assert_eq!(fs::read_link(root.join("link")).expect("a link").as_os_str(), "folder");
        assert_eq!(fs::read_dir(root.join("folder")).expect("a folder").count(), 2);
        assert_eq!(fs::read_dir(&root).expect("a folder").count(), 3);
        fs::metadata(root.join("folder/nothing")).expect_err("nothing there");
    };
    use_everything();
    let first = counters(&daemon);
    assert_eq!((first.open, first.opendir), (1, 1), "the kernel asks to open once");
    assert_eq!(first.bytes_read, 1_000_005 + MANIFEST.len() as u64, "each byte is delivered once");
    // In format 2.0 the small file lies in the large one's last block.
    let blocks = if format() == Format::V1 { 17 } else { 16 };
    assert_eq!(first.blocks_loaded, blocks);
    assert_eq!(first.write, 0);
    for _ in 0..3 {
        use_everything();
    }
    assert_eq!(counters(&daemon), first);
}

#[test]
fn a_status_tells_who_serves_what() {
    let place = Place::default();
    Tree::default().file("f", "x").pack(&place.image(), 65_536, Compression::Zlib);
    let daemon = place.mount(&["cache=3M,threads=2"]);
    let status = daemon.status();
    assert_eq!(status.schema, epkfs::control::SCHEMA);
    assert_eq!(i32::try_from(status.pid), Ok(daemon.pid().as_raw()));
    assert_eq!(status.image, Some(place.image()));
    assert_eq!((status.cache_capacity, status.cache_bytes, status.threads), (3 << 20, 0, 2));
    let image = File::open(place.image()).expect("it opens");
    let options = epk_format::OpenOptions::default();
    let package = epk_format::Package::open(image, &options).expect("a package");
    assert_eq!(status.package_hash, format!("sha256:{}", package.package_hash()));
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!((now - 600..=now).contains(&status.started), "{}", status.started);
}

#[test]
fn small_reads_share_a_block_and_large_ones_leave_the_cache_alone() {
    let place = Place::default();
    let tree = Tree::default().file("f", Random::new(5).text(640 * 1024));
    tree.pack(&place.image(), 65_536, Compression::Zlib);
    let daemon = place.mount(&["cache=1M"]);
    let file = File::open(place.mountpoint().join("f")).expect("it opens");
    super::random_access(&file);
    let mut page = [0; 4096];
    for offset in (0..640 * 1024).step_by(4096) {
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut page, offset).expect("readable");
    }
    let counters = daemon.counters();
    assert_eq!((counters.read, counters.blocks_loaded), (160, 10));
    assert_eq!(counters.cache_hits, 150);
    assert_eq!(daemon.status().cache_bytes, 640 * 1024);
    drop((file, daemon));

    let daemon = place.mount(&["cache=1M"]);
    fs::read(place.mountpoint().join("f")).expect("readable");
    assert_eq!(daemon.counters().blocks_loaded, 10);
    let kept = daemon.status().cache_bytes;
    assert!(kept <= 5 * 65_536, "{kept} bytes kept of blocks that were read whole");
}
