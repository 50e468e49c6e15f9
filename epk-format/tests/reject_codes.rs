//! Holds `RejectCode`, `spec/reject-codes.toml` and `spec/epk-1.0.md` together, and shows an image
//! for each code.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use epk_format::content::Inflater;
use epk_format::digest::Sha256;
use epk_format::layout::block::BlockEntry;
use epk_format::layout::header::{Flags, Header};
use epk_format::layout::toc::{Entry, EntryFlags, NODE_ALIAS, NODE_FILE, NODE_FOLDER};
use epk_format::layout::{block, header, toc};
use epk_format::package::{BlockIndex, Scratch};
use epk_format::signature::{self, Policy, PublicKey, SigningKey};
use epk_format::source::Source;
use epk_format::trust::{NamePrefix, Names, TrustedKeys};
use epk_format::{Error, OpenOptions, Package, RejectCode, limits};
use zerocopy::{FromZeros as _, IntoBytes as _};

const SPEC: &str = include_str!("../../spec/epk-1.0.md");
const SPEC_2: &str = include_str!("../../spec/epk-2.0.md");
const TABLE: &str = include_str!("../../spec/reject-codes.toml");
const HANDMADE: &str = include_str!("../../tests/interop/epk_handmade.rs");

/// What one source says of a code.
#[derive(Debug, PartialEq, Eq, Default)]
struct Row {
    name: String,
    when: String,
    rules: BTreeSet<u16>,
    /// Given for packages of format 2.0 only.
    version_2: bool,
}

fn table() -> BTreeMap<u16, Row> {
    let table: toml::Table = TABLE.parse().expect("TOML");
    let codes = table["code"].as_array().expect("an array of tables");
    let mut rows = BTreeMap::new();
    for code in codes {
        let number = |value: &toml::Value| {
            u16::try_from(value.as_integer().expect("a number")).expect("a small number")
        };
        let text = |key: &str| code[key].as_str().expect("a text").to_owned();
        assert!(text("meaning").ends_with('.') && text("since").split('.').count() == 3, "{code}");
        let rules = code["rule"].as_array().expect("an array").iter().map(number).collect();
        let version_2 = code.get("format").is_some();
        let row = Row { name: text("name"), when: text("when"), rules, version_2 };
        assert!(["open", "read", "verify", "deep", "never"].contains(&row.when.as_str()), "{code}");
        assert!(rows.insert(number(&code["number"]), row).is_none(), "twice: {code}");
    }
    rows
}

/// The lines of one chapter.
fn chapter(number: u8) -> impl Iterator<Item = &'static str> {
    let (head, next) = (format!("## {number}. "), format!("## {}. ", number + 1));
    SPEC.lines()
        .skip_while(move |line| !line.starts_with(&head))
        .take_while(move |line| !line.starts_with(&next))
}

