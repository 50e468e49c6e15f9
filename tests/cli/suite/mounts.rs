//! `pkgtool mount`, `umount` and `mounts`

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use epk_tests::processes::{is_gone, kill_server_and_keeper};
use epk_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Desk, names};

/// A desk with a folder to mount on; what is mounted there goes with it.
pub(super) struct Mounting {
    pub(super) desk: Desk,
}

impl Mounting {
    pub(super) fn new() -> Self {
        let desk = Desk::new();
        fs::create_dir(desk.path("mnt")).expect("a folder");
        Self { desk }
    }

    pub(super) fn mountpoint(&self) -> PathBuf {
        fs::canonicalize(self.desk.path("")).expect("a folder").join("mnt")
    }

    #[track_caller]
    pub(super) fn mount(&self, options: &[&str]) {
        let words: Vec<&str> =
            ["mount", "app.epk", "mnt"].into_iter().chain(options.iter().copied()).collect();
        let _nothing = self.desk.give(&words).quietly();
    }

    /// Unmounts what nobody uses.
    #[track_caller]
    pub(super) fn umount(&self) {
        // A program that another test is starting has this one's open files for a moment, as
        // this process has.
        wait::until("it is unmounted", || {
            let done = self.desk.give(&["umount", "mnt"]);
            assert!(done.status.success() || done.stderr.contains("in use"), "{}", done.stderr);
            assert_eq!(done.stderr.is_empty(), done.status.success(), "{}", done.stderr);
            done.status.success()
        });
    }

    /// What `mounts` says of the mount here; others may be there, too.
    #[track_caller]
    fn listed(&self) -> Option<Value> {
        let lines = self.desk.give(&["mounts", "--json"]).exits(0).json();
        let place = self.mountpoint();
        lines.into_iter().find(|line| line["mountpoint"] == *place.to_string_lossy())
    }

    pub(super) fn pid(&self) -> Pid {
        let listed = self.listed().expect("it is listed");
        let pid = listed["pid"].as_i64().expect("a process id");
        Pid::from_raw(i32::try_from(pid).expect("a process id"))
    }
}

impl Drop for Mounting {
    fn drop(&mut self) {
        let _left = self.desk.give(&["umount", "--lazy", "mnt"]);
    }
}

pub(super) fn gone(pid: Pid) -> bool {
    is_gone(pid.as_raw())
}

#[test]
fn it_answers_when_mount_returns_and_is_gone_after_umount() {
    let here = Mounting::new();
    here.mount(&[]);
    let expected = "big bin doc manifest.toml share";
    let mut found = names(&here.desk.path("mnt"));
    found.retain(|name| !name.starts_with("od"));
    assert_eq!(found, expected.split_whitespace().collect::<Vec<_>>());
    assert_eq!(fs::read(here.desk.path("mnt/doc/a.txt")).expect("readable"), b"text a\n");
    let pid = here.pid();
    here.umount();
    assert_eq!(names(&here.desk.path("mnt")), Vec::<String>::new());
    assert!(here.listed().is_none());
    wait::until("the server ends", || gone(pid));
}

#[test]
fn mounts_are_listed_with_their_counters() {
    let here = Mounting::new();
    assert!(here.listed().is_none());
    here.mount(&["-o", "cache=2M,threads=2"]);
    let _bytes = fs::read(here.desk.path("mnt/big")).expect("readable");
    let line = here.listed().expect("it is listed");
    assert_eq!((&line["schema"], &line["state"]), (&"epk.mounts/1".into(), &"live".into()));
    assert!(line["image"].as_str().expect("text").ends_with("/app.epk"), "{line}");
    assert_eq!((&line["cache_capacity"], &line["threads"]), (&(2 << 20).into(), &2.into()));
    assert!(line["counters"]["blocks_loaded"].as_u64().is_some_and(|n| n >= 5), "{line}");
    let verdict = here.desk.give(&["verify", "--json", "app.epk"]).exits(0);
    let hash = verdict.json()[0]["package_hash"].as_str().expect("text").to_owned();
    assert!(
        hash.ends_with(line["package_hash"].as_str().expect("text").trim_start_matches("sha256:"))
    );
    let words = here.desk.give(&["mounts"]).exits(0);
    let place = here.mountpoint().display().to_string();
    let said = words.text().lines().find(|line| line.starts_with(&place)).expect("listed");
    assert!(said.contains("app.epk, pid ") && said.contains(" blocks loaded"), "{said}");
}

