//! Progress bars, on terminals only.

use epk_format::write::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows how much content is packed. Draws on stderr, and nothing when that is no terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar that is full at `total` bytes of content.
    pub(crate) fn new(total: u64) -> Self {
        // No ticking thread: while the package gets its name no other thread may take signals.
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let template = "{msg} [{bar:30}] {binary_bytes} of {binary_total_bytes}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message("packing");
        Self(bar)
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn content(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn hashed(&self, _bytes: u64) {
        self.0.set_message("hashing");
    }
}

/// Shows how much has come of a download. Draws on stderr, and nothing when that is no terminal.
pub(crate) struct Downloads {
    bar: ProgressBar,
}

impl Downloads {
    /// A bar of the download of `what`.
    pub(crate) fn new(what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template =
            "{msg} [{bar:30}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        Self { bar }
    }
}

impl driftpm::transport::Progress for Downloads {
    fn begin(&self, bytes: Option<u64>) {
        self.bar.set_length(bytes.unwrap_or(0));
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
