//! Live counters of a mount.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters that all threads of a daemon add to.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Counter,)*
        }

        /// The values of a mount's counters at one moment.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// The values now; not one consistent cut, each is read on its own.
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Requests for a name in a folder.
    lookup,
    /// Requests for attributes.
    getattr,
    /// Requests for a link's text.
    readlink,
    /// Requests to open a file: the kernel stops asking after the first.
    open,
    /// Requests to open a folder: the kernel stops asking after the first.
    opendir,
    /// Requests for file content.
    read,
    /// Requests for a file's holes and what is between them.
    lseek,
    /// Requests for names in a folder.
    readdir,
    /// Requests for names in a folder with their attributes.
    readdirplus,
    /// Requests for the filesystem's size.
    statfs,
    /// Requests for these counters, and ioctls that don't exist.
    ioctl,
    /// Requests for an extended attribute, or for their names. Of a package that stores none the
    /// kernel asks for names once.
    xattr,
    /// Requests to change something, all refused.
    write,
    /// Bytes of content delivered.
    bytes_read,
    /// Blocks read from the image, inflated and verified.
    blocks_loaded,
    /// Plain bytes of those blocks.
    bytes_loaded,
    /// Blocks found in the cache.
    cache_hits,
    /// Times a thread waited for a block that another one was loading.
    cache_waits,
    /// Requests answered with an I/O error.
    errors,
    /// Different blocks that were found damaged.
    damaged_blocks,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// The number now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Bounded counters of a [`Histogram`]: up to 1 µs, 2 µs, 4 µs and so on.
const BOUNDED: usize = 20;

/// How long something took, each time.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [Counter; BOUNDED + 1],
    nanoseconds: Counter,
}

/// How long something took, each time, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Durations {
    /// How often it took up to [`Durations::bound`] of the place here, and longer than that of
    /// the one before. The last place is for all that took longer.
    pub counts: Vec<u64>,
    /// All of it together.
    pub nanoseconds: u64,
}

impl Histogram {
    /// It has happened again.
    pub(crate) fn record(&self, duration: Duration) {
        if let Some(count) = self.counts.get(place(duration)) {
            count.one();
        }
        self.nanoseconds.add(whole(duration));
    }

    /// The values now; not one consistent cut, each is read on its own.
    pub(crate) fn read(&self) -> Durations {
        let counts = self.counts.iter().map(Counter::get).collect();
        Durations { counts, nanoseconds: self.nanoseconds.get() }
    }
}

impl Durations {
    /// The longest duration, in nanoseconds, that a place counts: 1000 of the first, twice as
    /// much of each that follows. `None` of the last place, which has no bound.
    #[must_use]
    pub fn bound(&self, place: usize) -> Option<u64> {
        let bounded = place + 1 < self.counts.len();
        let doublings = u32::try_from(place).ok().filter(|_| bounded)?;
        1000_u64.checked_mul(1_u64.checked_shl(doublings)?)
    }

    /// How often it happened.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

fn place(duration: Duration) -> usize {
    let microseconds = whole(duration).div_ceil(1000).max(1);
    let doublings = u64::BITS - (microseconds - 1).leading_zeros();
    usize::try_from(doublings).map_or(BOUNDED, |place| place.min(BOUNDED))
}

/// Nanoseconds that a counter can add, of five centuries.
pub(crate) fn whole(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_where_they_belong() {
        let histogram = Histogram::default();
        let bounds = histogram.read();
        for nanoseconds in [0, 1, 999, 1000, 1001, 2000, 2001, 65_000, 524_288_000, 524_288_001] {
            let place = place(Duration::from_nanos(nanoseconds));
            assert!(bounds.bound(place).is_none_or(|bound| nanoseconds <= bound), "{nanoseconds}");
            let below = place.checked_sub(1).and_then(|place| bounds.bound(place));
            assert!(below.is_none_or(|bound| nanoseconds > bound), "{nanoseconds}");
            histogram.record(Duration::from_nanos(nanoseconds));
        }
        histogram.record(Duration::MAX);
        let durations = histogram.read();
        assert_eq!(durations.counts.len(), BOUNDED + 1);
        assert_eq!(durations.counts[..3], [4, 2, 1]);
        assert_eq!(durations.counts[BOUNDED - 1..], [1, 2]);
        assert_eq!((durations.count(), durations.bound(BOUNDED)), (11, None));
        assert_eq!(durations.bound(BOUNDED - 1), Some(524_288_000));
    }
}
