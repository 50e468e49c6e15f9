//! Servers on loopback: real ones, if they are installed, and one of our own that misbehaves on
//! demand. Each ends with its value.

#![allow(dead_code)] // Each test binary uses some of them.

mod registry;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use driftpm::transport::Settings;

#[allow(unused_imports)] // As above.
pub(crate) use registry::{Flaky, registry, uploads};

/// With this variable, a server that is not installed fails the test.
const DEMAND: &str = "EPK_TEST_SERVERS";

/// The path of a program, or `None` if it is not there and nobody demands it.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/bin"].map(PathBuf::from));
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os(DEMAND).is_none(),
            "`{name}` is not installed, but {DEMAND} is set"
        );
        eprintln!("`{name}` is not installed: this test passes without having tested anything");
    }
    found
}

/// Bytes that are not the same anywhere.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

/// A client that tells a failure at once.
pub(crate) fn hasty() -> Settings {
    Settings { retries: 0, ..Settings::default() }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that is a process.
pub(crate) struct Process {
    child: Child,
    _folder: tempfile::TempDir,
    /// Its URL, without a slash at the end.
    pub(crate) url: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what a process says until a line has `word`; afterwards nobody listens, but it may talk.
fn wait_for(child: &mut Child, word: &str) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(Ok(line)) = lines.next() {
        if line.contains(word) {
            thread::spawn(move || lines.for_each(drop));
            return line;
        }
        said.push(line);
    }
    panic!("the server did not start: {}", said.join("\n"));
}

/// nginx that serves `root`, with TLS if it gets certificate and key. `extra` is put into its
/// server block.
pub(crate) fn nginx(root: &Path, tls: Option<&Tls>, extra: &str) -> Option<Process> {
    let nginx = program("nginx")?;
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (ssl, scheme) = match tls {
        Some(tls) => (
            format!(
                "ssl_certificate {}; ssl_certificate_key {};",
                tls.certificate.display(),
                tls.key.display()
            ),
            "https",
        ),
        None => (String::new(), "http"),
    };
    let listen = if tls.is_some() { " ssl" } else { "" };
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {};\n", path(kind)))
        .collect();
    let config = format!(
        "daemon off; master_process off; {user} pid {}; error_log stderr notice;\n\
         events {{}}\nhttp {{ access_log off; default_type application/octet-stream;\n{temporary}\
         server {{ listen 127.0.0.1:{port}{listen}; {ssl} root {}; {extra} }} }}\n",
        path("pid"),
        root.display()
    );
    fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let mut child = Command::new(nginx)
        .args(["-e", "stderr", "-p"])
        .arg(folder.path())
        .arg("-c")
        .arg(folder.path().join("nginx.conf"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Said after the sockets were opened.
    wait_for(&mut child, "epoll");
    Some(Process { child, _folder: folder, url: format!("{scheme}://127.0.0.1:{port}") })
}

/// A certificate for 127.0.0.1, and the authority that vouches for it.
pub(crate) struct Tls {
    folder: tempfile::TempDir,
    pub(crate) authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// Makes one with `openssl`.
pub(crate) fn tls() -> Option<Tls> {
    let openssl = program("openssl")?;
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &str| {
        let arguments = arguments.split_whitespace();
        let output =
            Command::new(&openssl).args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    run(&format!("{new} -subj /CN=authority -keyout ca.key -out ca.pem"));
    run(&format!(
        "{new} -subj /CN=server -keyout key.pem -out cert.pem -CA ca.pem -CAkey ca.key \
         -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE"
    ));
    let path = |name: &str| folder.path().join(name);
    let (authority, certificate, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
    Some(Tls { folder, authority, certificate, key })
}

/// An S3-compatible server with an empty bucket `bucket`.
pub(crate) fn s3() -> Option<Process> {
    let moto = program("moto_server")?;
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(moto)
        .args(["-H", "127.0.0.1", "-p", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = wait_for(&mut child, "Running on http://");
    let (_, url) = line.split_once("Running on ").unwrap();
    let url: String = url.chars().take_while(|c| !c.is_whitespace() && *c != '\u{1b}').collect();
    let server = Process { child, _folder: folder, url };
    put(&server.url, "/bucket", b"");
    Some(server)
}

/// Puts an object.
pub(crate) fn put(url: &str, path: &str, bytes: &[u8]) {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        bytes.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// What our own server does with a request.
pub(crate) enum Answer {
    /// The bytes, with a tag; ranges are served.
    File(Vec<u8>, &'static str),
    /// The same, but the connection ends after so many bytes.
    Cut(Vec<u8>, &'static str, usize),
    /// The same, and before it ends something is done.
    Then(Vec<u8>, &'static str, usize, Arc<dyn Fn() + Send + Sync>),
    /// These bytes as they are.
    Raw(Vec<u8>),
    /// A byte, again and again, with so much time between.
    Drip(Duration),
    /// Nothing at all; the connection stays open.
    Silence,
}

/// A server of our own: real sockets, and answers as bad as one likes.
pub(crate) struct Own {
    pub(crate) url: String,
    /// The first lines and the headers of all requests, one text each.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    count: Arc<AtomicUsize>,
}

impl Own {
    /// Serves what `answer` says about a path.
    pub(crate) fn new(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::of_requests(move |head, _| answer(head.split(' ').nth(1).unwrap_or_default()))
    }

    /// Serves what `answer` says about the first line and headers of a request, and its body.
    pub(crate) fn of_requests(
        answer: impl Fn(&str, &[u8]) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let count = Arc::new(AtomicUsize::new(0));
        let (answer, log, counter) = (Arc::new(answer), requests.clone(), count.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log, counter) = (answer.clone(), log.clone(), counter.clone());
                thread::spawn(move || serve(&stream, &*answer, &log, &counter));
            }
        });
        Self { url, requests, count }
    }

    /// Serves a folder as it is at each moment.
    pub(crate) fn folder(root: &Path) -> Self {
        let root = root.to_owned();
        Self::new(move |path| match fs::read(root.join(path.trim_start_matches('/'))) {
            Ok(bytes) => Answer::File(bytes, "\"none\""),
            Err(_) => Answer::Raw(
                b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                    .to_vec(),
            ),
        })
    }

    /// How many requests there were.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

fn serve(
    stream: &TcpStream,
    answer: &(dyn Fn(&str, &[u8]) -> Answer + Send + Sync),
    log: &Mutex<Vec<String>>,
    count: &AtomicUsize,
) {
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    loop {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        count.fetch_add(1, Ordering::SeqCst);
        log.lock().unwrap().push(head.clone());
        let headers: BTreeMap<String, &str> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        let length = headers.get("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let mut then: Option<Arc<dyn Fn() + Send + Sync>> = None;
        let (bytes, tag, most) = match answer(&head, &body) {
            Answer::File(bytes, tag) => (bytes, tag, usize::MAX),
            Answer::Cut(bytes, tag, most) => (bytes, tag, most),
            Answer::Then(bytes, tag, most, act) => {
                then = Some(act);
                (bytes, tag, most)
            }
            Answer::Raw(bytes) => {
                let _ = out.write_all(&bytes);
                return;
            }
            Answer::Drip(pause) => {
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
                let mut alive = out.write_all(head).is_ok();
                while alive {
                    // The pause is the thing under test, nobody waits for an event by it.
                    #[allow(clippy::disallowed_methods)]
                    thread::sleep(pause);
                    alive = out.write_all(b"x").is_ok();
                }
                return;
            }
            Answer::Silence => {
                let _ = reader.read_to_end(&mut Vec::new());
                return;
            }
        };
        let range = headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        let range = range.and_then(|range| range.split_once('-')).map(|(from, to)| {
            let from: usize = from.parse().unwrap();
            (from, to.parse().map_or(bytes.len(), |to: usize| to + 1))
        });
        let (status, (from, to)) = match range {
            Some(range) => ("206 Partial Content", range),
            None => ("200 OK", (0, bytes.len())),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nETag: {tag}\r\nContent-Length: {}\r\n{}\r\n",
            to - from,
            match range {
                Some(_) => format!("Content-Range: bytes {from}-{}/{}\r\n", to - 1, bytes.len()),
                None => String::new(),
            }
        );
        let part = &bytes[from..to];
        let sent = &part[..part.len().min(most)];
        let written = out.write_all(head.as_bytes()).and_then(|()| out.write_all(sent));
        if let Some(act) = then {
            act();
            return;
        }
        if written.is_err() || sent.len() < part.len() {
            return;
        }
    }
}
