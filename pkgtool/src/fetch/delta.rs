//! Fetching only the blocks of a package that no installed package has.
//!
//! A package of format 2.0 begins with a head that names every block by the hash of its stored
//! bytes. The head is fetched, and verified by PackageHash; blocks are copied out of installed
//! packages, each held against its hash; what is missing is fetched in ranges. The result is the
//! published file, byte for byte, which whoever called checks by its SHA-256.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use driftpm::transport::{ErrorKind, Progress as _, Transport as _, TransportError};
use epk_format::digest::Sha256;
use epk_format::package::BlockIndex;
use epk_format::signature::Policy;
use epk_format::{OpenOptions, Package};

use super::work::Work;
use super::{Fetched, Network, Offer, mismatch, transport};
use crate::exit::Failure;
use crate::progress::Downloads;
use crate::store::{self, Installed, Store};

/// Gaps up to so many bytes are fetched with what is around them: another request costs more.
const GAP: u64 = 16 << 10;
/// The most bytes of a request.
const PIECE: u64 = 4 << 20;
/// Requests at a time.
const PARALLEL: usize = 4;

/// Blocks that are wanted, by hash and stored size: where they go.
type Wanted = HashMap<(Sha256, u32), Vec<u64>>;

/// Fetches the package into the file of `work`; `None` where that is not possible, or nothing is
/// installed.
pub(super) fn fetch(
    network: &Network,
    offer: &Offer,
    work: &Work,
    dry_run: bool,
) -> Result<Option<Fetched>, Failure> {
    let Some(head_size) = offer.release.head_size else { return Ok(None) };
    let local = installed(offer)?;
    if local.is_empty() {
        return Ok(None);
    }
    let path = work.delta();
    let failed =
        |error: io::Error| Failure::system(format!("cannot write `{}`", path.display()), &error);
    let target = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    let resumed = target.metadata().map_err(failed)?.len() == offer.release.size;
    target.set_len(offer.release.size).map_err(failed)?;
    let mut bytes = 0;
    if !(resumed && is_head(&target, offer)) {
        match fetch_ranges(network, offer, &target, &ranges_of(0..head_size), None) {
            Ok(()) => bytes = head_size,
            // A server that gives no ranges.
            Err(Failed::Transport(error))
                if matches!(error.kind, ErrorKind::Network | ErrorKind::WrongSize) =>
            {
                fs::remove_file(&path).map_err(failed)?;
                return Ok(None);
            }
            Err(error) => return Err(error.into_failure(&path)),
        }
    }
    let package = open(&target).map_err(|error| mismatch(offer, &format!("its head: {error}")))?;
    if package.package_hash().to_string() != offer.release.package_hash {
        return Err(mismatch(offer, "its head has another PackageHash than was announced"));
    }
    let mut wanted = blocks_of(&package).map_err(|error| mismatch(offer, &error.to_string()))?;
    let mut reused = 0;
    if resumed {
        reused += drop_present(&target, &mut wanted);
    }
    for installed in &local {
        if wanted.is_empty() {
            break;
        }
        reused +=
            copy_blocks(installed, &mut wanted, (!dry_run).then_some(&target)).map_err(failed)?;
    }
    let missing = missing(&wanted);
    bytes += missing.iter().map(length).sum::<u64>();
    if dry_run {
        return Ok(Some(Fetched { bytes, reused, placed: None }));
    }
    let bars = Downloads::new(&offer.identity.to_string());
    bars.begin(Some(missing.iter().map(length).sum()));
    let fetched = fetch_ranges(network, offer, &target, &missing, Some(&bars));
    bars.end();
    fetched.map_err(|error| error.into_failure(&path))?;
    fs::rename(&path, work.file()).map_err(failed)?;
    Ok(Some(Fetched { bytes, reused, placed: None }))
}

/// Installed packages of format 2.0, those of the same name first.
fn installed(offer: &Offer) -> Result<Vec<Installed>, Failure> {
    let mut all = store::list(&Store::all()?)?;
    all.sort_by_key(|package| package.identity.name != offer.identity.name);
    Ok(all)
}

/// Opens a package for its blocks: whose they are does not matter, their hashes do.
fn open(file: &File) -> Result<Package<File>, String> {
    let file = file.try_clone().map_err(|error| error.to_string())?;
    let options = OpenOptions { signature: Policy::Disabled, ..OpenOptions::default() };
    Package::open(file, &options).map_err(|error| error.to_string())
}

fn is_head(target: &File, offer: &Offer) -> bool {
    open(target)
        .is_ok_and(|package| package.package_hash().to_string() == offer.release.package_hash)
}

