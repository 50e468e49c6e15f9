//! The writer, judged by the bytes it leaves: offsets here are those of the contract
//! (`spec/epk-1.0.md`), not of the writer's structures.

mod support;

use std::io::{Cursor, Read};
use std::num::NonZeroUsize;
use std::sync::Mutex;

use epk_format::digest::Sha256;
use epk_format::time::Timestamp;
use epk_format::write::{
    self, Compression, ContentId, Contents, Format, Kind, Limit, Options, Plan, PlanEntry, Signer,
    WriteError,
};
use support::{Decoded, Files, MANIFEST, noise};

fn options(chunk_size: u32, compression: Compression, threads: usize) -> Options {
    let threads = NonZeroUsize::new(threads).expect("some");
    Options { chunk_size, compression, threads, ..Options::default() }
}

fn image(plan: &Plan, files: &Files, options: &Options) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    write::write(plan, files, MANIFEST, options, None, &(), &mut out).expect("written");
    out.into_inner()
}

/// A tree with a bit of everything.
fn sample() -> (Plan, Files) {
    let mut files = Files::default();
    let mut entries = vec![
        PlanEntry::folder("bin"),
        PlanEntry::folder("empty"),
        PlanEntry::folder("lib"),
        PlanEntry::alias("lib64", "/lib"),
    ];
    let contents: [(&str, u32, Vec<u8>); 7] = [
        ("bin/app", 0o755, b"#!/bin/sh\necho hello\n".repeat(20)),
        ("lib/a-b", 0o644, b"1".to_vec()),
        ("lib/empty", 0o600, Vec::new()),
        ("lib/exact", 0o644, vec![b'e'; 4096]),
        ("lib/noise", 0o444, noise(10_000, 1)),
        ("lib/text", 0o640, b"all work and no play\n".repeat(1000)),
        ("zzz", 0, Vec::new()),
    ];
    for (path, mode, bytes) in contents {
        entries.push(files.add(path, mode, bytes));
    }
    let time = Timestamp { seconds: 1_709_251_198, nanoseconds: 0 };
    for entry in &mut entries {
        if entry.path == b"bin/app" {
            entry.modified = Some(time);
        }
    }
    (Plan::new(Format::V1, entries).expect("a good plan"), files)
}

#[test]
fn golden_images() {
    // Pinned: a change of these digests changes everybody's packages. A new compressor version
    // may do that; then CHANGELOG says so. The compressor of people without a C compiler is not
    // pinned.
    let (plan, files) = sample();
    let table = [
        (Compression::Auto, 4096, GOLDEN_AUTO),
        (Compression::Zlib, 65_536, GOLDEN_ZLIB),
        (Compression::None, 4096, GOLDEN_NONE),
    ];
    for (compression, chunk_size, expected) in table {
        if compression != Compression::None && !cfg!(feature = "libdeflate") {
            continue;
        }
        let bytes = image(&plan, &files, &options(chunk_size, compression, 2));
        assert_eq!(Sha256::of(&bytes).to_hex(), expected, "{compression:?} {chunk_size}");
    }
}

const GOLDEN_AUTO: &str = "bb004357ffc56e65f669b7fddc5e0268c0c874e2441d9f9fd95ae01be208c5e0";
const GOLDEN_ZLIB: &str = "47c7607715452280fea5ae15cdb66d95f91c1b7f783628fb134a2a4a1b4ddc56";
const GOLDEN_NONE: &str = "5d4d49bbfa8c56023f364a435919a5c74d3c4beb38d6bbb0e54e58fed6e4ab05";

#[test]
fn writes_the_contracts_worked_example() {
    // `valid/03-one-byte.epk` of the vectors, §8 of the contract: all bytes but the stream.
    let mut files = Files::default();
    let plan =
        Plan::new(Format::V1, vec![files.add("b", 0o644, b"x".to_vec())]).expect("a good plan");
    let bytes = image(&plan, &files, &options(65_536, Compression::Zlib, 1));
    let decoded = Decoded::new(&bytes);
    assert_eq!(&bytes[..8], b"EPK1\0\0\x01\0");
    assert_eq!(decoded.flags, 1);
    assert_eq!(decoded.toc, (128, 105));
    assert_eq!(decoded.block_table, (233, 52));
    assert_eq!(decoded.manifest.0, 285 + u64::from(decoded.blocks[0].stored_size));
    assert_eq!(decoded.signature, (0, 0));
    assert_eq!(bytes[136..140], 97u32.to_le_bytes());
    assert_eq!(bytes[156..160], 0x1a4u32.to_le_bytes());
    assert_eq!(bytes[232], b'b');
    assert_eq!(decoded.blocks[0].offset, 285);
    assert_eq!(bytes[285], 0x78);
}

