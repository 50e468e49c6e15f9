//! Signals that end a mount, waited for by a thread: no handler runs in the middle of anything.

use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::sys::pthread::pthread_kill;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;

const SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// The signals, kept from this thread and those that it starts until this is dropped.
pub(crate) struct Signals {
    before: SigSet,
}

impl Signals {
    /// Signals that come from now on wait for [`Self::watch`].
    pub(crate) fn block() -> io::Result<Self> {
        let before = SigSet::from_iter(SIGNALS).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Self { before })
    }

    /// Starts a thread that calls `end` at the first signal. A second one takes its usual course, and
    /// so does the first if `end` can't do what it should.
    pub(crate) fn watch(
        &self,
        end: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<Watch> {
        let done = Arc::new(AtomicBool::new(false));
        let finished = Arc::clone(&done);
        let thread = std::thread::Builder::new().name("epkfs-signals".into()).spawn(move || {
            let signals = SigSet::from_iter(SIGNALS);
            let next = || signals.wait().ok().filter(|_| !finished.load(Ordering::Acquire));
            let Some(first) = next() else { return };
            let last = match end() {
                Ok(()) => next(),
                Err(error) => {
                    tracing::warn!(target: "epkfs::mount", %error, "the mount stays");
                    Some(first)
                }
            };
            if let Some(signal) = last {
                let sent = signals.thread_unblock().and_then(|()| kill(Pid::this(), signal));
                if let Err(errno) = sent {
                    tracing::warn!(%errno, "the second signal is lost");
                }
            }
        })?;
        Ok(Watch { done, thread })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Fails for invalid arguments only.
        let _result = self.before.thread_set_mask();
    }
}

/// A thread that waits for signals.
pub(crate) struct Watch {
    done: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Ends the thread.
    pub(crate) fn end(self) {
        self.done.store(true, Ordering::Release);
        // To this thread only: it wakes from its wait and sees that it's over. An error means
        // that it has ended by itself.
        let _sent = pthread_kill(self.thread.as_pthread_t(), Signal::SIGTERM);
        let _ended = self.thread.join();
    }
}
