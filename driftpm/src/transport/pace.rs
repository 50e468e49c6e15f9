//! Whether a server sends fast enough to be waited for.

use std::time::Instant;

use super::error::{ErrorKind, TransportError};
use super::location::Location;
use super::settings::Settings;

/// How much has come since when.
#[derive(Debug)]
pub(super) struct Pace {
    begin: Instant,
    bytes: u64,
}

impl Pace {
    /// Nothing yet, since now.
    pub(super) fn new() -> Self {
        Self { begin: Instant::now(), bytes: 0 }
    }

    /// Notes that `bytes` have come.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if that is too little for the time it took.
    pub(super) fn note(
        &mut self,
        bytes: usize,
        from: &Location,
        settings: &Settings,
    ) -> Result<(), TransportError> {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let Some(over) = self.begin.elapsed().checked_sub(settings.idle_timeout) else {
            return Ok(());
        };
        if self.bytes >= settings.slowest.saturating_mul(over.as_secs()) {
            return Ok(());
        }
        let seconds = self.begin.elapsed().as_secs();
        let message = format!("{} bytes in {seconds} s: that is too slow", self.bytes);
        Err(TransportError::new(ErrorKind::Timeout, from, message))
    }
}
