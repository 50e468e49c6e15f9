//! Holds the rules of `spec/epk-2.0.md` §5, the rules that `spec/reject-codes.toml` names, and the
//! reader together: for each rule an image that breaks nothing else, with its code, found when
//! the text says.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use epk_format::digest::Sha256;
use epk_format::package::{BlockIndex, Kind, NodeId, Scratch};
use epk_format::signature::SigningKey;
use epk_format::{Error, OpenOptions, Package, RejectCode};
use support::v2_parts::*;

const SPEC: &str = include_str!("../../spec/epk-2.0.md");
const TABLE: &str = include_str!("../../spec/reject-codes.toml");

/// When a rule is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    Open,
    Read,
    Verify,
    Deep,
}

/// Opens an image and reads everything in it, then what only `verify` looks at, then what only
/// `verify --deep` does: the first refusal.
fn judge(bytes: Vec<u8>) -> Option<(u16, When)> {
    let code = |error: Error| error.code().map_or(0, RejectCode::number);
    let package = match Package::open(bytes, &OpenOptions::default()) {
        Ok(package) => package,
        Err(error) => return Some((code(error), When::Open)),
    };
    let mut deep = None;
    if let Err(error) = walk(&package, &mut deep) {
        return Some((code(error), When::Read));
    }
    match package.audit().into_iter().next() {
        Some(error) => Some((code(error), When::Verify)),
        None => deep.map(|code| (code, When::Deep)),
    }
}

fn walk(package: &Package<Vec<u8>>, deep: &mut Option<u16>) -> Result<(), Error> {
    let mut scratch = Scratch::default();
    let mut nodes = vec![NodeId::ROOT];
    while let Some(node) = nodes.pop() {
        let kind = package.node(node)?.kind;
        package.xattrs(node)?;
        package.link_target(node)?;
        if kind == Kind::Folder {
            for (name, id, _) in package.children(node)? {
                assert_eq!(package.lookup(node, &name)?, Some(id));
                nodes.push(id);
            }
        }
        let mut content = Vec::new();
        package.read(node, 0..u64::MAX, &mut scratch, |bytes| {
            content.extend_from_slice(bytes);
            Ok::<(), Error>(())
        })?;
        if package.file_hash(node)?.is_some_and(|hash| hash != Sha256::of(&content)) {
            *deep = Some(132);
        }
    }
    for block in (0..package.block_count()).map(BlockIndex) {
        package.block(block)?;
        let verified = package.verify_block(block, &mut scratch, &mut Vec::new());
        *deep = deep.or(verified.err().and_then(|error| error.code()).map(RejectCode::number));
    }
    Ok(())
}

type Change = fn(&mut Image);

