//! Plain blocks that were inflated and verified, bounded by bytes, each loaded by one thread at
//! a time however many want it.
//!
//! The one lock is held for table operations only, never while a block is read, inflated or
//! hashed. A failed load is told to everyone who waited for it and then forgotten, so that a
//! later read tries again: an image on a flaky disk recovers.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};

use epk_format::package::BlockIndex;
use lru::LruCache;

use crate::lock;
use crate::stats::Counters;

/// A block's plain bytes.
pub(crate) type Plain = Arc<Vec<u8>>;

/// Most buffers that are kept for blocks to come: as many as are usually loaded at once.
const MOST_SPARE: usize = 4;

/// Bytes of a buffer that is too large to be kept for nothing.
const LARGEST_SPARE: usize = 1 << 18;

/// A block can't be delivered; why has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure;

/// The cache.
pub(crate) struct BlockCache {
    state: Mutex<State>,
    capacity: usize,
}

struct State {
    blocks: LruCache<BlockIndex, Plain>,
    /// Bytes of memory that `blocks` take.
    bytes: usize,
    /// Memory of blocks that had to go, for those that come. Given back and asked for again it
    /// would be scattered over the threads' own heaps, which grow to several times the cache.
    spare: Vec<Vec<u8>>,
    flights: HashMap<BlockIndex, Arc<Flight>>,
}

/// What comes of asking for a block.
enum Begun {
    Cached(Plain),
    Waited(Result<Plain, Failure>),
    /// It is the asker's to load, and to land.
    Ours(Arc<Flight>, Vec<u8>),
}

/// A load under way.
#[derive(Default)]
struct Flight {
    progress: Mutex<Progress>,
    landed: Condvar,
}

#[derive(Default)]
struct Progress {
    /// Whether anyone wants the block kept.
    keep: bool,
    result: Option<Result<Plain, Failure>>,
}

impl BlockCache {
    /// A cache of at most `capacity` bytes, or of one block when that is larger: reading a large
    /// block in small steps must not inflate it at every step.
    pub(crate) fn new(capacity: usize) -> Self {
        let (blocks, flights) = (LruCache::unbounded(), HashMap::new());
        let state = State { blocks, bytes: 0, spare: Vec::new(), flights };
        Self { state: Mutex::new(state), capacity }
    }

