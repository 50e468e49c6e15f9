//! What both kinds of benchmarks work on: packages in memory, and what is done with them.
#![allow(dead_code, unreachable_pub)]

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use epk_format::package::{BlockIndex, NodeId, Scratch};
use epk_format::write::{self, Compression, Format, Options, Plan, PlanEntry};
use epk_format::{OpenOptions, Package};

#[path = "../../tests/support/mod.rs"]
mod support;
pub use support::{Files, MANIFEST};

/// Bytes of a block.
pub const BLOCK: usize = 64 << 10;
/// Files in a folder.
const FOLDER: usize = 100;

/// Both formats, with the names that benchmarks have.
pub const FORMATS: [(Format, &str); 2] = [(Format::V1, "1.0"), (Format::V2, "2.0")];

/// A tree and its contents.
pub struct Sample {
    plan: Plan,
    files: Files,
    /// Bytes of content.
    pub bytes: usize,
}

/// `count` files of about 2 KiB, a hundred in a folder: what costs is their number.
pub fn many(format: Format, count: usize) -> Sample {
    sample(format, (0..count).map(|n| (format!("f{}/{}", n / FOLDER, name(n)), text(2_000, n))))
}

/// One file of `bytes` bytes: what costs is its content.
pub fn big(format: Format, bytes: usize) -> Sample {
    sample(format, [("big".to_owned(), text(bytes, 1))])
}

fn sample(format: Format, contents: impl IntoIterator<Item = (String, Vec<u8>)>) -> Sample {
    let (mut files, mut bytes) = (Files::default(), 0);
    let mut entries: Vec<PlanEntry> = Vec::new();
    let mut last = String::new();
    for (path, content) in contents {
        if let Some((folder, _)) = path.split_once('/')
            && folder != last
        {
            folder.clone_into(&mut last);
            entries.push(PlanEntry::folder(folder));
        }
        bytes += content.len();
        entries.push(files.add(&path, 0o644, content));
    }
    Sample { plan: Plan::new(format, entries).expect("a tree that can be packed"), files, bytes }
}

fn name(number: usize) -> String {
    format!("file-{number:06}.txt")
}

/// Words in an order of no meaning: zlib makes them about a third as long, as it does programs.
fn text(length: usize, seed: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "package ", "block ", "verify ", "of ", "mount ", "a ", "tree ", "the ", "\n", "hash ",
        "inflate ", "0x", "}\n", "  ", "kernel ", "folder ",
    ];
    let choice = support::noise(length, seed as u64);
    let mut text = Vec::with_capacity(length + 16);
    for &byte in &choice {
        if text.len() >= length {
            break;
        }
        text.extend(WORDS[usize::from(byte & 15)].bytes());
        // Not only words: else each block would be a few copies of the last.
        text.push(byte);
    }
    text.truncate(length);
    text
}

/// Packs in memory, on one thread and those that the writer needs besides.
pub fn pack(sample: &Sample) -> Vec<u8> {
    let options = Options {
        chunk_size: BLOCK as u32,
        compression: Compression::Zlib,
        threads: NonZeroUsize::MIN,
        ..Options::default()
    };
    let mut image = Cursor::new(Vec::new());
    write::write(&sample.plan, &sample.files, MANIFEST, &options, None, &(), &mut image)
        .expect("it can be packed");
    image.into_inner()
}

/// Opens a package under all rules.
pub fn open(image: &[u8]) -> Package<&[u8]> {
    Package::open(image, &OpenOptions::default()).expect("a valid package")
}

/// Looks up each path of [`many`], and its attributes, from the root.
pub fn look_up(package: &Package<&[u8]>, count: usize) -> u64 {
    let find = |folder, name: &str| {
        package.lookup(folder, name.as_bytes()).expect("readable").expect("it is there")
    };
    (0..count).fold(0, |sum, number| {
        let folder = find(NodeId::ROOT, &format!("f{}", number / FOLDER));
        sum + package.node(find(folder, &name(number))).expect("readable").size
    })
}

/// Lists all folders of [`many`].
pub fn list(package: &Package<&[u8]>) -> u64 {
    let mut folders = vec![NodeId::ROOT];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        package
            .read_folder(folder, 0, |child| {
                bytes += child.name.len() as u64;
                if child.kind == epk_format::package::Kind::Folder {
                    folders.push(child.id);
                }
                ControlFlow::Continue(())
            })
            .expect("readable");
    }
    bytes
}

/// Reads and verifies a block.
pub fn read_block(package: &Package<&[u8]>, scratch: &mut Scratch, plain: &mut [u8]) {
    package.read_block_into(BlockIndex(0), scratch, plain).expect("readable");
}