fn cells(line: &'static str) -> Option<Vec<&'static str>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// Rows of §7: `| code | `NAME` | when |` and `| rule | check | codes | held by |`.
fn text() -> BTreeMap<u16, Row> {
    let mut rows: BTreeMap<u16, Row> = BTreeMap::new();
    let mut last_rule = 0;
    for line in chapter(7) {
        let Some(cells) = cells(line) else { continue };
        let Ok(number) = cells[0].parse::<u16>() else { continue };
        if let Some(name) = cells[1].strip_prefix("`EPK_") {
            let row = rows.entry(number).or_default();
            assert!(row.name.is_empty(), "code {number} twice");
            row.name = format!("EPK_{}", name.trim_end_matches('`'));
            row.when = cells[2].to_owned();
        } else {
            assert_eq!(number, last_rule + 1, "rules are numbered without gaps: {line}");
            last_rule = number;
            assert!(!cells[3].is_empty(), "rule {number} says nothing of its test");
            for code in cells[2].split(',') {
                let code = code.trim().parse().unwrap_or_else(|_| panic!("no code: {line}"));
                rows.entry(code).or_default().rules.insert(number);
            }
        }
    }
    rows
}

#[test]
fn enum_and_table_agree() {
    let table = table();
    let listed: Vec<_> = table.iter().map(|(number, row)| (*number, row.name.as_str())).collect();
    let known: Vec<_> = RejectCode::ALL.iter().map(|code| (code.number(), code.name())).collect();
    assert_eq!(listed, known);
}

#[test]
fn table_and_text_agree() {
    let text = text();
    let (version_2, table): (BTreeMap<_, _>, BTreeMap<_, _>) =
        table().into_iter().partition(|(_, row)| row.version_2);
    let told: Vec<_> = SPEC_2
        .lines()
        .filter_map(cells)
        .filter(|cells| cells.len() == 3)
        .filter_map(|cells| Some((cells[0].parse::<u16>().ok()?, cells[1], cells[2])))
        .collect();
    for (number, row) in &version_2 {
        let name = format!("`{}`", row.name);
        assert!(told.contains(&(*number, name.as_str(), row.when.as_str())), "code {number}");
    }
    assert_eq!(told.len(), version_2.len(), "the text of 2.0 has codes that the table lacks");
    for (number, row) in &table {
        assert_eq!(text.get(number), Some(row), "code {number}: the text on the left");
    }
    assert_eq!(text.len(), table.len(), "the text has codes that the table lacks");
}

/// What §7 says of tests is true: those of this file exist, and so do the images.
#[test]
fn the_tests_that_hold_rules_exist() {
    // As in `tests/interop`: the images lie outside the repository.
    let shared = std::env::var_os("EPK_VECTORS").map(|root| Path::new(&root).join("epk"));
    let mut names = 0;
    for cells in chapter(7).filter_map(cells).filter(|cells| cells.len() == 4) {
        for name in cells[3].split('`').skip(1).step_by(2).filter(|name| !name.contains('/')) {
            names += 1;
            if name.contains('_') {
                let function = format!("fn {name}()");
                let texts = [include_str!("reject_codes.rs"), include_str!("write.rs")];
                assert!(texts.iter().any(|text| text.contains(&function)), "{name}");
            } else if let Some(shared) = &shared {
                let found = ["invalid", "handmade"]
                    .map(|folder| shared.join(folder).join(format!("{name}.epk")).is_file());
                assert!(found.contains(&true), "{name}");
            }
        }
    }
    assert!(names > 100, "{names}");
}

/// §8 names the same vectors with the same codes as the test that replays them.
#[test]
fn text_and_interop_test_agree() {
    let told: BTreeSet<(String, u16)> = chapter(8)
        .filter_map(cells)
        .filter_map(|cells| {
            let [names, code, _why] = cells[..] else { return None };
            let code = code.parse().ok()?;
            let names = names.split(',').map(|name| name.trim().trim_matches('`').to_owned());
            Some(names.map(move |name| (name, code)))
        })
        .flatten()
        .collect();
    let list = HANDMADE.split("const STRICTER").nth(1).expect("the list");
    let list = list.split("];").next().expect("its end");
    let tested: BTreeSet<(String, u16)> = list
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.strip_suffix("),")?.split_once("\", "))
        .map(|(name, code)| (name.to_owned(), code.parse().expect("a code")))
        .collect();
    assert!(tested.len() > 20, "{tested:?}");
    assert_eq!(told, tested);
}

/// §11's hexdump is a package, and says of itself what the chapter says.
#[test]
fn the_worked_example_is_a_package() {
    let bytes: Vec<u8> = chapter(11)
        .filter_map(|line| line.split_once(": ").filter(|(at, _)| at.len() == 8))
        .flat_map(|(_, rest)| rest.split("  ").next().unwrap_or("").split_whitespace())
        .flat_map(|pair| pair.as_bytes().chunks(2).map(<[u8]>::to_vec).collect::<Vec<_>>())
        .map(|digits| {
            let digits = std::str::from_utf8(&digits).expect("ASCII");
            u8::from_str_radix(digits, 16).expect("hexadecimal digits")
        })
        .collect();
    let package = Package::open(bytes.clone(), &OpenOptions::default()).expect("a package");
    let said = |text: &str| assert!(chapter(11).any(|line| line.contains(text)), "{text}");
    said(&format!("{} bytes", bytes.len()));
    said(&package.package_hash().to_hex());
    assert!(package.parse_manifest().is_ok());
    let mut plain = Vec::new();
    package.read_block(BlockIndex(0), &mut Scratch::default(), &mut plain).expect("intact");
    said(&Sha256::of(&plain).to_hex());
}

