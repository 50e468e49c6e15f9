//! The writer of format 2.0, judged by the bytes it leaves: [`support::v2`] is written from the
//! spec and asserts its rules.

mod support;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::num::NonZeroUsize;
use std::sync::Mutex;

use epk_format::digest::Sha256;
use epk_format::time::Timestamp;
use epk_format::write::{
    self, Compression, ContentId, Contents, Format, Job, Limit, Options, Plan, PlanEntry,
    PlanError, Signer, Unheld, WriteError, Written, Xattr,
};
use support::v2::{Image, Shown, What};
use support::{Files, MANIFEST, noise};

fn options(chunk_size: u32, compression: Compression, threads: usize) -> Options {
    let threads = NonZeroUsize::new(threads).expect("some");
    Options { chunk_size, compression, threads, ..Options::default() }
}

fn plan(entries: Vec<PlanEntry>) -> Plan {
    Plan::new(Format::V2, entries).expect("a good plan")
}

fn written(plan: &Plan, contents: &dyn Contents, options: &Options) -> (Written, Vec<u8>) {
    let mut out = Cursor::new(Vec::new());
    let written = write::write(plan, contents, MANIFEST, options, None, &(), &mut out);
    (written.expect("written"), out.into_inner())
}

fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr { name: name.into(), value: value.to_vec() }
}

/// A tree with a bit of everything.
fn sample() -> (Plan, Files) {
    let mut files = Files::default();
    let mut sparse = vec![0; 20_000];
    sparse[9_000] = 1;
    let contents: [(&str, u32, Vec<u8>); 11] = [
        ("bin/app", 0o755, b"#!/bin/sh\necho hello\n".repeat(20)),
        ("lib/a-b", 0o644, b"1".to_vec()),
        ("lib/back\\slash", 0o644, b"2".to_vec()),
        ("lib/empty", 0o600, Vec::new()),
        ("lib/exact", 0o644, vec![b'e'; 4096]),
        ("lib/noise", 0o444, noise(10_000, 1)),
        ("lib/sparse", 0o644, sparse),
        ("lib/text", 0o640, b"all work and no play\n".repeat(1000)),
        ("lib/zeros", 0o644, vec![0; 100]),
        ("share/a/b/c", 0o644, b"1".to_vec()),
        ("zzz", 0, Vec::new()),
    ];
    let mut entries: Vec<_> =
        contents.map(|(path, mode, bytes)| files.add(path, mode, bytes)).into();
    entries.extend([
        PlanEntry { permissions: 0o700, ..PlanEntry::folder("bin") },
        PlanEntry::folder("empty"),
        PlanEntry::alias("lib64", "/lib"),
        PlanEntry::alias("share/up", "share/../share"),
        PlanEntry::symlink("bin/link", "../lib/a-b"),
        PlanEntry::symlink("dangling", b"\xff nowhere".to_vec()),
    ]);
    for entry in &mut entries {
        match entry.path.as_slice() {
            b"bin/app" => {
                entry.modified = Some(Timestamp { seconds: -5, nanoseconds: 123_456_789 });
                entry.xattrs = vec![xattr("user.b", b"value"), xattr("user.a", b"")];
            }
            b"bin" => entry.xattrs = vec![xattr("user.b", b"value")],
            b"bin/link" => entry.modified = Some(Timestamp { seconds: 1 << 40, nanoseconds: 0 }),
            _ => {}
        }
    }
    (plan(entries), files)
}

#[test]
fn golden_images() {
    // Pinned: a change of these digests changes everybody's packages.
    let (plan, files) = sample();
    let (_, stored) = written(&plan, &files, &options(4096, Compression::None, 2));
    assert_eq!(Sha256::of(&stored).to_hex(), GOLDEN_NONE);
    if cfg!(feature = "libdeflate") {
        let (_, packed) = written(&plan, &files, &options(65_536, Compression::Auto, 2));
        assert_eq!(Sha256::of(&packed).to_hex(), GOLDEN_AUTO);
    }
}

const GOLDEN_NONE: &str = "1df41059f3b42168e085235421cdd911e4853296a38a67dc421b915c83ba1f64";
const GOLDEN_AUTO: &str = "0c4daa2ccdc2ae05cb030a60bfaa58165bb58a7b659abe3efd7e14e7385b84af";

