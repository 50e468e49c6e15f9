//! Little memory, counted by a control group (cgroups(7)): whoever needs more than there is gets
//! an error or is killed by the kernel, and nothing wrong is delivered and nothing left.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use epk_format::write::{Compression, Format};
use epk_tests::app::{App, Stage};
use epk_tests::daemon::{Daemon, Place};
use epk_tests::disk::{differences, tree};
use epk_tests::files::temp_folder;
use epk_tests::memory_group::MemoryGroup;
use epk_tests::processes::{children, is_gone, mentioning};
use epk_tests::tool::Outcome;
use epk_tests::tree::{Random, Recipe, Tree};
use epk_tests::users::is_machine_root;
use epk_tests::wait;
use epkfs::unmount::clean_dead;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::signal::Signal;

use super::limits::gave_up;
use super::{names, pkgtool};

const MIB: u64 = 1 << 20;

/// From what is too little for a shell to what is enough for all of this.
const LIMITS: [u64; 8] = [MIB / 4, MIB, 2 * MIB, 3 * MIB, 5 * MIB, 8 * MIB, 12 * MIB, 64 * MIB];

/// In which a server serves everything (`spec/runtime.md` §6), and with no cache and one thread.
const ENOUGH: u64 = 32 * MIB;
const ENOUGH_WITHOUT_CACHE: u64 = 12 * MIB;

/// Small files, of which a reader reads some.
const SMALL: usize = 600;

/// Some large files, and very many small ones: more of each than the memory of most tests holds.
fn large() -> Tree {
    let mut random = Random::new(31);
    let mut tree = Tree::default();
    for number in 0..6 {
        let bytes = if number % 2 == 0 { random.noise(5 << 20) } else { random.text(5 << 20) };
        tree = tree.file(&format!("large/{number}"), bytes);
    }
    (0..SMALL).fold(tree, |tree, number| {
        tree.file(&format!("small/{}/{number}", number % 40), random.text(500))
    })
}

fn packed(tree: &Tree, format: Format) -> Vec<u8> {
    let recipe = Recipe { format, compression: Compression::Auto, ..Recipe::default() };
    tree.image(&recipe)
}

/// Whether a program without memory ended as it may: by its own word, or killed for it.
fn ended_for_it(done: &Outcome, group: &MemoryGroup) -> bool {
    let killed = done.status.signal() == Some(Signal::SIGKILL as i32)
        // A child of the shell or application.
        || done.status.code() == Some(128 + Signal::SIGKILL as i32);
    gave_up(done) || (killed && group.kills() > 0)
}

fn is_mounted(place: &Place) -> bool {
    let mounts = epkfs::table::list().expect("a table");
    mounts.iter().any(|mount| mount.mountpoint == place.mountpoint())
}

#[test]
fn commands_with_little_memory_do_it_or_leave_nothing() {
    let home = temp_folder();
    let package = home.path().join("app.epk");
    fs::write(&package, packed(&large(), Format::V2)).expect("written");
    let folder = home.path().join("folder");
    let _made =
        Outcome::of(pkgtool(home.path()).arg("extract").arg(&package).arg(&folder)).exits(0);
    let whole = tree(&folder);
    let (mut did, mut failed) = (0, 0);
    for limit in LIMITS {
        let place = temp_folder();
        let run = |words: &[&str]| {
            let group = MemoryGroup::new(limit)?;
            let mut command = pkgtool(home.path());
            command.args(words).env("TMPDIR", place.path());
            let done = Outcome::of(&mut group.command(&command));
            assert!(
                done.status.success() || ended_for_it(&done, &group),
                "{words:?} with {limit} bytes: {done:?}"
            );
            Some(done)
        };
        let text = |path: &Path| path.to_str().expect("text").to_owned();
        let (out, extracted) = (place.path().join("out.epk"), place.path().join("extracted"));
        let Some(done) = run(&["pack", &text(&folder), "-o", &text(&out)]) else { return };
        if done.status.success() {
            let deep = ["verify".as_ref(), "--deep".as_ref(), out.as_os_str()];
            let _good = epk_tests::tool::run(deep).exits(0);
            fs::remove_file(&out).expect("it is there");
            did += 1;
        } else {
            failed += 1;
        }
        assert_eq!(names(place.path()), [""; 0], "`pack` with {limit} bytes");
        // Whatever happens, this is not a bad package.
        let Some(done) = run(&["verify", "--deep", &text(&package)]) else { return };
        assert!(!done.status.success() || done.text().contains(": valid, "), "{done:?}");
        let Some(done) = run(&["extract", &text(&package), &text(&extracted)]) else { return };
        if done.status.success() {
            assert_eq!(differences(&whole, &tree(&extracted)), [""; 0]);
            assert_eq!(names(place.path()), ["extracted"]);
        } else {
            assert!(!extracted.exists(), "half a tree with {limit} bytes");
        }
    }
    assert!(did > 0 && failed > 0, "{did} did it, {failed} failed");
}

