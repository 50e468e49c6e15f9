//! Images that change after they were opened, or while they are.

use std::fs::{self, File};
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use epk_format::source::Source;
use epk_format::{OpenOptions, Package};
use epk_tests::files::temp_folder;

use crate::{contents, read_all, small_package};

/// An image that others write to.
#[derive(Clone)]
struct Shared(Arc<RwLock<Vec<u8>>>);

impl Shared {
    fn new(image: &[u8]) -> Self {
        Self(Arc::new(RwLock::new(image.to_vec())))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn flip(&self, bit: usize) {
        self.change(|image| image[bit / 8] ^= 1 << (bit % 8));
    }
}

impl Source for Shared {
    fn size(&self) -> io::Result<u64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).read_exact_at(buffer, offset)
    }
}

/// Where the stored bytes of blocks lie, and whether they are compressed.
fn stored(image: &[u8]) -> Vec<(std::ops::Range<usize>, bool)> {
    let package = Package::open(image, &OpenOptions::default()).expect("intact");
    (0..package.block_count())
        .map(|index| package.block(epk_format::package::BlockIndex(index)).expect("a block"))
        .map(|block| {
            let start = usize::try_from(block.offset).expect("small");
            (start..start + usize::try_from(block.stored_size).expect("small"), block.compressed)
        })
        .collect()
}

#[test]
fn a_bit_flipped_after_opening_is_an_error_or_does_no_harm() {
    let image = small_package(true);
    let intact = contents(&image);
    let blocks = stored(&image);
    let source = Shared::new(&image);
    let package = Package::open(source.clone(), &OpenOptions::default()).expect("intact");
    let mut errors = 0;
    for bit in 0..image.len() * 8 {
        source.flip(bit);
        let read = read_all(&package);
        source.flip(bit);
        let failed = read.iter().filter(|(_, read)| read.is_err()).count();
        for ((id, read), (_, right)) in read.into_iter().zip(&intact) {
            assert!(read.is_err() || read.is_ok_and(|b| b == *right), "bit {bit} in file {id:?}");
        }
        match blocks.iter().find(|(range, _)| range.contains(&(bit / 8))) {
            // A zlib stream's head has bits that say nothing of the content.
            Some((_, true)) => assert!(failed <= 1, "bit {bit} spoiled {failed} files"),
            Some((_, false)) => assert_eq!(failed, 1, "bit {bit}"),
            None => assert_eq!(failed, 0, "bit {bit} is in no block"),
        }
        errors += failed;
    }
    let bits: usize = blocks.iter().map(|(range, _)| range.len() * 8).sum();
    assert!(errors * 100 > bits * 95, "only {errors} of {bits} flips were noticed");
}

#[test]
fn an_image_cut_after_opening_gives_errors_or_the_right_bytes() {
    let image = small_package(false);
    let intact = contents(&image);
    let source = Shared::new(&image);
    let package = Package::open(source.clone(), &OpenOptions::default()).expect("intact");
    for length in (0..image.len()).rev() {
        source.change(|bytes| bytes.truncate(length));
        for ((id, read), (_, right)) in read_all(&package).into_iter().zip(&intact) {
            assert!(read.is_err() || read.is_ok_and(|b| b == *right), "{length}: file {id:?}");
        }
    }
    let failed = read_all(&package).iter().filter(|(_, read)| read.is_err()).count();
    // All files with blocks; the empty one and the manifest need none.
    assert_eq!(failed, 4);
}

/// Shows one byte right only to who reads the whole image at once, as the hash is computed.
struct TwoFaced<'i> {
    image: &'i [u8],
    at: usize,
}

impl Source for TwoFaced<'_> {
    fn size(&self) -> io::Result<u64> {
        self.image.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.image.read_exact_at(buffer, offset)?;
        let whole = buffer.len() == self.image.len();
        let index = self.at.checked_sub(usize::try_from(offset).expect("small"));
        if let Some(byte) = index.and_then(|index| buffer.get_mut(index))
            && !whole
        {
            *byte ^= 0x20;
        }
        Ok(())
    }
}

#[test]
fn nobody_can_have_one_image_hashed_and_another_used() {
    for signed in [false, true] {
        let image = small_package(signed);
        let intact = contents(&image);
        let blocks = stored(&image);
        for at in 0..image.len() {
            let opened = Package::open(TwoFaced { image: &image, at }, &OpenOptions::default());
            let in_block = blocks.iter().any(|(range, _)| range.contains(&at));
            // Blocks are read, and verified, later.
            assert_eq!(opened.is_ok(), in_block, "byte {at}");
            for ((id, read), (_, right)) in opened.iter().flat_map(read_all).zip(&intact) {
                assert!(read.is_err() || read.is_ok_and(|b| b == *right), "byte {at}: {id:?}");
            }
        }
    }
}

#[test]
fn files_overwritten_or_replaced_after_opening_give_errors_or_the_right_bytes() {
    let folder = temp_folder();
    let path = folder.path().join("image.epk");
    let image = small_package(false);
    let intact = contents(&image);
    let other = small_package(true);
    let open = || {
        fs::write(&path, &image).expect("writable");
        let file = File::open(&path).expect("readable");
        Package::open(file, &OpenOptions::default()).expect("intact")
    };
    type Change<'c> = (&'c str, Box<dyn Fn() + 'c>, usize);
    let over = |bytes: Vec<u8>| {
        let path = &path;
        move || fs::write(path, &bytes).expect("writable")
    };
    let changes: [Change<'_>; 5] = [
        ("zeroes", Box::new(over(vec![0; image.len()])), 4),
        ("nothing", Box::new(over(Vec::new())), 4),
        // Longer by its signature, so nothing that was read once lies where it was... but the
        // blocks do: what counts is that each is what its hash says.
        ("another package", Box::new(over(other)), 0),
        (
            "a new file of that name",
            Box::new(|| {
                let new = folder.path().join("new");
                fs::write(&new, b"new").expect("writable");
                fs::rename(&new, &path).expect("the same folder");
            }),
            0,
        ),
        ("no file", Box::new(|| fs::remove_file(&path).expect("it is there")), 0),
    ];
    for (what, change, failures) in changes {
        let package = open();
        change();
        let mut failed = 0;
        for ((id, read), (_, right)) in read_all(&package).into_iter().zip(&intact) {
            match read {
                Ok(bytes) => assert_eq!(bytes, *right, "{what}: {id:?}"),
                Err(_) => failed += 1,
            }
        }
        assert_eq!(failed, failures, "{what}");
    }
}
