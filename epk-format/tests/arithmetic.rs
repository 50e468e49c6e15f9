//! Numbers at the edges of 32 and 64 bits: in every field that offsets and sizes have, alone and in
//! pairs, in what callers ask for, and where bytes really lie beyond 4 GiB. Nothing overflows,
//! nothing is taken for what it is not. `.ci/i686` runs this where `usize` has 32 bits.

mod support;

use std::io::{self, Cursor};
use std::ops::Range;

use epk_format::package::{BlockIndex, Kind, NodeId, Scratch};
use epk_format::resolve::Resolved;
use epk_format::signature::Policy;
use epk_format::source::Source;
use epk_format::write::{self, Compression, Format, Options, Plan};
use epk_format::{OpenOptions, Package};
use proptest::prelude::*;
use support::v2_parts::{BLOCKS, Image, put, u64_at};
use support::{Files, MANIFEST, noise};

/// Where sums, products and narrower types give way.
const EDGES: [u64; 20] = [
    0,
    1,
    51,
    127,
    128,
    (1 << 16) - 1,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 128,
    (1 << 32) - 1,
    1 << 32,
    (1 << 32) + 1,
    (1 << 48) - 1,
    1 << 48,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 127,
    u64::MAX - 1,
    u64::MAX,
];

/// No hash is compared, so that every field gets to the arithmetic.
fn loose() -> OpenOptions {
    OpenOptions { verify_hash: false, signature: Policy::Disabled, ..OpenOptions::default() }
}

/// Asks an image everything, and checks that no answer claims what can't be. Refusals are fine,
/// and so is damage that shows when something is read. Says whether it was opened.
fn ask(source: impl Source, options: &OpenOptions) -> bool {
    let Ok(package) = Package::open(source, options) else { return false };
    let mut scratch = Scratch::default();
    let count = package.node_count().min(64);
    for node in (0..count).filter_map(NodeId::from_index) {
        let _parent = package.parent(node);
        let _xattrs = package.xattrs(node);
        let _target = package.link_target(node);
        let _hash = package.file_hash(node);
        let _children = package.lookup(node, b"large");
        let mut seen = 0_usize;
        let _listed = package.read_folder(node, 0, |_| {
            seen += 1;
            if seen < 1000 {
                std::ops::ControlFlow::Continue(())
            } else {
                std::ops::ControlFlow::Break(())
            }
        });
        let Ok(found) = package.node(node) else { continue };
        for at in EDGES.into_iter().chain([found.size.wrapping_sub(1), found.size]) {
            read(&package, node, at..u64::MAX, &mut scratch, found.size);
            read(&package, node, 0..at, &mut scratch, found.size);
        }
    }
    for index in (0..package.block_count().min(64)).chain([u32::MAX - 1, u32::MAX]) {
        let _block = package.block(BlockIndex(index));
        let _read = package.read_block(BlockIndex(index), &mut scratch, &mut Vec::new());
    }
    let _findings = package.audit();
    let _manifest = package.parse_manifest();
    true
}

/// Reads at most a few bytes of a range, and holds how many are promised against the file's size.
fn read<S: Source>(
    package: &Package<S>,
    node: NodeId,
    range: Range<u64>,
    scratch: &mut Scratch,
    size: u64,
) {
    let Ok(pieces) = package.pieces(node, range.clone()) else { return };
    let most = u128::from(range.end.min(size)).saturating_sub(u128::from(range.start));
    assert!(u128::from(pieces.remaining()) <= most, "{range:?} of {size}");
    let mut delivered = 0_u128;
    type Stopped = Box<dyn std::error::Error>;
    let _stopped: Result<(), Stopped> = package.read(node, range.clone(), scratch, |bytes| {
        delivered += bytes.len() as u128;
        if delivered < 1 << 16 { Ok(()) } else { Err("enough".into()) }
    });
    assert!(delivered <= most, "{range:?} of {size}");
}

fn files() -> (Files, Vec<write::PlanEntry>) {
    let mut files = Files::default();
    let entries = vec![
        files.add("bin/app", 0o755, b"a small file\n".to_vec()),
        files.add("empty", 0o644, Vec::new()),
        files.add("large", 0o644, noise(9000, 3)),
        files.add("text", 0o644, b"all work and no play\n".repeat(300)),
    ];
    (files, entries)
}

