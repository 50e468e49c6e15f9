//! `fetch` killed at two hundred points, and downloads that end before they are whole: the store
//! works, the next fetch succeeds, and nothing is left but what the next one uses.

use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::*;

const KILLS: usize = 200;

/// Where the next fetch is struck: at which answer of the server, and after how many thousandths
/// of it.
#[derive(Clone, Copy)]
struct Strike {
    answer: usize,
    share: usize,
}

/// A repository with two versions, on a server that kills whoever fetches.
struct Scene {
    place: Place,
    server: Own,
    /// Answers since it was reset.
    answers: Arc<AtomicUsize>,
    strike: Arc<Mutex<Option<Strike>>>,
    /// Who is to be killed.
    victim: Arc<Mutex<Option<OwnedFd>>>,
}

impl Scene {
    fn new() -> Self {
        let (place, key) = published();
        let mut library = noise(300_000);
        for at in [10_000, 150_000, 290_000] {
            library[at] ^= 1;
        }
        let file = pack(&place, "2", &library);
        pkgtool(&place, &["repo", "add", "repo", &file, "--sign", "repo.key"]).ok();
        let answers = Arc::new(AtomicUsize::new(0));
        let (strike, victim) = (Arc::new(Mutex::new(None::<Strike>)), Arc::default());
        let server = {
            let (answers, strike) = (Arc::clone(&answers), Arc::clone(&strike));
            let victim: Arc<Mutex<Option<OwnedFd>>> = Arc::clone(&victim);
            let read = files_of(place.path("repo"));
            let kill: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
                // Whoever starts it holds the lock until it can be killed.
                if let Some(victim) = &*victim.lock().expect("whole") {
                    let _ = pidfd_send_signal(victim, Signal::KILL);
                }
            });
            Own::new(move |path| {
                let Some(bytes) = read(path) else { return Answer::Raw(missing()) };
                let number = answers.fetch_add(1, Ordering::SeqCst);
                match *strike.lock().expect("whole") {
                    // Of an answer with a range it is a share of that range or of less: the end
                    // comes by itself then.
                    Some(strike) if strike.answer == number => {
                        let most = bytes.len().min(150_000) * strike.share / 1000;
                        Answer::Then(bytes, "\"tag\"", most, Arc::clone(&kill))
                    }
                    _ => Answer::File(bytes, "\"tag\""),
                }
            })
        };
        add_source(&place, &server.url, &key);
        Self { place, server, answers, strike, victim }
    }

    fn begin(&self, strike: Option<Strike>) -> Child {
        self.answers.store(0, Ordering::SeqCst);
        *self.strike.lock().expect("whole") = strike;
        let mut victim = self.victim.lock().expect("whole");
        let child = command(&self.place, "home", &["fetch", "org.example.app"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
        *victim = Some(pidfd_open(pid, PidfdFlags::empty()).expect("a descriptor"));
        child
    }

    /// The store has whole packages only; what else is left is where the text says.
    fn is_sound(&self) {
        let store = self.place.path("home/data/epk/packages");
        if store.exists() {
            for name in names(&store) {
                let version = name.strip_prefix("org.example.app@").expect("a package");
                let original = self.place.path(version);
                assert!(same(&store.join(&name), &original), "half a package: {name}");
            }
        }
        pkgtool(&self.place, &["list"]).ok();
        let fetch = self.place.path("home/cache/epk/fetch");
        let left = if fetch.exists() { names(&fetch) } else { Vec::new() };
        let is_hash = |name: &str| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let odd = left
            .iter()
            .find(|name| !is_hash(name) && !["downloads", "indexes"].contains(&&***name));
        assert_eq!(odd, None);
    }

    /// Fetches undisturbed.
    fn recover(&self) -> Value {
        *self.strike.lock().expect("whole") = None;
        let fetched = pkgtool(&self.place, &["fetch", "org.example.app", "--json"]).ok().json();
        assert!(same(&installed(&self.place, "2"), &self.place.path("2.epk")));
        nothing_is_left(&self.place);
        fetched
    }

    /// Back to nothing, or to version 1, with or without what is known of the index.
    fn reset(&self, with_version_1: bool, with_index: bool) {
        pkgtool(&self.place, &["remove", "org.example.app"]).ok();
        if with_version_1 {
            pkgtool(&self.place, &["add", "1.epk"]).ok();
        }
        if !with_index {
            fs::remove_dir_all(self.place.path("home/cache")).expect("removed");
            fs::remove_dir_all(self.place.path("home/state")).expect("removed");
        }
    }
}

/// Numbers without a pattern, the same every time.
fn scattered(number: usize) -> usize {
    number.wrapping_mul(2_654_435_761) >> 7
}

#[test]
fn fetch_is_killed() {
    let scene = Scene::new();
    let start = Instant::now();
    scene.begin(None).wait().expect("ended");
    let whole = start.elapsed();
    scene.recover();
    let mut killed = 0;
    for number in 0..KILLS {
        scene.reset(number % 4 < 2, number % 3 > 0);
        let random = scattered(number);
        let mut child = if number % 2 == 0 {
            // The statement, the index, the head, blocks: up to so many answers there are.
            let strike = Strike { answer: random % 5, share: random / 5 % 1001 };
            scene.begin(Some(strike))
        } else {
            let mut child = scene.begin(None);
            let share = u32::try_from(random % 1200).expect("small");
            // Not to wait for anything: to be killed at another moment each time.
            #[allow(clippy::disallowed_methods)]
            thread::sleep(whole * share / 1000);
            child.kill().expect("killed");
            child
        };
        let ended = child.wait().expect("ended");
        killed += usize::from(!ended.success());
        scene.is_sound();
        scene.recover();
    }
    println!("{killed} of {KILLS} fetches did not get through, one takes {whole:?}");
    assert!(killed > 0, "nothing was killed");
    pkgtool(&scene.place, &["verify", "--installed", "--deep"]).ok();
}

/// The server ends every answer too early, again and again. What came is used later.
#[test]
fn downloads_that_end_too_early() {
    let (place, key) = published();
    let size = fs::metadata(place.path("1.epk")).expect("there").len();
    let most = Arc::new(AtomicUsize::new(usize::MAX));
    let read = files_of(place.path("repo"));
    let limit = Arc::clone(&most);
    let server = Own::new(move |path| match read(path) {
        Some(bytes) if path.contains("packages") => {
            Answer::Cut(bytes, "\"tag\"", limit.load(Ordering::SeqCst))
        }
        Some(bytes) => Answer::File(bytes, "\"tag\""),
        None => Answer::Raw(missing()),
    });
    add_source(&place, &server.url, &key);
    // So little that going on is not worth it: after a few answers there is an end.
    for piece in [0, 1, 100, 4000] {
        most.store(piece, Ordering::SeqCst);
        pkgtool(&place, &["fetch", "org.example.app"]).fails(3, &["TRANSPORT_NETWORK"]);
        assert!(!installed(&place, "1").exists());
        assert_eq!(pkgtool(&place, &["list"]).ok().stdout, "");
        most.store(usize::MAX, Ordering::SeqCst);
        let fetched = pkgtool(&place, &["fetch", "org.example.app", "--json"]).ok().json();
        let bytes = |key: &str| fetched[key].as_u64().expect("a number");
        assert!(bytes("reused") >= u64::try_from(piece).expect("small"), "{piece}: {fetched}");
        assert_eq!(bytes("fetched") + bytes("reused"), size);
        nothing_is_left(&place);
        pkgtool(&place, &["remove", "org.example.app"]).ok();
    }
}

/// Several processes that want the same: each ends well, one fetches.
#[test]
fn the_same_by_many() {
    let scene = Scene::new();
    for with_version_1 in [false, true] {
        let before = scene.server.count();
        let children: Vec<Child> = (0..6).map(|_| scene.begin(None)).collect();
        for mut child in children {
            assert!(child.wait().expect("ended").success());
        }
        assert!(scene.server.count() > before);
        assert_eq!(scene.recover()["was_there"], true);
        scene.reset(!with_version_1, true);
    }
}

/// What an interrupted fetch has left goes when the package comes some other way.
#[test]
fn left_of_what_came_otherwise() {
    let scene = Scene::new();
    scene.begin(Some(Strike { answer: 2, share: 500 })).wait().expect("ended");
    assert_eq!(names(&scene.place.path("home/cache/epk/fetch")).len(), 3);
    pkgtool(&scene.place, &["add", "2.epk"]).ok();
    assert_eq!(scene.recover()["was_there"], true);
}
