//! Where log lines go, one JSON object each (`spec/runtime.md` §15). For programs: libraries leave
//! this to them.

mod allowance;
mod system;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use nix::libc;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::lock;
use allowance::{Allowance, Judgement};
use system::SystemLog;
pub(crate) use system::{send as send_to_system, through};

/// A place for log lines.
#[derive(Debug)]
pub enum Destination {
    /// The end of a file.
    File(File),
    /// Standard error, for warnings and errors only: people read it.
    StandardError,
    /// The system's log, for servers in the background, which have no standard error.
    System,
}

/// Sends the log lines of this process to `destination` from now on, unless they go somewhere
/// already.
pub fn start(destination: Destination) {
    let (descriptor, most) = match &destination {
        Destination::File(file) => (Some(file.as_raw_fd()), Level::INFO),
        Destination::StandardError => (Some(libc::STDERR_FILENO), Level::WARN),
        Destination::System => (None, Level::INFO),
    };
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_ansi(false)
        .with_max_level(most)
        // There is nowhere to say that a log can't be had.
        .log_internal_errors(false)
        .with_writer(Writers { destination, allowance: Mutex::default() });
    if log.try_init().is_ok() {
        let _first = DESCRIPTOR.set(descriptor);
    }
}

/// Where lines are written, if it is a file.
static DESCRIPTOR: OnceLock<Option<RawFd>> = OnceLock::new();

/// The descriptor that lines are written to, if they are.
pub(crate) fn descriptor() -> Option<RawFd> {
    DESCRIPTOR.get().copied().flatten()
}

/// Whether people read the lines together with what the program says.
pub(crate) fn is_standard_error() -> bool {
    descriptor() == Some(libc::STDERR_FILENO)
}

/// The destination, for as many warnings and errors as it is to have.
struct Writers {
    destination: Destination,
    allowance: Mutex<Allowance>,
}

impl Writers {
    fn writer(&self, level: Level) -> Writer<'_> {
        match &self.destination {
            Destination::File(file) => Writer::File(file),
            Destination::StandardError => Writer::StandardError,
            Destination::System => Writer::System(SystemLog(level)),
        }
    }
}

impl<'w> MakeWriter<'w> for Writers {
    type Writer = Writer<'w>;

    fn make_writer(&'w self) -> Writer<'w> {
        self.writer(Level::INFO)
    }

    fn make_writer_for(&'w self, of: &Metadata<'_>) -> Writer<'w> {
        let level = *of.level();
        // What commands say in words is not said twice.
        let in_words = of.target().starts_with("epk::");
        if in_words && matches!(self.destination, Destination::StandardError) {
            return Writer::Nowhere;
        }
        if level > Level::WARN {
            return self.writer(level);
        }
        let judgement = lock(&self.allowance).judge(Instant::now());
        let note = match judgement {
            Judgement::Admitted => None,
            Judgement::AdmittedAfter(count) => Some(format!("{count} lines were left out")),
            Judgement::Last => Some("too many lines, more are left out for a while".to_owned()),
            Judgement::LeftOut => return Writer::Nowhere,
        };
        if let Some(message) = note {
            let line =
                serde_json::json!({"level": "WARN", "message": message, "target": "epkfs::log"});
            // As with all lines: there is nowhere else to say that it fails.
            let _written = self.writer(Level::WARN).write_all(format!("{line}\n").as_bytes());
        }
        match judgement {
            Judgement::Last => Writer::Nowhere,
            _ => self.writer(level),
        }
    }
}

enum Writer<'w> {
    File(&'w File),
    StandardError,
    System(SystemLog),
    Nowhere,
}

impl Write for Writer<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(line),
            Self::StandardError => io::stderr().write(line),
            Self::System(log) => log.write(line),
            Self::Nowhere => Ok(line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
