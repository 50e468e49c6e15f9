//! Progress bars.

use std::sync::Mutex;

use driftpm::progress::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Progress bars on a terminal.
#[derive(Default)]
pub(crate) struct Bars(Mutex<Option<ProgressBar>>);

impl Bars {
    /// The slot of the bar; a thread that died with it leaves nothing half done.
    fn slot(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str, total: usize) {
        self.end();
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX)).with_style(style);
        bar.set_message(what.to_owned());
        *self.slot() = Some(bar);
    }

    fn step(&self) {
        if let Some(bar) = &*self.slot() {
            bar.inc(1);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.slot().take() {
            bar.finish_and_clear();
        }
    }
}
