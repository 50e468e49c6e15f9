//! Live counters of a mount.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
    /// Requests for extended attributes: the kernel stops asking after the first.
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