    /// Most bytes it keeps.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes it keeps now.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.state).bytes
    }

    /// A block's plain bytes: from the cache, from another thread that is loading it, or by
    /// `load`, which makes them all of a buffer that may hold anything. The block is kept.
    pub(crate) fn get(
        &self,
        index: BlockIndex,
        counters: &Counters,
        load: impl FnOnce(&mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<Plain, Failure> {
        match self.begin(index, true, counters) {
            Begun::Cached(block) => Ok(block),
            Begun::Waited(result) => result,
            Begun::Ours(flight, mut plain) => {
                let landing = Landing { cache: self, index, flight: &flight };
                let result = load(&mut plain).map(|()| Arc::new(plain));
                landing.finish(result.clone());
                result
            }
        }
    }

    /// Fills `plain` with a block as a whole: from the cache, from another thread that is loading
    /// it, or by `load`. The block is left out of the cache, unless someone else wants it too:
    /// who reads a block as a whole leaves it in the kernel's cache and won't come back.
    pub(crate) fn copy(
        &self,
        index: BlockIndex,
        plain: &mut [u8],
        counters: &Counters,
        load: impl FnOnce(&mut [u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let block = match self.begin(index, false, counters) {
            Begun::Cached(block) => block,
            Begun::Waited(result) => result?,
            Begun::Ours(flight, _) => {
                let landing = Landing { cache: self, index, flight: &flight };
                let result = load(plain);
                landing.finish_copy(result, plain);
                return result;
            }
        };
        if block.len() != plain.len() {
            return Err(Failure);
        }
        plain.copy_from_slice(&block);
        Ok(())
    }

    /// Looks for a block, or takes on loading it.
    fn begin(&self, index: BlockIndex, keep: bool, counters: &Counters) -> Begun {
        let mut state = lock(&self.state);
        if let Some(block) = state.blocks.get(&index) {
            counters.cache_hits.one();
            return Begun::Cached(Arc::clone(block));
        }
        if let Some(flight) = state.flights.get(&index) {
            let flight = Arc::clone(flight);
            // While the table is locked the flight can't land.
            lock(&flight.progress).keep = true;
            drop(state);
            counters.cache_waits.one();
            return Begun::Waited(flight.wait());
        }
        let flight = Arc::new(Flight::default());
        lock(&flight.progress).keep = keep;
        state.flights.insert(index, Arc::clone(&flight));
        let spare = if keep { state.spare.pop() } else { None };
        Begun::Ours(flight, spare.unwrap_or_default())
    }

    /// Ends a flight: everyone who waits gets the result, later comers find the block or load
    /// it anew.
    fn land(&self, index: BlockIndex, flight: &Flight, result: Result<Plain, Failure>) {
        let mut evicted = Vec::new();
        let mut state = lock(&self.state);
        state.flights.remove(&index);
        let mut progress = lock(&flight.progress);
        if let (true, Ok(block)) = (progress.keep, &result) {
            state.insert(index, Arc::clone(block), self.capacity, &mut evicted);
            state.reuse(&mut evicted);
        }
        drop(state);
        progress.result = Some(result);
        flight.landed.notify_all();
        drop(progress);
        // Memory is given back when nobody waits for a lock.
        drop(evicted);
    }
}

impl State {
    fn insert(
        &mut self,
        index: BlockIndex,
        block: Plain,
        capacity: usize,
        evicted: &mut Vec<Plain>,
    ) {
        self.bytes += block.capacity();
        if let Some((_, old)) = self.blocks.push(index, block) {
            self.bytes -= old.capacity();
            evicted.push(old);
        }
        while self.bytes > capacity && self.blocks.len() > 1 {
            let Some((_, old)) = self.blocks.pop_lru() else { break };
            self.bytes -= old.capacity();
            evicted.push(old);
        }
    }
}

impl State {
    /// Keeps the memory of some blocks that nobody reads any more. What is left in `evicted` goes.
    fn reuse(&mut self, evicted: &mut Vec<Plain>) {
        while self.spare.len() < MOST_SPARE
            && let Some(block) = evicted.pop()
        {
            if let Ok(plain) = Arc::try_unwrap(block)
                && plain.capacity() <= LARGEST_SPARE
            {
                self.spare.push(plain);
            }
        }
    }
}

impl Flight {
    fn wait(&self) -> Result<Plain, Failure> {
        let mut progress = lock(&self.progress);
        loop {
            if let Some(result) = &progress.result {
                return result.clone();
            }
            progress = match self.landed.wait(progress) {
                Ok(progress) => progress,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
    }
}

/// Lands a flight even when its loader panics, so that nobody waits for ever.
struct Landing<'c> {
    cache: &'c BlockCache,
    index: BlockIndex,
    flight: &'c Flight,
}

impl Landing<'_> {
    fn finish(self, result: Result<Plain, Failure>) {
        self.cache.land(self.index, self.flight, result);
        std::mem::forget(self);
    }

    /// Ends a flight whose bytes are the loader's own: they are copied if someone wants them.
    fn finish_copy(self, result: Result<(), Failure>, plain: &[u8]) {
        {
            let mut state = lock(&self.cache.state);
            if !lock(&self.flight.progress).keep {
                // Nobody waits, and from now on nobody can.
                state.flights.remove(&self.index);
                drop(state);
                std::mem::forget(self);
                return;
            }
        }
        self.finish(result.map(|()| Arc::new(plain.to_vec())));
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.cache.land(self.index, self.flight, Err(Failure));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn fill(size: usize) -> impl FnOnce(&mut Vec<u8>) -> Result<(), Failure> {
        move |plain| {
            plain.resize(size, 7);
            Ok(())
        }
    }

    fn unexpected(_: &mut Vec<u8>) -> Result<(), Failure> {
        panic!("the block is in the cache")
    }

    #[test]
    fn many_readers_share_one_load() {
        const READERS: usize = 16;
        let (cache, counters) = (BlockCache::new(1 << 20), Counters::default());
        let (loads, start) = (AtomicUsize::new(0), Barrier::new(READERS));
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| {
                    start.wait();
                    let block = cache.get(BlockIndex(3), &counters, |plain| {
                        loads.fetch_add(1, Ordering::Relaxed);
                        // The load ends when every other reader waits for it.
                        while counters.cache_waits.get() < READERS as u64 - 1 {
                            std::thread::yield_now();
                        }
                        plain.resize(100, 1);
                        Ok(())
                    });
                    assert_eq!(block.map(|block| block.len()), Ok(100));
                });
            }
        });
        assert_eq!(loads.into_inner(), 1);
        assert_eq!(cache.bytes(), 100);
        assert!(lock(&cache.state).flights.is_empty());
    }

    #[test]
    fn keeps_the_latest_blocks_within_its_bytes() {
        let (cache, counters) = (BlockCache::new(250), Counters::default());
        for index in 0..3 {
            cache.get(BlockIndex(index), &counters, fill(100)).expect("loads");
        }
        assert_eq!(cache.bytes(), 200);
        cache.get(BlockIndex(1), &counters, unexpected).expect("kept");
        cache.get(BlockIndex(0), &counters, fill(100)).expect("loads again");
        cache.get(BlockIndex(1), &counters, unexpected).expect("used last but one");
        assert_eq!(counters.cache_hits.get(), 2);
        // One that is larger than all is kept alone.
        cache.get(BlockIndex(9), &counters, fill(1000)).expect("loads");
        assert_eq!(cache.bytes(), 1000);
        cache.get(BlockIndex(9), &counters, unexpected).expect("kept");
        cache.get(BlockIndex(1), &counters, fill(100)).expect("loads");
        assert_eq!(cache.bytes(), 100);
    }

    #[test]
    fn memory_of_a_block_that_had_to_go_is_used_again() {
        let (cache, counters) = (BlockCache::new(250), Counters::default());
        for index in 0..3 {
            cache.get(BlockIndex(index), &counters, fill(100)).expect("loads");
        }
        let reused = |plain: &mut Vec<u8>| {
            assert_eq!((plain.capacity(), &**plain), (100, &[7; 100][..]));
            Ok(())
        };
        let held = cache.get(BlockIndex(3), &counters, reused).expect("loads");
        // What someone still reads isn't.
        for index in 4..6 {
            cache.get(BlockIndex(index), &counters, reused).expect("loads");
        }
        assert_eq!(*held, [7; 100]);
        assert_eq!(cache.bytes(), 200);
        let empty = |plain: &mut Vec<u8>| {
            assert_eq!(plain.capacity(), 0);
            fill(100)(plain)
        };
        cache.get(BlockIndex(6), &counters, empty).expect("loads");
    }

    #[test]
    fn whole_blocks_are_not_kept() {
        let (cache, counters) = (BlockCache::new(250), Counters::default());
        let mut plain = [0; 100];
        let load = |plain: &mut [u8]| {
            plain.fill(7);
            Ok(())
        };
        cache.copy(BlockIndex(0), &mut plain, &counters, load).expect("loads");
        assert_eq!((cache.bytes(), plain), (0, [7; 100]));
        assert!(lock(&cache.state).flights.is_empty());
        // But what is kept is used.
        cache.get(BlockIndex(0), &counters, fill(100)).expect("loads");
        plain.fill(0);
        cache
            .copy(BlockIndex(0), &mut plain, &counters, |_| panic!("in the cache"))
            .expect("it is");
        assert_eq!((counters.cache_hits.get(), plain), (1, [7; 100]));
    }

    #[test]
    fn who_waits_for_a_whole_block_gets_a_copy() {
        let (cache, counters) = (BlockCache::new(250), Counters::default());
        std::thread::scope(|scope| {
            let loader = scope.spawn(|| {
                let mut plain = [0; 10];
                cache.copy(BlockIndex(0), &mut plain, &counters, |plain| {
                    while counters.cache_waits.get() == 0 {
                        std::thread::yield_now();
                    }
                    plain.fill(3);
                    Ok(())
                })
            });
            while lock(&cache.state).flights.is_empty() {
                std::thread::yield_now();
            }
            let block = cache.get(BlockIndex(0), &counters, unexpected).expect("waits");
            assert_eq!(*block, [3; 10]);
            assert_eq!(loader.join().expect("no panic"), Ok(()));
        });
        assert_eq!(cache.bytes(), 10);
    }

    #[test]
    fn failures_reach_everyone_and_are_forgotten() {
        let (cache, counters) = (BlockCache::new(250), Counters::default());
        std::thread::scope(|scope| {
            let loader = scope.spawn(|| {
                cache.get(BlockIndex(0), &counters, |_| {
                    while counters.cache_waits.get() == 0 {
                        std::thread::yield_now();
                    }
                    Err(Failure)
                })
            });
            while lock(&cache.state).flights.is_empty() {
                std::thread::yield_now();
            }
            assert_eq!(cache.get(BlockIndex(0), &counters, unexpected), Err(Failure));
            assert_eq!(loader.join().expect("no panic"), Err(Failure));
        });
        cache.get(BlockIndex(0), &counters, fill(10)).expect("tries again");
        assert_eq!(cache.bytes(), 10);
    }

    #[test]
    fn a_panic_while_loading_leaves_nobody_waiting() {
        let (cache, counters) = (BlockCache::new(250), Counters::default());
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cache.get(BlockIndex(0), &counters, |_| panic!("in the loader"))
        }));
        assert!(caught.is_err());
        cache.get(BlockIndex(0), &counters, fill(10)).expect("tries again");
    }
}
