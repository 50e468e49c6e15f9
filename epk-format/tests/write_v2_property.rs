//! Any plan of format 2.0 that is accepted is written so that the tests' own reader gets it back,
//! and with the same bytes at any number of threads.

mod support;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::num::NonZeroUsize;

use epk_format::time::Timestamp;
use epk_format::write::{Compression, Format, Job, Kind, Options, Plan, PlanEntry, Xattr};
use epk_format::{OpenOptions, Package};
use proptest::prelude::*;
use support::v2::{Image, What};
use support::{Files, MANIFEST, noise};

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>),
    Folder,
    Symlink(Vec<u8>),
    /// To the folder of this rank.
    Alias(usize),
    /// To the file of this rank.
    HardLink(usize),
}

#[derive(Debug, Clone)]
struct Described {
    node: Node,
    permissions: u32,
    modified: Option<(i64, u32)>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(Vec::new()),
        4 => prop::collection::vec(any::<u8>(), 1..200),
        // Few seeds and lengths, so that contents meet again.
        4 => (prop::sample::select(vec![100usize, 4095, 4096, 4097, 20_000]), 0..3u64)
            .prop_map(|(length, seed)| noise(length, seed)),
        2 => (1..20_000usize, 0..2u8).prop_map(|(length, byte)| vec![byte; length]),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        6 => content().prop_map(Node::File),
        2 => Just(Node::Folder),
        1 => prop::collection::vec(1..=255u8, 1..50).prop_map(Node::Symlink),
        1 => any::<usize>().prop_map(Node::Alias),
        1 => any::<usize>().prop_map(Node::HardLink),
    ]
}

fn described() -> impl Strategy<Value = Described> {
    let time = prop::option::of((any::<i64>(), 0..1_000_000_000u32));
    let xattrs = prop::collection::btree_map("user\\.[a-c]{1,2}", content(), 0..3);
    (node(), 0..0o1000u32, time, xattrs).prop_map(|(node, permissions, modified, xattrs)| {
        Described { node, permissions, modified, xattrs }
    })
}

/// Few names, so that paths meet each other as prefixes.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab.é\\\\-]{1,3}", 1..4)
        .prop_map(|parts| parts.join("/"))
        .prop_filter("dots", |path| path.split('/').all(|part| part != "." && part != ".."))
}

/// The entries of a plan, and their contents.
fn entries(nodes: &BTreeMap<String, Described>) -> (Vec<PlanEntry>, Files) {
    let ranked = |wanted: fn(&Node) -> bool| {
        nodes.iter().filter(|(_, d)| wanted(&d.node)).map(|(p, _)| p.clone()).collect::<Vec<_>>()
    };
    let folders = ranked(|node| matches!(node, Node::Folder));
    let originals = ranked(|node| matches!(node, Node::File(_)));
    let pick =
        |from: &[String], rank: usize| (!from.is_empty()).then(|| from[rank % from.len()].clone());
    let mut files = Files::default();
    let mut made: BTreeMap<String, PlanEntry> = BTreeMap::new();
    for (path, described) in nodes {
        let mut entry = match &described.node {
            Node::File(bytes) => files.add(path, described.permissions, bytes.clone()),
            Node::Folder => PlanEntry::folder(path.as_str()),
            Node::Symlink(target) => PlanEntry::symlink(path.as_str(), target.clone()),
            Node::Alias(rank) => {
                PlanEntry::alias(path.as_str(), pick(&folders, *rank).unwrap_or_else(|| "/".into()))
            }
            Node::HardLink(_) => continue,
        };
        entry.permissions = described.permissions;
        let time = |(seconds, nanoseconds)| Timestamp { seconds, nanoseconds };
        entry.modified = described.modified.map(time);
        let xattr = |(name, value): (&String, &Vec<u8>)| Xattr {
            name: name.clone().into_bytes(),
            value: value.clone(),
        };
        entry.xattrs = described.xattrs.iter().map(xattr).collect();
        made.insert(path.clone(), entry);
    }
    for (path, described) in nodes {
        if let Node::HardLink(rank) = described.node
            && let Some(original) = pick(&originals, rank)
        {
            let entry = PlanEntry { path: path.clone().into_bytes(), ..made[&original].clone() };
            files.link(path, &original);
            made.insert(path.clone(), entry);
        }
    }
    (made.into_values().collect(), files)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back(
        nodes in prop::collection::btree_map(path(), described(), 0..30),
        chunk_size in prop::sample::select(vec![4096u32, 8192, 65_536, 1 << 20]),
        level in 0..=12u32,
        compression in prop::sample::select(vec![
            Compression::None, Compression::Zlib, Compression::Auto
        ]),
        threads in 2..6usize,
        profile in prop::collection::vec(path(), 0..5),
    ) {
        let (entries, files) = entries(&tree(nodes));
        let plan = Plan::new(Format::V2, entries).expect("a good plan");
        let profile: Vec<_> = profile.into_iter().map(String::into_bytes).collect();
        let image = |threads: usize| {
            let threads = NonZeroUsize::new(threads).expect("some");
            let options = Options { chunk_size, compression, level, threads };
            let job = Job { profile: &profile, ..Job::new(&plan, &files, MANIFEST, &options) };
            let mut out = Cursor::new(Vec::new());
            job.write(&mut out, &mut Cursor::new(Vec::new())).expect("written");
            out.into_inner()
        };
        let bytes = image(threads);
        prop_assert!(bytes == image(1));
        let package = Package::open(bytes.as_slice(), &OpenOptions::default()).expect("opens");
        prop_assert!(package.audit().is_empty(), "{:?}", package.audit());
        let image = Image::new(&bytes);
        let shown = image.shown();
        let implicit = plan.implicit_folders().len();
        prop_assert_eq!(shown.len(), 1 + plan.entries().len() + implicit);
        for entry in plan.entries() {
            let path = std::str::from_utf8(&entry.path).expect("text");
            let found = &shown[path];
            let what = match &entry.kind {
                Kind::File { .. } => What::File(files.bytes(path).to_vec()),
                Kind::Folder => What::Folder,
                Kind::Symlink { target } => What::Symlink(target.clone()),
                Kind::Alias { target } => {
                    let target = std::str::from_utf8(target).expect("text");
                    What::Alias(target.trim_start_matches('/').into())
                }
            };
            prop_assert!(found.what == what, "{}", path);
            if matches!(entry.kind, Kind::File { .. } | Kind::Folder) {
                prop_assert_eq!(found.mode, entry.permissions);
            }
            let time = entry.modified.unwrap_or_default();
            prop_assert_eq!(found.time, (time.seconds, time.nanoseconds));
            let xattrs = entry.xattrs.iter().map(|x| (x.name.clone(), x.value.clone()));
            prop_assert_eq!(&found.xattrs, &xattrs.collect::<Vec<_>>());
        }
    }
}

/// Leaves out whatever lies below something that isn't a folder.
fn tree(nodes: BTreeMap<String, Described>) -> BTreeMap<String, Described> {
    let leaves: Vec<_> = nodes
        .iter()
        .filter(|(_, described)| !matches!(described.node, Node::Folder))
        .map(|(path, _)| format!("{path}/"))
        .collect();
    let below = |path: &str| leaves.iter().any(|leaf| path.starts_with(leaf));
    nodes.into_iter().filter(|(path, _)| !below(path)).collect()
}