#[test]
fn an_empty_package_is_header_head_of_toc_and_manifest() {
    let plan = Plan::new(Format::V1, Vec::new()).expect("a good plan");
    let bytes = image(&plan, &Files::default(), &Options::default());
    assert_eq!(bytes.len(), 136 + MANIFEST.len());
    let decoded = Decoded::new(&bytes);
    assert_eq!((decoded.flags, decoded.toc), (0, (128, 8)));
    assert_eq!((decoded.block_table, decoded.manifest.0), ((136, 0), 136));
}

#[test]
fn every_field_is_as_exos_packs_it() {
    let (plan, files) = sample();
    for compression in [Compression::None, Compression::Zlib, Compression::Auto] {
        let bytes = image(&plan, &files, &options(4096, compression, 3));
        let decoded = Decoded::new(&bytes);
        let paths: Vec<_> = decoded.entries.iter().map(|e| e.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "bin",
                "bin/app",
                "empty",
                "lib",
                "lib/a-b",
                "lib/empty",
                "lib/exact",
                "lib/noise",
                "lib/text",
                "lib64",
                "zzz"
            ]
        );
        let mut next_block = 0;
        for entry in &decoded.entries {
            assert_eq!((entry.inline_offset, entry.inline_size, entry.reserved), (0, 0, 0));
            match entry.path.as_str() {
                "bin" | "empty" | "lib" => {
                    assert_eq!((entry.node_type, entry.flags), (2, 0));
                    assert_eq!((entry.permissions, entry.modified), (0o777, 0));
                    assert_eq!((entry.size, entry.block_count), (0, 0));
                }
                "lib64" => {
                    assert_eq!((entry.node_type, entry.flags), (3, 4));
                    assert_eq!((entry.target.as_str(), entry.size), ("/lib", 0));
                }
                "lib/empty" | "zzz" => {
                    assert_eq!((entry.node_type, entry.flags, entry.size), (1, 1, 0));
                    assert_eq!((entry.hash, entry.block_count), ([0; 32], 0));
                }
                path => {
                    let plain = files.bytes(path);
                    assert_eq!((entry.node_type, entry.flags), (1, 2), "{path}");
                    assert_eq!(entry.size, plain.len() as u64);
                    assert_eq!(entry.block_start, next_block);
                    assert_eq!(entry.block_count as usize, plain.len().div_ceil(4096));
                    assert_eq!(entry.hash, Sha256::of(plain).0);
                    assert_eq!(decoded.content(entry), plain);
                    next_block += entry.block_count;
                }
            }
        }
        let app = &decoded.entries[1];
        assert_eq!(app.permissions, 0o755);
        // 2024-02-29T23:59:58: year, month, day, hour, minute, second.
        let time = 2024 | 2 << 26 | 29 << 30 | 23 << 36 | 59 << 42 | 58 << 48;
        assert_eq!(app.modified, time);
        assert_eq!(decoded.blocks.len(), next_block as usize);
        let zlib = decoded.blocks.iter().filter(|block| block.method == 1).count();
        match compression {
            Compression::None => assert_eq!((zlib, decoded.flags), (0, 0)),
            Compression::Zlib => assert_eq!((zlib, decoded.flags), (decoded.blocks.len(), 1)),
            Compression::Auto => {
                assert!(zlib > 0 && zlib < decoded.blocks.len());
                let noise = &decoded.entries[7];
                for block in decoded.blocks_of(noise) {
                    assert_eq!((block.method, block.stored_size), (0, block.plain_size));
                }
            }
        }
    }
}

#[test]
fn auto_that_compresses_nothing_clears_the_flag() {
    let mut files = Files::default();
    let plan =
        Plan::new(Format::V1, vec![files.add("n", 0o644, noise(100_000, 9))]).expect("a good plan");
    assert_eq!(Decoded::new(&image(&plan, &files, &Options::default())).flags, 0);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let mut files = Files::default();
    let mut entries = Vec::new();
    for index in 0..300u64 {
        let length = usize::try_from(index * index % 9973).expect("small");
        let mut bytes = noise(length / 2, index);
        bytes.extend(b"words that repeat, ".iter().cycle().take(length / 2));
        entries.push(files.add(&format!("f{index}"), 0o644, bytes));
    }
    let plan = Plan::new(Format::V1, entries).expect("a good plan");
    for chunk_size in [1000, 65_536] {
        let one = image(&plan, &files, &options(chunk_size, Compression::Auto, 1));
        for threads in [2, 3, 4, 16] {
            let many = image(&plan, &files, &options(chunk_size, Compression::Auto, threads));
            assert!(one == many, "{threads} threads, chunks of {chunk_size}");
        }
    }
}

