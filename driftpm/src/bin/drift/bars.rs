//! Progress bars.

use std::sync::Mutex;
use std::time::Instant;

use driftpm::progress::Progress;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// Progress bars on a terminal.
#[derive(Default)]
pub(crate) struct Bars(Mutex<Option<Bar>>);

/// What is drawn.
struct Bar {
    drawn: ProgressBar,
    what: String,
    /// Whether what is counted are bytes; else they are told beside the steps.
    of_bytes: bool,
    bytes: u64,
    since: Instant,
}

const STEPS: &str = "{msg} {wide_bar} {pos}/{len} {eta}";
const BYTES: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const UNKNOWN: &str = "{msg} {spinner} {bytes} {bytes_per_sec}";

impl Bars {
    /// The slot of the bar; a thread that died with it leaves nothing half done.
    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Bar>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn draw(&self, what: &str, drawn: ProgressBar, template: &str) {
        self.end();
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        drawn.set_style(style);
        drawn.set_message(what.to_owned());
        let (of_bytes, since) = (template != STEPS, Instant::now());
        *self.slot() = Some(Bar { drawn, what: what.to_owned(), of_bytes, bytes: 0, since });
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str, total: usize) {
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        self.draw(what, ProgressBar::new(total), STEPS);
    }

    fn step(&self) {
        if let Some(bar) = &*self.slot() {
            bar.drawn.inc(1);
        }
    }

    fn begin_bytes(&self, what: &str, total: Option<u64>) {
        match total {
            Some(total) => self.draw(what, ProgressBar::new(total), BYTES),
            None => self.draw(what, ProgressBar::no_length(), UNKNOWN),
        }
    }

    fn bytes(&self, count: u64) {
        let mut slot = self.slot();
        let Some(bar) = slot.as_mut() else { return };
        bar.bytes = bar.bytes.saturating_add(count);
        if bar.of_bytes {
            bar.drawn.inc(count);
        } else {
            bar.drawn.set_message(came(&bar.what, bar.bytes, bar.since.elapsed().as_secs()));
        }
    }

    fn end(&self) {
        if let Some(bar) = self.slot().take() {
            bar.drawn.finish_and_clear();
        }
    }
}

/// What has come until now; how fast, after a second.
fn came(what: &str, bytes: u64, seconds: u64) -> String {
    let all = HumanBytes(bytes);
    match bytes.checked_div(seconds) {
        Some(rate) => format!("{what} {all} {}/s", HumanBytes(rate)),
        None => format!("{what} {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_beside_steps() {
        assert_eq!(came("fetching", 3 << 20, 0), "fetching 3.00 MiB");
        assert_eq!(came("fetching", 3 << 20, 2), "fetching 3.00 MiB 1.50 MiB/s");
        let bars = Bars::default();
        bars.bytes(1);
        bars.begin("fetching", 2);
        bars.bytes(1 << 20);
        bars.step();
        let message = bars.slot().as_ref().map(|bar| (bar.drawn.message(), bar.drawn.position()));
        assert_eq!(message, Some(("fetching 1.00 MiB".to_owned(), 1)));
        bars.begin_bytes("index", Some(4));
        bars.bytes(3);
        let position = bars.slot().as_ref().map(|bar| bar.drawn.position());
        assert_eq!(position, Some(3));
        bars.end();
        assert!(bars.slot().is_none());
    }
}
