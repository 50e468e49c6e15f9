//! Clocks that are set while something runs, and between one command and the next: nothing but an
//! expiry, and what is shown to people, may depend on the time of day.

use std::fs;
use std::path::Path;
use std::process::Command;

use epk_format::write::Format;
use epk_tests::app::App;
use epk_tests::binaries::binary;
use epk_tests::clock::WrongClock;
use epk_tests::daemon::{Daemon, Place, unmount_idle};
use epk_tests::files::temp_folder;
use epk_tests::tool::Outcome;

use super::{BLOCK, image, names, pkgtool, tree};

const DAY: i64 = 24 * 3600;
const YEAR: i64 = 365 * DAY;

/// Clocks: ahead, far ahead, behind, before 1970, in a year of five digits, and such that jump between
/// one look at them and the next.
const CLOCKS: [&[i64]; 8] = [
    &[400 * DAY],
    &[300 * YEAR],
    &[-20 * YEAR],
    &[-80 * YEAR],
    &[20_000 * YEAR],
    &[0, YEAR],
    &[YEAR, 0, -YEAR],
    &[0, -80 * YEAR, 300 * YEAR, -1, 1],
];

/// `pkgtool` with a wrong clock, for what is below `home`.
fn at(clock: &WrongClock, seconds: &[i64], home: &Path, words: &[&str]) -> Command {
    let mut command = pkgtool(home);
    clock.set(&mut command, seconds).args(words).current_dir(home);
    command
}

/// Tests nothing if the library is not asked.
#[test]
fn the_clock_is_wrong_indeed() {
    let (clock, home) = (WrongClock::default(), temp_folder());
    fs::write(home.path().join("app.epk"), image(Format::V2, "1")).expect("written");
    for (years, expected) in [(300, '2'), (-60, '1')] {
        let log = home.path().join("log");
        let mut command = at(&clock, &[years * YEAR], home.path(), &["ls", "app.epk"]);
        let _listed = Outcome::of(command.env("EPK_LOG", &log)).quietly();
        let text = fs::read_to_string(&log).expect("a log");
        let line: serde_json::Value = serde_json::from_str(&text).expect("a line of JSON");
        let stamp = line["timestamp"].as_str().expect("text").to_owned();
        let year: i64 = stamp.split('-').next().and_then(|year| year.parse().ok()).expect("a year");
        assert!(stamp.starts_with(expected) && !(1990..2200).contains(&year), "{stamp}");
        fs::remove_file(&log).expect("ours");
    }
}

#[test]
fn mounts_serve_at_any_time() {
    let clock = WrongClock::default();
    for format in [Format::V1, Format::V2] {
        for seconds in CLOCKS {
            let place = Place::default();
            let image = image(format, "1");
            fs::write(place.image(), &image).expect("written");
            let mut command = place.command();
            command.args(["-f", "--ready-fd", "1", "-o", "cache=0"]);
            clock.set(&mut command, seconds);
            let mut daemon = Daemon::spawn(command, place.mountpoint()).expect("it mounts");
            for path in ["a", "b", "c"] {
                let bytes = fs::read(place.mountpoint().join(path)).expect("readable");
                assert!(bytes == tree().bytes(path));
            }
            for words in [&["mounts", "--json"][..], &["stats", "--prometheus"]] {
                let mut command = at(&clock, seconds, place.folder(), words);
                if words[0] == "stats" {
                    command.arg(place.mountpoint());
                }
                assert!(!Outcome::of(&mut command).quietly().is_empty(), "{words:?}, {seconds:?}");
            }
            // Of damage there is a line, once.
            fs::File::options()
                .write(true)
                .open(place.image())
                .and_then(|file| file.set_len(2 * BLOCK as u64))
                .expect("ours");
            let file = fs::File::open(place.mountpoint().join("a")).expect("it opens");
            let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            nix::fcntl::posix_fadvise(&file, 0, 0, advice).expect("advice is taken");
            let last = 5 * BLOCK as u64;
            for _ in 0..3 {
                std::os::unix::fs::FileExt::read_at(&file, &mut [0], last).expect_err("cut off");
            }
            drop(file);
            let blocks: Vec<_> =
                place.damage().iter().map(|line| line["block"].to_string()).collect();
            let once: std::collections::BTreeSet<_> = blocks.iter().collect();
            assert!(!blocks.is_empty() && once.len() == blocks.len(), "{seconds:?}: {blocks:?}");
            unmount_idle(&place.mountpoint()).expect("nobody uses it");
            assert!(daemon.wait().success());
        }
    }
}