#[test]
fn everything_is_where_the_spec_says() {
    let (plan, files) = sample();
    for compression in [Compression::None, Compression::Zlib, Compression::Auto] {
        for chunk_size in [4096, 65_536, 1 << 20] {
            let (written, bytes) = written(&plan, &files, &options(chunk_size, compression, 3));
            let image = Image::new(&bytes);
            assert_eq!(image.manifest, MANIFEST);
            assert_eq!(written.size, bytes.len() as u64);
            assert_eq!(written.package_hash.0, image.package_hash);
            assert_eq!((written.entries, written.files), (17, 11));
            assert_eq!(written.blocks, image.blocks.len() as u64);
            let stored: u64 = image.blocks.iter().map(|block| u64::from(block.stored)).sum();
            assert_eq!(written.stored_bytes, stored);
            assert_eq!(Some(written.plain_bytes), plan.content_bytes());
            check_sample(&image.shown(), &files);
        }
    }
}

fn check_sample(shown: &BTreeMap<String, Shown>, files: &Files) {
    assert_eq!(shown.len(), 17 + 5, "the root and the folders without entry: lib, share, a, b");
    let folder = |path: &str, mode| {
        let Shown { what, mode: found, .. } = &shown[path];
        assert_eq!((what, *found), (&What::Folder, mode), "{path}");
    };
    for (path, mode) in [("", 0o755), ("bin", 0o700), ("lib", 0o755), ("share/a/b", 0o755)] {
        folder(path, mode);
    }
    for path in ["bin/app", "lib/noise", "lib/sparse", "lib/zeros", "lib/empty", "share/a/b/c"] {
        assert!(shown[path].what == What::File(files.bytes(path).to_vec()), "{path}");
    }
    let app = &shown["bin/app"];
    assert_eq!((app.mode, app.time), (0o755, (-5, 123_456_789)));
    let pair = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    assert_eq!(app.xattrs, [pair("user.a", b""), pair("user.b", b"value")]);
    assert_eq!(shown["bin"].xattrs, [pair("user.b", b"value")]);
    assert_eq!(shown["bin/link"].what, What::Symlink(b"../lib/a-b".to_vec()));
    assert_eq!(shown["bin/link"].time, (1 << 40, 0));
    assert_eq!(shown["dangling"].what, What::Symlink(b"\xff nowhere".to_vec()));
    assert_eq!(shown["lib64"].what, What::Alias("lib".into()));
    assert_eq!(shown["share/up"].what, What::Alias("share".into()));
}

#[test]
fn an_empty_package_is_a_root() {
    let options = options(4096, Compression::None, 1);
    let (written, bytes) = written(&plan(Vec::new()), &Files::default(), &options);
    let image = Image::new(&bytes);
    assert_eq!(bytes.len(), 128 + 40 + MANIFEST.len() + 64 + 48);
    assert_eq!((image.nodes.len(), written.blocks, written.entries), (1, 0, 0));
}

#[test]
fn one_file_is_two_nodes_and_a_block() {
    let mut files = Files::default();
    let plan = plan(vec![files.add("b", 0o644, b"x".to_vec())]);
    let (_, bytes) = written(&plan, &files, &options(4096, Compression::None, 1));
    let image = Image::new(&bytes);
    assert_eq!(bytes.len(), 128 + 40 + MANIFEST.len() + (64 + 96 + 12 + 4 + 52 + 32 + 1) + 1);
    assert_eq!(image.shown()["b"].what, What::File(b"x".to_vec()));
}

#[test]
fn the_root_may_have_an_entry() {
    let root = PlanEntry {
        permissions: 0o750,
        modified: Some(Timestamp { seconds: 7, nanoseconds: 8 }),
        xattrs: vec![xattr("user.x", b"y")],
        ..PlanEntry::folder("")
    };
    let plan = plan(vec![root, PlanEntry::folder("a"), PlanEntry::alias("a/top", "/")]);
    let (_, bytes) = written(&plan, &Files::default(), &Options::default());
    let shown = Image::new(&bytes).shown();
    let root = &shown[""];
    assert_eq!((root.mode, root.time, root.xattrs.len()), (0o750, (7, 8), 1));
    assert_eq!(shown["a/top"].what, What::Alias(String::new()));
    let refused = Plan::new(Format::V2, vec![PlanEntry::symlink("", "x")]);
    assert!(matches!(refused, Err(PlanError::Path { .. })));
    assert!(Plan::new(Format::V1, vec![PlanEntry::folder("")]).is_err());
}

