//! Waiting awake, for a moment, for the next request.
//!
//! A program that reads file after file asks, waits for the answer, and asks again within
//! microseconds. Going to sleep in between and being woken takes longer than most answers do: on an
//! idle processor of a virtual machine some 25 µs. So whoever has answered looks out for the next
//! request a little longer, as long as one thread alone is asking and nobody else is at work. With
//! more of them processors have better things to do, and a request is there soon anyway.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::sched_getaffinity;

/// How long to wait awake.
const MOMENT: Duration = Duration::from_micros(30);

/// Requests in a row from one thread before it is waited for.
const REGULAR: u32 = 4;

/// Most requests after which it isn't waited, when waiting was in vain again and again.
const MOST_SKIPPED: u32 = 16;

/// Who waits awake, and whether it is worth it.
///
/// The numbers are hints: threads that answer at once may mix them up, and then one waits too
/// often or not often enough.
pub(crate) struct Linger {
    device: OwnedFd,
    /// Threads that are answering.
    serving: AtomicU32,
    /// Whether one is waiting awake.
    taken: AtomicBool,
    /// The thread that asked last, and how many times in a row.
    asker: AtomicU32,
    row: AtomicU32,
    /// Times in a row that nothing came.
    vain: AtomicU32,
    /// Requests to come after which it isn't waited.
    skip: AtomicU32,
}

/// A request that is being answered. Dropped when it is, it waits for the next.
pub(crate) struct Serving<'l> {
    linger: &'l Linger,
    asker: u32,
}

impl Linger {
    /// Looks out for requests at `device`, a descriptor of the connection. `None` where there is
    /// one processor, which a thread that waits awake would keep from the one that asks.
    pub(crate) fn new(device: &OwnedFd) -> Option<Self> {
        let processors = sched_getaffinity(None).map_or(1, |set| set.count());
        // Without another descriptor nothing is lost but time.
        device.try_clone().ok().filter(|_| processors > 1).map(Self::on)
    }

    fn on(device: OwnedFd) -> Self {
        let (taken, zero) = (AtomicBool::new(false), || AtomicU32::new(0));
        let (serving, asker, row, vain, skip) = (zero(), zero(), zero(), zero(), zero());
        Self { device, serving, taken, asker, row, vain, skip }
    }

    /// A thread asks.
    pub(crate) fn serve(&self, asker: u32) -> Serving<'_> {
        self.serving.fetch_add(1, Relaxed);
        Serving { linger: self, asker }
    }

    /// Whether it is worth waiting after an answer to a thread.
    fn is_worth_it(&self, asker: u32) -> bool {
        if self.asker.swap(asker, Relaxed) != asker {
            self.row.store(0, Relaxed);
            return false;
        }
        let row = self.row.load(Relaxed);
        if row < REGULAR {
            self.row.store(row + 1, Relaxed);
            return false;
        }
        let skip = self.skip.load(Relaxed);
        self.skip.store(skip.saturating_sub(1), Relaxed);
        skip == 0
    }

    fn wait(&self) {
        let start = Instant::now();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        while start.elapsed() < MOMENT {
            let mut polled = [PollFd::new(&self.device, PollFlags::IN)];
            // Whatever is wrong with the device, reading it will tell.
            if poll(&mut polled, Some(&at_once)) != Ok(0) || self.serving.load(Relaxed) > 0 {
                self.vain.store(0, Relaxed);
                return;
            }
        }
        let vain = self.vain.load(Relaxed);
        self.skip.store(vain, Relaxed);
        self.vain.store((vain + 1).min(MOST_SKIPPED), Relaxed);
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        let linger = self.linger;
        let others = linger.serving.fetch_sub(1, Relaxed) > 1;
        if linger.is_worth_it(self.asker) && !others && !linger.taken.swap(true, Relaxed) {
            linger.wait();
            linger.taken.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_regular_asker_is_waited_for() {
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        let linger = Linger::on(read);
        for _ in 0..10 {
            assert!(!linger.is_worth_it(1) && !linger.is_worth_it(2), "they take turns");
        }
        for _ in 0..=REGULAR {
            assert!(!linger.is_worth_it(3));
        }
        assert!(linger.is_worth_it(3));
        // Nothing comes, twice: then once it isn't waited.
        linger.wait();
        assert!(linger.is_worth_it(3));
        linger.wait();
        assert!(!linger.is_worth_it(3) && linger.is_worth_it(3));
        nix::unistd::write(&write, b"x").expect("room");
        linger.wait();
        assert!(linger.is_worth_it(3), "something came, so it is regular");
    }

    #[test]
    fn who_is_at_work_needs_no_company() {
        let (read, _write) = nix::unistd::pipe().expect("a pipe");
        let linger = Linger::on(read);
        let other = linger.serve(7);
        for _ in 0..2 * MOST_SKIPPED {
            drop(linger.serve(7));
        }
        assert_eq!(linger.vain.load(Relaxed), 0, "nobody waited");
        drop(other);
        assert_eq!((linger.vain.load(Relaxed), linger.serving.load(Relaxed)), (1, 0));
    }
}
