//! What the disk under an image does not deliver, or only in small pieces.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use epk_format::Package;
use epk_format::package::{BlockIndex, OpenOptions};
use epk_format::write::Format;
use epk_tests::daemon::{Daemon, Place};
use epk_tests::failing::{FailingDisk, Faults};
use epk_tests::tool::Outcome;
use epk_tests::tree::Tree;
use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{BLOCK, image, pkgtool, tree};

/// An image on a disk that fails, mounted.
struct Fixture {
    daemon: Option<Daemon>,
    place: Place,
    disk: FailingDisk,
    tree: Tree,
    image: Vec<u8>,
}

impl Fixture {
    fn new(format: Format) -> Self {
        let disk = FailingDisk::default();
        let image = image(format, "1");
        fs::write(disk.path("image.epk"), &image).expect("it can be written");
        let mut fixture = Self { daemon: None, place: Place::default(), disk, tree: tree(), image };
        fixture.daemon = Some(fixture.mount().expect("it mounts"));
        fixture
    }

    fn mount(&self) -> Result<Daemon, String> {
        std::os::unix::fs::symlink(self.disk.path("image.epk"), self.place.image())
            .or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            })
            .expect("a link");
        let mut command = self.place.command();
        command.args(["-f", "--ready-fd", "1", "-o", "cache=0"]);
        Daemon::spawn(command, self.place.mountpoint())
    }

    /// Reads that the kernel has to ask the server for.
    fn read(&self, path: &str, range: Range<usize>) -> io::Result<()> {
        let file = File::open(self.place.mountpoint().join(path))?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM)?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        let mut buffer = vec![0; range.len()];
        file.read_exact_at(&mut buffer, range.start as u64)?;
        assert!(buffer == self.tree.bytes(path)[range], "wrong bytes of `{path}`");
        Ok(())
    }

    fn read_all(&self) -> io::Result<()> {
        ["a", "b", "c"].iter().try_for_each(|path| self.read(path, 0..self.tree.bytes(path).len()))
    }

    /// Where the stored bytes of the block are that has a byte of a file's content.
    fn block_of(&self, path: &str, at: usize) -> Range<u64> {
        let package = Package::open(self.image.as_slice(), &OpenOptions::default()).expect("good");
        let content = &self.tree.bytes(path)[at..at + 16];
        (0..package.block_count())
            .map(|index| package.block(BlockIndex(index)).expect("a block"))
            .map(|block| block.offset..block.offset + u64::from(block.stored_size))
            .find(|range| {
                let range = usize::try_from(range.start).expect("small")
                    ..usize::try_from(range.end).expect("small");
                self.image[range].windows(16).any(|window| window == content)
            })
            .expect("noise is stored as it is")
    }
}

fn is_io_error(result: io::Result<()>) -> bool {
    result.is_err_and(|error| error.raw_os_error() == Some(Errno::EIO as i32))
}

#[test]
fn what_the_disk_does_not_deliver_is_an_error_there_and_then() {
    for format in [Format::V1, Format::V2] {
        let here = Fixture::new(format);
        let bad = here.block_of("a", 3 * BLOCK);
        here.disk
            .fail(Faults { unreadable: Some(bad.start + 5..bad.start + 6), ..Faults::default() });
        for _ in 0..3 {
            assert!(is_io_error(here.read("a", 3 * BLOCK..3 * BLOCK + 100)), "{format:?}");
        }
        here.read("a", 0..3 * BLOCK).expect("before it");
        here.read("a", 4 * BLOCK..6 * BLOCK).expect("behind it");
        here.read("b", 0..2 * BLOCK).expect("another file");
        // Once for each block, and with the reason.
        let lines = here.place.damage();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!((&lines[0]["code"], &lines[0]["code_name"]), (&(-1).into(), &"IO".into()));
        // A disk that has recovered is read again.
        here.disk.fail(Faults::default());
        here.read_all().expect("all of it");
    }
}

#[test]
fn small_pieces_are_put_together() {
    for format in [Format::V1, Format::V2] {
        let mut here = Fixture::new(format);
        here.disk.fail(Faults { shortest: Some(4093), ..Faults::default() });
        here.read_all().expect("all of it");
        here.daemon = None;
        // At opening, too, where all of format 1.0 is hashed.
        here.daemon = Some(here.mount().expect("it mounts"));
        here.read_all().expect("all of it");
    }
}

#[test]
fn a_disk_that_fails_at_opening_is_no_mount_and_no_bad_package() {
    for format in [Format::V1, Format::V2] {
        let mut here = Fixture::new(format);
        here.daemon = None;
        for at in [0, 40, 130] {
            here.disk.fail(Faults { unreadable: Some(at..at + 1), ..Faults::default() });
            let error = here.mount().expect_err("nothing can be read");
            assert!(error.contains("exit status: 3") && error.contains("nput/output"), "{error}");
            for command in ["verify", "ls", "run", "add"] {
                let home = here.place.folder();
                let done = Outcome::of(pkgtool(home).arg(command).arg(here.place.image()));
                let expected = if command == "run" { 125 } else { 3 };
                assert_eq!(done.status.code(), Some(expected), "{command}: {done:?}");
                let said = [done.text(), &done.stderr].concat();
                assert!(said.contains("nput/output"), "{command}: {said}");
            }
        }
        here.disk.fail(Faults::default());
        here.daemon = Some(here.mount().expect("it mounts"));
        here.read_all().expect("all of it");
    }
}

/// Every page of an image in turn: whatever is asked is answered rightly, or with an error.
#[test]
fn any_page_may_be_unreadable() {
    for format in [Format::V1, Format::V2] {
        let mut here = Fixture::new(format);
        let mut errors = 0;
        let step = here.image.len() / 40;
        for start in (0..here.image.len() as u64).step_by(step) {
            here.daemon = None;
            here.disk.fail(Faults::default());
            here.daemon = Some(here.mount().expect("it mounts"));
            here.disk
                .fail(Faults { unreadable: Some(start..start + step as u64), ..Faults::default() });
            for path in ["a", "b", "c", "none"] {
                match here.read(path, 0..here.tree.items.get(path).map_or(1, |_| BLOCK)) {
                    Ok(()) => assert_ne!(path, "none"),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        assert_eq!(path, "none", "a file that is there was denied");
                    }
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(Errno::EIO as i32), "{error}");
                        errors += 1;
                    }
                }
            }
        }
        assert!(errors > 0);
    }
}