#[test]
fn an_application_with_little_memory_reads_rightly_or_is_not_there() {
    let mut app = App::empty();
    app.tree = large();
    let app = app.with_script("bin/app", "cat /package/large/* | cksum");
    let stage = Stage::new(&app);
    let right = Outcome::of(&mut stage.run([""; 0])).quietly();
    let (mut ran, mut failed) = (0, 0);
    for limit in LIMITS {
        let Some(group) = MemoryGroup::new(limit) else { return };
        let done = Outcome::of(&mut group.command(&stage.run([""; 0])));
        if done.status.success() && group.kills() == 0 {
            assert!(done.stdout == right, "wrong bytes with {limit} bytes");
            ran += 1;
        } else {
            // Of the application's pipe `cat` may be killed, and `cksum` be content.
            let said = done.status.success() || ended_for_it(&done, &group);
            assert!(said, "{limit} bytes: {done:?}");
            failed += 1;
        }
        stage.is_left_clean();
    }
    assert!(ran > 0 && failed > 0, "{ran} ran, {failed} failed");
}

/// Reads all of it, in the group, by one process a call. Some of what was asked for comes, and it is
/// right; tells whether everything came.
fn read_in(group: &MemoryGroup, place: &Place, tree: &Tree, paths: &[&str]) -> bool {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "for path; do cat \"$path\" || exit 1; done", "sh"]);
    command.args(paths).current_dir(place.mountpoint());
    let mut command = group.command(&command);
    let reader = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    // The folder is the mount's, which may be dead by now.
    let Ok(mut reader) = reader else { return false };
    let mut output = reader.stdout.take().expect("a pipe");
    let mut got = Vec::new();
    for path in paths {
        let right = tree.bytes(path);
        got.clear();
        let length = right.len() as u64;
        output.by_ref().take(length).read_to_end(&mut got).expect("a readable pipe");
        assert!(right.starts_with(&got), "wrong bytes of `{path}`");
        if got.len() < right.len() {
            break;
        }
    }
    assert_eq!(output.read(&mut [0]).expect("a readable pipe"), 0, "more than there is");
    reader.wait().expect("a child").success()
}

/// Reads here and there, out of the group.
fn read_at_random(place: &Place, tree: &Tree, seed: u64) -> io::Result<()> {
    let mut random = Random::new(seed);
    for _ in 0..150 {
        let path = format!("large/{}", random.below(6));
        let file = File::open(place.mountpoint().join(&path))?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM)?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        let right = tree.bytes(&path);
        let at = random.below(right.len() as u64 - 4096);
        let mut got = [0; 4096];
        file.read_exact_at(&mut got, at)?;
        let at = usize::try_from(at).expect("small");
        assert!(got == right[at..at + 4096], "wrong bytes at {at} of `{path}`");
    }
    Ok(())
}

