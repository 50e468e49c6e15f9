//! Where log lines go, one JSON object each: to `-o log=FILE`, else to standard error, which a
//! daemon in the background doesn't have: its lines go to the system's log, syslog(3)'s socket.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

use epkfs::daemon::Error;

use crate::cli::Arguments;

/// The system's log.
const SOCKET: &str = "/dev/log";

/// Facility "daemon", severity "error": 3 * 8 + 3.
const PRIORITY: u8 = 27;

/// Starts the log.
pub(crate) fn start(arguments: &Arguments) -> Result<(), Error> {
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_ansi(false);
    if let Some(path) = &arguments.options.log {
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(|source| Error::File { path: path.clone(), source })?;
        log.with_writer(file).init();
    } else if arguments.foreground {
        log.with_writer(io::stderr).init();
    } else {
        log.with_writer(|| SystemLog).init();
    }
    Ok(())
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
