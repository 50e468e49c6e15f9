//! The transport against servers on loopback: nginx, an S3-compatible one, and one that lies.

mod servers;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use driftpm::transport::{
    Client, Downloaded, ErrorKind, Location, Progress, Proxies, Request, S3Settings, Settings,
    Silent, Transport as _, TransportError,
};
use servers::{Answer, Own, hasty, nginx, noise, put, s3, tls};

fn at(url: &str, path: &str) -> Location {
    Location::parse(&format!("{url}/")).unwrap().join(path).unwrap()
}

fn download(client: &Client, from: &Location, to: &Path) -> Result<Downloaded, TransportError> {
    let request = Request { from: from.clone(), to: to.to_owned(), limit: 1 << 24, size: None };
    client.download(&[request], &Silent).remove(0)
}

/// Everything that all servers must do, in a folder with `a/plain`, `a/b ü%41.dmp` and `empty`.
fn all_servers(client: &Client, base: &str, bytes: &[u8]) {
    let size = u64::try_from(bytes.len()).unwrap();
    assert_eq!(client.read(&at(base, "a/plain"), size).unwrap(), bytes);
    assert_eq!(client.read(&at(base, "a/b ü%41.dmp"), 9).unwrap(), b"odd name\n");
    assert_eq!(client.read(&at(base, "empty"), 0).unwrap(), b"");
    assert_eq!(client.read_range(&at(base, "a/plain"), 1000..1010).unwrap(), &bytes[1000..1010]);
    let beyond = client.read_range(&at(base, "a/plain"), size - 1..size + 5).unwrap_err();
    assert!(matches!(beyond.kind, ErrorKind::WrongSize | ErrorKind::Network), "{beyond}");
    let kind = |path, limit| client.read(&at(base, path), limit).unwrap_err().kind;
    assert_eq!(kind("a/plain", size - 1), ErrorKind::TooLarge);
    assert_eq!(kind("a/none", 1), ErrorKind::NotFound);

    let folder = tempfile::tempdir().unwrap();
    let requests: Vec<Request> = ["a/plain", "none", "a/b ü%41.dmp", "a/plain", "a/plain"]
        .iter()
        .enumerate()
        .map(|(number, path)| Request {
            from: at(base, path),
            to: folder.path().join(number.to_string()),
            limit: if number == 3 { 5 } else { 1 << 24 },
            size: (number == 4).then_some(5),
        })
        .collect();
    let answers = client.download(&requests, &Silent);
    let kinds: Vec<_> = answers.iter().map(|answer| answer.as_ref().map_err(|e| e.kind)).collect();
    assert_eq!(kinds[0], Ok(&Downloaded { size, resumed: 0 }));
    assert_eq!(kinds[1], Err(ErrorKind::NotFound));
    assert_eq!(kinds[3], Err(ErrorKind::TooLarge));
    assert_eq!(kinds[4], Err(ErrorKind::WrongSize));
    assert_eq!(fs::read(folder.path().join("0")).unwrap(), bytes);
    assert_eq!(fs::read(folder.path().join("2")).unwrap(), b"odd name\n");
    assert!(!folder.path().join("3").exists() && !folder.path().join("0.part").exists());
}

fn fill(root: &Path, bytes: &[u8]) {
    fs::create_dir(root.join("a")).unwrap();
    fs::write(root.join("a/plain"), bytes).unwrap();
    fs::write(root.join("a/b ü%41.dmp"), "odd name\n").unwrap();
    fs::write(root.join("empty"), "").unwrap();
}

#[test]
fn local_files() {
    let root = tempfile::tempdir().unwrap();
    let bytes = noise(100_000);
    fill(root.path(), &bytes);
    let base = Location::of_directory(root.path()).unwrap().to_string();
    all_servers(&Client::new(hasty()).unwrap(), base.trim_end_matches('/'), &bytes);
}