#[test]
fn the_number_of_threads_and_the_order_of_the_plan_change_nothing() {
    let mut files = Files::default();
    let mut entries = Vec::new();
    for index in 0..300u64 {
        let length = usize::try_from(index * index % 9973).expect("small");
        let mut bytes = noise(length / 2, index % 250);
        bytes.extend(b"words that repeat, ".iter().cycle().take(length / 2));
        entries.push(files.add(&format!("d{}/f{index}", index % 7), 0o644, bytes));
    }
    let (_, expected) =
        written(&plan(entries.clone()), &files, &options(4096, Compression::Auto, 1));
    Image::new(&expected);
    entries.reverse();
    for threads in [1, 2, 3, 4, 16] {
        let options = options(4096, Compression::Auto, threads);
        assert!(written(&plan(entries.clone()), &files, &options).1 == expected, "{threads}");
    }
}

#[test]
fn equal_content_is_stored_once() {
    let mut files = Files::default();
    let (small, large) = (noise(1000, 1), noise(30_000, 2));
    // The third large file is as long as the others, but has only its first chunks in common.
    let mut alike = large.clone();
    alike[25_000] ^= 1;
    let contents = [("a", &small), ("b", &large), ("c", &small), ("d", &large), ("e", &alike)];
    let entries = contents.map(|(path, bytes)| files.add(path, 0o644, bytes.clone()));
    let (written, bytes) =
        written(&plan(entries.into()), &files, &options(4096, Compression::Auto, 2));
    let image = Image::new(&bytes);
    let shown = image.shown();
    for (path, bytes) in contents {
        assert!(shown[path].what == What::File(bytes.clone()), "{path}");
        assert_eq!(shown[path].links, 1);
    }
    let place = |path: &str| {
        let node = &image.nodes[shown[path].node as usize];
        (node.first, node.offset, node.own)
    };
    assert_eq!((place("a"), place("b")), (place("c"), place("d")));
    assert_eq!(image.hashes.len(), 3);
    // 8 of the large file, 1 of the small one, and of the third large one the chunk that differs.
    assert_eq!(image.blocks.len(), 8 + 1 + 1);
    assert_eq!(written.shared_files, 2);
    assert_eq!(written.shared_bytes, 31_000 + 30_000 - 4096);
}

#[test]
fn zeros_are_stored_nowhere() {
    let mut files = Files::default();
    let mut sparse = vec![0; 50_000];
    sparse[20_000] = 7;
    let entries = vec![
        files.add("hole", 0o644, vec![0; 1 << 20]),
        files.add("short", 0o644, vec![0; 10]),
        files.add("shorter", 0o644, vec![0; 9]),
        files.add("sparse", 0o644, sparse.clone()),
        files.add("tail", 0o644, [noise(4096, 1), vec![0; 5]].concat()),
    ];
    let (written, bytes) = written(&plan(entries), &files, &options(4096, Compression::None, 2));
    let image = Image::new(&bytes);
    assert_eq!((written.blocks, written.stored_bytes), (2, 8192));
    assert_eq!(written.shared_bytes, written.plain_bytes - 8192);
    let shown = image.shown();
    assert!(shown["sparse"].what == What::File(sparse));
    assert_eq!(shown["shorter"].what, What::File(vec![0; 9]));
}

#[test]
fn small_files_lie_side_by_side_and_none_across_a_border() {
    let mut files = Files::default();
    let entries: Vec<_> = (0..100)
        .map(|index| files.add(&format!("f{index:02}"), 0o644, noise(1000, index)))
        .collect();
    let (written, bytes) = written(&plan(entries), &files, &options(4096, Compression::None, 2));
    // Four to a chunk; that none crosses a border the reader asserts.
    assert_eq!(written.blocks, 25);
    Image::new(&bytes).shown();
}

