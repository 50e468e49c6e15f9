//! Many threads hash and compress; one consumer sees the results in order.
//!
//! ```text
//!   producer thread --jobs--> worker threads --done--> consumer (calling thread)
//!        ^                                                  |
//!        +----------------- free slots ---------------------+
//! ```
//!
//! A slot holds one chunk and its compressed form. There is a fixed number of them, handed round,
//! so memory is bounded even when one slow chunk holds up all later ones. The same fixed number
//! bounds every channel.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::panic;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::compress::{Compression, Encoder, Method};
use super::error::WriteError;
use crate::digest::Sha256;

/// Memory that slots should take together, when that still leaves enough of them.
const SLOT_BYTES: usize = 32 << 20;

/// How the pipeline works.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) compression: Compression,
    pub(super) level: u32,
    /// The level for chunks smaller than the largest.
    pub(super) partial_level: u32,
    pub(super) threads: NonZeroUsize,
    /// Bytes of the largest chunk.
    pub(super) chunk_size: usize,
    pub(super) hashed: Hashed,
}

/// What a block's hash is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hashed {
    /// The bytes before compression.
    Plain,
    /// The bytes that are stored.
    Stored,
}

impl Setup {
    fn slots(&self) -> usize {
        let threads = self.threads.get();
        // One more than the workers keeps them busy; four each smooth out unequal chunks.
        let (least, most) = (threads.saturating_add(1), threads.saturating_mul(4));
        (SLOT_BYTES / self.chunk_size.max(1)).clamp(least, most.max(least))
    }
}

/// A finished chunk.
pub(super) struct Block<'a, T> {
    /// What the producer said about it.
    pub(super) tag: T,
    pub(super) method: Method,
    /// Number of bytes before compression.
    pub(super) plain_size: usize,
    /// The bytes to store.
    pub(super) stored: &'a [u8],
    /// SHA-256 of the bytes that [`Setup::hashed`] says.
    pub(super) hash: Sha256,
}

#[derive(Default)]
struct Slot {
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Slot {
    /// The bytes to store, of which compression made `size`.
    fn stored(&self, method: Method, size: usize) -> &[u8] {
        match method {
            Method::None => self.plain.as_slice(),
            Method::Zlib => self.packed.get(..size).unwrap_or_default(),
        }
    }
}

struct Job<T> {
    number: u64,
    slot: Slot,
    tag: T,
}

struct Done<T> {
    job: Job<T>,
    method: Method,
    stored: usize,
    hash: Sha256,
}

enum Message<T> {
    Done(u64, Result<Done<T>, WriteError>),
    /// A worker panics: its chunk will never come.
    Lost,
}

/// Runs chunks through the workers.
///
/// `produce` fills an empty buffer and says something about it, or says `None` at the end.
/// `consume` gets the blocks in the order of production. The first error in that order is
/// returned, an error of the producer after all that came before it, so the outcome does not
/// depend on timing either.
pub(super) fn run<T: Send>(
    setup: &Setup,
    mut produce: impl FnMut(&mut Vec<u8>) -> Result<Option<T>, WriteError> + Send,
    mut consume: impl FnMut(Block<'_, T>) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let (free_sender, free) = channel();
    let (jobs_sender, jobs) = channel();
    let (done_sender, done) = channel();
    let jobs = Mutex::new(jobs);
    for _ in 0..setup.slots() {
        // The receiver lives: this can't fail.
        let _ = free_sender.send(Slot::default());
    }
    thread::scope(|scope| {
        let jobs = &jobs;
        for _ in 0..setup.threads.get() {
            let done = done_sender.clone();
            let work = move || work(setup, jobs, &done);
            thread::Builder::new().spawn_scoped(scope, work).map_err(WriteError::Thread)?;
        }
        drop(done_sender);
        let producer = thread::Builder::new()
            .spawn_scoped(scope, move || feed(&free, &jobs_sender, &mut produce))
            .map_err(WriteError::Thread)?;
        let consumed = collect(&done, &free_sender, &mut consume);
        // The producer may wait for a slot and the workers may want to report: without these
        // channels both give up.
        drop((done, free_sender));
        match producer.join() {
            Ok(produced) => consumed.and(produced),
            Err(payload) => panic::resume_unwind(payload),
        }
    })
}

/// The producer's thread.
fn feed<T>(
    free: &Receiver<Slot>,
    jobs: &Sender<Job<T>>,
    produce: &mut impl FnMut(&mut Vec<u8>) -> Result<Option<T>, WriteError>,
) -> Result<(), WriteError> {
    let mut number = 0;
    while let Ok(mut slot) = free.recv() {
        slot.plain.clear();
        let Some(tag) = produce(&mut slot.plain)? else { break };
        if jobs.send(Job { number, slot, tag }).is_err() {
            break;
        }
        number += 1;
    }
    Ok(())
}

/// A worker's thread.
fn work<T>(setup: &Setup, jobs: &Mutex<Receiver<Job<T>>>, done: &Sender<Message<T>>) {
    let _alarm = Alarm(done);
    let mut full = Encoder::new(setup.compression, setup.level);
    let mut partial = Encoder::new(setup.compression, setup.partial_level);
    loop {
        // One worker waits on the channel, the others on the lock.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut job) = next else { return };
        let number = job.number;
        let part = job.slot.plain.len() < setup.chunk_size;
        let encoder = if part { &mut partial } else { &mut full };
        let result =
            encoder.encode(&job.slot.plain, &mut job.slot.packed).map(|(method, stored)| {
                let hash = match setup.hashed {
                    Hashed::Plain => Sha256::of(&job.slot.plain),
                    Hashed::Stored => Sha256::of(job.slot.stored(method, stored)),
                };
                Done { job, method, stored, hash }
            });
        if done.send(Message::Done(number, result)).is_err() {
            return;
        }
    }
}

/// Tells the consumer about a panic, so that it doesn't wait for ever for the chunk that is lost.
struct Alarm<'a, T>(&'a Sender<Message<T>>);

impl<T> Drop for Alarm<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Message::Lost);
        }
    }
}