/// Whether this process and its children have CAP_SYS_RESOURCE, which containers take from their root.
fn may_ask_to_be_last() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).expect("a number");
    set >> 24 & 1 == 1 && is_machine_root()
}

/// Mounts, reads everything by several at once, and demands what must hold however that went. Tells
/// whether everything was delivered.
fn serves(tree: &Tree, image: &[u8], limit: u64, options: &str) -> Option<bool> {
    let place = Place::default();
    fs::write(place.image(), image).expect("written");
    let group = MemoryGroup::new(limit)?;
    let mut command = place.command();
    command.args(["-f", "--ready-fd", "1", "-o", options]);
    let mut all = false;
    if let Ok(mut daemon) = Daemon::spawn(group.command(&command), place.mountpoint()) {
        let keepers = children(daemon.pid().as_raw());
        // Where they may ask to be the last that the kernel ends, they have their time for it.
        let asked = |keeper: &i32| {
            let score = fs::read_to_string(format!("/proc/{keeper}/oom_score_adj"));
            score.map_or(true, |score| score.trim() == "-999")
        };
        let may_ask = may_ask_to_be_last();
        wait::until("the keepers have asked", || !may_ask || keepers.iter().all(asked));
        let (large, small): (Vec<&str>, Vec<&str>) =
            tree.items.keys().map(String::as_str).partition(|path| path.starts_with("large/"));
        let mut paths = large;
        paths.extend(small.iter().step_by(SMALL / 60));
        all = std::thread::scope(|scope| {
            let mut readers = Vec::new();
            for reader in 0..4 {
                let (group, place, mine) = (&group, &place, paths.clone());
                readers.push(scope.spawn(move || match reader {
                    3 => read_at_random(place, tree, limit).is_ok(),
                    _ => read_in(group, place, tree, &mine),
                }));
                // Everyone in an order of his own.
                let third = paths.len() / 3;
                paths.rotate_left(third);
            }
            readers
                .into_iter()
                .map(|reader| reader.join().expect("no panic"))
                .fold(true, |a, b| a & b)
        });
        if group.kills() == 0 {
            assert!(all, "nobody was killed, and not everything delivered with {limit} bytes");
            assert_eq!(daemon.counters().errors, 0);
        } else if !daemon.is_running() {
            wait::until("the keepers have ended", || keepers.iter().all(|&keeper| is_gone(keeper)));
            if !may_ask && group.kills() > 1 && is_mounted(&place) {
                // The kernel has ended the keeper as well: a dead mount is for whoever comes next.
                assert!(clean_dead(&place.mountpoint(), None).expect("ours"));
            }
        }
    }
    wait::until("nothing is mounted", || !is_mounted(&place));
    let name = place.folder().to_string_lossy().into_owned();
    wait::until("server and keeper have ended", || mentioning(&name).is_empty());
    assert!(place.damage().is_empty(), "no memory is no damage: {:?}", place.damage());
    Some(all)
}

#[test]
fn a_server_with_little_memory_delivers_rightly_or_ends() {
    let tree = large();
    for format in [Format::V1, Format::V2] {
        let image = packed(&tree, format);
        let (mut served, mut failed) = (Vec::new(), Vec::new());
        for limit in LIMITS {
            let Some(all) = serves(&tree, &image, limit, "threads=4") else { return };
            (if all { &mut served } else { &mut failed }).push(limit >> 10);
        }
        println!("{format:?}: served with {served:?} KiB, not with {failed:?}");
        assert!(!served.is_empty() && !failed.is_empty());
    }
}

#[test]
fn what_is_said_to_be_enough_memory_is_enough() {
    let tree = large();
    let image = packed(&tree, Format::V2);
    for (limit, options) in [(ENOUGH, "threads=4"), (ENOUGH_WITHOUT_CACHE, "threads=1,cache=0")] {
        let Some(all) = serves(&tree, &image, limit, options) else { return };
        assert!(all, "{limit} bytes are not enough with `{options}`");
    }
}