#[test]
fn nginx_over_http() {
    let root = tempfile::tempdir().unwrap();
    let bytes = noise(3_000_000);
    fill(root.path(), &bytes);
    let Some(server) = nginx(root.path(), None, "") else { return };
    let client = Client::new(hasty()).unwrap();
    all_servers(&client, &server.url, &bytes);

    // What was begun is continued, unless the file is another one by now.
    let (from, to) = (at(&server.url, "a/plain"), root.path().join("target"));
    download(&client, &from, &to).unwrap();
    let part = root.path().join("target.part");
    let origin = root.path().join("target.part.json");
    let begin = |validator: &str| {
        fs::write(&part, &bytes[..1_000_000]).unwrap();
        let origin_text = format!(
            "{{\"url\":\"{from}\",\"validator\":{},\"size\":3000000}}",
            serde_json::to_string(validator).unwrap()
        );
        fs::write(&origin, origin_text).unwrap();
    };
    // nginx's tag: time and size in hexadecimal digits.
    let modified = fs::metadata(root.path().join("a/plain")).unwrap().modified().unwrap();
    let seconds = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    begin(&format!("\"{seconds:x}-{:x}\"", 3_000_000));
    let resumed = download(&client, &from, &to).unwrap();
    assert_eq!(resumed, Downloaded { size: 3_000_000, resumed: 1_000_000 });
    assert_eq!(fs::read(&to).unwrap(), bytes);
    begin("\"another\"");
    assert_eq!(download(&client, &from, &to).unwrap().resumed, 0);
    assert_eq!(fs::read(&to).unwrap(), bytes);
    assert!(!part.exists() && !origin.exists());
}

#[test]
fn nginx_over_https_and_no_way_back() {
    let root = tempfile::tempdir().unwrap();
    let bytes = noise(100_000);
    fill(root.path(), &bytes);
    let Some(tls) = tls() else { return };
    let Some(plain) = nginx(root.path(), None, "") else { return };
    let down = format!("location /down {{ return 302 {}/a/plain; }}", plain.url);
    let rules =
        format!("{down} location /round {{ return 302 $scheme://$host:$server_port/round; }}");
    let Some(secure) = nginx(root.path(), Some(&tls), &rules) else { return };
    let authority = fs::read(&tls.authority).unwrap();
    let client = Client::new(Settings { root_certificates: vec![authority], ..hasty() }).unwrap();
    all_servers(&client, &secure.url, &bytes);

    let error = |path| client.read(&at(&secure.url, path), 1 << 20).unwrap_err();
    assert_eq!(error("down").kind, ErrorKind::Redirect, "{}", error("down"));
    assert!(error("down").message.contains("weaker"), "{}", error("down"));
    assert_eq!(error("round").kind, ErrorKind::Redirect);

    let up = format!("location /up {{ return 302 {}/a/plain; }}", secure.url);
    let Some(plain) = nginx(root.path(), None, &up) else { return };
    assert_eq!(client.read(&at(&plain.url, "up"), 1 << 20).unwrap(), bytes);

    // Somebody whom nobody vouches for.
    let stranger = Client::new(hasty()).unwrap();
    let error = stranger.read(&at(&secure.url, "empty"), 9).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Network, "{error}");
}