#[test]
fn names_of_one_content_are_one_node() {
    let (a, b) = (noise(10_000, 1), b"b".to_vec());
    struct Two(Vec<u8>, Vec<u8>, Mutex<Vec<String>>);
    impl Contents for Two {
        fn open(&self, id: ContentId, path: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
            self.2.lock().expect("alone").push(String::from_utf8_lossy(path).into());
            Ok(Box::new([self.0.as_slice(), &self.1][id.0]))
        }
    }
    let file = |path: &str, id: usize, size| PlanEntry::file(path, 0o644, ContentId(id), size);
    let entries = vec![
        file("z", 0, 10_000),
        file("d/e/f", 0, 10_000),
        file("d/g", 0, 10_000),
        file("d/h", 1, 1),
    ];
    let contents = Two(a.clone(), b, Mutex::default());
    let made = plan(entries.clone());
    assert_eq!(made.content_bytes(), Some(10_001));
    let (written, bytes) = written(&made, &contents, &options(4096, Compression::Auto, 2));
    let shown = Image::new(&bytes).shown();
    assert_eq!(*contents.2.lock().expect("alone"), ["d/e/f", "d/h"]);
    let node = shown["z"].node;
    for path in ["z", "d/e/f", "d/g"] {
        assert_eq!((shown[path].node, shown[path].links), (node, 3));
        assert!(shown[path].what == What::File(a.clone()));
    }
    assert_eq!((written.entries, written.files, written.plain_bytes), (4, 4, 10_001));
    // What one file can't be at once.
    for change in [
        |entry: &mut PlanEntry| entry.permissions = 0o600,
        |entry: &mut PlanEntry| entry.modified = Some(Timestamp::default()),
        |entry: &mut PlanEntry| entry.xattrs = vec![xattr("user.x", b"")],
    ] {
        let mut entries = entries.clone();
        change(&mut entries[0]);
        let error = Plan::new(Format::V2, entries).expect_err("refused");
        assert_eq!(error.to_string(), "`z` and `d/e/f` are one file, but are not described alike");
    }
}

#[test]
fn a_profile_puts_its_files_in_front() {
    let (plan, files) = sample();
    let options = options(4096, Compression::None, 2);
    let profile = ["zzz", "nothing", "lib/text", "lib/a-b", "bin", "lib/text"].map(Vec::from);
    let job = Job { profile: &profile, ..Job::new(&plan, &files, MANIFEST, &options) };
    let mut out = Cursor::new(Vec::new());
    job.write(&mut out, &mut Cursor::new(Vec::new())).expect("written");
    let bytes = out.into_inner();
    let image = Image::new(&bytes);
    let shown = image.shown();
    check_sample(&shown, &files);
    let first = |path: &str| image.nodes[shown[path].node as usize].first;
    assert_eq!(first("lib/text"), 0);
    // In the room that the first left.
    assert_eq!(first("lib/a-b"), 5);
    assert!(first("bin/app") >= 5);
}

/// Gives blobs of the sizes listed, and keeps the hashes it was asked about.
struct Sizes(u64, Mutex<Vec<usize>>, Mutex<Vec<Sha256>>);

impl Signer for Sizes {
    fn sign(&self, hash: &Sha256) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        self.2.lock().expect("alone").push(*hash);
        let mut sizes = self.1.lock().expect("alone");
        if sizes.is_empty() { Err("out of ink".into()) } else { Ok(vec![b'S'; sizes.remove(0)]) }
    }

    fn expected_size(&self) -> u64 {
        self.0
    }
}