// Images.

const CONTENT: &[u8] = b"content";

/// A package of a folder `d`, a file `d/f` and an alias `l`, in parts.
struct Image {
    flags: Flags,
    entries: Vec<(Entry, Vec<u8>, Vec<u8>)>,
    blocks: Vec<BlockEntry>,
    manifest: Vec<u8>,
    blob: Vec<u8>,
}

impl Image {
    fn new() -> Self {
        let mut image = Self {
            flags: Flags::empty(),
            entries: Vec::new(),
            blocks: Vec::new(),
            manifest: b"name = \"n\"\n".to_vec(),
            blob: Vec::new(),
        };
        image.add(NODE_FOLDER, b"d", b"");
        image.add(NODE_FILE, b"d/f", b"");
        image.add(NODE_ALIAS, b"l", b"d");
        let mut block = BlockEntry::new_zeroed();
        block.stored_size = (CONTENT.len() as u32).into();
        block.plain_size = block.stored_size;
        block.chunk_hash = Sha256::of(CONTENT).0;
        image.blocks.push(block);
        image
    }

    fn add(&mut self, node_type: u32, path: &[u8], target: &[u8]) -> &mut Entry {
        let mut entry = Entry::new_zeroed();
        entry.node_type = node_type.into();
        if node_type == NODE_FILE {
            entry.flags = EntryFlags::HAS_BLOCKS.bits().into();
            entry.file_size = (CONTENT.len() as u64).into();
            entry.block_count = 1.into();
        } else if node_type == NODE_ALIAS {
            entry.flags = EntryFlags::HAS_ALIAS_TARGET.bits().into();
        }
        self.entries.push((entry, path.to_vec(), target.to_vec()));
        &mut self.entries.last_mut().expect("just added").0
    }

    fn header(&self) -> Header {
        let variable: usize = self.entries.iter().map(|(_, p, t)| p.len() + t.len()).sum();
        let toc_size = toc::HEADER_SIZE + self.entries.len() * toc::ENTRY_SIZE + variable;
        let table_offset = header::SIZE + toc_size;
        let table_size = self.blocks.len() * block::SIZE;
        let manifest_offset = table_offset + table_size + CONTENT.len();
        let signature_offset = manifest_offset + self.manifest.len();
        let number = |value: usize| u64::try_from(value).expect("small").into();
        let mut head = Header::new_zeroed();
        head.magic = header::MAGIC.into();
        head.version = header::VERSION_1_0.into();
        head.header_size = (header::SIZE as u32).into();
        let mut flags = self.flags;
        flags.set(Flags::HAS_SIGNATURE, !self.blob.is_empty());
        head.flags = flags.bits().into();
        head.toc_offset = number(header::SIZE);
        head.toc_size = number(toc_size);
        head.block_table_offset = number(table_offset);
        head.block_table_size = number(table_size);
        head.manifest_offset = number(manifest_offset);
        head.manifest_size = number(self.manifest.len());
        head.signature_offset = number(signature_offset);
        head.signature_size = number(self.blob.len());
        head.package_hash = HASH.0;
        head
    }

    /// The bytes; entries and blocks get their lengths and places unless they have some.
    fn bytes(&self) -> Vec<u8> {
        let header = self.header();
        let data = header.manifest_offset.get() - CONTENT.len() as u64;
        let count = u32::try_from(self.entries.len()).expect("small");
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(count.to_le_bytes());
        bytes.extend([0; 4]);
        for (entry, path, target) in &self.entries {
            let mut entry = *entry;
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small");
            entry.path_length = length(path).into();
            entry.alias_target_length = length(target).into();
            entry.entry_size = (96 + length(path) + length(target)).into();
            bytes.extend([entry.as_bytes(), path, target].concat());
        }
        for block in &self.blocks {
            let mut block = *block;
            if block.offset == 0 {
                block.offset = data.into();
            }
            bytes.extend(block.as_bytes());
        }
        bytes.extend([CONTENT, &self.manifest, &self.blob].concat());
        bytes
    }

