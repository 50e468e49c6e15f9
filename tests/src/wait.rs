//! Waiting for what other processes do, never longer than [`PATIENCE`].

use std::io::Read;
use std::process::{Child, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub use crate::daemon::PATIENCE;

/// Returns when `condition` holds.
///
/// # Panics
/// When it still doesn't after [`PATIENCE`].
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        pause();
    }
}

/// Between two looks at what tells nobody when it changes.
#[expect(clippy::disallowed_methods, reason = "polls with a deadline, nothing relies on the time")]
fn pause() {
    thread::sleep(Duration::from_millis(3));
}

/// Lets others go on for a while, for tests in which it doesn't matter when something happens.
#[expect(clippy::disallowed_methods, reason = "nothing relies on the time")]
pub fn a_while(time: Duration) {
    thread::sleep(time);
}

/// Reads to the end.
///
/// # Panics
/// When the end doesn't come within [`PATIENCE`].
#[track_caller]
#[must_use]
pub fn read_to_end(what: &str, mut from: impl Read + Send + 'static) -> Vec<u8> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = from.read_to_end(&mut bytes);
        // Nobody listens any more when it took too long.
        let _sent = sender.send(read.map(|_| bytes));
    });
    let received = receiver.recv_timeout(PATIENCE);
    received.unwrap_or_else(|_| panic!("no end in time: {what}")).expect("readable")
}

/// Waits for a child's end.
///
/// # Panics
/// When it lives on after [`PATIENCE`]; it is killed then.
#[track_caller]
pub fn for_end(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        if Instant::now() > deadline {
            let _killed = child.kill();
            let _status = child.wait();
            panic!("the process did not end in time");
        }
        pause();
    }
}
