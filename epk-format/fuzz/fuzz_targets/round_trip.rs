//! Any tree through the writer and back.
//!
//! Invariants: what the plan accepts is written, opens under every rule with the hash checked,
//! and reads back as it was; two thread counts give the same bytes.
#![no_main]

use std::io::{Cursor, Read};
use std::num::NonZeroUsize;

use arbitrary::Arbitrary;
use epk_format::package::Scratch;
use epk_format::resolve::Resolved;
use epk_format::write::{self, Compression, ContentId, Contents, Format, Options, Plan, PlanEntry};
use epk_format::{Error, OpenOptions, Package};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    entries: Vec<(Vec<u8>, Kind)>,
    chunk_size: u16,
    level: u8,
    compression: u8,
    version_2: bool,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    File(Vec<u8>),
    Folder,
    Alias(Vec<u8>),
}

struct Bytes<'i>(&'i [(Vec<u8>, Kind)]);

impl Contents for Bytes<'_> {
    fn open(&self, id: ContentId, _path: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
        match self.0.get(id.0) {
            Some((_, Kind::File(bytes))) => Ok(Box::new(bytes.as_slice())),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

fuzz_target!(|input: Input| {
    let entries = input.entries.iter().enumerate().map(|(at, (path, kind))| match kind {
        Kind::File(bytes) => {
            PlanEntry::file(path.clone(), 0o644, ContentId(at), bytes.len() as u64)
        }
        Kind::Folder => PlanEntry::folder(path.clone()),
        Kind::Alias(target) => PlanEntry::alias(path.clone(), target.clone()),
    });
    let format = if input.version_2 { Format::V2 } else { Format::V1 };
    let Ok(plan) = Plan::new(format, entries.collect()) else { return };
    let options = |threads| Options {
        chunk_size: match format {
            Format::V1 => u32::from(input.chunk_size).max(1),
            Format::V2 => u32::from(input.chunk_size).next_power_of_two().max(4096),
        },
        compression: match input.compression % 3 {
            0 => Compression::None,
            1 => Compression::Zlib,
            _ => Compression::Auto,
        },
        level: u32::from(input.level % 10),
        threads,
    };
    let contents = Bytes(&input.entries);
    let write = |threads| {
        let mut image = Cursor::new(Vec::new());
        write::write(&plan, &contents, b"", &options(threads), None, &(), &mut image)
            .expect("an accepted plan is written");
        image.into_inner()
    };
    let image = write(NonZeroUsize::MIN);
    assert_eq!(image, write(NonZeroUsize::MIN.saturating_add(2)));

    let package = Package::open(image, &OpenOptions::default()).expect("what we write opens");
    assert!(package.audit().is_empty(), "{:?}", package.audit());
    for (path, kind) in &input.entries {
        let Kind::File(bytes) = kind else { continue };
        let Ok(Resolved::Found(id)) = package.resolve(path, false) else {
            panic!("a file is missing");
        };
        let mut found = Vec::new();
        let read: Result<(), Error> =
            package.read(id, 0..u64::MAX, &mut Scratch::default(), |part| {
                found.extend_from_slice(part);
                Ok(())
            });
        read.expect("what we write reads");
        assert_eq!(&found, bytes);
    }
});
