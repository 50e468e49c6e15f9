//! Where log lines go, one JSON object each. For programs: libraries leave this to them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

/// The system's log, syslog(3)'s socket.
const SOCKET: &str = "/dev/log";

/// Facility "daemon", severity "error": 3 * 8 + 3.
const PRIORITY: u8 = 27;

/// A place for log lines.
#[derive(Debug)]
pub enum Destination {
    /// The end of a file.
    File(File),
    /// Standard error.
    StandardError,
    /// The system's log, for servers in the background, which have no standard error.
    System,
}

/// Sends the log lines of this process to `destination` from now on.
pub fn start(destination: Destination) {
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_ansi(false);
    match destination {
        Destination::File(file) => log.with_writer(file).init(),
        Destination::StandardError => log.with_writer(io::stderr).init(),
        Destination::System => log.with_writer(|| SystemLog).init(),
    }
}

/// Sends each line to the system's log. Connects anew for each: they are few, and the log's
/// daemon may be restarted between them.
struct SystemLog;

impl Write for SystemLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut message = format!("<{PRIORITY}>epkfs[{}]: ", std::process::id()).into_bytes();
        message.extend_from_slice(line.trim_ascii_end());
        let socket = UnixDatagram::unbound()?;
        // A log that nobody empties must not stop a thread that serves files.
        socket.set_nonblocking(true)?;
        socket.send_to(&message, SOCKET)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
