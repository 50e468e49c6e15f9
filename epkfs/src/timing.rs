//! How long a server's work takes.
//!
//! Loading a block takes some hundred microseconds, and so four looks at the clock for each cost
//! nothing that could be measured: that is always timed. Of requests for content, most of which
//! are answered out of memory, only those are that someone asked for.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use epk_format::package::Step;

use crate::stats::{Counter, Histogram, whole};

/// What all threads of a daemon take down.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    /// Whether requests for content are timed.
    requests: AtomicBool,
    /// Nanoseconds of reading blocks' stored bytes from the image.
    pub(crate) fetching: Counter,
    /// Nanoseconds of hashing blocks.
    pub(crate) hashing: Counter,
    /// Nanoseconds of inflating blocks.
    pub(crate) inflating: Counter,
    /// Loads of blocks, which is all of that.
    pub(crate) loads: Histogram,
    /// Requests for content, from their arrival to their answer.
    pub(crate) reads: Histogram,
}

impl Timing {
    /// From now on requests for content are timed, or no more.
    pub(crate) fn time_requests(&self, on: bool) {
        self.requests.store(on, Relaxed);
    }

    /// Whether requests for content are timed.
    pub(crate) fn times_requests(&self) -> bool {
        self.requests.load(Relaxed)
    }

    /// A request for content is there. Dropped when it is answered, this takes the time.
    pub(crate) fn read(&self) -> Option<Watch<'_>> {
        self.times_requests().then(|| Watch { histogram: &self.reads, since: Instant::now() })
    }

    /// A block is going to be loaded. To be told the steps; dropped, it takes the time of all.
    pub(crate) fn load(&self) -> LoadWatch<'_> {
        let watch = Watch { histogram: &self.loads, since: Instant::now() };
        LoadWatch { timing: self, last: watch.since, _whole: watch }
    }
}

/// Takes the time of something until it is dropped.
pub(crate) struct Watch<'t> {
    histogram: &'t Histogram,
    since: Instant,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.histogram.record(self.since.elapsed());
    }
}

/// Takes the times of a load.
pub(crate) struct LoadWatch<'t> {
    timing: &'t Timing,
    last: Instant,
    _whole: Watch<'t>,
}

impl LoadWatch<'_> {
    /// A step is done.
    pub(crate) fn done(&mut self, step: Step) {
        let now = Instant::now();
        let sum = match step {
            Step::Fetched => &self.timing.fetching,
            Step::Verified => &self.timing.hashing,
            Step::Inflated => &self.timing.inflating,
        };
        sum.add(whole(now.duration_since(self.last)));
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_timed_on_demand_and_loads_always() {
        let timing = Timing::default();
        for (on, expected) in [(false, 0), (true, 1), (false, 1)] {
            timing.time_requests(on);
            assert_eq!(timing.read().is_some(), on);
            assert_eq!(timing.reads.read().count(), expected);
        }
        let mut load = timing.load();
        load.done(Step::Fetched);
        load.done(Step::Verified);
        drop(load);
        assert_eq!(timing.loads.read().count(), 1);
        let parts = timing.fetching.get() + timing.hashing.get() + timing.inflating.get();
        assert!(parts <= timing.loads.read().nanoseconds);
    }
}