#[test]
fn a_signer_is_asked_until_the_size_settles() {
    let (plan, files) = sample();
    let options = options(4096, Compression::Auto, 2);
    let sign = |expected, sizes: Vec<usize>| {
        let signer = Sizes(expected, Mutex::new(sizes), Mutex::default());
        let mut out = Cursor::new(Vec::new());
        let written = write::write(&plan, &files, MANIFEST, &options, Some(&signer), &(), &mut out);
        (written, out.into_inner(), signer.2.into_inner().expect("alone"))
    };
    for (expected, sizes) in
        [(144, vec![144]), (65_536, vec![144, 144]), (64, vec![144, 144]), (1, vec![2, 3, 4, 4])]
    {
        let (size, runs) = (*sizes.last().expect("some"), sizes.len());
        let (written, bytes, asked) = sign(expected, sizes);
        let written = written.expect("signed");
        let image = Image::new(&bytes);
        assert_eq!(image.signature, vec![b'S'; size]);
        assert_eq!((asked.len(), asked.last()), (runs, Some(&written.package_hash)));
        assert_eq!(image.package_hash, written.package_hash.0);
        assert_eq!(written.signature_size, size as u64);
        let at = usize::try_from(written.signature_offset).expect("small");
        assert_eq!(bytes[at..at + size], vec![b'S'; size]);
        check_sample(&image.shown(), &files);
    }
    let refused = |expected, sizes| sign(expected, sizes).0.expect_err("refused");
    let error = refused(1, vec![2, 3, 4, 5, 6]);
    assert!(matches!(error, WriteError::SignatureSize { runs: 4, .. }), "{error}");
    assert!(matches!(refused(1, vec![0]), WriteError::EmptySignature));
    assert!(matches!(refused(1, vec![]), WriteError::Signer(_)));
    let error = refused(1, vec![65_537, 65_537]);
    assert!(matches!(error, WriteError::Limit { what: Limit::SignatureSize, .. }), "{error}");
}

#[test]
fn a_tree_of_three_levels_is_hashed() {
    // 512 pages are 8 MiB of metadata: attributes fill them fast.
    let entries = (0..140).map(|index: u8| PlanEntry {
        xattrs: vec![xattr("user.x", &noise(65_536, index.into()))],
        ..PlanEntry::folder(format!("d{index:03}"))
    });
    let plan = plan(entries.collect());
    let (_, bytes) = written(&plan, &Files::default(), &Options::default());
    let image = Image::new(&bytes);
    assert!(image.metadata.len() > 512 * 16_384);
    assert_eq!(image.shown()["d139"].xattrs[0].1, noise(65_536, 139));
}

