//! One bit turned over, one byte missing or too many: refused, each.

use std::fs;
use std::path::Path;

use epk_format::{Format, OpenOptions, Package};
use epk_tests::files::temp_folder;
use epk_tests::tool;

use crate::{small_package, small_package_of};

/// What the small package is made in.
const VARIANTS: [(Format, bool); 4] =
    [(Format::V1, false), (Format::V1, true), (Format::V2, false), (Format::V2, true)];

/// Opens and reads everything. `None` when some of it was refused.
fn accepted(image: &[u8]) -> Option<()> {
    let package = Package::open(image, &OpenOptions::default()).ok()?;
    crate::read_all(&package).into_iter().all(|(_, read)| read.is_ok()).then_some(())
}

fn flipped(image: &[u8], bit: usize) -> Vec<u8> {
    let mut image = image.to_vec();
    image[bit / 8] ^= 1 << (bit % 8);
    image
}

#[test]
fn every_flipped_bit_is_refused() {
    for (format, signed) in VARIANTS {
        let image = small_package_of(format, signed);
        assert!(accepted(&image).is_some());
        let missed: Vec<usize> =
            (0..image.len() * 8).filter(|&bit| accepted(&flipped(&image, bit)).is_some()).collect();
        assert!(
            missed.is_empty(),
            "{format}, signed: {signed}, accepted with bits {missed:?} flipped"
        );
    }
}

#[test]
fn every_length_but_the_right_one_is_refused() {
    for (format, signed) in VARIANTS {
        let image = small_package_of(format, signed);
        let missed: Vec<usize> =
            (0..image.len()).filter(|&length| accepted(&image[..length]).is_some()).collect();
        assert!(missed.is_empty(), "{format}, signed: {signed}, accepted with lengths {missed:?}");
        for tail in [&b"\0"[..], b"x", &[0; 4096]] {
            let longer = [&image, tail].concat();
            assert!(accepted(&longer).is_none(), "{} bytes more", tail.len());
        }
    }
}

#[test]
fn every_pair_of_swapped_blocks_is_refused() {
    let image = small_package(false);
    let at = |field: usize| {
        let bytes: [u8; 8] = image[field..field + 8].try_into().expect("eight bytes");
        usize::try_from(u64::from_le_bytes(bytes)).expect("small")
    };
    let (table, size) = (at(32), at(40));
    for first in 0..size / 52 {
        for second in 0..first {
            let mut swapped = image.clone();
            let (a, b) = (table + first * 52, table + second * 52);
            swapped[a..a + 52].copy_from_slice(&image[b..b + 52]);
            swapped[b..b + 52].copy_from_slice(&image[a..a + 52]);
            assert!(accepted(&swapped).is_none(), "blocks {first} and {second}");
        }
    }
}

/// Lets the binary verify images, many a call, and gives the verdicts.
fn verify(folder: &Path, images: impl Iterator<Item = Vec<u8>>) -> Vec<serde_json::Value> {
    let mut names = Vec::new();
    for (index, image) in images.enumerate() {
        names.push(index.to_string());
        fs::write(folder.join(index.to_string()), image).expect("it can be written");
    }
    let mut verdicts = Vec::new();
    for names in names.chunks(4000) {
        let mut command = tool::pkgtool();
        command.args(["verify", "--deep", "--json"]).args(names).current_dir(folder);
        let done = tool::Outcome::of(&mut command);
        assert!(matches!(done.status.code(), Some(4 | 5)), "{}: {}", done.status, done.stderr);
        verdicts.extend(done.json());
    }
    assert_eq!(verdicts.len(), names.len());
    verdicts
}

#[test]
fn the_binary_refuses_every_flipped_bit() {
    let folder = temp_folder();
    // The signed one: its bits are those of the unsigned one, and the signature's.
    let image = small_package(true);
    let flips = (0..image.len() * 8).map(|bit| flipped(&image, bit));
    for (bit, verdict) in verify(folder.path(), flips).iter().enumerate() {
        assert_eq!(verdict["valid"], false, "bit {bit}: {verdict}");
        assert!(verdict["code"].as_u64().is_some_and(|code| code > 0), "bit {bit}: {verdict}");
        assert_eq!(verdict["path"], bit.to_string());
    }
}

#[test]
fn the_binary_refuses_every_truncation() {
    let folder = temp_folder();
    let image = small_package(false);
    let cuts = (0..image.len()).map(|length| image[..length].to_vec());
    for (length, verdict) in verify(folder.path(), cuts).iter().enumerate() {
        assert_eq!(verdict["valid"], false, "{length} bytes: {verdict}");
    }
}
