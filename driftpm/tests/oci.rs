//! Registries of containers: Debian's `docker-registry`, and some that lie or forget.

mod servers;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use driftpm::transport::oci::{Artifact, Content, Layer, Login, Logins, Reference};
use driftpm::transport::{
    Client, Downloaded, ErrorKind, Location, Progress, Request, Settings, Silent, Transport as _,
    TransportError,
};
use epk_format::digest::Sha256;
use servers::{Answer, Flaky, Own, hasty, noise, registry, tls, uploads};

fn client(settings: Settings) -> Client {
    Client::new(settings).unwrap()
}

fn at(url: &str, rest: &str) -> Reference {
    Reference::parse(&format!("{url}/{rest}")).unwrap()
}

/// An artifact of one file, and a word by which it differs from others.
fn artifact(bytes: &[u8], word: &str) -> Artifact {
    let layer = Layer {
        kind: "application/vnd.example.file".into(),
        digest: Sha256::of(bytes),
        size: u64::try_from(bytes.len()).unwrap(),
        title: Some("file".into()),
    };
    let annotations = BTreeMap::from([("word".to_owned(), word.to_owned())]);
    Artifact { kind: "application/vnd.example".into(), annotations, layers: vec![layer] }
}

fn push(client: &Client, to: &Reference, bytes: &[u8]) -> Result<u64, TransportError> {
    let sent = client.push_blob(to, Content::Bytes(bytes), &Sha256::of(bytes), &Silent)?;
    client.push_artifact(to, &artifact(bytes, "x"))?;
    Ok(sent)
}

fn download(client: &Client, from: Location, to: &Path) -> Result<Downloaded, TransportError> {
    let request = Request { from, to: to.to_owned(), limit: 1 << 26, size: None };
    client.download(&[request], &Silent).remove(0)
}

#[derive(Default)]
struct Count(AtomicU64);

impl Progress for Count {
    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::SeqCst);
    }
}

#[test]
fn what_is_pushed_comes_back() {
    let Some(server) = registry(None, false) else { return };
    let client = client(hasty());
    let to = at(&server.url, "some/thing:1.0");
    assert_eq!(client.resolve(&to).unwrap(), None);
    assert_eq!(client.artifact(&to).unwrap_err().kind, ErrorKind::NotFound);
    // Larger than what goes into one request, and smaller.
    for (number, size) in [(1, 9_500_001), (2, 1000)] {
        let bytes = noise(size);
        let (hash, length) = (Sha256::of(&bytes), u64::try_from(size).unwrap());
        let progress = Count::default();
        let sent = client.push_blob(&to, Content::Bytes(&bytes), &hash, &progress).unwrap();
        assert_eq!((sent, progress.0.load(Ordering::SeqCst)), (length, length));
        assert_eq!(client.push_blob(&to, Content::Bytes(&bytes), &hash, &Silent).unwrap(), 0);
        let artifact = artifact(&bytes, &number.to_string());
        let digest = client.push_artifact(&to, &artifact).unwrap();
        assert_eq!(Client::digest_of(&to, &artifact).unwrap(), digest);
        assert_eq!(client.resolve(&to).unwrap(), Some(digest));
        assert_eq!(client.artifact(&to).unwrap(), (digest, artifact.clone()));
        assert_eq!(client.artifact(&to.with_digest(digest)).unwrap().1, artifact);
        // The file, by its hash and by its name; whole, in parts, and to the disk.
        let named = Location::of_artifact(&to).join("file").unwrap();
        for from in [Location::of_blob(&to, &hash), named] {
            assert_eq!(client.read(&from, length).unwrap(), bytes, "{from}");
            assert_eq!(client.read(&from, length - 1).unwrap_err().kind, ErrorKind::TooLarge);
            assert_eq!(client.read_range(&from, 500..700).unwrap(), &bytes[500..700]);
            let beyond = client.read_range(&from, length - 1..length + 5).unwrap_err();
            assert!(matches!(beyond.kind, ErrorKind::WrongSize | ErrorKind::Network), "{beyond}");
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x");
            let downloaded = download(&client, from, &path).unwrap();
            assert_eq!(downloaded, Downloaded { size: length, resumed: 0 });
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }
    let kind = |from: &Location| client.read(from, 9).unwrap_err().kind;
    assert_eq!(kind(&Location::of_blob(&to, &Sha256::of(b"none"))), ErrorKind::NotFound);
    assert_eq!(kind(&Location::of_artifact(&to).join("none").unwrap()), ErrorKind::NotFound);
    assert_eq!(kind(&Location::of_artifact(&to)), ErrorKind::NotFound);
    // Content that is not what it is said to be.
    let wrong = client.push_blob(&to, Content::Bytes(b"x"), &Sha256::of(b"y"), &Silent);
    let wrong = wrong.unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::Refused, "{wrong}");
    assert!(wrong.message.contains("DIGEST_INVALID"), "{wrong}");
    let absent = client.push_artifact(&to, &artifact(b"never pushed", "x")).unwrap_err();
    assert_eq!(absent.kind, ErrorKind::Refused, "{absent}");
}

