//! Any tree in both formats.
//!
//! Invariants: a tree that format 1.0 holds, format 2.0 holds, too; both show the same names,
//! kinds, sizes, modes, contents and hashes of files, and the same target of each alias.
#![no_main]

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use arbitrary::Arbitrary;
use epk_format::package::{Kind, NodeId, Scratch};
use epk_format::resolve::Resolved;
use epk_format::write::{self, ContentId, Contents, Format, Options, Plan, PlanEntry};
use epk_format::{Error, OpenOptions, Package};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    entries: Vec<(Vec<u8>, Entry)>,
    chunk_size: u16,
}

#[derive(Arbitrary, Debug)]
enum Entry {
    File { bytes: Vec<u8>, executable: bool },
    Folder,
    Alias(Vec<u8>),
}

struct Bytes<'i>(&'i [(Vec<u8>, Entry)]);

impl Contents for Bytes<'_> {
    fn open(&self, id: ContentId, _path: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
        match self.0.get(id.0) {
            Some((_, Entry::File { bytes, .. })) => Ok(Box::new(bytes.as_slice())),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

fuzz_target!(|input: Input| {
    let entries: Vec<PlanEntry> = input
        .entries
        .iter()
        .enumerate()
        .map(|(at, (path, entry))| match entry {
            Entry::File { bytes, executable } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                PlanEntry::file(path.clone(), mode, ContentId(at), bytes.len() as u64)
            }
            Entry::Folder => PlanEntry::folder(path.clone()),
            Entry::Alias(target) => PlanEntry::alias(path.clone(), target.clone()),
        })
        .collect();
    let Ok(plan) = Plan::new(Format::V1, entries.clone()) else { return };
    let chunk_size = u32::from(input.chunk_size).max(1);
    let first = seen(&plan, &input, chunk_size);
    let plan = Plan::new(Format::V2, entries).expect("what 1.0 holds, 2.0 holds");
    let second = seen(&plan, &input, chunk_size.next_power_of_two().max(4096));
    assert_eq!(first, second);
});

/// What a package shows at a path.
#[derive(Debug, PartialEq)]
enum Seen {
    File {
        mode: u32,
        bytes: Vec<u8>,
    },
    Folder,
    /// Where it ends.
    Link(Vec<u8>),
}

fn seen(plan: &Plan, input: &Input, chunk_size: u32) -> BTreeMap<Vec<u8>, Seen> {
    let options = Options { chunk_size, ..Options::default() };
    let mut image = Cursor::new(Vec::new());
    write::write(plan, &Bytes(&input.entries), b"", &options, None, &(), &mut image)
        .expect("an accepted plan is written");
    let package = Package::open(image.into_inner(), &OpenOptions::default()).expect("it opens");
    let paths = paths(&package).expect("what we write is whole");
    let by_id: BTreeMap<NodeId, Vec<u8>> = paths.iter().cloned().map(|(p, id)| (id, p)).collect();
    let mut seen = BTreeMap::new();
    for (path, id) in paths {
        let node = package.node(id).expect("what we write is whole");
        let what = match node.kind {
            Kind::Folder => Seen::Folder,
            Kind::File => {
                let mut bytes = Vec::new();
                let read: Result<(), Error> =
                    package.read(id, 0..u64::MAX, &mut Scratch::default(), |part| {
                        bytes.extend_from_slice(part);
                        Ok(())
                    });
                read.expect("what we write reads");
                Seen::File { mode: node.mode & 0o777, bytes }
            }
            Kind::Link => {
                let Ok(Resolved::Found(end)) = package.resolve(&path, true) else {
                    panic!("an alias that leads nowhere was written");
                };
                Seen::Link(by_id[&end].clone())
            }
        };
        seen.insert(path, what);
    }
    seen
}

fn paths(package: &Package<Vec<u8>>) -> Result<Vec<(Vec<u8>, NodeId)>, Error> {
    let mut paths = vec![(Vec::new(), NodeId::ROOT)];
    let mut next = 0;
    while let Some((prefix, id)) = paths.get(next).cloned() {
        next += 1;
        if package.node(id)?.kind == Kind::Folder {
            for (name, child, _) in package.children(id)? {
                let path = if prefix.is_empty() { name } else { [&*prefix, &*name].join(&b'/') };
                paths.push((path, child));
            }
        }
    }
    Ok(paths)
}