    /// The code with which it is refused, 0 if it isn't.
    fn code(&self) -> u16 {
        code(self.bytes(), &loose())
    }
}

/// What the images say is their hash. Nobody compares it, but signatures sign it.
const HASH: Sha256 = Sha256([7; 32]);

fn loose() -> OpenOptions {
    OpenOptions { verify_hash: false, ..OpenOptions::default() }
}

fn required() -> OpenOptions {
    OpenOptions { signature: Policy::Required, ..loose() }
}

fn code(source: impl Source, options: &OpenOptions) -> u16 {
    let code = Package::open(source, options).err().map(|error| error.code().expect("a code"));
    code.map_or(0, RejectCode::number)
}

/// The code after a change to the image's bytes.
fn patched(at: usize, byte: u8) -> u16 {
    let mut bytes = Image::new().bytes();
    bytes[at] = byte;
    code(bytes, &loose())
}

fn changed(change: impl FnOnce(&mut Image)) -> u16 {
    let mut image = Image::new();
    change(&mut image);
    image.code()
}

fn with_path(path: &[u8]) -> u16 {
    changed(|image| {
        image.add(NODE_FOLDER, path, b"");
    })
}

#[test]
fn every_code_of_exos_has_an_image() {
    assert_eq!(Image::new().code(), 0);
    assert_eq!(patched(0, b'e'), 2);
    assert_eq!(patched(6, 2), 3);
    assert_eq!(patched(8, 0x10), 4);
    assert_eq!(patched(12, 127), 5);
    assert_eq!(code(vec![0; 127], &loose()), 5);
    // The block table leaves the file; the table of contents begins in the header; the block
    // table has a byte too many.
    assert_eq!(patched(42, 1), 6);
    assert_eq!(patched(16, 127), 8);
    // The manifest begins one byte before the end of the block table.
    let header = Image::new().header();
    let end = header.block_table_offset.get() + header.block_table_size.get();
    assert_eq!(patched(48, (end - 1).to_le_bytes()[0]), 8);
    assert_eq!(patched(40, 53), 9);
    assert_eq!(patched(112, 1), 10);
    assert_eq!(code(Image::new().bytes(), &OpenOptions::default()), 11);
    assert_eq!(code(Image::new().bytes(), &required()), 12);
    assert_eq!(changed(|image| image.blob = b"SIGS".to_vec()), 12);
}

/// A header, and one byte over and over after it.
struct Hollow(Header, u8);

impl Source for Hollow {
    fn size(&self) -> io::Result<u64> {
        Ok(u32::MAX.into())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        buffer.fill(self.1);
        if offset == 0 {
            buffer[..header::SIZE].copy_from_slice(self.0.as_bytes());
        }
        Ok(())
    }
}

