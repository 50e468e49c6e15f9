//! When to load a block before it is asked for.
//!
//! One reader that goes through a package file after file waits for each block while another
//! processor has nothing to do. So a thread that has sent its answer loads what comes next before
//! it takes another request, as long as another thread is there to take it. Files of a folder
//! have consecutive numbers in the order of their names, so the next file is the next number.
//! Where several requests are under way, or reads jump, nothing is loaded: it would take the
//! processor from what is wanted for certain.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use epk_format::package::NodeId;

/// A read of a file whose number is at most this much above the last one's goes on with it.
const STRIDE: u64 = 4;

/// What no file's number is.
const NONE: u64 = u64::MAX;

/// What the threads know of each other.
pub(crate) struct Ahead {
    /// Whether there is more than one thread.
    enabled: bool,
    /// The last file that was read.
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

    /// Notes that a file was read. If the reader goes on from where it was, and nobody else
    /// reads, it is this thread's turn to load ahead.
    pub(crate) fn after(&self, file: NodeId) -> Option<Turn<'_>> {
        let file = u64::from(file.number());
        let previous = self.last.swap(file, Relaxed);
        let goes_on = file.checked_sub(previous).is_some_and(|step| step <= STRIDE);
        let turn = self.enabled && goes_on && self.is_quiet();
        (turn && !self.loading.swap(true, Relaxed)).then_some(Turn(self))
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
pub(crate) struct Turn<'a>(&'a Ahead);

impl Turn<'_> {
    /// Whether there is still nothing better to do.
    pub(crate) fn goes_on(&self) -> bool {
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

    fn after(ahead: &Ahead, file: usize) -> bool {
        ahead.after(NodeId::from_index(file).expect("a number")).is_some()
    }

    #[test]
    fn a_reader_that_goes_on_is_served_ahead() {
        let ahead = Ahead::new(2);
        let _serving = ahead.serve();
        let turns = [5, 5, 6, 9, 13, 12, 80, 85].map(|file| after(&ahead, file));
        assert_eq!(turns, [false, true, true, true, true, false, false, false]);
    }

    #[test]
    fn not_where_it_would_be_in_the_way() {
        let alone = Ahead::new(1);
        assert!(!after(&alone, 1) && !after(&alone, 1));

        let ahead = Ahead::new(2);
        let first = ahead.serve();
        assert!(!after(&ahead, 1));
        {
            let turn = ahead.after(NodeId::from_index(1).expect("a number"));
            assert!(turn.is_some_and(|turn| {
                assert!(!after(&ahead, 1), "one thread at a time");
                turn.goes_on()
            }));
        }
        assert!(after(&ahead, 1));
        let second = ahead.serve();
        assert!(!after(&ahead, 1), "two requests at once");
        drop(second);
        assert!(after(&ahead, 1));
        drop(first);
    }
}