#[test]
fn the_order_of_the_plan_changes_nothing() {
    let (plan, files) = sample();
    let expected = image(&plan, &files, &Options::default());
    let mut entries = plan.entries().to_vec();
    for turn in 0..entries.len() {
        entries.rotate_left(1);
        entries.swap(0, turn);
        let plan = Plan::new(Format::V1, entries.clone()).expect("a good plan");
        assert!(image(&plan, &files, &Options::default()) == expected);
    }
}

#[test]
fn the_summary_tells_what_was_written() {
    let (plan, files) = sample();
    let mut out = Cursor::new(Vec::new());
    let options = options(4096, Compression::Auto, 2);
    let written =
        write::write(&plan, &files, MANIFEST, &options, None, &(), &mut out).expect("written");
    let bytes = out.into_inner();
    let decoded = Decoded::new(&bytes);
    assert_eq!(written.size, bytes.len() as u64);
    assert_eq!(written.package_hash.0, decoded.package_hash);
    assert_eq!((written.entries, written.files), (11, 7));
    assert_eq!(written.blocks, decoded.blocks.len() as u64);
    let zlib = decoded.blocks.iter().filter(|block| block.method == 1).count();
    assert_eq!(written.compressed_blocks, zlib as u64);
    let stored: u64 = decoded.blocks.iter().map(|block| u64::from(block.stored_size)).sum();
    let plain: u64 = decoded.blocks.iter().map(|block| u64::from(block.plain_size)).sum();
    assert_eq!((written.stored_bytes, written.plain_bytes), (stored, plain));
    assert_eq!(written.signature_size, 0);
}

#[test]
fn progress_adds_up() {
    #[derive(Default)]
    struct Sums(Mutex<(u64, u64)>);
    impl write::Progress for Sums {
        fn content(&self, bytes: u64) {
            self.0.lock().expect("alone").0 += bytes;
        }
        fn hashed(&self, bytes: u64) {
            self.0.lock().expect("alone").1 += bytes;
        }
    }
    let (plan, files) = sample();
    let sums = Sums::default();
    let mut out = Cursor::new(Vec::new());
    let written = write::write(&plan, &files, MANIFEST, &Options::default(), None, &sums, &mut out)
        .expect("written");
    let expected = (written.plain_bytes, written.stored_bytes);
    assert_eq!(sums.0.into_inner().expect("alone"), expected);
    assert_eq!(plan.content_bytes(), Some(written.plain_bytes));
}

/// Gives blobs of the sizes listed, one after another, and keeps the hashes it was asked about.
struct Sizes {
    expected: u64,
    sizes: Mutex<Vec<usize>>,
    asked: Mutex<Vec<Sha256>>,
}

impl Sizes {
    fn new(expected: u64, sizes: &[usize]) -> Self {
        let sizes = Mutex::new(sizes.iter().rev().copied().collect());
        Self { expected, sizes, asked: Mutex::default() }
    }
}

impl Signer for Sizes {
    fn sign(&self, hash: &Sha256) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        self.asked.lock().expect("alone").push(*hash);
        let size = self.sizes.lock().expect("alone").pop().ok_or("out of ink")?;
        Ok(vec![b'S'; size])
    }

    fn expected_size(&self) -> u64 {
        self.expected
    }
}

fn signed(signer: &Sizes) -> Result<(write::Written, Vec<u8>), WriteError> {
    let (plan, files) = sample();
    let mut out = Cursor::new(Vec::new());
    let signer: &dyn Signer = signer;
    let options = options(4096, Compression::Auto, 2);
    let written = write::write(&plan, &files, MANIFEST, &options, Some(signer), &(), &mut out)?;
    Ok((written, out.into_inner()))
}

#[test]
fn a_signer_is_asked_until_the_size_settles() {
    for (expected, sizes, runs) in
        [(144, vec![144], 1), (64, vec![144, 144], 2), (1, vec![2, 3, 4, 4], 4)]
    {
        let signer = Sizes::new(expected, &sizes);
        let (written, bytes) = signed(&signer).expect("signed");
        let asked = signer.asked.into_inner().expect("alone");
        assert_eq!(asked.len(), runs);
        let decoded = Decoded::new(&bytes);
        assert_eq!(decoded.flags & 2, 2);
        let size = *sizes.last().expect("some");
        assert_eq!(decoded.signature, (bytes.len() as u64 - size as u64, size as u64));
        assert_eq!(decoded.signature.0, decoded.manifest.0 + decoded.manifest.1);
        assert!(bytes.ends_with(&vec![b'S'; size]));
        // What was signed last is what the header says, and `Decoded` has recomputed that.
        assert_eq!(asked.last(), Some(&written.package_hash));
        assert_eq!(decoded.package_hash, written.package_hash.0);
        assert_eq!(written.signature_size, size as u64);
    }
}

