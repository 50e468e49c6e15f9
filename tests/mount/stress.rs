//! 64 readers of one mount at once, and a cache that can't hold what they ask for: every byte that
//! any of them gets is the source's.
//!
//! Not a part of the suite: who mounts, and how, is of no importance here.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use epk_format::write::{Compression, Format};
use epk_tests::daemon::Place;
use epk_tests::map::map;
use epk_tests::tree::{Random, Recipe, Tree};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

const READERS: usize = 64;
/// Stretches that each reader picks.
const STRETCHES: usize = 120;
/// The block cache: a seventh of what is in the tree's blocks.
const CACHE_BYTES: usize = 1 << 20;
/// Most bytes of one stretch: more than two blocks, so that some have whole blocks in them.
const LONGEST: u64 = 150_000;

#[test]
fn readers_get_the_source_out_of_format_1() {
    read_everything(Format::V1, 65_536);
}

#[test]
fn readers_get_the_source_out_of_format_2() {
    read_everything(Format::V2, 65_536);
}

/// Blocks that begin and end within a page.
#[test]
fn readers_get_the_source_out_of_odd_blocks() {
    read_everything(Format::V1, 10_007);
}

/// Large files that compress and that don't, one with more holes than data, and many small ones.
fn tree() -> Tree {
    let mut random = Random::new(64);
    let mut sparse = vec![0; 6_000_001];
    for _ in 0..12 {
        let length = 1 + below(&mut random, 60_000);
        let start = below(&mut random, sparse.len() - length);
        sparse[start..start + length].copy_from_slice(&random.text(length));
    }
    let mut tree = Tree::default()
        .file("large/text", random.text(4_000_000))
        .file("large/noise", random.noise(2_500_003))
        .file("large/sparse", sparse);
    for number in 0..400 {
        let length = below(&mut random, 6_000);
        let bytes = if number % 3 == 0 { random.noise(length) } else { random.text(length) };
        tree = tree.file(&format!("small/{}/{number}", number % 7), bytes);
    }
    tree.file("small/empty", "").file("small/zeros", vec![0; 5_000])
}

fn read_everything(format: Format, chunk_size: u32) {
    let tree = tree();
    let recipe = Recipe { format, chunk_size, compression: Compression::Auto, ..Recipe::default() };
    let place = Place::default();
    std::fs::write(place.image(), tree.image(&recipe)).expect("the image can be written");
    let daemon = place.mount(&["cache=1M,threads=4"]);
    let paths: Vec<&str> = tree.items.keys().map(String::as_str).collect();
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (place, tree, paths) = (&place, &tree, &paths);
            scope.spawn(move || {
                let mut random = Random::new(1_000 + reader as u64);
                for _ in 0..STRETCHES {
                    // Half of them in the large files, which are few.
                    let large = ["large/text", "large/noise", "large/sparse"];
                    let path = match below(&mut random, 2) {
                        0 => large[below(&mut random, large.len())],
                        _ => paths[below(&mut random, paths.len())],
                    };
                    let size = tree.bytes(path).len() as u64;
                    let start = random.below(size + 1);
                    let length = (random.below(LONGEST) + 1).min(size - start);
                    compare(place, tree, path, start, length, &mut random);
                }
                // And what chance has left out: together the readers see all of it.
                for path in paths.iter().skip(reader).step_by(READERS) {
                    let size = tree.bytes(path).len() as u64;
                    compare(place, tree, path, 0, size, &mut random);
                }
            });
        }
    });
    let status = daemon.status();
    assert!(status.cache_bytes <= CACHE_BYTES, "{} bytes kept", status.cache_bytes);
    let counters = status.counters;
    assert_eq!(counters.errors, 0);
    // Blocks came and went: else this was no small cache.
    let blocks = 13_000_000 / u64::from(chunk_size);
    assert!(counters.blocks_loaded > 3 * blocks, "{counters:?}");
    assert_eq!(place.damage(), Vec::<serde_json::Value>::new());
}

/// Reads a stretch by read(2) or through a mapping, and compares it.
fn compare(place: &Place, tree: &Tree, path: &str, start: u64, length: u64, random: &mut Random) {
    let file = File::open(place.mountpoint().join(path)).expect("it opens");
    forget(&file, random);
    let from = usize::try_from(start).expect("small");
    let length = usize::try_from(length).expect("small");
    let expected = &tree.bytes(path)[from..from + length];
    if random.below(2) == 0 {
        let mut found = vec![0xa5; length];
        file.read_exact_at(&mut found, start).expect("readable");
        assert!(found == expected, "`{path}`: {length} bytes from {start}, read");
    } else if length > 0 {
        assert!(*map(&file, start, length) == *expected, "`{path}`: {length} from {start}, mapped");
    }
}

/// Has the kernel forget a file's pages, so that the daemon is asked for them, and now and then
/// read no further than it is asked.
fn forget(file: &File, random: &mut Random) {
    let advise = |advice| posix_fadvise(file, 0, 0, advice).expect("advice is taken");
    advise(PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    if random.below(2) == 0 {
        advise(PosixFadviseAdvice::POSIX_FADV_RANDOM);
    }
}

fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).expect("below a length")
}
