//! When to load a block before it is asked for.
//!
//! One reader that goes through a package from front to back, file after file, waits for each
//! block while another processor has nothing to do. So a thread that has sent its answer loads
//! the next block before it takes another request, as long as another thread is there to take
//! it. The order of blocks is the order of paths, or of an access profile, so the next block is
//! what such a reader wants. Where several requests are under way, or reads jump, nothing is
//! loaded: it would take the processor from what is wanted for certain.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use epk_format::package::BlockIndex;

/// A read that begins at most this many blocks after the one before goes on with it.
const STRIDE: u64 = 8;

/// What no block's number is.
const NONE: u64 = u64::MAX;

/// Blocks that are held ready.
const DEPTH: u32 = 2;

/// What the threads know of each other.
pub(crate) struct Ahead {
    /// Whether there is more than one thread.
    enabled: bool,
    /// The last block that was asked for.
    last: AtomicU64,
    /// Threads that are answering a request.
    serving: AtomicUsize,
    /// Whether a thread is loading ahead.
    loading: AtomicBool,
}

impl Ahead {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            enabled: threads > 1,
            last: AtomicU64::new(NONE),
            serving: AtomicUsize::new(0),
            loading: AtomicBool::new(false),
        }
    }

    /// Notes that a request is being answered, as long as what this gives lives.
    pub(crate) fn serve(&self) -> Serving<'_> {
        self.serving.fetch_add(1, Relaxed);
        Serving(self)
    }

    /// The blocks to load now that an answer which ended in `block` was sent, if any, one after
    /// another as long as no other request comes.
    pub(crate) fn after(&self, block: BlockIndex) -> Option<impl Iterator<Item = BlockIndex>> {
        let BlockIndex(block) = block;
        let previous = self.last.swap(block.into(), Relaxed);
        let goes_on = u64::from(block).checked_sub(previous).is_some_and(|step| step <= STRIDE);
        if !self.enabled || !goes_on || !self.is_quiet() || self.loading.swap(true, Relaxed) {
            return None;
        }
        let turn = Turn(self);
        let blocks = (1..=DEPTH).filter_map(move |step| block.checked_add(step));
        Some(blocks.take_while(move |_| turn.goes_on()).map(BlockIndex))
    }

    /// Whether no other thread is answering.
    fn is_quiet(&self) -> bool {
        self.serving.load(Relaxed) <= 1
    }
}

/// A request that is being answered.
pub(crate) struct Serving<'a>(&'a Ahead);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Relaxed);
    }
}

/// The right to load ahead.
struct Turn<'a>(&'a Ahead);

impl Turn<'_> {
    fn goes_on(&self) -> bool {
        self.0.is_quiet()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.loading.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(ahead: &Ahead, after: u32) -> Option<Vec<u32>> {
        let blocks = ahead.after(BlockIndex(after))?;
        Some(blocks.map(|BlockIndex(block)| block).collect())
    }

    #[test]
    fn a_reader_that_goes_on_is_served_ahead() {
        let ahead = Ahead::new(2);
        let _serving = ahead.serve();
        assert_eq!(blocks(&ahead, 5), None);
        assert_eq!(blocks(&ahead, 5), Some(vec![6, 7]));
        assert_eq!(blocks(&ahead, 6), Some(vec![7, 8]));
        assert_eq!(blocks(&ahead, 9), Some(vec![10, 11]));
        // Back, and far away.
        assert_eq!(blocks(&ahead, 8), None);
        assert_eq!(blocks(&ahead, 80), None);
        assert_eq!(blocks(&ahead, u32::MAX), None);
    }

    #[test]
    fn not_where_it_would_be_in_the_way() {
        let alone = Ahead::new(1);
        assert_eq!((blocks(&alone, 1), blocks(&alone, 1)), (None, None));

        let ahead = Ahead::new(2);
        let first = ahead.serve();
        ahead.after(BlockIndex(1)).map(Iterator::count);
        {
            let turn = ahead.after(BlockIndex(1));
            assert!(turn.is_some());
            assert_eq!(blocks(&ahead, 1), None, "one thread at a time");
        }
        assert!(ahead.after(BlockIndex(1)).is_some());
        let second = ahead.serve();
        assert_eq!(blocks(&ahead, 1), None, "two requests at once");
        drop(second);
        assert!(ahead.after(BlockIndex(1)).is_some());
        drop(first);
    }
}
