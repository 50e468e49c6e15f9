//! The signals that end the program, for those who have something to tidy up first.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::emulate_default_handler;

/// The signals that end the program, but for those that it was told to ignore.
pub(crate) fn heeded() -> impl Iterator<Item = i32> {
    let ignored = ignored();
    [SIGHUP, SIGINT, SIGTERM].into_iter().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}

/// The mask of ignored signals (`nohup`, background jobs of shells).
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Puts the end off: work that may be interrupted asks whether it is.
pub(crate) struct Deferred(Arc<AtomicUsize>);

impl Deferred {
    pub(crate) fn new() -> io::Result<Self> {
        let last = Arc::new(AtomicUsize::new(0));
        for signal in heeded() {
            let number = usize::try_from(signal).unwrap_or(0);
            flag::register_usize(signal, Arc::clone(&last), number)?;
        }
        Ok(Self(last))
    }

    /// An error when a signal has come.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted by a signal")),
        }
    }

    /// Ends the program by the signal that has come, if one has.
    pub(crate) fn end(&self) {
        let signal = i32::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(0);
        if signal != 0 {
            // Nothing is known to make it fail; the program goes on to end with an error then.
            let _ = emulate_default_handler(signal);
        }
    }
}