#[test]
fn a_signer_that_never_settles_is_given_up() {
    let error = signed(&Sizes::new(144, &[1, 2, 3, 4, 5])).expect_err("never settles");
    assert!(
        matches!(&error, WriteError::SignatureSize { runs: 4, sizes } if sizes == &[1, 2, 3, 4]),
        "{error}"
    );
    let error = signed(&Sizes::new(144, &[0])).expect_err("empty");
    assert!(matches!(error, WriteError::EmptySignature), "{error}");
    let error = signed(&Sizes::new(144, &[])).expect_err("fails");
    assert!(matches!(error, WriteError::Signer(_)), "{error}");
}

/// Contents that differ from the plan.
struct Changed(Vec<u8>);

impl Contents for Changed {
    fn open(&self, _: ContentId, _: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.0.as_slice()))
    }
}

#[test]
fn a_file_must_be_as_long_as_planned() {
    let table = [
        (5, 4, "`d/f` has 4 bytes, planned were 5"),
        (5, 0, "`d/f` has 0 bytes, planned were 5"),
        (5, 6, "`d/f` has more than 5 bytes, planned were 5"),
        (0, 1, "`d/f` has more than 0 bytes, planned were 0"),
        (3, 2, "`d/f` has 2 bytes, planned were 3"),
    ];
    for (planned, found, expected) in table {
        let plan =
            Plan::new(Format::V1, vec![PlanEntry::file("d/f", 0o644, ContentId(0), planned)]);
        let plan = plan.expect("a good plan");
        let contents = Changed(vec![1; found]);
        for chunk_size in [2, 65_536] {
            let options = options(chunk_size, Compression::Auto, 2);
            let mut out = Cursor::new(Vec::new());
            let error = write::write(&plan, &contents, MANIFEST, &options, None, &(), &mut out)
                .expect_err("refused");
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[test]
fn storage_errors_name_the_path() {
    struct Broken(bool);
    impl Contents for Broken {
        fn open(&self, _: ContentId, _: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
            if self.0 { Ok(Box::new(Broken(true))) } else { Err(std::io::Error::other("gone")) }
        }
    }
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("bad sector"))
        }
    }
    let plan =
        Plan::new(Format::V1, vec![PlanEntry::file("f", 0, ContentId(0), 1)]).expect("a good plan");
    for (opens, expected) in [(false, "cannot open `f`"), (true, "cannot read `f`")] {
        let mut out = Cursor::new(Vec::new());
        let options = Options::default();
        let error = write::write(&plan, &Broken(opens), MANIFEST, &options, None, &(), &mut out)
            .expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let (plan, files) = sample();
    let good = Options::default();
    let table = [
        Options { chunk_size: 0, ..good.clone() },
        Options { chunk_size: (64 << 20) + 1, ..good.clone() },
        Options { level: 13, ..good },
    ];
    for options in table {
        let mut out = Cursor::new(Vec::new());
        let result = write::write(&plan, &files, MANIFEST, &options, None, &(), &mut out);
        assert!(
            matches!(result, Err(WriteError::ChunkSize { .. } | WriteError::Level { .. })),
            "{options:?}"
        );
        assert!(out.into_inner().is_empty());
    }
}

#[test]
fn an_output_with_bytes_is_refused() {
    let (plan, files) = sample();
    let mut out = Cursor::new(vec![0; 5]);
    let error = write::write(&plan, &files, MANIFEST, &Options::default(), None, &(), &mut out)
        .expect_err("refused");
    assert!(matches!(error, WriteError::OutputNotEmpty { found: 5 }), "{error}");
}

#[test]
fn limits_are_named_before_anything_is_written() {
    let gigabytes = |size: u64| {
        Plan::new(Format::V1, vec![PlanEntry::file("f", 0o644, ContentId(0), size)])
            .expect("a good plan")
    };
    let table = [
        // 2^32 bytes that will not shrink.
        (gigabytes(1 << 32), 65_536, Compression::None, Limit::DataEnd),
        // The data begins at 128 + 105 + 64 * 52 and ends one byte too late.
        (gigabytes((1 << 32) - 3561), 64 << 20, Compression::None, Limit::DataEnd),
        // A block table of 2^30 bytes has room for 20,648,881 rows.
        (gigabytes(20_648_882), 1, Compression::Auto, Limit::BlockTableSize),
        (gigabytes(u64::MAX), 1, Compression::Auto, Limit::BlockTableSize),
    ];
    for (plan, chunk_size, compression, expected) in table {
        let mut out = Cursor::new(Vec::new());
        let options = options(chunk_size, compression, 1);
        let result =
            write::write(&plan, &Changed(Vec::new()), MANIFEST, &options, None, &(), &mut out);
        match result {
            Err(WriteError::Limit { what, found, allowed }) => {
                assert_eq!(what, expected);
                assert!(found > allowed);
            }
            other => panic!("{other:?}"),
        }
        assert!(out.into_inner().is_empty());
    }
}

#[test]
fn what_readers_do_not_hold_is_not_written() {
    let (plan, files) = sample();
    let mut out = Cursor::new(Vec::new());
    let manifest = vec![b'#'; (1 << 20) + 1];
    let error = write::write(&plan, &files, &manifest, &Options::default(), None, &(), &mut out)
        .expect_err("refused");
    assert!(matches!(error, WriteError::Limit { what: Limit::ManifestSize, .. }), "{error}");
    let error = signed(&Sizes::new(144, &[65_537])).expect_err("refused");
    let expected = "the package's signature would be 65537, at most 65536 is allowed";
    assert_eq!(error.to_string(), expected);
    let error = signed(&Sizes::new(65_537, &[1])).expect_err("refused");
    assert_eq!(error.to_string(), expected);
}

/// An output as long as one likes, which keeps nothing but zeros' length.
struct Endless {
    position: u64,
    end: u64,
}

impl std::io::Write for Endless {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.position += bytes.len() as u64;
        self.end = self.end.max(self.position);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Read for Endless {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl std::io::Seek for Endless {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.position = match to {
            std::io::SeekFrom::Start(offset) => offset,
            std::io::SeekFrom::End(_) => self.end,
            std::io::SeekFrom::Current(_) => self.position,
        };
        Ok(self.position)
    }
}

#[test]
fn a_package_over_four_gigabytes_is_refused_while_it_grows() {
    // `auto` can't know beforehand that nothing shrinks. One file of noise, planned many times.
    struct Same(Vec<u8>);
    impl Contents for Same {
        fn open(&self, _: ContentId, _: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
            Ok(Box::new(self.0.as_slice()))
        }
    }
    let size = 8 << 20;
    // At level 0 nothing shrinks, and finding that out is cheap.
    let count = usize::try_from((1u64 << 32) / size as u64).expect("small");
    let entries = (0..count)
        .map(|index| PlanEntry::file(format!("f{index}"), 0o644, ContentId(index), size as u64));
    let plan = Plan::new(Format::V1, entries.collect()).expect("a good plan");
    let options = Options { level: 0, ..options(8 << 20, Compression::Zlib, 2) };
    let mut out = Endless { position: 0, end: 0 };
    let contents = Same(vec![7; size]);
    let error = write::write(&plan, &contents, MANIFEST, &options, None, &(), &mut out)
        .expect_err("refused");
    assert!(matches!(error, WriteError::Limit { what: Limit::DataEnd, .. }), "{error}");
    assert!(out.end <= 1 << 32);
}

#[test]
fn a_full_disk_is_an_output_error() {
    struct Full(Cursor<Vec<u8>>);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.position() > 100_000 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Read for Full {
        fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(bytes)
        }
    }
    impl std::io::Seek for Full {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            self.0.seek(to)
        }
    }
    let mut files = Files::default();
    let plan =
        Plan::new(Format::V1, vec![files.add("n", 0o644, noise(8 << 20, 3))]).expect("a good plan");
    let mut out = Full(Cursor::new(Vec::new()));
    let error = write::write(&plan, &files, MANIFEST, &Options::default(), None, &(), &mut out)
        .expect_err("refused");
    assert!(matches!(error, WriteError::Output { .. }), "{error}");
}

#[test]
fn kinds_without_content_open_nothing() {
    struct Nothing;
    impl Contents for Nothing {
        fn open(&self, _: ContentId, path: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
            panic!("opened {path:?}");
        }
    }
    let plan = Plan::new(Format::V1, vec![PlanEntry::folder("a"), PlanEntry::alias("b", "a")]);
    let plan = plan.expect("a good plan");
    assert!(plan.entries().iter().all(|e| !matches!(e.kind, Kind::File { .. })));
    let mut out = Cursor::new(Vec::new());
    let written = write::write(&plan, &Nothing, MANIFEST, &Options::default(), None, &(), &mut out);
    assert_eq!(written.expect("written").blocks, 0);
}