fn image_v1() -> Vec<u8> {
    let (files, entries) = files();
    let plan = Plan::new(Format::V1, entries).expect("a plan");
    let options =
        Options { chunk_size: 4096, compression: Compression::Auto, ..Options::default() };
    let mut out = Cursor::new(Vec::new());
    write::write(&plan, &files, MANIFEST, &options, None, &(), &mut out).expect("written");
    out.into_inner()
}

/// Writes an edge at a place, as a number of 64, 32 or 16 bits.
fn patch(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    let value = value.to_le_bytes();
    let end = (at + width).min(bytes.len());
    bytes[at..end].copy_from_slice(&value[..end - at]);
}

#[test]
fn every_field_of_format_1_at_every_edge() {
    let image = image_v1();
    assert!(ask(image.clone(), &loose()));
    let header = |at| usize::try_from(u64_at(&image, at)).expect("small");
    let tables = [0..128, header(16)..header(16) + header(24), header(32)..header(32) + header(40)];
    let (mut opened, mut refused) = (0, 0);
    for at in tables.into_iter().flatten().step_by(2) {
        for width in [4, 8] {
            for edge in EDGES {
                let mut bytes = image.clone();
                patch(&mut bytes, at, width, edge);
                *(if ask(bytes, &loose()) { &mut opened } else { &mut refused }) += 1;
            }
        }
    }
    assert!(opened > 0 && refused > opened, "{opened} opened, {refused} refused");
}

#[test]
fn offsets_and_sizes_of_sections_in_pairs() {
    let (one, two) = (image_v1(), Image::new().bytes());
    for image in [one, two] {
        for pair in [0x10, 0x20, 0x30, 0x40] {
            for offset in EDGES {
                for size in EDGES {
                    let mut bytes = image.clone();
                    patch(&mut bytes, pair, 8, offset);
                    patch(&mut bytes, pair + 8, 8, size);
                    let opened = ask(bytes, &loose());
                    let end = u128::from(offset) + u128::from(size);
                    assert!(!opened || end <= image.len() as u128, "{offset} and {size}");
                }
            }
        }
    }
}

