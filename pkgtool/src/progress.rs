//! A progress bar, on terminals only.

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
