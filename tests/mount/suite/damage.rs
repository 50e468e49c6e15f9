//! Images that change under a live mount: right bytes or `EIO`, never anything else.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use epk_format::Package;
use epk_format::package::{BlockIndex, OpenOptions};
use epk_format::write::Compression;
use epk_tests::daemon::{Daemon, Place};
use epk_tests::tree::{Random, Tree};
use nix::errno::Errno;

use super::random_access;

const BLOCK: usize = 65_536;
const BLOCKS: usize = 8;

/// A file of some blocks and one of a single block, both in the mount and as they should be.
struct Fixture {
    // First, because it's dropped first.
    daemon: Daemon,
    place: Place,
    tree: Tree,
}

impl Fixture {
    fn new(compression: Compression) -> Self {
        let mut random = Random::new(3);
        let tree = Tree::default()
            .file("a", random.text(BLOCKS * BLOCK))
            .file("other", random.text(BLOCK));
        let place = Place::default();
        tree.pack(&place.image(), u32::try_from(BLOCK).expect("small"), compression);
        let daemon = place.mount(&[]);
        Self { daemon, place, tree }
    }

    fn image(&self) -> File {
        File::options().read(true).write(true).open(self.place.image()).expect("it opens")
    }

    /// Reads of the file `a` that the kernel has to ask the daemon for.
    fn read(&self, offset: usize, size: usize) -> io::Result<()> {
        self.read_of("a", offset, size)
    }

    fn read_of(&self, path: &str, offset: usize, size: usize) -> io::Result<()> {
        let file = File::open(self.place.mountpoint().join(path))?;
        random_access(&file);
        let mut buffer = vec![0; size];
        file.read_exact_at(&mut buffer, offset as u64)?;
        let expected = &self.tree.bytes(path)[offset..offset + size];
        assert!(buffer == expected, "wrong bytes at {offset} of `{path}`");
        Ok(())
    }

    /// Where a block's stored bytes are.
    fn block(&self, index: u32) -> (u64, usize) {
        let options = OpenOptions { verify_hash: false, ..OpenOptions::default() };
        let package = Package::open(self.image(), &options).expect("the tables are in order");
        let block = package.block(BlockIndex(index)).expect("a block");
        (block.offset, usize::try_from(block.stored_size).expect("small"))
    }
}

fn is_io_error(result: io::Result<()>) -> bool {
    result.is_err_and(|error| error.raw_os_error() == Some(Errno::EIO as i32))
}

#[test]
fn a_damaged_block_is_an_error_there_and_nowhere_else() {
    for compression in [Compression::None, Compression::Zlib] {
        let fixture = Fixture::new(compression);
        let (offset, size) = fixture.block(3);
        let at = offset + size as u64 / 2;
        let mut byte = [0];
        fixture.image().read_exact_at(&mut byte, at).expect("readable");
        fixture.image().write_all_at(&[byte[0] ^ 0x10], at).expect("writable");

        for _ in 0..3 {
            for block in 0..BLOCKS {
                let result = fixture.read(block * BLOCK, BLOCK);
                assert_eq!(is_io_error(result), block == 3, "{compression:?}, block {block}");
            }
        }
        fixture.read(3 * BLOCK - 1, 1).expect("the byte before the damaged block");
        fixture.read(4 * BLOCK, 1).expect("the byte after the damaged block");
        assert!(is_io_error(fixture.read(4 * BLOCK - 1, 1)));
        assert!(is_io_error(fixture.read(3 * BLOCK - 1, 2)), "one byte of it suffices");
        fixture.read_of("other", 0, BLOCK).expect("another file");
        fs::read(fixture.place.mountpoint().join("a")).expect_err("a read of the whole file");

        let log = fixture.place.damage();
        let [line] = &log[..] else { panic!("one line for one block: {log:#?}") };
        assert_eq!(line["target"], "epkfs::damage");
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["block"], 3);
        assert_eq!(line["image"], fixture.place.image().to_str().expect("UTF-8"));
        let code = line["code"].as_i64();
        assert!(matches!(code, Some(130 | 131)), "{line}");
        let name = line["code_name"].as_str().expect("a name");
        assert!(name.starts_with("EPK_STRICT_"), "{line}");
        let counters = fixture.daemon.counters();
        assert_eq!(counters.damaged_blocks, 1);
        assert!(counters.errors > 0);

        // A disk that recovers is believed again.
        fixture.image().write_all_at(&byte, at).expect("writable");
        fixture.read(3 * BLOCK, BLOCK).expect("the right bytes are back");
    }
}