/// One user's commands, each at another time: what one has left is no harm to the next.
#[test]
fn commands_do_the_same_at_any_time() {
    let (clock, home) = (WrongClock::default(), temp_folder());
    let app = App::script("echo ran $*").with_command("tool", "/bin/app");
    for name in ["org.example.one", "org.example.two"] {
        let image = App { name: name.into(), ..app.clone() }.image();
        fs::write(home.path().join(format!("{name}.epk")), image).expect("written");
    }
    let other = CLOCKS.iter().rev();
    let mut packed: Option<Vec<u8>> = None;
    for (round, (seconds, then)) in CLOCKS.iter().zip(other).enumerate() {
        let done = |seconds: &[i64], words: &[&str]| {
            let done = Outcome::of(&mut at(&clock, seconds, home.path(), words)).exits(0);
            assert!(!done.stderr.contains("warning"), "{words:?} at {seconds:?}: {done:?}");
            done.text().to_owned()
        };
        done(seconds, &["add", "org.example.one.epk"]);
        assert_eq!(done(then, &["exec", "tool", "1"]), "ran 1\n");
        done(then, &["add", "org.example.two.epk"]);
        assert_eq!(done(seconds, &["list"]).lines().count(), 2, "{seconds:?}");
        assert_eq!(done(seconds, &["run", "org.example.two", "tool", "2"]), "ran 2\n");
        // Whoever has the name is found although the index of commands is of another time.
        done(then, &["remove", "--force", "org.example.one"]);
        assert_eq!(done(seconds, &["exec", "tool", "3"]), "ran 3\n");
        done(then, &["verify", "--installed", "--deep"]);
        done(seconds, &["remove", "--force", "org.example.two"]);
        // Read again and again, with whatever was noted of it.
        for seconds in [seconds, then, seconds] {
            let out = done(seconds, &["run", "org.example.one.epk", "x"]);
            assert_eq!(out, "ran x\n", "{seconds:?}");
        }
        // The time of packing is in no package.
        done(seconds, &["extract", "org.example.one.epk", "folder"]);
        done(then, &["pack", "folder", "-o", "packed.epk"]);
        let bytes = fs::read(home.path().join("packed.epk")).expect("there");
        assert!(*packed.get_or_insert_with(|| bytes.clone()) == bytes, "{seconds:?}");
        fs::remove_dir_all(home.path().join("folder")).expect("ours");
        assert!(names(home.path()).iter().all(|name| !name.starts_with('.')), "round {round}");
    }
}

