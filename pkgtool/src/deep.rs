//! Reading a whole package: every block against its ChunkHash and every file against its FileHash.

use std::collections::HashMap;
use std::fs::File;

use epk_format::digest::{Hasher, Sha256};
use epk_format::package::{BlockIndex, Kind, NodeId, Piece, Scratch};
use epk_format::{Error, Location, Package, Reject, RejectCode};
use rayon::prelude::*;

/// What was read.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) files: usize,
    pub(crate) blocks: u32,
}

/// Plain bytes of one file that are in memory at once, but for a larger single block.
const BATCH: u64 = 4 << 20;

/// Reads everything on all cores. Findings come in the order of the nodes, then of the blocks.
pub(crate) fn check(package: &Package<File>) -> (Counts, Vec<Error>) {
    // Files that share their blocks are read once.
    let mut contents: HashMap<Vec<Piece<'_>>, Vec<NodeId>> = HashMap::new();
    let mut findings = Vec::new();
    let mut files = 0;
    let mut used = vec![false; usize::try_from(package.block_count()).unwrap_or(usize::MAX)];
    for id in (0..package.node_count()).filter_map(NodeId::from_index) {
        match package.node(id).map(|node| node.kind) {
            Ok(Kind::File) => {}
            Ok(_) => continue,
            Err(error) => {
                findings.push(error);
                continue;
            }
        }
        files += 1;
        let pieces = package.pieces(id, 0..u64::MAX).and_then(Iterator::collect);
        match pieces {
            Ok(pieces) => contents.entry(pieces).or_default().push(id),
            Err(error) => findings.push(error),
        }
    }
    for piece in contents.keys().flatten() {
        if let Piece::Block { index, .. } = piece
            && let Some(used) = used.get_mut(usize::try_from(index.0).unwrap_or(usize::MAX))
        {
            *used = true;
        }
    }
    let mut groups: Vec<_> = contents.into_iter().collect();
    groups.sort_by_key(|(_, ids)| ids.first().copied());
    let of_files: Vec<Vec<Error>> =
        groups.par_iter().map(|(pieces, ids)| check_content(package, pieces, ids)).collect();
    let of_blocks: Vec<Error> = (0..package.block_count())
        .zip(used)
        .filter(|(_, used)| !used)
        .collect::<Vec<_>>()
        .into_par_iter()
        .filter_map(|(index, _)| {
            let mut plain = Vec::new();
            package.verify_block(BlockIndex(index), &mut Scratch::default(), &mut plain).err()
        })
        .collect();
    findings.extend(of_files.into_iter().flatten());
    findings.extend(of_blocks);
    (Counts { files, blocks: package.block_count() }, findings)
}

/// Reads one content, and compares its hash with what each file that has it declares.
fn check_content(package: &Package<File>, pieces: &[Piece<'_>], ids: &[NodeId]) -> Vec<Error> {
    let mut hasher = Hasher::new();
    let mut findings = Vec::new();
    for batch in batches(pieces) {
        let read: Vec<Result<Vec<u8>, Error>> = batch
            .par_iter()
            .map_init(Scratch::default, |scratch, piece| match piece {
                Piece::Bytes(bytes) => Ok(bytes.to_vec()),
                Piece::Zeros { length } => Ok(vec![0; length_of(*length)]),
                Piece::Block { index, start, length, .. } => {
                    let mut plain = Vec::new();
                    package.verify_block(*index, scratch, &mut plain)?;
                    let start = length_of(*start);
                    plain.truncate(start + length_of(*length));
                    plain.drain(..start);
                    Ok(plain)
                }
            })
            .collect();
        for part in read {
            match part {
                Ok(bytes) => hasher.update(&bytes),
                Err(error) => findings.push(error),
            }
        }
    }
    if !findings.is_empty() {
        return findings;
    }
    let found = hasher.finish();
    for &id in ids {
        match compare(package, id, found) {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => findings.push(error),
        }
    }
    findings
}

fn compare(package: &Package<File>, id: NodeId, found: Sha256) -> Result<Option<Error>, Error> {
    let Some(declared) = package.file_hash(id)?.filter(|declared| *declared != found) else {
        return Ok(None);
    };
    let detail = format!("the file's SHA-256 is {found}, its FileHash says {declared}");
    let at = Location::Path(path_of(package, id)?);
    Ok(Some(Reject::new(RejectCode::FileHashMismatch, at, detail).into()))
}

/// Cuts pieces into runs of about [`BATCH`] bytes.
fn batches<'p, 'a>(pieces: &'a [Piece<'p>]) -> impl Iterator<Item = &'a [Piece<'p>]> {
    let mut rest = pieces;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let count = rest
            .iter()
            .take_while(|piece| {
                let room = bytes < BATCH;
                bytes += piece.length();
                room
            })
            .count();
        let (batch, tail) = rest.split_at_checked(count)?;
        rest = tail;
        (!batch.is_empty()).then_some(batch)
    })
}

/// A path that leads to a node: found by looking for it, for the rare message that needs one.
fn path_of(package: &Package<File>, wanted: NodeId) -> Result<Vec<u8>, Error> {
    let mut folders = vec![(Vec::new(), NodeId::ROOT)];
    while let Some((prefix, folder)) = folders.pop() {
        for (name, id, kind) in package.children(folder)? {
            let path = if prefix.is_empty() { name } else { [&*prefix, &*name].join(&b'/') };
            if id == wanted {
                return Ok(path);
            }
            if kind == Kind::Folder {
                folders.push((path, id));
            }
        }
    }
    Ok(format!("node {}", wanted.number()).into_bytes())
}

fn length_of(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
