//! A registry of containers, one that remembers half an upload, and a bad line to either.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use super::{Answer, Own, Process, Tls, program, wait_for};

/// Debian's `docker-registry` with an empty store, over TLS if it gets a certificate. With
/// `login` it answers only to `me` with the password `secret`. The URL has `oci://` before it.
pub(crate) fn registry(tls: Option<&Tls>, login: bool) -> Option<Process> {
    let registry = program("docker-registry")?;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let shown = |path: &Path| path.display().to_string();
    let tls = tls.map_or(String::new(), |tls| {
        let (certificate, key) = (shown(&tls.certificate), shown(&tls.key));
        format!(", tls: {{certificate: {certificate}, key: {key}}}")
    });
    let auth = if login {
        fs::write(path("passwords"), format!("me:{SECRET}\n")).unwrap();
        format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path("passwords"))
    } else {
        String::new()
    };
    let config = format!(
        "version: 0.1\nlog: {{level: info}}\n{auth}storage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{addr: '127.0.0.1:0'{tls}}}\n",
        path("store")
    );
    fs::write(path("config.yml"), config).unwrap();
    let mut child = Command::new(registry)
        .args(["serve", &path("config.yml")])
        .env_remove("OTEL_TRACES_EXPORTER")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = wait_for(&mut child, "listening on ");
    let (_, address) = line.split_once("listening on ").unwrap();
    let address: String =
        address.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
    Some(Process { child, _folder: folder, url: format!("oci://{address}") })
}

/// `secret`, as bcrypt has it.
const SECRET: &str = "$2b$04$zqEuIrxvqC8JIXH.9bSJNOcr/si9rdDroHv3NDa71wDC0ZIw0J6Gu";

/// A registry for one upload, that loses the answer to each second piece and half of the piece
/// itself, and says so when it is asked. What was uploaded is `done`.
pub(crate) fn uploads(done: &'static Mutex<Vec<u8>>) -> Own {
    let pieces = Mutex::new(0);
    let answer = |status: &str, headers: &str| {
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close");
        Answer::Raw(format!("{head}\r\n\r\n").into_bytes())
    };
    Own::of_requests(move |head, body| {
        let mut done = done.lock().unwrap();
        let place = "Location: /upload\r\n";
        match head.split(' ').next().unwrap_or_default() {
            "HEAD" if head.contains("/blobs/") => answer("404 Not Found", ""),
            "POST" => answer("202 Accepted", place),
            "PATCH" => {
                let begin = format!("content-range: {}-", done.len());
                if !head.to_lowercase().contains(&begin) {
                    return answer("416 Range Not Satisfiable", "");
                }
                let mut pieces = pieces.lock().unwrap();
                *pieces += 1;
                if *pieces % 2 == 1 {
                    done.extend(body);
                    return answer("202 Accepted", place);
                }
                done.extend(&body[..body.len() / 2]);
                Answer::Raw(Vec::new())
            }
            "GET" => {
                let range = format!("{place}Range: 0-{}\r\n", done.len() - 1);
                answer("204 No Content", &range)
            }
            "PUT" => {
                done.extend(body);
                answer("201 Created", "")
            }
            _ => answer("405 Method Not Allowed", ""),
        }
    })
}

/// A way to a server that breaks: of the first connections each carries so many bytes to the
/// server and so many back, those after them all.
pub(crate) struct Flaky {
    /// Host and port.
    pub(crate) host: String,
}

impl Flaky {
    /// A way to `server`, a host with a port.
    pub(crate) fn new(server: &str, limits: Vec<(usize, usize)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = server.to_owned();
        thread::spawn(move || {
            let mut limits = limits.into_iter();
            for client in listener.incoming().flatten() {
                let (up, down) = limits.next().unwrap_or((usize::MAX, usize::MAX));
                let Ok(upstream) = TcpStream::connect(&server) else { return };
                for (from, to, most) in [(&client, &upstream, up), (&upstream, &client, down)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || carry(from, to, most));
                }
            }
        });
        Self { host }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut most: usize) {
    let mut buffer = vec![0; 1 << 16];
    while most > 0 {
        let room = most.min(buffer.len());
        let count = from.read(&mut buffer[..room]).unwrap_or(0);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
        most -= count;
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