#[test]
fn an_object_store() {
    let Some(server) = s3() else { return };
    let bytes = noise(100_000);
    put(&server.url, "/bucket/r/a/plain", &bytes);
    put(&server.url, "/bucket/r/a/b%20%C3%BC%2541.dmp", b"odd name\n");
    put(&server.url, "/bucket/r/empty", b"");
    let s3 = S3Settings {
        endpoint: Some(server.url.clone()),
        keys: Some(("id".into(), "secret".into())),
        ..S3Settings::default()
    };
    let client = Client::new(Settings { s3: s3.clone(), ..hasty() }).unwrap();
    all_servers(&client, "s3://bucket/r", &bytes);
    let unsigned = S3Settings { keys: None, ..s3 };
    let client = Client::new(Settings { s3: unsigned, ..hasty() }).unwrap();
    let public = client.read(&at("s3://bucket/r", "empty"), 0);
    assert!(
        matches!(&public, Ok(bytes) if bytes.is_empty())
            || public.is_err_and(|e| e.kind == ErrorKind::Denied)
    );
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Progress for Count {
    fn advance(&self, bytes: u64) {
        self.0.fetch_add(usize::try_from(bytes).unwrap(), Ordering::SeqCst);
    }
}

#[test]
fn a_server_that_hangs_up_again_and_again() {
    let bytes = noise(500_000);
    let served = bytes.clone();
    let server = Own::new(move |_| Answer::Cut(served.clone(), "\"tag\"", 70_000));
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(Settings { retries: 2, ..hasty() }).unwrap();
    let request = Request {
        from: at(&server.url, "x"),
        to: folder.path().join("x"),
        limit: 1 << 20,
        size: Some(500_000),
    };
    let progress = Count::default();
    let answers = client.download(&[request], &progress);
    assert_eq!(answers[0].as_ref().unwrap().size, 500_000);
    assert_eq!(fs::read(folder.path().join("x")).unwrap(), bytes);
    assert_eq!(progress.0.load(Ordering::SeqCst), 500_000);
    assert!(server.count() >= 8, "{}", server.count());
}

#[test]
fn what_was_interrupted_goes_on_later() {
    let bytes = noise(200_000);
    let served = bytes.clone();
    let calls = AtomicUsize::new(0);
    // The first time little comes, then nothing, and the next day all is well.
    let server = Own::new(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Cut(served.clone(), "\"tag\"", 50_000),
        1..=2 => Answer::Raw(
            b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        _ => Answer::File(served.clone(), "\"tag\""),
    });
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let client = Client::new(hasty()).unwrap();
    let error = download(&client, &at(&server.url, "x"), &to).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Network);
    assert!(!to.exists() && folder.path().join("x.part").exists());
    // Another process of another day.
    let client = Client::new(hasty()).unwrap();
    let mut outcome = download(&client, &at(&server.url, "x"), &to);
    while outcome.is_err() && server.count() < 5 {
        outcome = download(&client, &at(&server.url, "x"), &to);
    }
    let done = outcome.unwrap();
    assert_eq!(fs::read(&to).unwrap(), bytes);
    assert_eq!(done, Downloaded { size: 200_000, resumed: 50_000 });
}

#[test]
fn a_server_that_hangs_up_before_it_answers() {
    let bytes = noise(200_000);
    let served = bytes.clone();
    let calls = AtomicUsize::new(0);
    let server = Own::new(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Cut(served.clone(), "\"tag\"", 50_000),
        1 => Answer::Raw(Vec::new()),
        _ => Answer::File(served.clone(), "\"tag\""),
    });
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    for _ in 0..2 {
        let client = Client::new(hasty()).unwrap();
        let error = download(&client, &at(&server.url, "x"), &to).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Network, "{error}");
    }
    assert_eq!(server.count(), 2, "the whole was asked for after a range that nobody refused");
    let done = download(&Client::new(hasty()).unwrap(), &at(&server.url, "x"), &to).unwrap();
    assert_eq!(done, Downloaded { size: 200_000, resumed: 50_000 });
    assert_eq!(fs::read(&to).unwrap(), bytes);
}

#[test]
fn a_server_that_lies() {
    let raw = |head: &str, body: &[u8]| {
        [head.as_bytes(), b"\r\nConnection: close\r\n\r\n", body].concat()
    };
    let server = Own::new(move |path| match path {
        "/endless" => {
            Answer::Raw(raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999", &[7; 1000]))
        }
        "/short" => Answer::Raw(raw("HTTP/1.1 200 OK\r\nContent-Length: 100", b"few")),
        "/chunks" => Answer::Raw(raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
            b"5\r\nhello\r\n0\r\n\r\n",
        )),
        "/garbage" => Answer::Raw(b"\x00\x01\x02 no HTTP at all\r\n\r\n".to_vec()),
        "/range" => Answer::Raw(raw(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5",
            b"wrong",
        )),
        "/denied" => Answer::Raw(raw("HTTP/1.1 403 Forbidden\r\nContent-Length: 0", b"")),
        "/file" => Answer::Raw(raw(
            "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0",
            b"",
        )),
        _ => Answer::Silence,
    });
    let client = Client::new(hasty()).unwrap();
    let kind = |path| client.read(&at(&server.url, path), 1000).unwrap_err().kind;
    assert_eq!(kind("endless"), ErrorKind::TooLarge);
    assert_eq!(kind("short"), ErrorKind::Network);
    assert_eq!(kind("chunks"), ErrorKind::Network);
    assert_eq!(kind("garbage"), ErrorKind::Network);
    assert_eq!(kind("denied"), ErrorKind::Denied);
    let impatient = Settings { idle_timeout: Duration::from_millis(300), ..hasty() };
    let silence = Client::new(impatient).unwrap().read(&at(&server.url, "silence"), 1000);
    assert_eq!(silence.unwrap_err().kind, ErrorKind::Timeout);
    assert_ne!(client.read(&at(&server.url, "file"), 9999).unwrap_err().message, "");
    let error = client.read_range(&at(&server.url, "range"), 0..5).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Network);
    // Nobody there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = client.read(&at(&format!("http://{port}"), "x"), 9).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Network, "{error}");
}

