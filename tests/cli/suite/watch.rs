//! `pkgtool mounts --watch`

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use epk_tests::wait;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::mounts::Mounting;

/// A watch, and what it wrote so far.
struct Watch {
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Watch {
    fn new(
        here: &Mounting,
        options: &[&str],
        output: Stdio,
        from: impl FnOnce(&mut Child) -> Box<dyn std::io::Read + Send>,
    ) -> Self {
        let mut command = here.desk.command(&["mounts", "--watch", "--interval", "0.1"]);
        command.args(options).stdin(Stdio::null()).stdout(output).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("it starts");
        drop(command);
        let mut from = BufReader::new(from(&mut child));
        let shown = Arc::new(Mutex::new(String::new()));
        let writer = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal ends with an error.
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                writer.lock().expect("no panic").push_str(&text);
            }
        });
        Self { child, shown }
    }

    /// One that writes to a pipe.
    fn piped(here: &Mounting, options: &[&str]) -> Self {
        Self::new(here, options, Stdio::piped(), |child| {
            Box::new(child.stdout.take().expect("a pipe"))
        })
    }

    fn text(&self) -> String {
        self.shown.lock().expect("no panic").clone()
    }

    #[track_caller]
    fn shows(&self, what: &str, is_there: impl Fn(&str) -> bool) {
        wait::until(what, || is_there(&self.text()));
    }

    #[track_caller]
    fn ends(mut self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("ours");
        assert_eq!(wait::for_end(&mut self.child).code(), Some(0), "{}", self.text());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

#[test]
fn lines_tell_of_each_change() {
    let here = Mounting::new();
    let place = here.mountpoint().display().to_string();
    let watch = Watch::piped(&here, &[]);
    let ours = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with(&place)).map(str::to_owned).collect()
    };
    here.mount(&[]);
    watch.shows("the mount", |text| ours(text).iter().any(|line| line.contains(", pid ")));
    let _bytes = fs::read(here.desk.path("mnt/big")).expect("readable");
    watch.shows("its reads", |text| {
        ours(text).iter().any(|line| line.contains(" reads") && !line.contains(" 0 reads"))
    });
    here.umount();
    watch.shows("its end", |text| ours(text).last().is_some_and(|line| line.ends_with(", gone")));
    // Nothing is told twice, and asking is no change.
    let lines = ours(&watch.text());
    assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "{lines:?}");
    watch.ends(Signal::SIGINT);
}

#[test]
fn objects_tell_of_each_change() {
    let here = Mounting::new();
    here.mount(&[]);
    let watch = Watch::piped(&here, &["--json"]);
    let place = here.mountpoint().display().to_string();
    let states = |text: &str| -> Vec<String> {
        let whole = text.lines().filter(|line| line.ends_with('}'));
        let objects = whole.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let ours = objects.filter(|object| object["mountpoint"] == *place);
        ours.map(|object| object["state"].as_str().expect("text").to_owned()).collect()
    };
    watch.shows("the mount", |text| states(text).iter().any(|state| state == "live"));
    here.umount();
    watch.shows("its end", |text| states(text).last().is_some_and(|state| state == "gone"));
    watch.ends(Signal::SIGTERM);
}

#[test]
fn a_terminal_gets_a_table() {
    let here = Mounting::new();
    here.mount(&[]);
    // So wide that the longest path of a temporary folder fits.
    let size = Winsize { ws_row: 50, ws_col: 400, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = openpty(&size, None).expect("a terminal");
    let master = File::from(pair.master);
    let watch = Watch::new(&here, &[], Stdio::from(pair.slave), |_| Box::new(master));
    let place = here.mountpoint().display().to_string();
    watch.shows("heads and the mount", |text| text.contains("LOADED/S") && text.contains(&place));
    // It goes up to draw the table again, and leaves the last one.
    watch.shows("a second table", |text| {
        text.matches("LOADED/S").count() > 1 && text.contains("A\r\x1b[J")
    });
    watch.ends(Signal::SIGINT);
}

#[test]
fn who_reads_no_more_ends_it() {
    let here = Mounting::new();
    let mut command = here.desk.command(&["mounts", "--watch", "--interval", "0.1"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    here.mount(&[]);
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let _length = output.read_line(&mut line).expect("a line");
    drop(output);
    here.umount();
    let status = wait::for_end(&mut child);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(13), "{status}");
}

#[test]
fn intervals_have_bounds() {
    let here = Mounting::new();
    for interval in ["0", "0.01", "-1", "x", "inf", "NaN", "100000"] {
        let option = format!("--interval={interval}");
        let done = here.desk.give(&["mounts", "--watch", &option]).exits(2);
        assert!(done.stderr.contains("--interval"), "{}", done.stderr);
    }
    let _done = here.desk.give(&["mounts", "--interval", "2"]).exits(2);
}
