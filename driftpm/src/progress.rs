//! How a library tells what it is doing: it never draws.

/// Told by long work what is being done and how far it is.
pub trait Progress: Sync {
    /// `total` steps of `what` begin; what was going on before is over.
    fn begin(&self, what: &str, total: usize);
    /// One step is done. May be called from several threads.
    fn step(&self);
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