#[test]
fn over_a_line_that_breaks() {
    let Some(server) = registry(None, false) else { return };
    let bytes = noise(12_000_000);
    let host = server.url.trim_start_matches("oci://");
    // Upwards: in the middle of a piece, and again in that of another.
    let most = usize::MAX;
    let line = Flaky::new(host, vec![(6_000_000, most), (9_000_000, most)]);
    let client_ = client(Settings { retries: 3, ..Settings::default() });
    let to = at(&format!("oci+http://{}", line.host), "n:1");
    assert_eq!(push(&client_, &to, &bytes).unwrap(), 12_000_000);
    // Downwards: what came is kept, by other processes, too.
    let line = Flaky::new(host, vec![(most, 5_000_000)]);
    let to = at(&format!("oci+http://{}", line.host), "n:1");
    let from = Location::of_blob(&to, &Sha256::of(&bytes));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let error = download(&client(hasty()), from.clone(), &path).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Network, "{error}");
    let done = download(&client(hasty()), from, &path).unwrap();
    assert!(done.resumed > 4_000_000, "{done:?}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_registry_that_knows_how_far_it_is() {
    static DONE: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    let server = uploads(&DONE);
    let to = at(&server.url.replace("http://", "oci+http://"), "n:1");
    let bytes = noise(30_000_000);
    let client = client(Settings { retries: 2, ..Settings::default() });
    let progress = Count::default();
    client.push_blob(&to, Content::Bytes(&bytes), &Sha256::of(&bytes), &progress).unwrap();
    assert!(*DONE.lock().unwrap() == bytes);
    assert_eq!(progress.0.load(Ordering::SeqCst), 30_000_000);
    let requests = server.requests.lock().unwrap();
    let posts = requests.iter().filter(|head| head.starts_with("POST")).count();
    assert_eq!(posts, 1, "it began anew");
}

fn password(word: &'static str) -> Settings {
    let login = move || Login::Password { user: "me".to_owned(), password: word.to_owned() };
    Settings { logins: Logins::new(move |_| Ok(Some(login()))), ..hasty() }
}

#[test]
fn a_registry_that_wants_a_password() {
    let Some(server) = registry(None, true) else { return };
    let to = at(&server.url, "n:1");
    push(&client(password("secret")), &to, b"something").unwrap();
    let (_, found) = client(password("secret")).artifact(&to).unwrap();
    assert_eq!(found, artifact(b"something", "x"));
    let broken = Settings { logins: Logins::new(|_| Err("`x`: line 1".into())), ..hasty() };
    let token = Login::Bearer("secret".into());
    let token = Settings { logins: Logins::new(move |_| Ok(Some(token.clone()))), ..hasty() };
    for (settings, said) in [
        (hasty(), "a user name and a password"),
        (password("guess"), "401"),
        (password("sec\nret"), "401"),
        (broken, "`x`: line 1"),
        (token, "a user name and a password"),
    ] {
        let error = client(settings).artifact(&to).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.message.contains(said), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

fn raw(head: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    Answer::Raw([head.as_bytes(), body].concat())
}

#[test]
fn a_registry_that_wants_a_token() {
    let manifest = br#"{"schemaVersion":2,"artifactType":"application/vnd.example","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    let server = Own::of_requests(move |head, body| {
        let line = head.lines().next().unwrap_or_default();
        let lower = head.to_lowercase();
        let body = String::from_utf8_lossy(body).into_owned();
        // me:secret
        let known = lower.contains("authorization: basic bwu6c2vjcmv0")
            || body.contains("refresh_token=long");
        let host = head.lines().find_map(|line| {
            line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("host"))
        });
        let host = host.map_or("", |(_, host)| host);
        if line.contains("/token") {
            let asked = format!("{line}{body}");
            let whole = asked.contains("service=the+service")
                && asked.contains("scope=repository%3An%3Apull");
            return if known && whole {
                raw("200 OK", b"{\"access_token\":\"short\",\"expires_in\":60}")
            } else {
                raw("401 Unauthorized", b"{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}")
            };
        }
        if lower.contains("authorization: bearer short") {
            return raw("200 OK", manifest);
        }
        let realm = if line.contains("/elsewhere/") { "example.org" } else { host };
        raw(
            &format!(
                "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{realm}/token?a=b\",service=\"the service\",scope=\"repository:n:pull\""
            ),
            b"",
        )
    });
    let base = server.url.replace("http://", "oci+http://");
    let login = |login: Login| Settings {
        logins: Logins::new(move |_| Ok(Some(login.clone()))),
        ..hasty()
    };
    let ask = |settings, name: &str| client(settings).artifact(&at(&base, name));
    let named = || Login::Password { user: "me".into(), password: "secret".into() };
    for good in [named(), Login::Identity("long".into()), Login::Bearer("short".into())] {
        let (_, found) = ask(login(good), "n:1").unwrap();
        assert_eq!(found.kind, "application/vnd.example");
    }
    // One token is enough for many requests.
    let client = client(login(named()));
    (0..3).for_each(|_| drop(client.artifact(&at(&base, "n:1")).unwrap()));
    let asked =
        server.requests.lock().unwrap().iter().filter(|head| head.contains("/token")).count();
    assert_eq!(asked, 3, "with the two above");
    for bad in [Login::Identity("old".into()), Login::Bearer("old".into())] {
        let error = ask(login(bad), "n:1").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    }
    assert_eq!(ask(hasty(), "n:1").unwrap_err().kind, ErrorKind::Denied);
    // A password does not go where others could read it.
    let error = ask(login(named()), "elsewhere/n:1").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Redirect, "{error}");
    assert!(error.message.contains("not encrypted"), "{error}");
}