#[test]
fn sequential_reads_get_everything_before_the_damage() {
    let fixture = Fixture::new(Compression::None);
    let (offset, _) = fixture.block(5);
    fixture.image().write_all_at(b"damage", offset).expect("writable");
    // With read-ahead, whose larger requests fail as a whole and must be made up for.
    let file = File::open(fixture.place.mountpoint().join("a")).expect("it opens");
    let mut buffer = vec![0; 4096];
    let mut read = 0;
    let error = loop {
        match file.read_exact_at(&mut buffer, read as u64) {
            Ok(()) => {
                assert!(buffer == fixture.tree.bytes("a")[read..read + 4096]);
                read += 4096;
            }
            Err(error) => break error,
        }
    };
    assert_eq!((read, error.raw_os_error()), (5 * BLOCK, Some(Errno::EIO as i32)));
}

#[test]
fn truncation_is_an_error_and_no_crash() {
    let mut fixture = Fixture::new(Compression::Zlib);
    let whole = fs::read(fixture.place.image()).expect("readable");
    let (offset, _) = fixture.block(4);
    for (length, readable) in [(offset, 4), (0, 0)] {
        fixture.image().set_len(length).expect("it can be cut");
        for block in 0..BLOCKS {
            let result = fixture.read(block * BLOCK, 4096);
            // What was read before may still be in the cache of plain blocks.
            assert!(result.is_ok() || is_io_error(result), "block {block}");
            if block >= 4 {
                let result = fixture.read(block * BLOCK, 4096);
                assert!(is_io_error(result), "block {block} of {readable}");
            }
        }
    }
    // Names, attributes and the manifest are in memory.
    assert_eq!(fs::read_dir(fixture.place.mountpoint()).expect("a folder").count(), 3);
    fs::read(fixture.place.mountpoint().join("manifest.toml")).expect("readable");
    assert!(fixture.daemon.is_running());
    fixture.image().write_all_at(&whole, 0).expect("writable");
    fixture.read(0, BLOCKS * BLOCK).expect("the right bytes are back");
}

#[test]
fn an_overwritten_image_gives_no_wrong_bytes() {
    let mut fixture = Fixture::new(Compression::Zlib);
    // By another package in the same file, of the same layout and with other content.
    let other = fixture.place.folder().join("other.epk");
    let mut random = Random::new(99);
    Tree::default().file("a", random.text(BLOCKS * BLOCK)).file("other", random.text(BLOCK)).pack(
        &other,
        u32::try_from(BLOCK).expect("small"),
        Compression::Zlib,
    );
    let size = fs::metadata(fixture.place.image()).expect("exists").len();
    let zeros = vec![0; usize::try_from(size).expect("small")];
    for content in [fs::read(&other).expect("readable"), zeros] {
        fixture.image().write_all_at(&content, 0).expect("writable");
        for block in 0..BLOCKS {
            assert!(is_io_error(fixture.read(block * BLOCK, BLOCK)), "block {block}");
        }
    }
    assert!(fixture.daemon.is_running());
    let damaged = fixture.daemon.counters().damaged_blocks;
    assert_eq!(damaged, BLOCKS as u64);
    assert_eq!(fixture.place.damage().len(), BLOCKS);
}

#[test]
fn a_replaced_image_is_still_the_old_one() {
    let fixture = Fixture::new(Compression::Zlib);
    let other = fixture.place.folder().join("other.epk");
    fs::write(&other, "something else").expect("writable");
    fs::rename(&other, fixture.place.image()).expect("it can be replaced");
    fixture.read(0, BLOCKS * BLOCK).expect("the file that was opened is still there");
}