#[test]
fn what_a_format_cannot_hold_is_named() {
    let long = "x".repeat(4096);
    let deep = format!("{}/z", vec!["y".repeat(255); 16].join("/"));
    assert_eq!(deep.len(), 4097);
    let with = |xattrs: Vec<Xattr>| PlanEntry { xattrs, ..PlanEntry::folder("d") };
    let at = |nanoseconds| PlanEntry {
        modified: Some(Timestamp { seconds: 0, nanoseconds }),
        ..PlanEntry::folder("d")
    };
    let many = (0..1025).map(|index| xattr(&format!("user.{index}"), b"")).collect();
    let refused: [(PlanEntry, &str); 15] = [
        (PlanEntry::symlink("l", ""), "the target of the symbolic link `l` is empty"),
        (PlanEntry::symlink("l", long.as_str()), "the target of the symbolic link `l` is longer"),
        (PlanEntry::symlink("l", "a\0"), "the target of the symbolic link `l` has a NUL byte"),
        (PlanEntry::folder(deep.as_str()), "path of 4097 bytes, at most 4095 are allowed: `yyy"),
        (PlanEntry::folder(&long[..256]), "path component of 256 bytes"),
        (PlanEntry::folder("a//b"), "path with an empty component"),
        (PlanEntry::folder("a/../b"), "path with the component `.` or `..`"),
        (PlanEntry::folder(b"\xff".to_vec()), "path that is not UTF-8: `\\xff`"),
        (PlanEntry { permissions: 0o1000, ..PlanEntry::folder("d") }, "`d` has permissions 1000"),
        (at(1_000_000_000), "`d` changed at a second and 1000000000 nanoseconds"),
        (with(vec![xattr("security.x", b"")]), "the attribute `security.x` of `d` is not `user.`"),
        (with(vec![xattr("user.", b"")]), "the attribute `user.` of `d` is not `user.`"),
        (with(vec![xattr("user.x", &[0; 65_537])]), "the attribute `user.x` of `d` has a value of"),
        (with(vec![xattr("user.x", b"1"), xattr("user.x", b"")]), "is there twice"),
        (with(many), "is one of more than 1024"),
    ];
    for (entry, expected) in refused {
        let error = Plan::new(Format::V2, vec![entry]).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    // The longest that are allowed.
    let entries = vec![
        PlanEntry::folder(&deep[..4095]),
        PlanEntry::symlink("l", &long[..4095]),
        with(vec![xattr(&format!("user.{}", &long[..250]), &[1; 65_536])]),
        at(999_999_999),
    ];
    for entry in entries {
        let plan = plan(vec![entry]);
        Image::new(&written(&plan, &Files::default(), &Options::default()).1).shown();
    }
    // Format 1.0.
    let late = Some(Timestamp { seconds: 253_402_300_800, nanoseconds: 0 });
    let table = [
        (PlanEntry::symlink("x", "y"), Unheld::Symlink),
        (
            PlanEntry { xattrs: vec![xattr("user.x", b"")], ..PlanEntry::folder("x") },
            Unheld::Xattrs,
        ),
        (PlanEntry { modified: late, ..PlanEntry::folder("x") }, Unheld::Time),
    ];
    for (entry, expected) in table {
        match Plan::new(Format::V1, vec![entry]) {
            Err(PlanError::Unheld { path, format: Format::V1, what }) => {
                assert_eq!((path.as_str(), what), ("x", expected));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn limits_and_options_are_checked_before_anything_is_written() {
    let (small, files) = sample();
    for chunk_size in [0, 2048, 4095, 65_537, 2 << 20] {
        let options = options(chunk_size, Compression::Auto, 1);
        let mut out = Cursor::new(Vec::new());
        let error = write::write(&small, &files, MANIFEST, &options, None, &(), &mut out);
        let error = error.expect_err("refused").to_string();
        let expected = "format 2.0 allows the powers of two from 4096 to 1048576 bytes";
        assert!(error.ends_with(expected), "{error}");
    }
    let manifest = vec![b'#'; (1 << 20) + 1];
    let mut out = Cursor::new(Vec::new());
    let error = write::write(&small, &files, &manifest, &Options::default(), None, &(), &mut out);
    assert!(matches!(error, Err(WriteError::Limit { what: Limit::ManifestSize, .. })));
    // More chunks than a row can number.
    let huge = plan(vec![PlanEntry::file("f", 0, ContentId(0), u64::MAX)]);
    struct Endless;
    impl Contents for Endless {
        fn open(&self, _: ContentId, _: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
            Ok(Box::new(std::io::repeat(1)))
        }
    }
    let error = write::write(&huge, &Endless, MANIFEST, &Options::default(), None, &(), &mut out);
    assert!(matches!(error, Err(WriteError::Limit { what: Limit::Chunks, .. })));
    assert!(out.get_ref().is_empty());
    // Neither output may have bytes.
    let options = Options::default();
    let job = Job::new(&small, &files, MANIFEST, &options);
    let (full, empty) = (|| Cursor::new(vec![1; 5]), || Cursor::new(Vec::new()));
    for (mut out, mut spool) in [(full(), empty()), (empty(), full())] {
        let error = job.write(&mut out, &mut spool).expect_err("refused");
        assert!(matches!(error, WriteError::OutputNotEmpty { found: 5 }), "{error}");
    }
}

#[test]
fn a_file_must_be_as_long_as_planned() {
    struct Changed(Vec<u8>);
    impl Contents for Changed {
        fn open(&self, _: ContentId, _: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
            Ok(Box::new(self.0.as_slice()))
        }
    }
    for (planned, found) in [(5, 4), (5, 6), (0, 1), (9000, 8999), (9000, 9001), (4096, 4095)] {
        let plan = plan(vec![PlanEntry::file("d/f", 0o644, ContentId(0), planned)]);
        let mut out = Cursor::new(Vec::new());
        let (contents, options) = (Changed(vec![1; found]), options(4096, Compression::Auto, 2));
        let error = write::write(&plan, &contents, MANIFEST, &options, None, &(), &mut out);
        let error = error.expect_err("refused").to_string();
        assert!(error.starts_with("`d/f` has "), "{error}");
        assert!(error.ends_with(&format!("planned were {planned}")), "{error}");
    }
}

#[test]
fn progress_adds_up() {
    #[derive(Default)]
    struct Sum(Mutex<u64>);
    impl write::Progress for Sum {
        fn content(&self, bytes: u64) {
            *self.0.lock().expect("alone") += bytes;
        }
    }
    let (plan, files) = sample();
    let sum = Sum::default();
    let mut out = Cursor::new(Vec::new());
    write::write(&plan, &files, MANIFEST, &Options::default(), None, &sum, &mut out)
        .expect("written");
    assert_eq!(Some(sum.0.into_inner().expect("alone")), plan.content_bytes());
}