/// Extractions are kept by the time of their last use.
#[test]
fn what_is_used_is_kept_and_what_a_wrong_clock_used_is_not_kept_for_ever() {
    let (clock, home) = (WrongClock::default(), temp_folder());
    for name in ["org.example.one", "org.example.two"] {
        let app = App { name: name.into(), ..App::script("echo ran; read line; cat /package/f") };
        let app = app.with_file("f", name);
        let file = home.path().join(format!("{name}.epk"));
        fs::write(&file, app.image()).expect("written");
    }
    let run = |seconds: &[i64], file: &str| {
        at(&clock, seconds, home.path(), &["run", "--via", "extract", file])
    };
    let extracted = home.path().join("cache/epk/extracted");
    let kept = || names(&extracted).iter().filter(|name| !name.ends_with(".lock")).count();
    // In use, while the clock of another launch is a year ahead.
    let mut command = run(&[0], "org.example.one.epk");
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut user = command.stderr(std::process::Stdio::null()).spawn().expect("it starts");
    let mut output = user.stdout.take().expect("a pipe");
    let mut line = [0; 4];
    std::io::Read::read_exact(&mut output, &mut line).expect("it has begun");
    let _ran = Outcome::of(&mut run(&[YEAR], "org.example.two.epk")).exits(0);
    assert_eq!(kept(), 2);
    drop(user.stdin.take());
    let rest = epk_tests::wait::read_to_end("the application ends", output);
    assert_eq!(rest, b"org.example.one");
    assert!(epk_tests::wait::for_end(&mut user).success());
    // A year ahead the one is old. And what was used then is not kept until then.
    let _ran = Outcome::of(&mut run(&[YEAR], "org.example.two.epk")).exits(0);
    assert_eq!(kept(), 1, "{:?}", names(&extracted));
    let _ran = Outcome::of(&mut run(&[0], "org.example.one.epk")).exits(0);
    let _ran = Outcome::of(&mut run(&[20 * DAY], "org.example.one.epk")).exits(0);
    assert_eq!(kept(), 1, "{:?}", names(&extracted));
}

#[test]
fn an_index_expires_and_nothing_else_of_a_repository_does() {
    let _built = binary("pkgtool-remote");
    let (clock, home) = (WrongClock::default(), temp_folder());
    let run =
        |seconds: &[i64], words: &[&str]| Outcome::of(&mut at(&clock, seconds, home.path(), words));
    let publish = |seconds: &[i64], version: &str| {
        let file = format!("{version}.epk");
        fs::write(home.path().join(&file), image(Format::V2, version)).expect("written");
        let _added = run(seconds, &["repo", "add", "repo", &file, "--sign", "repo.key"]).exits(0);
    };
    let expired = |outcome: Outcome| {
        let outcome = outcome.exits(5);
        assert!(outcome.stderr.contains("expired"), "{}", outcome.stderr);
    };
    let key = run(&[0], &["keygen", "--json", "repo.key"]).exits(0).json().remove(0);
    let key = key["key_id"].as_str().expect("text").to_owned();
    let _made = run(&[0], &["repo", "init", "repo", "--title", "Things"]).exits(0);
    publish(&[0], "1");
    let url = format!("file://{}", home.path().join("repo").display());
    let _added = run(&[0], &["source", "add", "things", &url, "--key", &key]).exits(0);
    let store = home.path().join("data/epk/packages");
    let fetch = ["fetch", "org.example.test"];
    // By a clock that is ahead the index has expired, and that is all that comes of it.
    expired(run(&[400 * DAY], &fetch));
    assert!(!store.exists() || names(&store).is_empty());
    let _fetched = run(&[0], &fetch).exits(0);
    assert_eq!(names(&store), ["org.example.test@1.epk"]);
    // Behind, nothing has expired; what was seen is remembered by its number.
    let _again = run(&[-20 * YEAR], &fetch).exits(0);
    // Published by a clock that is behind: expired at once, and well again with the next.
    publish(&[-20 * YEAR], "2");
    expired(run(&[0], &["update"]));
    assert_eq!(names(&store), ["org.example.test@1.epk"]);
    publish(&[0], "3");
    let _updated = run(&[0], &["update"]).exits(0);
    assert!(names(&store).contains(&"org.example.test@3.epk".to_owned()), "{:?}", names(&store));
    // By one that is ahead: good, and the next number is good, too.
    publish(&[300 * YEAR], "4");
    publish(&[0], "5");
    let _updated = run(&[-YEAR, YEAR / 365, 0], &["update"]).exits(0);
    assert!(names(&store).contains(&"org.example.test@5.epk".to_owned()), "{:?}", names(&store));
}