#[test]
fn proxies_are_those_we_were_told() {
    let proxy = Own::new(|_| Answer::File(b"by proxy".to_vec(), "\"p\""));
    let direct = Own::new(|_| Answer::File(b"directly".to_vec(), "\"d\""));
    let settings = |none_for: Option<&str>| Settings {
        proxies: Proxies {
            http: Some(proxy.url.clone()),
            none_for: none_for.map(str::to_owned),
            ..Proxies::default()
        },
        ..hasty()
    };
    let read =
        |settings, url: &str| Client::new(settings).unwrap().read(&at(url, "x"), 99).unwrap();
    assert_eq!(read(settings(None), "http://nowhere.invalid"), b"by proxy");
    let asked = proxy.requests.lock().unwrap().join("");
    assert!(asked.starts_with("GET http://nowhere.invalid/x HTTP/1.1"), "{asked}");
    assert_eq!(read(settings(Some("127.0.0.1")), &direct.url), b"directly");
    assert_eq!(read(hasty(), &direct.url), b"directly");
}

#[test]
fn a_server_that_sends_a_little_now_and_then() {
    // A byte for every connection: it may have a few, but not as many as there are bytes.
    let server = Own::new(|_| Answer::Cut(vec![7; 100_000], "\"tag\"", 1));
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { retries: 3, retry_timeout: Duration::ZERO, ..hasty() };
    let client = Client::new(settings).unwrap();
    let error = download(&client, &at(&server.url, "x"), &folder.path().join("x")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Network);
    assert!(server.count() < 50, "{}", server.count());
    // A byte now and then on one connection.
    let idle_timeout = Duration::from_millis(200);
    let slow = Settings { idle_timeout, slowest: u64::MAX / 1000, ..hasty() };
    let server = Own::new(|_| Answer::Drip(Duration::from_millis(100)));
    let error = Client::new(slow).unwrap().read(&at(&server.url, "x"), 1000).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
}

#[test]
fn the_same_file_at_the_same_time() {
    let bytes = noise(300_000);
    let served = bytes.clone();
    let server = Own::new(move |_| Answer::File(served.clone(), "\"tag\""));
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(hasty()).unwrap();
    let to = folder.path().join("x");
    let request =
        Request { from: at(&server.url, "x"), to: to.clone(), limit: 1 << 20, size: None };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for answer in client.download(&[request.clone(), request.clone()], &Silent) {
                    assert_eq!(answer.unwrap().size, 300_000);
                }
            });
        }
    });
    assert_eq!(fs::read(&to).unwrap(), bytes);
}

#[test]
fn many_threads_share_one_client() {
    let server = Own::new(|path| Answer::File(path.as_bytes().to_vec(), "\"t\""));
    let client = Client::new(hasty()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (client, url) = (&client, &server.url);
            scope.spawn(move || {
                for number in 0..20 {
                    let path = format!("{thread}/{number}");
                    let bytes = client.read(&at(url, &path), 99).unwrap();
                    assert_eq!(bytes, format!("/{path}").into_bytes());
                }
            });
        }
    });
}