fn blocks_of(package: &Package<File>) -> Result<Wanted, epk_format::Error> {
    let mut wanted = Wanted::new();
    for index in 0..package.block_count() {
        let block = package.block(BlockIndex(index))?;
        wanted.entry((block.hash, block.stored_size)).or_default().push(block.offset);
    }
    Ok(wanted)
}

/// Takes out what an earlier try has brought. Gives the number of bytes.
fn drop_present(target: &File, wanted: &mut Wanted) -> u64 {
    let mut present = 0;
    wanted.retain(|&(hash, size), offsets| {
        let there =
            |&offset: &u64| read(target, offset, size).is_ok_and(|b| Sha256::of(&b) == hash);
        let whole = offsets.iter().all(there);
        if whole {
            present += total(size, offsets);
        }
        !whole
    });
    present
}

/// Copies wanted blocks out of a package, if there is a target, and takes them out of the list.
/// Gives the number of bytes. A package that is damaged or of another format gives nothing.
fn copy_blocks(
    installed: &Installed,
    wanted: &mut Wanted,
    target: Option<&File>,
) -> io::Result<u64> {
    let Ok(source) = File::open(&installed.path) else { return Ok(0) };
    let Ok(package) = open(&source) else { return Ok(0) };
    if package.head_size().is_none() {
        return Ok(0);
    }
    let mut copied = 0;
    for index in 0..package.block_count() {
        let Ok(block) = package.block(BlockIndex(index)) else { return Ok(copied) };
        let key = (block.hash, block.stored_size);
        if !wanted.contains_key(&key) {
            continue;
        }
        let Ok(bytes) = read(&source, block.offset, block.stored_size) else { continue };
        if Sha256::of(&bytes) != block.hash {
            continue;
        }
        let Some(offsets) = wanted.remove(&key) else { continue };
        if let Some(target) = target {
            offsets.iter().try_for_each(|&offset| target.write_all_at(&bytes, offset))?;
        }
        copied += total(block.stored_size, &offsets);
    }
    Ok(copied)
}

fn read(file: &File, offset: u64, size: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn total(size: u32, offsets: &[u64]) -> u64 {
    u64::from(size).saturating_mul(u64::try_from(offsets.len()).unwrap_or(u64::MAX))
}

fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// The ranges to fetch: small gaps are filled, long ranges cut.
fn missing(wanted: &Wanted) -> Vec<Range<u64>> {
    let mut single: Vec<Range<u64>> = wanted
        .iter()
        .flat_map(|(&(_, size), offsets)| {
            offsets.iter().map(move |&offset| offset..offset.saturating_add(u64::from(size)))
        })
        .collect();
    single.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in single {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined.into_iter().flat_map(ranges_of).collect()
}

fn ranges_of(range: Range<u64>) -> Vec<Range<u64>> {
    let mut pieces = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let end = start.saturating_add(PIECE).min(range.end);
        pieces.push(start..end);
        start = end;
    }
    pieces
}

/// Why ranges did not come.
enum Failed {
    Transport(TransportError),
    Write(io::Error),
}

impl Failed {
    fn into_failure(self, path: &Path) -> Failure {
        match self {
            Self::Transport(error) => transport(&error),
            Self::Write(error) => {
                Failure::system(format!("cannot write `{}`", path.display()), &error)
            }
        }
    }
}

/// Fetches ranges into their places, several at a time. After a failure no new one is begun.
fn fetch_ranges(
    network: &Network,
    offer: &Offer,
    target: &File,
    ranges: &[Range<u64>],
    progress: Option<&Downloads>,
) -> Result<(), Failed> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), Failed> {
        while let Some(range) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
            let bytes = network
                .client
                .read_range(&offer.location, range.clone())
                .map_err(Failed::Transport);
            let written = bytes
                .and_then(|bytes| target.write_all_at(&bytes, range.start).map_err(Failed::Write));
            if let Err(error) = written {
                next.store(ranges.len(), Ordering::Relaxed);
                return Err(error);
            }
            progress.iter().for_each(|progress| progress.advance(length(range)));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..PARALLEL.min(ranges.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_cut() {
        let hash = |byte: u8| Sha256::of(&[byte]);
        let mut wanted = Wanted::new();
        wanted.insert((hash(1), 1000), vec![0, 1000]);
        // A small gap is filled, a large one is not.
        wanted.insert((hash(2), 10), vec![2000 + GAP]);
        wanted.insert((hash(3), 10), vec![2011 + 2 * GAP]);
        assert_eq!(missing(&wanted), [0..2010 + GAP, 2011 + 2 * GAP..2021 + 2 * GAP]);
        assert_eq!(ranges_of(5..5), []);
        assert_eq!(ranges_of(1..PIECE + 2), [1..PIECE + 1, PIECE + 1..PIECE + 2]);
    }
}