#[test]
fn what_is_above_the_limits_is_refused_without_being_read() {
    let mut head = Image::new().header();
    head.toc_size = (limits::TABLE_BYTES + 1).into();
    for offset in [&mut head.block_table_offset, &mut head.manifest_offset] {
        *offset = u64::from(u32::MAX - 100).into();
    }
    head.block_table_size = 0.into();
    head.signature_offset = 0.into();
    assert_eq!(code(Hollow(head, 0), &loose()), 13);
    // EXOS's rules on the table's head come before the one on its size.
    assert_eq!(code(Hollow(head, 1), &loose()), 9);
    head.toc_size = 8.into();
    head.block_table_offset = 136.into();
    head.block_table_size = (limits::TABLE_BYTES + 52 - limits::TABLE_BYTES % 52).into();
    assert_eq!(code(Hollow(head, 0), &loose()), 13);
    head.block_table_size = (limits::TABLE_BYTES + 51 - limits::TABLE_BYTES % 52).into();
    assert_eq!(code(Hollow(head, 0), &loose()), 9);

    let manifest = usize::try_from(limits::MANIFEST_BYTES).expect("small");
    assert_eq!(changed(|image| image.manifest.resize(manifest, b'#')), 0);
    assert_eq!(changed(|image| image.manifest.resize(manifest + 1, b'#')), 101);
    let blob = usize::try_from(limits::SIGNATURE_BYTES).expect("small");
    assert_eq!(changed(|image| image.blob.resize(blob, 0)), 12);
    assert_eq!(changed(|image| image.blob.resize(blob + 1, 0)), 102);

    // Inline data may lie anywhere: the whole image, longer than the limit.
    let inline = |size: u32| {
        let mut image = Image::new();
        let entry = image.add(NODE_FILE, b"x", b"");
        entry.flags = EntryFlags::HAS_INLINE_DATA.bits().into();
        entry.block_count = 0.into();
        entry.inline_size = size.into();
        entry.file_size = u64::from(size).into();
        let mut bytes = image.bytes();
        bytes.resize(usize::try_from(size).expect("small").max(bytes.len()), 0);
        code(bytes, &loose())
    };
    let limit = u32::try_from(limits::INLINE_BYTES).expect("small");
    assert_eq!((inline(5), inline(limit), inline(limit + 1)), (0, 0, 104));

    let sizes = |stored: u32, plain: u32| {
        changed(|image| {
            image.blocks[0].method = block::METHOD_ZLIB;
            image.blocks[0].stored_size = stored.into();
            image.blocks[0].plain_size = plain.into();
            image.entries[1].0.file_size = u64::from(plain).into();
        })
    };
    assert_eq!(sizes(1, limits::BLOCK_BYTES), 0);
    assert_eq!(sizes(1, limits::BLOCK_BYTES + 1), 105);
}

#[test]
fn what_blocks_and_files_say_must_fit() {
    assert_eq!(changed(|image| image.flags = Flags::ENCRYPTED_CONTENT), 100);
    assert_eq!(changed(|image| image.blocks[0].stored_size = 6.into()), 106);
    assert_eq!(changed(|image| image.entries[1].0.file_size = 6.into()), 107);
    assert_eq!(changed(|image| image.entries[1].0.file_size = 8.into()), 107);
}

#[test]
fn paths_make_a_tree() {
    assert_eq!(with_path(b"x"), 0);
    assert_eq!(with_path(b"x\xff"), 110);
    assert_eq!(with_path(b"x\0"), 111);
    for path in [&b"/x"[..], b"x/", b"x//y"] {
        assert_eq!(with_path(path), 112);
    }
    for path in [&b"."[..], b"x/..", b"../x"] {
        assert_eq!(with_path(path), 113);
    }
    assert_eq!((with_path(&[b'x'; 255]), with_path(&[b'x'; 256])), (0, 114));
    assert_eq!((with_path(&b"x/".repeat(512)[..1023]), with_path(&[b'x'; 1024])), (0, 114));
    // The order of the rules: length, NUL, UTF-8, then the components from the left.
    assert_eq!(with_path(&[0; 1024]), 114);
    assert_eq!(with_path(b"\xff\0"), 111);
    assert_eq!(with_path(b"/\xff"), 110);
    assert_eq!(with_path(b"./"), 113);
    assert_eq!(with_path(b"/."), 112);

    assert_eq!(with_path(b"d"), 115);
    assert_eq!(with_path(b"d/f"), 115);
    assert_eq!(with_path(b"d/f/x"), 116);
    assert_eq!(with_path(b"l/x"), 116);
    let file_over_folder = changed(|image| {
        image.add(NODE_FOLDER, b"x/y", b"");
        image.add(NODE_FILE, b"x", b"");
    });
    assert_eq!(file_over_folder, 116);
}

