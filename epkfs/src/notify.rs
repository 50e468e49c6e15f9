//! Telling a supervisor that a mount answers.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use serde_json::json;

use crate::daemon::Ready;

/// Writes the line of `--ready-fd`: `{"ready":true,"mountpoint":…,"pid":…}`, or `{"error":…}`.
///
/// # Errors
/// What the descriptor says.
pub fn write_line(mut out: impl Write, outcome: Result<&Ready, impl Display>) -> io::Result<()> {
    let line = match outcome {
        Ok(Ready { mountpoint, pid }) => {
            json!({"ready": true, "mountpoint": mountpoint.to_string_lossy(), "pid": pid})
        }
        Err(error) => json!({ "error": error.to_string() }),
    };
    out.write_all(format!("{line}\n").as_bytes())
}

/// Tells systemd (sd_notify(3)) that the process `pid` is ready. `socket` is the value of
/// `NOTIFY_SOCKET`: a path, or an abstract name after `@`.
///
/// # Errors
/// What the socket says.
pub fn systemd(socket: &OsStr, pid: u32) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let message = format!("READY=1\nMAINPID={pid}\n");
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json() {
        let mut out = Vec::new();
        let ready = Ready { mountpoint: "/a \"b\"".into(), pid: 7 };
        write_line(&mut out, Ok::<_, &str>(&ready)).expect("memory");
        write_line(&mut out, Err("no\nway")).expect("memory");
        let lines: Vec<serde_json::Value> = out
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect();
        assert_eq!(lines[0], json!({"ready": true, "mountpoint": "/a \"b\"", "pid": 7}));
        assert_eq!(lines[1], json!({"error": "no\nway"}));
    }

    #[test]
    fn systemd_hears() {
        let name = format!("epkfs-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        systemd(OsStr::new(&format!("@{name}")), 42).expect("someone listens");
        let mut message = [0; 64];
        let length = socket.recv(&mut message).expect("a message");
        assert_eq!(&message[..length], b"READY=1\nMAINPID=42\n");
    }
}