#[test]
fn a_dead_mount_is_recognised_and_taken_away() {
    for way in ["umount", "umount --dead", "mount"] {
        let here = Mounting::new();
        here.mount(&[]);
        let pid = here.pid();
        kill_server_and_keeper(pid);
        wait::until("the server is gone", || gone(pid));
        assert_eq!(here.listed().expect("it is listed")["state"], "dead", "{way}");
        match way {
            "umount" => here.umount(),
            // Others' dead mounts may be there, which this user can't take away.
            "umount --dead" => {
                let _done = here.desk.give(&["umount", "--dead"]);
            }
            _ => {
                here.mount(&[]);
                assert_eq!(here.listed().expect("it is listed")["state"], "live");
                continue;
            }
        }
        assert!(here.listed().is_none(), "{way}");
        assert_eq!(names(&here.desk.path("mnt")), Vec::<String>::new());
    }
}

#[test]
fn a_mount_in_use_is_busy() {
    let here = Mounting::new();
    here.mount(&[]);
    let file = fs::File::open(here.desk.path("mnt/big")).expect("readable");
    let done = here.desk.give(&["umount", "mnt"]).exits(1);
    assert!(done.stderr.contains("hint: `--lazy`"), "{}", done.stderr);
    let pid = here.pid();
    let _nothing = here.desk.give(&["umount", "--lazy", "mnt"]).quietly();
    assert!(here.listed().is_none());
    assert!(!gone(pid), "someone still reads");
    let mut start = [0; 16];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut start, 300_000).expect("served on");
    drop(file);
    wait::until("the server ends with its last reader", || gone(pid));
}

#[test]
fn in_the_foreground_a_signal_ends_it() {
    let here = Mounting::new();
    let mut child = here
        .desk
        .command(&["mount", "--foreground", "app.epk", "mnt"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    wait::until("it answers", || here.desk.path("mnt/big").exists());
    assert_eq!(here.pid().as_raw().unsigned_abs(), child.id());
    kill(here.pid(), Signal::SIGTERM).expect("ours");
    let status = wait::for_end(&mut child);
    assert!(status.success(), "{status}");
    assert!(here.listed().is_none());
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().count();
    assert_eq!(lines, 0, "messages where none is due");
}

#[test]
fn refusals() {
    let here = Mounting::new();
    here.desk.put("bad.epk", b"bad");
    here.desk.put("damaged.epk", &super::damaged());
    here.desk.give(&["mount", "bad.epk", "mnt"]).fails(4, "EPK_VALIDATION_INVALID_HEADER_SIZE (5)");
    here.desk.give(&["mount", "none.epk", "mnt"]).fails(3, "`none.epk`: No such file");
    here.desk.give(&["mount", "app.epk", "nowhere"]).fails(3, "nowhere");
    here.desk.give(&["mount", "app.epk", "bad.epk"]).fails(3, "bad.epk");
    here.desk.give(&["mount", "app.epk", "mnt", "-o", "rw"]).fails(2, "option `rw` is impossible");
    here.desk.give(&["umount", "mnt"]).fails(1, "mnt");
    here.desk.give(&["umount", "/"]).fails(1, "`/`");
    let _done = here.desk.give(&["umount"]).exits(2);
    assert!(here.listed().is_none());
}

#[test]
fn the_starter_is_not_kept_waiting() {
    // A pipe on the streams of `mount` ends with it, not with the server.
    let here = Mounting::new();
    let mut child = here
        .desk
        .command(&["mount", "app.epk", "mnt"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    assert_eq!(wait::read_to_end("stdout", child.stdout.take().expect("a pipe")), b"");
    assert_eq!(wait::read_to_end("stderr", child.stderr.take().expect("a pipe")), b"");
    assert!(wait::for_end(&mut child).success());
    assert_eq!(here.listed().expect("it is mounted")["state"], "live");
}
