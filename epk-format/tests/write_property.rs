//! Any plan that is accepted is written so that two readers, the tests' own and the library's, get
//! it back, and with the same bytes at any number of threads.

mod support;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::num::NonZeroUsize;

use epk_format::package::{Kind, NodeId, Scratch};
use epk_format::time::{PackedTime, Timestamp};
use epk_format::write::{self, Compression, Format, Options, Plan, PlanEntry};
use epk_format::{OpenOptions, Package};
use proptest::prelude::*;
use support::{Decoded, Files, MANIFEST, noise};

#[derive(Debug, Clone)]
enum Node {
    File {
        bytes: Vec<u8>,
        permissions: u32,
        modified: Option<i64>,
    },
    Folder {
        modified: Option<i64>,
    },
    /// To the folder of this rank.
    Alias(usize),
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(Vec::new()),
        4 => prop::collection::vec(any::<u8>(), 1..200),
        2 => (1..20_000usize, any::<u64>()).prop_map(|(length, seed)| noise(length, seed)),
        2 => (1..20_000usize, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
        1 => (1..5usize).prop_map(|chunks| vec![b'c'; chunks * 512]),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        5 => (content(), 0..0o1000u32, any_time())
            .prop_map(|(bytes, permissions, modified)| Node::File { bytes, permissions, modified }),
        2 => any_time().prop_map(|modified| Node::Folder { modified }),
        1 => any::<usize>().prop_map(Node::Alias),
    ]
}

/// Years 1 to 9999, in milliseconds.
fn any_time() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(-62_135_596_800_000..253_402_300_800_000i64)
}

fn time(milliseconds: i64) -> Timestamp {
    let nanoseconds = milliseconds.rem_euclid(1000) * 1_000_000;
    let nanoseconds = u32::try_from(nanoseconds).expect("below a second");
    Timestamp { seconds: milliseconds.div_euclid(1000), nanoseconds }
}

fn packed(modified: Option<i64>) -> u64 {
    modified.map_or(0, |at| PackedTime::from_timestamp(time(at)).expect("in range").0)
}

/// Few names, so that paths meet each other as prefixes.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab.é-]{1,3}", 1..4)
        .prop_map(|parts| parts.join("/"))
        .prop_filter("dots", |path| path.split('/').all(|part| part != "." && part != ".."))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back(
        nodes in prop::collection::btree_map(path(), node(), 0..30),
        chunk_size in prop_oneof![Just(512u32), Just(65_536), 1..3000u32],
        level in 0..=9u32,
        compression in prop_oneof![
            Just(Compression::None), Just(Compression::Zlib), Just(Compression::Auto)
        ],
        threads in 1..6usize,
    ) {
        let nodes = tree(nodes);
        let folders: Vec<_> = nodes
            .iter()
            .filter(|(_, node)| matches!(node, Node::Folder { .. }))
            .map(|(path, _)| path.clone())
            .collect();
        let target = |rank: usize| match folders.len() {
            0 => "/".to_owned(),
            count => folders[rank % count].clone(),
        };
        let mut files = Files::default();
        let entries = nodes.iter().map(|(path, node)| match node {
            Node::File { bytes, permissions, modified } => PlanEntry {
                modified: modified.map(time),
                ..files.add(path, *permissions, bytes.clone())
            },
            Node::Folder { modified } => {
                PlanEntry { modified: modified.map(time), ..PlanEntry::folder(path.as_str()) }
            }
            Node::Alias(rank) => PlanEntry::alias(path.as_str(), target(*rank)),
        });
        let plan = Plan::new(Format::V1, entries.collect()).expect("a good plan");
        let image = |threads: usize| {
            let threads = NonZeroUsize::new(threads).expect("some");
            let options = Options { chunk_size, compression, level, threads };
            let mut out = Cursor::new(Vec::new());
            write::write(&plan, &files, MANIFEST, &options, None, &(), &mut out).expect("written");
            out.into_inner()
        };
        let bytes = image(threads);
        prop_assert!(bytes == image(1));
        let decoded = Decoded::new(&bytes);
        prop_assert_eq!(decoded.entries.len(), nodes.len());
        let package = Package::open(bytes.as_slice(), &OpenOptions::default()).expect("valid");
        let mut found = BTreeMap::new();
        walk(&package, ("", NodeId::ROOT), &mut found);
        for (path, node) in &nodes {
            let expected = match node {
                Node::File { bytes, .. } => Some(bytes),
                _ => None,
            };
            prop_assert!(found.get(path).map(Option::as_ref) == Some(expected), "{}", path);
        }
        for (entry, (path, node)) in decoded.entries.iter().zip(&nodes) {
            prop_assert_eq!(&entry.path, path);
            match node {
                Node::File { bytes, permissions, modified } => {
                    prop_assert_eq!(entry.node_type, 1);
                    prop_assert_eq!(entry.size, bytes.len() as u64);
                    prop_assert_eq!((entry.permissions, entry.modified), (*permissions, packed(*modified)));
                    prop_assert!(decoded.content(entry) == *bytes);
                }
                Node::Folder { modified } => {
                    prop_assert_eq!((entry.node_type, entry.modified), (2, packed(*modified)));
                }
                Node::Alias(rank) => {
                    prop_assert_eq!((entry.node_type, &entry.target), (3, &target(*rank)));
                }
            }
        }
    }
}

/// Collects every path below `folder`, with the bytes of files.
fn walk(
    package: &Package<&[u8]>,
    folder: (&str, NodeId),
    found: &mut BTreeMap<String, Option<Vec<u8>>>,
) {
    for (name, id, kind) in package.children(folder.1).expect("a folder") {
        let name = String::from_utf8(name).expect("text");
        let path = if folder.0.is_empty() { name } else { format!("{}/{name}", folder.0) };
        let mut bytes = None;
        match kind {
            Kind::Folder => walk(package, (&path, id), found),
            Kind::Link => {}
            Kind::File => {
                let content = bytes.insert(Vec::new());
                let size = package.node(id).expect("a node").size;
                let keep = |piece: &[u8]| {
                    content.extend(piece);
                    Ok::<(), epk_format::Error>(())
                };
                package.read(id, 0..size, &mut Scratch::default(), keep).expect("whole");
            }
        }
        found.insert(path, bytes);
    }
}

/// Leaves out whatever lies below a file or an alias.
fn tree(nodes: BTreeMap<String, Node>) -> BTreeMap<String, Node> {
    let leaves: Vec<_> = nodes
        .iter()
        .filter(|(_, node)| !matches!(node, Node::Folder { .. }))
        .map(|(path, _)| format!("{path}/"))
        .collect();
    let below = |path: &str| leaves.iter().any(|leaf| path.starts_with(leaf));
    nodes.into_iter().filter(|(path, _)| !below(path)).collect()
}