#[test]
fn over_tls() {
    let Some(tls) = tls() else { return };
    let Some(server) = registry(Some(&tls), true) else { return };
    let to = at(&server.url, "n:1");
    let authority = fs::read(&tls.authority).unwrap();
    let settings = || Settings { root_certificates: vec![authority.clone()], ..password("secret") };
    push(&client(settings()), &to, &noise(5_000_000)).unwrap();
    assert!(client(settings()).artifact(&to).is_ok());
    // Somebody whom nobody vouches for, here too; and who wants no encryption gets none.
    let error = client(password("secret")).artifact(&to).unwrap_err();
    assert!(error.message.contains("certificate"), "{error}");
    let plain = at(&server.url.replace("oci://", "oci+http://"), "n:1");
    assert_eq!(client(settings()).artifact(&plain).unwrap_err().kind, ErrorKind::Refused);
}

#[test]
fn a_registry_that_lies() {
    let good = br#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    let server = Own::of_requests(move |head, _| {
        let line = head.lines().next().unwrap_or_default();
        let says = |digest: &str| raw(&format!("200 OK\r\nDocker-Content-Digest: {digest}"), good);
        match line.split(' ').nth(1).unwrap_or_default().split('/').next_back().unwrap_or_default()
        {
            "other" => says(&format!("sha256:{}", "0".repeat(64))),
            "sha512" => says("sha512:00"),
            "endless" => Answer::Raw(
                [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(), &vec![b' '; 5 << 20]]
                    .concat(),
            ),
            "text" => raw("200 OK", b"hello"),
            "page" => raw("404 Not Found\r\nContent-Type: text/html", b"<html>\x1b[31m"),
            "rude" => {
                raw("418 Teapot", b"{\"errors\":[{\"code\":\"X\",\"message\":\"a\\u001b[31mb\"}]}")
            }
            _ => raw("200 OK", good),
        }
    });
    let base = server.url.replace("http://", "oci+http://");
    let ask = |name: &str| client(hasty()).artifact(&at(&base, name));
    let kind = |name: &str| ask(name).unwrap_err().kind;
    assert!(ask("n:fine").is_ok() && ask("n:sha512").is_ok());
    assert_eq!(kind("n:other"), ErrorKind::WrongContent);
    assert_eq!(kind(&format!("n@sha256:{}", "1".repeat(64))), ErrorKind::WrongContent);
    assert_eq!(kind("n:endless"), ErrorKind::TooLarge);
    assert_eq!(kind("n:text"), ErrorKind::WrongContent);
    assert_eq!(kind("n:page"), ErrorKind::NotFound);
    let error = ask("n:rude").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.ends_with("418: X: a\\u{1b}[31mb"), "{error}");
    // An upload is not sent to where others could read it.
    let forgetful = Own::of_requests(|head, _| match head.split(' ').next() {
        Some("POST") => raw("202 Accepted\r\nLocation: http://example.org/up", b""),
        _ => raw("404 Not Found", b""),
    });
    let to = at(&forgetful.url.replace("http://", "oci+http://"), "n:1");
    let error = push(&client(hasty()), &to, b"x").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Redirect, "{error}");
}