#[test]
fn every_row_of_format_2_at_every_edge() {
    let image = Image::new();
    assert!(ask(image.bytes(), &OpenOptions::default()));
    let (mut opened, mut refused) = (0, 0);
    for at in (0..image.start(6)).step_by(4) {
        for width in [4, 8] {
            for edge in EDGES.into_iter().filter(|&edge| width == 8 || edge <= u64::from(u32::MAX))
            {
                let mut changed = image.clone();
                patch(&mut changed.metadata, at, width, edge);
                let opens = ask(changed.bytes(), &OpenOptions::default());
                *(if opens { &mut opened } else { &mut refused }) += 1;
            }
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
}

#[test]
fn the_list_of_pages_at_every_edge() {
    let image = Image::new().bytes();
    let tree = usize::try_from(u64_at(&image, 0x20)).expect("small");
    for at in tree + 32..tree + 40 {
        for edge in EDGES {
            let mut bytes = image.clone();
            patch(&mut bytes, at, 8, edge);
            ask(bytes, &loose());
        }
    }
    for edge in EDGES {
        for field in [0x70, 0x78] {
            let mut bytes = image.clone();
            patch(&mut bytes, field, 8, edge);
            ask(bytes, &loose());
        }
    }
}

/// An image whose data section has a hole before the bytes of the blocks.
struct Far {
    head: Vec<u8>,
    hole: u64,
    data: Vec<u8>,
}

impl Source for Far {
    fn size(&self) -> io::Result<u64> {
        Ok((self.head.len() as u64)
            .saturating_add(self.hole)
            .saturating_add(self.data.len() as u64))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (head, data) = (self.head.len() as u64, self.head.len() as u64 + self.hole);
        for (at, byte) in (offset..).zip(buffer) {
            let part =
                if at < head { (&self.head, at) } else { (&self.data, at.wrapping_sub(data)) };
            *byte = match usize::try_from(part.1).ok().and_then(|at| part.0.get(at)) {
                Some(byte) => *byte,
                None if at < data => 0,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        Ok(())
    }
}

/// The image of all kinds of nodes, with its blocks `hole` bytes further behind.
fn far(hole: u64) -> Far {
    let mut image = Image::new();
    for number in 0..image.count(BLOCKS) {
        let row = image.row(BLOCKS, number);
        let offset = u64_at(row, 0).checked_add(hole).expect("a number");
        put(row, 0, &offset.to_le_bytes());
    }
    let size = hole.checked_add(image.data.len() as u64).expect("a number");
    put(&mut image.metadata, 8, &size.to_le_bytes());
    let data = std::mem::take(&mut image.data);
    Far { head: image.bytes(), hole, data }
}

fn content<S: Source>(package: &Package<S>, path: &[u8]) -> Option<Vec<u8>> {
    let Resolved::Found(node) = package.resolve(path, true).ok()? else { return None };
    let mut content = Vec::new();
    let read = package.read(node, 0..u64::MAX, &mut Scratch::default(), |bytes| {
        content.extend_from_slice(bytes);
        Ok::<(), epk_format::Error>(())
    });
    read.ok().map(|()| content)
}

#[test]
fn bytes_beyond_4_gib_are_read_where_they_are() {
    let near = Package::open(Image::new().bytes(), &OpenOptions::default()).expect("good");
    let expected = content(&near, b"/large").expect("a file");
    let holes = [1 << 12, (1 << 32) - 4096, 1 << 32, (1 << 32) + 4096, 1 << 40, 1 << 47, 1 << 62];
    let mut read = 0;
    for hole in holes {
        // Where the format has no place for it, it says so.
        let Ok(package) = Package::open(far(hole), &OpenOptions::default()) else { continue };
        if let Some(found) = content(&package, b"/large") {
            assert!(found == expected, "other bytes, {hole} bytes further behind");
            read += u32::from(hole >= 1 << 32);
        }
        ask(far(hole), &OpenOptions::default());
    }
    assert!(read > 0, "nothing beyond 4 GiB was read");
}

fn edge() -> impl Strategy<Value = u64> {
    (prop::sample::select(EDGES.to_vec()), -3_i64..4)
        .prop_map(|(edge, more)| edge.wrapping_add_signed(more))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// What callers ask for may be anything: they get what there is of it.
    #[test]
    fn any_range_gives_what_there_is_of_it(start in edge(), end in edge(), near in 0_u64..10_000) {
        for bytes in [image_v1(), Image::new().bytes()] {
            let package = Package::open(bytes, &loose()).expect("good");
            let whole = content(&package, b"/large").expect("a file");
            let Ok(Resolved::Found(node)) = package.resolve(b"/large", true) else {
                panic!("it is there")
            };
            for range in [start..end, near..end, start..near, near..near.wrapping_add(end)] {
                let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
                let expected = whole.get(cut(range.start)..cut(range.end)).unwrap_or_default();
                let pieces = package.pieces(node, range.clone()).expect("a file");
                prop_assert_eq!(pieces.remaining(), expected.len() as u64);
                let mut found = Vec::new();
                package.read(node, range, &mut Scratch::default(), |bytes| {
                    found.extend_from_slice(bytes);
                    Ok::<(), epk_format::Error>(())
                }).expect("good");
                prop_assert!(found == expected);
            }
        }
    }

    /// Two fields of an image at once.
    #[test]
    fn any_two_rows_at_edges(
        first in 0_usize..300, one in edge(), second in 0_usize..300, other in edge(),
    ) {
        let mut image = Image::new();
        let rows = image.start(6) / 4;
        for (at, value) in [(first, one), (second, other)] {
            patch(&mut image.metadata, at % rows * 4, 8, value);
        }
        ask(image.bytes(), &OpenOptions::default());
    }

    /// Positions in folders, and numbers of nodes and blocks, that there are not.
    #[test]
    fn numbers_that_nothing_has(number in edge(), position in edge()) {
        for bytes in [image_v1(), Image::new().bytes()] {
            let package = Package::open(bytes, &loose()).expect("good");
            let id = usize::try_from(number).ok().and_then(NodeId::from_index);
            if let Some(id) = id {
                let there = number < package.node_count() as u64;
                prop_assert_eq!(package.node(id).is_ok(), there);
                let _parent = package.parent(id);
            }
            let mut seen = 0;
            let listed = package.read_folder(NodeId::ROOT, position, |_| {
                seen += 1;
                std::ops::ControlFlow::Continue(())
            });
            prop_assert!(listed.is_err() || seen <= package.node_count());
            prop_assert_eq!(package.node(NodeId::ROOT).map(|node| node.kind).ok(), Some(Kind::Folder));
        }
    }
}