/// Changes to the parts, whose hashes are made anew.
const CHANGED: &[(u16, u16, When, Change)] = &[
    (8, 101, When::Open, |image| image.manifest.resize((1 << 20) + 1, b'#')),
    (9, 102, When::Open, |image| image.blob = vec![0; (1 << 16) + 1]),
    (12, 141, When::Open, |image| image.metadata.truncate(63)),
    (15, 12, When::Open, |image| {
        image.blob = SigningKey::from_seed(&[1; 32]).sign(&Sha256([7; 32]));
    }),
    (16, 141, When::Open, |image| put(&mut image.metadata, 0, &2048_u32.to_le_bytes())),
    (16, 141, When::Open, |image| put(&mut image.metadata, 0, &5000_u32.to_le_bytes())),
    (16, 141, When::Open, |image| put(&mut image.metadata, 0, &(2_u32 << 20).to_le_bytes())),
    (16, 141, When::Open, |image| image.metadata[4] = 1),
    (17, 140, When::Open, |image| image.data.push(0)),
    (18, 141, When::Open, |image| put(&mut image.metadata, 0x10, &[0; 8])),
    (18, 141, When::Open, |image| put(&mut image.metadata, 0x38, &[1, 0, 0, 0, 1])),
    (18, 141, When::Open, |image| put(&mut image.metadata, 0x18, &[0xff; 8])),
    (19, 143, When::Open, |image| image.set("", 1, &[0x11])),
    (19, 143, When::Open, |image| image.set("", 0x24, &[1])),
    (19, 143, When::Open, |image| image.set("", 0x28, &[1])),
    // The second page, with a stream of other bytes than the page has.
    (47, 141, When::Read, |image| image.page = |page, number| second(page, number, &deflate(b"x"))),
    (47, 141, When::Read, |image| image.page = |page, number| second(page, number, b"no stream")),
    (47, 141, When::Read, |image| image.page = |page, number| second(page, number, b"")),
    (47, 141, When::Read, |image| image.page = |page, number| second(page, number, &[0; PAGE + 1])),
    (47, 141, When::Read, |image| image.row = |tree| tree[40 + 37] = 1),
    (48, 141, When::Verify, |image| {
        image.page = |page, number| {
            let stream = [&deflate(&page)[..], b"!"].concat();
            second(page, number, &stream)
        };
    }),
    (48, 141, When::Verify, |image| image.behind = 1),
    (48, 141, When::Verify, |image| image.before = 1),
    (21, 143, When::Read, |image| image.set("large", 1, &[0x51])),
    (21, 143, When::Read, |image| image.set("large", 1, &[0x01])),
    (21, 143, When::Read, |image| image.set("large", 1, &[0x13])),
    (21, 143, When::Read, |image| image.set("large", 2, &[1])),
    (21, 143, When::Read, |image| image.set("large", 0x2C, &[1])),
    (21, 143, When::Read, |image| image.set("large", 0x18, &1_000_000_000_u32.to_le_bytes())),
    (22, 143, When::Read, |image| image.set("empty", 0x20, &[1])),
    (22, 143, When::Read, |image| image.set("empty", 0x24, &[1])),
    (22, 143, When::Read, |image| image.set("empty", 0x28, &[1])),
    (22, 143, When::Read, |image| image.set("link", 0x24, &[1])),
    (22, 143, When::Read, |image| image.set("link", 0x28, &[1])),
    (22, 143, When::Read, |image| image.set("link", 0, &[0xfe])),
    (22, 143, When::Read, |image| image.set("lib64", 8, &[1])),
    (22, 143, When::Read, |image| image.set("lib64", 0, &[0xfe])),
    (23, 143, When::Read, |image| image.set("link", 8, &[0])),
    (23, 143, When::Read, |image| image.set("link", 8, &4096_u64.to_le_bytes())),
    (23, 143, When::Read, |image| {
        let place = image.start(6) + u32_at(image.row(NODES, image.node("link")), 0x20) as usize;
        image.metadata[place] = 0;
    }),
    (24, 143, When::Read, |image| image.set("bin", 8, &[200])),
    (24, 143, When::Read, |image| image.set("bin", 0x20, &[200])),
    (25, 143, When::Read, |image| image.set("text", 0x28, &[200])),
    (26, 144, When::Read, |image| image.set_entry("text", 8, &[0])),
    (26, 144, When::Read, |image| image.set_entry("text", 8, &256_u16.to_le_bytes())),
    (26, 144, When::Read, |image| name(image, "text", b"te/t")),
    (26, 144, When::Read, |image| name(image, "text", b"te\0t")),
    (26, 144, When::Read, |image| name(image, "text", b"te\xfft")),
    (26, 144, When::Read, |image| name(image, "bin", b".")),
    (26, 144, When::Read, |image| name(image, "bin", b"..")),
    (26, 144, When::Read, |image| image.set_entry("text", 10, &[5])),
    (27, 144, When::Read, |image| image.set_entry("text", 0, &[200])),
    (27, 144, When::Read, |image| image.set_entry("text", 10, &[3])),
    (28, 145, When::Read, |image| name(image, "text", b"aaaa")),
    (28, 145, When::Read, |image| name(image, "text", b"link")),
    (29, 146, When::Read, |image| image.set("bin", 0x24, &[1])),
    (29, 146, When::Read, |image| image.set("bin", 0x28, &[7])),
    (29, 146, When::Read, |image| image.set("lib64", 0x24, &[1])),
    (29, 146, When::Read, |image| image.set("lib64", 0x28, &[0])),
    (30, 117, When::Read, |image| image.set("lib64", 0x20, &[200])),
    (30, 117, When::Read, |image| {
        let file = u32::try_from(image.node("text")).expect("small");
        image.set("lib64", 0x20, &file.to_le_bytes());
    }),
    (31, 147, When::Read, |image| image.set("text", 0x24, &4095_u32.to_le_bytes())),
    (31, 147, When::Read, |image| image.set("text", 0x20, &[200])),
    (31, 147, When::Read, |image| {
        let chunk = u32_at(image.row(NODES, image.node("text")), 0x20) as usize;
        put(image.row(CHUNKS, chunk), 0, &[200]);
    }),
    (31, 147, When::Read, |image| image.set("large", 8, &(CHUNK as u64 * 3).to_le_bytes())),
    (32, 148, When::Read, |image| image.row(BLOCKS, 0)[17] = 1),
    (32, 148, When::Read, |image| image.row(BLOCKS, 0)[16] = 2),
    (32, 148, When::Read, |image| put(image.row(BLOCKS, 0), 8, &[0; 4])),
    (32, 148, When::Read, |image| put(image.row(BLOCKS, 0), 12, &[0; 4])),
    (32, 148, When::Read, |image| put(image.row(BLOCKS, 0), 12, &4097_u32.to_le_bytes())),
    (32, 148, When::Read, |image| put(image.row(BLOCKS, 0), 0, &[0xff; 8])),
    (32, 148, When::Read, |image| put(image.row(BLOCKS, 0), 2, &[1])),
    (33, 149, When::Read, |image| image.row(XATTRS, 0)[4] = 5),
    (33, 149, When::Read, |image| image.row(XATTRS, 0)[6] = 2),
    (33, 149, When::Read, |image| put(image.row(XATTRS, 0), 12, &[1, 0, 1])),
    (33, 149, When::Read, |image| {
        let first = u32_at(image.row(NODES, image.node("bin/app")), 0x1C) as usize - 1;
        let second = image.row(XATTRS, first + 1)[..6].to_vec();
        put(image.row(XATTRS, first), 0, &second);
    }),
    (33, 149, When::Read, |image| {
        let last = image.count(XATTRS) - 1;
        image.row(XATTRS, last)[6] = 0;
    }),
    (33, 149, When::Read, |image| image.set("empty", 0x1C, &[200])),
    (34, 141, When::Read, |image| image.set("link", 0x20, &[0xff; 4])),
    (34, 141, When::Read, |image| image.set_entry("text", 4, &[0xff; 4])),
    (34, 141, When::Read, |image| put(image.row(XATTRS, 1), 8, &[0xff; 4])),
    (35, 131, When::Read, |image| image.data[3] ^= 1),
    (36, 130, When::Read, |image| forge(image, |stream| stream[..stream.len() - 1].to_vec())),
    (37, 150, When::Verify, |image| {
        let row = image.row(ENTRIES, 0).to_vec();
        image.push(ENTRIES, &row);
    }),
    (37, 150, When::Verify, |image| {
        let mut row = image.row(XATTRS, 0).to_vec();
        row[6] = 1;
        image.push(XATTRS, &row);
    }),
    (37, 150, When::Verify, |image| image.set("empty", 0x1C, &[1])),
    (38, 150, When::Verify, |image| image.set("text", 4, &[2])),
    (38, 150, When::Verify, |image| image.set("bin", 4, &[3])),
    (38, 150, When::Verify, |image| image.set("lib64", 4, &[2])),
    (38, 150, When::Verify, |image| {
        let row = image.row(NODES, image.node("empty")).to_vec();
        image.push(NODES, &row);
    }),
    (39, 147, When::Verify, |image| {
        // `other` shows the last bytes of what is before it, too.
        let node = image.node("bin/other");
        let row = image.row(NODES, node);
        let (offset, size) = (u32_at(row, 0x24), u64_at(row, 8));
        assert!(offset > 0, "it is not the first of its chunk");
        put(row, 0x24, &(offset - 1).to_le_bytes());
        put(row, 8, &(size + 1).to_le_bytes());
    }),
    (40, 150, When::Verify, |image| image.push(CHUNKS, &[0xff; 4])),
    (40, 150, When::Verify, |image| image.push(HASHES, &[7; 32])),
    (40, 150, When::Verify, |image| {
        // A block of one byte at the end of the data.
        let end = image.data.len() as u64;
        let mut row = [&end.to_le_bytes()[..], &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]].concat();
        row.extend(Sha256::of(b"!").0);
        image.push(BLOCKS, &row);
        image.data.push(b'!');
        let size = image.data.len() as u64;
        put(&mut image.metadata, 8, &size.to_le_bytes());
    }),
    (40, 150, When::Verify, |image| {
        // The last file of a shared chunk ends a byte before its chunk.
        let (mut last, mut end) = (0, 0);
        for path in ["bin/app", "bin/other", "text"] {
            let row = image.row(NODES, image.node(path)).to_vec();
            let place = (u32_at(&row, 0x20), u64::from(u32_at(&row, 0x24)) + u64_at(&row, 8));
            if place.1 > end {
                (last, end) = (image.node(path), place.1);
            }
        }
        let size = u64_at(image.row(NODES, last), 8) - 1;
        put(image.row(NODES, last), 8, &size.to_le_bytes());
    }),
    (41, 148, When::Verify, |image| {
        // The first two blocks change places in the table, and in the chunk rows.
        let (first, second) = (image.row(BLOCKS, 0).to_vec(), image.row(BLOCKS, 1).to_vec());
        image.row(BLOCKS, 0).copy_from_slice(&second);
        image.row(BLOCKS, 1).copy_from_slice(&first);
        for chunk in 0..image.count(CHUNKS) {
            let row = image.row(CHUNKS, chunk);
            match u32_at(row, 0) {
                0 => put(row, 0, &[1]),
                1 => put(row, 0, &[0]),
                _ => {}
            }
        }
    }),
    (42, 140, When::Verify, |image| {
        image.data.push(0);
        let size = image.data.len() as u64;
        put(&mut image.metadata, 8, &size.to_le_bytes());
    }),
    (43, 150, When::Verify, |image| image.strings().push(b'x')),
    (46, 130, When::Deep, |image| forge(image, |stream| [stream, &[0]].concat())),
    (45, 132, When::Deep, |image| image.row(HASHES, 0)[0] ^= 1),
];

