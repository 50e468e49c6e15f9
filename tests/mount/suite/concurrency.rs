//! Many readers at once.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Barrier;

use epk_format::write::Compression;
use epk_tests::daemon::Place;
use epk_tests::tree::{Random, Tree};

use super::random_access;

const READERS: u64 = 16;

#[test]
fn readers_at_random_offsets_get_the_right_bytes() {
    let mut random = Random::new(6);
    let (a, b) = (random.text(3_000_000), random.noise(1_500_000));
    let tree = Tree::default().file("a", a).file("b", b);
    for (compression, options) in
        [(Compression::Zlib, "cache=128K"), (Compression::Auto, "cache=0,threads=1")]
    {
        let place = Place::default();
        tree.pack(&place.image(), 65_536, compression);
        let daemon = place.mount(&[options]);
        std::thread::scope(|scope| {
            for reader in 0..READERS {
                let (place, tree) = (&place, &tree);
                scope.spawn(move || {
                    let mut random = Random::new(100 + reader);
                    let path = ["a", "b"][usize::from(random.below(3) == 0)];
                    let file = File::open(place.mountpoint().join(path)).expect("it opens");
                    let bytes = tree.bytes(path);
                    for _ in 0..100 {
                        // Pages come and go, so that the daemon is asked for all of it.
                        random_access(&file);
                        let size = usize::try_from(1 + random.below(40_000)).expect("small");
                        let offset = random.below((bytes.len() - size) as u64);
                        let mut buffer = vec![0; size];
                        file.read_exact_at(&mut buffer, offset).expect("readable");
                        let start = usize::try_from(offset).expect("small");
                        assert!(buffer == bytes[start..start + size], "{path} from {offset}");
                    }
                });
            }
        });
        let status = daemon.status();
        assert!(status.cache_bytes <= 128 << 10, "{}", status.cache_bytes);
        assert!(status.counters.read > 100 && status.counters.errors == 0);
    }
}

#[test]
fn one_load_serves_all_who_want_a_block() {
    const BLOCK: u64 = 65_536;
    const BLOCKS: u64 = 32;
    let place = Place::default();
    let size = usize::try_from(BLOCKS * BLOCK).expect("small");
    let tree = Tree::default().file("f", Random::new(7).text(size));
    tree.pack(&place.image(), 65_536, Compression::Zlib);
    let daemon = place.mount(&["cache=16M,threads=4"]);
    let start = Barrier::new(usize::try_from(READERS).expect("small"));
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (start, place) = (&start, &place);
            scope.spawn(move || {
                let file = File::open(place.mountpoint().join("f")).expect("it opens");
                random_access(&file);
                let mut page = [0; 4096];
                for block in 0..BLOCKS {
                    // All of them at one block at a time, each at a page of its own.
                    start.wait();
                    let offset = block * BLOCK + reader * 4096;
                    file.read_exact_at(&mut page, offset).expect("readable");
                }
            });
        }
    });
    let counters = daemon.counters();
    assert_eq!(counters.read, READERS * BLOCKS);
    assert_eq!(counters.blocks_loaded, BLOCKS);
    assert_eq!(counters.cache_hits + counters.cache_waits, (READERS - 1) * BLOCKS);
}
