//! The system's log, syslog(3)'s socket.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;

use tracing::Level;

use crate::{keeper, lock};

const SOCKET: &str = "/dev/log";

/// Facility "daemon".
const FACILITY: u8 = 3 * 8;

/// The severity of a line, as syslog(3) numbers it.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Who passes lines on to the system's log, for a process that can't.
static KEEPER: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Lines for the system's log go through a keeper from now on.
pub(crate) fn through(keeper: OwnedFd) {
    *lock(&KEEPER) = Some(keeper);
}

/// Sends each line to the system's log.
pub(super) struct SystemLog(pub(super) Level);

impl Write for SystemLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let severity = severity(self.0);
        match &*lock(&KEEPER) {
            Some(keeper) => keeper::send_line(keeper, severity, line)?,
            None => send(severity, line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends a line to the system's log. Connects anew for each: they are few, and the log's daemon may
/// be restarted between them.
pub(crate) fn send(severity: u8, line: &[u8]) -> io::Result<()> {
    let priority = FACILITY | severity & 7;
    let mut message = format!("<{priority}>epkfs[{}]: ", std::process::id()).into_bytes();
    message.extend_from_slice(line.trim_ascii_end());
    let socket = UnixDatagram::unbound()?;
    // A log that nobody empties must not stop a thread that serves files.
    socket.set_nonblocking(true)?;
    socket.send_to(&message, SOCKET)?;
    Ok(())
}