/// Gives an entry of the root another name, at the end of the strings.
fn name(image: &mut Image, old: &str, new: &[u8]) {
    let place = u32::try_from(image.metadata.len() - image.start(6)).expect("small");
    let length = u16::try_from(new.len()).expect("short");
    let entry = image.entry(0, old);
    put(&mut image.metadata, entry + 4, &place.to_le_bytes());
    put(&mut image.metadata, entry + 8, &length.to_le_bytes());
    image.strings().extend_from_slice(new);
}

/// Replaces the last block, a compressed one, by what `change` makes of its stream, rightly
/// hashed.
fn forge(image: &mut Image, change: fn(&[u8]) -> Vec<u8>) {
    let last = image.count(BLOCKS) - 1;
    let row = image.row(BLOCKS, last).to_vec();
    assert_eq!(row[16], 1, "a compressed block");
    let start = u64_at(&row, 0) as usize;
    let stream = change(&image.data[start..]);
    image.data.truncate(start);
    image.data.extend_from_slice(&stream);
    let row = image.row(BLOCKS, last);
    put(row, 8, &u32::try_from(stream.len()).expect("small").to_le_bytes());
    put(row, 20, &Sha256::of(&stream).0);
    let size = image.data.len() as u64;
    put(&mut image.metadata, 8, &size.to_le_bytes());
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

/// Another form of the second page.
fn second(page: Vec<u8>, number: usize, stored: &[u8]) -> Vec<u8> {
    if number == 1 { stored.to_vec() } else { page }
}

type Patch = fn(&mut Vec<u8>);

/// Changes to the finished image.
const PATCHED: &[(u16, u16, When, Patch)] = &[
    (1, 5, When::Open, |bytes| bytes.truncate(127)),
    (2, 2, When::Open, |bytes| bytes[3] = b'2'),
    (3, 3, When::Open, |bytes| bytes[4] = 1),
    (3, 3, When::Open, |bytes| bytes[0x20] = 129),
    (4, 4, When::Open, |bytes| bytes[8] = 1),
    (4, 4, When::Open, |bytes| bytes[8] = 4),
    (5, 5, When::Open, |bytes| bytes[12] = 127),
    (6, 10, When::Open, |bytes| bytes[0x7F] = 1),
    (6, 10, When::Open, |bytes| bytes[0x78] = 1),
    (12, 141, When::Open, |bytes| bytes[0x76] = 2),
    (7, 6, When::Open, |bytes| bytes[0x1C] = 1),
    (7, 6, When::Open, |bytes| bytes[0x37] = 0xff),
    (10, 10, When::Open, |bytes| bytes[8] = 2),
    (10, 10, When::Open, |bytes| bytes[0x40] = 1),
    (11, 140, When::Open, |bytes| bytes[0x38] -= 1),
    (11, 140, When::Open, |bytes| bytes[0x30] += 1),
    (13, 141, When::Open, |bytes| {
        // A tree of two hashes; the manifest loses its first bytes.
        bytes[0x28] += 40;
        bytes[0x30] += 40;
        bytes[0x38] -= 40;
        seal(bytes);
    }),
    (14, 11, When::Open, |bytes| bytes[0x50] ^= 1),
    (14, 11, When::Open, |bytes| bytes[0x80] ^= 1),
    (20, 142, When::Read, |bytes| {
        let metadata = u64_at(bytes, 0x10) as usize;
        bytes[metadata + PAGE] ^= 1;
    }),
];

/// A folder below another one, each with a name of 255 bytes, until paths are too long.
fn deep(depth: usize) -> Vec<u8> {
    let mut image = Image::new();
    let parent = image.count(NODES);
    // A folder's entries come after those of all folders before it, so these are the last.
    let place = u32::try_from(image.metadata.len() - image.start(6)).expect("small").to_le_bytes();
    image.strings().extend_from_slice(&[b'z'; 255]);
    let folder = |parent: usize, first: usize, own: usize, entries: u8| {
        let mut row = vec![0; 48];
        row[..2].copy_from_slice(&0x21FF_u16.to_le_bytes());
        row[4] = 2 + entries;
        row[8] = entries;
        put(&mut row, 0x20, &u32::try_from(first).expect("small").to_le_bytes());
        put(&mut row, 0x24, &u32::try_from(parent).expect("small").to_le_bytes());
        put(&mut row, 0x28, &u32::try_from(own).expect("small").to_le_bytes());
        row
    };
    let entry = |node: usize| {
        let node = u32::try_from(node).expect("small").to_le_bytes();
        [&node[..], &place, &255_u16.to_le_bytes(), &2_u16.to_le_bytes()].concat()
    };
    // The first one hangs below `bin`, whose run is the last of the table.
    let bin = image.node("bin");
    let row = image.row(NODES, bin);
    row[4] += 1;
    row[8] += 1;
    let first = image.count(ENTRIES);
    image.push(ENTRIES, &entry(parent));
    for level in 0..depth {
        let last = level + 1 == depth;
        let above = if level == 0 { bin } else { parent + level - 1 };
        image.push(NODES, &folder(above, first + level + 1, first + level, u8::from(!last)));
        if !last {
            image.push(ENTRIES, &entry(parent + level + 1));
        }
    }
    image.bytes()
}

#[test]
fn every_rule_has_an_image_that_breaks_it() {
    assert_eq!(judge(Image::new().bytes()), None);
    let mut wrong = Vec::new();
    let mut expect = |rule: u16, case: usize, bytes: Vec<u8>, code: u16, when: When| {
        let found = judge(bytes);
        // Opening looks for the manifest's name, so it may meet a row already.
        let early = when == When::Read && found == Some((code, When::Open));
        if found != Some((code, when)) && !early {
            wrong.push(format!("rule {rule}, case {case}: {found:?}, not {code} at {when:?}"));
        }
    };
    for (case, (rule, code, when, change)) in CHANGED.iter().enumerate() {
        let mut image = Image::new();
        change(&mut image);
        expect(*rule, case, image.bytes(), *code, *when);
    }
    for (case, (rule, code, when, patch)) in PATCHED.iter().enumerate() {
        let mut bytes = Image::new().bytes();
        patch(&mut bytes);
        expect(*rule, case, bytes, *code, *when);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // `bin` and 15 names of 255 bytes are 3 + 15 * 256 bytes.
    assert_eq!(judge(deep(15)), None);
    assert_eq!(judge(deep(16)), Some((114, When::Verify)));
}

#[test]
fn text_table_and_tests_agree() {
    let mut tested: BTreeMap<u16, BTreeSet<(u16, When)>> = BTreeMap::new();
    let changed = CHANGED.iter().map(|&(rule, code, when, _)| (rule, code, when));
    let patched = PATCHED.iter().map(|&(rule, code, when, _)| (rule, code, when));
    for (rule, code, when) in changed.chain(patched).chain([(44, 114, When::Verify)]) {
        tested.entry(rule).or_default().insert((code, when));
    }
    let mut told: BTreeMap<u16, BTreeSet<(u16, When)>> = BTreeMap::new();
    for line in SPEC.lines() {
        let Some(inner) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            continue;
        };
        let cells: Vec<_> = inner.split('|').map(str::trim).collect();
        let [rule, _, code, when] = cells[..] else { continue };
        let Ok(rule) = rule.parse() else { continue };
        let when = match when {
            "open" => When::Open,
            "read" => When::Read,
            "verify" => When::Verify,
            "deep" => When::Deep,
            other => panic!("rule {rule}: `{other}`"),
        };
        let code = code.parse().unwrap_or_else(|_| panic!("rule {rule}: `{code}`"));
        assert!(told.insert(rule, BTreeSet::from([(code, when)])).is_none(), "rule {rule} twice");
    }
    assert!(told.keys().copied().eq(1..=48), "{:?}", told.keys());
    assert_eq!(told, tested);

    let table: toml::Table = TABLE.parse().expect("TOML");
    let mut listed: BTreeMap<u16, u16> = BTreeMap::new();
    let number = |value: &toml::Value| {
        u16::try_from(value.as_integer().expect("a number")).expect("a small number")
    };
    for code in table["code"].as_array().expect("an array") {
        for rule in code.get("rule_2").and_then(toml::Value::as_array).into_iter().flatten() {
            assert_eq!(listed.insert(number(rule), number(&code["number"])), None, "{rule}");
        }
    }
    let told: BTreeMap<u16, u16> = told
        .into_iter()
        .flat_map(|(rule, codes)| codes.into_iter().map(move |(code, _)| (rule, code)))
        .collect();
    assert_eq!(listed, told);
}