#[test]
fn aliases_lead_to_folders() {
    let target = |target: &[u8]| {
        changed(|image| {
            image.add(NODE_ALIAS, b"a", target);
        })
    };
    for good in [&b"d"[..], b"/d/", b"l", b"/", b"..", b"./d/../d"] {
        assert_eq!(target(good), 0, "{good:?}");
    }
    for bad in [&b"x"[..], b"d/f", b"a", b"l/x", b"d\0", b"/d/x"] {
        assert_eq!(target(bad), 117, "{bad:?}");
    }
    let chain = |length: usize| {
        changed(|image| {
            for link in 0..length {
                let target = if link == 0 { "d".to_owned() } else { format!("a{}", link - 1) };
                image.add(NODE_ALIAS, format!("a{link}").as_bytes(), target.as_bytes());
            }
        })
    };
    assert_eq!((chain(32), chain(33)), (0, 117));
    let long = |length: usize| target(&b"d/../".repeat(300)[..length]);
    assert_eq!((long(1020), long(1025)), (0, 117));
}

#[test]
fn signatures_have_codes_of_their_own() {
    let key = SigningKey::from_seed(&[1; 32]);
    let mut trusting = required();
    trusting.trust = TrustedKeys::parse(&key.public().to_base64()).expect("a key");
    let mut image = Image::new();
    image.blob = key.sign(&HASH);
    assert_eq!(code(image.bytes(), &trusting), 0);
    assert_eq!(code(image.bytes(), &loose()), 0);
    assert_eq!(code(image.bytes(), &required()), 122);

    // Trusted for other names, and for this one. A manifest that is wrong has none.
    let manifest = "name = \"a.b\"\nversion = \"1\"\narch = \"x86-64\"\nkernel_api = \"1.0\"\n\
                    entry = \"/d/f\"\n";
    for (manifest, prefix, expected) in [
        (manifest, "a", 0),
        (manifest, "a.b", 0),
        (manifest, "b", 122),
        ("name = \"a.b\"", "a", 122),
    ] {
        image.manifest = manifest.into();
        let mut some = required();
        let prefix = NamePrefix::parse(prefix).expect("a prefix");
        some.trust.trust(key.public().id(), Names::Below([prefix].into()));
        assert_eq!(code(image.bytes(), &some), expected, "{manifest}");
    }

    // Revoked, whatever else is said.
    for policy in [Policy::Disabled, Policy::Optional, Policy::Required] {
        let mut revoking = OpenOptions { signature: policy, ..trusting.clone() };
        revoking.trust.revoke(key.public().id());
        assert_eq!(code(image.bytes(), &revoking), 123, "{policy:?}");
        let good = image.blob.clone();
        *image.blob.last_mut().expect("bytes") ^= 1;
        let expected = if policy == Policy::Disabled { 123 } else { 12 };
        assert_eq!(code(image.bytes(), &revoking), expected, "{policy:?}");
        image.blob = good;
    }

    let mut none = key.sign(&HASH);
    none.truncate(48);
    none[8] = 0;
    none[16..].fill(0);
    image.blob = none;
    assert_eq!(code(image.bytes(), &loose()), 0);
    assert_eq!(code(image.bytes(), &trusting), 120);

    // The identity as a key, with the signature (identity, 0): true of every message.
    let (mut identity, mut anything) = ([0; 32], [0; 64]);
    (identity[0], anything[0]) = (1, 1);
    image.blob = signature::blob(&PublicKey::from_bytes(identity), &anything);
    assert_eq!(code(image.bytes(), &loose()), 121);
    let disabled = OpenOptions { signature: Policy::Disabled, ..loose() };
    assert_eq!(code(image.bytes(), &disabled), 0);
}

#[test]
fn damage_is_found_when_it_is_read() {
    let read = |image: &Image| {
        let package = Package::open(image.bytes(), &loose()).expect("opens");
        let read = package.read_block(BlockIndex(0), &mut Scratch::default(), &mut Vec::new());
        read.err().as_ref().and_then(Error::code).map_or(0, RejectCode::number)
    };
    let mut image = Image::new();
    assert_eq!(read(&image), 0);
    image.blocks[0].chunk_hash[0] ^= 1;
    assert_eq!(read(&image), 131);
    image.blocks[0].method = block::METHOD_ZLIB;
    assert_eq!(read(&image), 130);
    assert!(Inflater::default().inflate(CONTENT, &mut [0; 7]).is_err());
}
