//! What becomes of damage: each flipped bit and each missing byte is refused, or is an error
//! where it is read; no wrong byte is ever handed out.

mod change;
mod fixtures;
mod flips;

use epk_format::package::{Kind, NodeId, Scratch};
use epk_format::source::Source;
use epk_format::write::Compression;
use epk_format::{Error, Format, Package};
use epk_tests::tree::{Item, Random, Recipe, Tree};

/// Plain bytes of a block of the test packages.
const CHUNK: usize = 64;

/// A package that has everything that the format has, and is small: files of no byte, of one,
/// of a block, of several, some blocks compressed and some not, a folder, an alias, commands.
fn small_package(signed: bool) -> Vec<u8> {
    small_package_of(Format::V1, signed)
}

/// The same in either format.
fn small_package_of(format: Format, signed: bool) -> Vec<u8> {
    let mut random = Random::new(7);
    let text = b"so much to say, so much to say, so ".repeat(6);
    let tree = Tree::default()
        .file("empty", "")
        .file("one", "1")
        .file("block", vec![b'b'; CHUNK])
        .file("bin/noise", random.noise(2 * CHUNK + 5))
        .file("bin/text", &text[..3 * CHUNK + 1])
        .with("hollow", Item::Folder)
        .with("usr", Item::Alias("bin".into()));
    tree.image(&Recipe {
        format,
        manifest: "name = \"org.example.small\"\nversion = \"1\"\narch = \"x86-64\"\n\
            kernel_api = \"1.0\"\nentry = \"/bin/text\"\n[commands]\nn = \"/bin/noise\"\n"
            .into(),
        chunk_size: u32::try_from(CHUNK).expect("small"),
        compression: Compression::Auto,
        seed: signed.then_some([9; 32]),
    })
}

/// Every file with what reading it gives.
fn read_all<S: Source>(package: &Package<S>) -> Vec<(NodeId, Result<Vec<u8>, Error>)> {
    let mut scratch = Scratch::default();
    let files = (0..package.node_count()).filter_map(NodeId::from_index);
    // A node that can't be had is one more thing that can't be read.
    let files = files.filter(|&id| package.node(id).map_or(true, |node| node.kind == Kind::File));
    files
        .map(|id| {
            let mut bytes = Vec::new();
            let read: Result<(), Error> = package.read(id, 0..u64::MAX, &mut scratch, |part| {
                bytes.extend_from_slice(part);
                Ok(())
            });
            (id, read.map(|()| bytes))
        })
        .collect()
}

/// What reading every file of an intact image gives.
fn contents(image: &[u8]) -> Vec<(NodeId, Vec<u8>)> {
    let package = Package::open(image, &epk_format::OpenOptions::default()).expect("intact");
    let files = read_all(&package).into_iter();
    files.map(|(id, read)| (id, read.expect("intact"))).collect()
}

#[test]
fn the_small_package_has_what_it_should() {
    for signed in [false, true] {
        let image = small_package(signed);
        let package = Package::open(image.as_slice(), &epk_format::OpenOptions::default());
        let package = package.expect("intact");
        let blocks = (0..package.block_count()).map(|index| {
            package.block(epk_format::package::BlockIndex(index)).expect("a block").compressed
        });
        let blocks: Vec<bool> = blocks.collect();
        assert!(blocks.contains(&true) && blocks.contains(&false), "{blocks:?}");
        assert_eq!(blocks.len(), 3 + 4 + 1 + 1);
        assert_eq!(package.header().signature_size.get() > 0, signed);
        let kinds: Vec<Kind> = (0..package.node_count())
            .map(|index| package.node(NodeId::from_index(index).expect("small")).expect("a node"))
            .map(|node| node.kind)
            .collect();
        assert!(kinds.contains(&Kind::Link) && kinds.contains(&Kind::Folder), "{kinds:?}");
    }
}