/// Hands the results on in order. Ends when all workers have ended.
fn collect<T>(
    done: &Receiver<Message<T>>,
    free: &Sender<Slot>,
    consume: &mut impl FnMut(Block<'_, T>) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    while let Ok(message) = done.recv() {
        match message {
            Message::Done(number, result) => waiting.insert(number, result),
            // The scope passes the panic on.
            Message::Lost => return Ok(()),
        };
        while let Some(result) = waiting.remove(&next) {
            let Done { job: Job { slot, tag, .. }, method, stored, hash } = result?;
            let stored = slot.stored(method, stored);
            consume(Block { tag, method, plain_size: slot.plain.len(), stored, hash })?;
            // The producer is gone when everything is read.
            let _ = free.send(slot);
            next += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn setup(threads: usize) -> Setup {
        Setup {
            compression: Compression::Auto,
            level: 1,
            partial_level: 1,
            threads: NonZeroUsize::new(threads).expect("some"),
            chunk_size: 64 << 10,
            hashed: Hashed::Plain,
        }
    }

    fn failure(number: u32) -> WriteError {
        WriteError::Level { found: number }
    }

    #[test]
    fn keeps_the_order_and_never_more_chunks_than_slots() {
        let setup = setup(4);
        let alive = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let (mut made, mut seen) = (0u32, 0u32);
        run(
            &setup,
            |buffer| {
                if made == 2000 {
                    return Ok(None);
                }
                most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Unequal chunks, so that workers overtake each other.
                let length = if made.is_multiple_of(50) { 60_000 } else { 3 };
                buffer.extend(made.to_le_bytes().iter().cycle().take(length));
                made += 1;
                Ok(Some(made - 1))
            },
            |block| {
                alive.fetch_sub(1, Ordering::SeqCst);
                assert_eq!(block.tag, seen);
                seen += 1;
                Ok(())
            },
        )
        .expect("all went well");
        assert_eq!(seen, 2000);
        let most = most.into_inner();
        assert!(most > 1 && most <= setup.slots(), "{most} chunks at once");
    }

    #[test]
    fn an_error_of_the_producer_comes_after_what_it_made() {
        let (mut made, mut seen) = (0, 0);
        let result = run(
            &setup(3),
            |buffer| {
                buffer.push(1);
                made += 1;
                if made > 100 { Err(failure(made)) } else { Ok(Some(())) }
            },
            |_| {
                seen += 1;
                Ok(())
            },
        );
        assert!(matches!(result, Err(WriteError::Level { found: 101 })), "{result:?}");
        assert_eq!(seen, 100);
    }

    #[test]
    fn an_error_of_the_consumer_stops_an_endless_producer() {
        let mut seen = 0;
        let result = run(
            &setup(2),
            |buffer| {
                buffer.push(1);
                Ok(Some(()))
            },
            |_| {
                seen += 1;
                if seen == 10 { Err(failure(seen)) } else { Ok(()) }
            },
        );
        assert!(matches!(result, Err(WriteError::Level { found: 10 })), "{result:?}");
    }

    #[test]
    fn a_panic_anywhere_ends_the_run() {
        let produce = || -> Result<Option<()>, WriteError> { panic!("producer") };
        let ended = panic::catch_unwind(|| run(&setup(2), |_| produce(), |_| Ok(())));
        assert!(ended.is_err());
        let consume = || -> Result<(), WriteError> { panic!("consumer") };
        let ended = panic::catch_unwind(|| {
            let produce = |buffer: &mut Vec<u8>| {
                buffer.push(0);
                Ok(Some(()))
            };
            run(&setup(2), produce, |_| consume())
        });
        assert!(ended.is_err());
    }

    #[test]
    fn slots_are_few_when_chunks_are_large() {
        let count = |threads, chunk_size| Setup { chunk_size, ..setup(threads) }.slots();
        assert_eq!(count(4, 64 << 10), 16);
        assert_eq!(count(4, 64 << 20), 5);
        assert_eq!(count(1, 1), 4);
    }
}
