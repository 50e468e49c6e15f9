//! How a library tells what it is doing: it never draws.

use std::sync::Arc;

/// Told by long work what is being done and how far it is.
pub trait Progress: Send + Sync {
    /// `total` steps of `what` begin; what was going on before is over.
    fn begin(&self, what: &str, total: usize);
    /// One step is done. May be called from several threads.
    fn step(&self);
    /// So many bytes of `what` begin to come; `None` if the number is not known.
    fn begin_bytes(&self, _what: &str, _total: Option<u64>) {}
    /// So many bytes have come, within steps or bytes that began. May be called from several
    /// threads.
    fn bytes(&self, _count: u64) {}
    /// Nothing is going on any more.
    fn end(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: usize) {}
    fn step(&self) {}
    fn end(&self) {}
}

/// Tells nobody, for many.
#[must_use]
pub fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}
