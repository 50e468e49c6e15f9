//! Work on the files of many packages, by all processors.
//!
//! Not for work that keeps files open: what a thread opens is closed when it ends.

use std::hint::black_box;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sched::{CloneFlags, unshare};

/// More threads than this only wait for each other in the kernel.
const MOST_THREADS: usize = 16;

/// Packages that a thread takes at once.
const SHARE: usize = 16;

/// How many threads are worth their while, with the one that asks.
pub(super) fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS)
}

/// Gives this thread a table of open files of its own: the kernel then need not guard every open,
/// read and close against the other threads. If it says no, that is only slower.
pub(super) fn own_open_files() {
    let _ = unshare(CloneFlags::CLONE_FILES);
}

/// What a thread's heap has room for at once. Pages that are never used cost nothing.
const ROOM: usize = 4 << 20;

/// Makes room on this thread's heap. The C library lets it grow by a page at a time, each by a
/// system call that keeps all other threads from new pages; thousands of packages are as many
/// calls. Memory that was had once and given back stays at hand.
pub(super) fn make_room() {
    // So large a piece is usually not the heap's. After the first one was given back it is.
    for _ in 0..2 {
        drop(black_box(Vec::<u8>::with_capacity(ROOM)));
    }
}

/// What `work` makes of each item, in their order.
pub(super) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let shares: Vec<&[T]> = items.chunks(SHARE).collect();
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done: Vec<(usize, Vec<R>)> = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(share) = shares.get(at) else { return done };
            done.push((at, share.iter().map(&work).collect()));
        }
    };
    thread::scope(|scope| {
        let other = || {
            own_open_files();
            take()
        };
        let others: Vec<_> = (1..threads().min(shares.len())).map(|_| scope.spawn(other)).collect();
        let mut done = take();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done.sort_unstable_by_key(|(at, _)| *at);
        done.into_iter().flat_map(|(_, share)| share).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_questions() {
        for count in [0, 1, SHARE - 1, SHARE, SHARE + 1, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let doubled: Vec<usize> = items.iter().map(|item| 2 * item).collect();
            assert_eq!(each(&items, |item| 2 * item), doubled);
        }
    }

    #[test]
    #[should_panic(expected = "the seventy-seventh")]
    fn a_panic_is_not_lost() {
        let items: Vec<usize> = (0..1000).collect();
        each(&items, |item| assert!(*item != 77, "the seventy-seventh"));
    }
}
