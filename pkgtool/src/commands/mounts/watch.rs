//! `pkgtool mounts --watch`: a table that stays up to date on a terminal, else a line whenever a
//! mount has changed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use epk_format::path;
use epkfs::stats::Counts;
use epkfs::table::MountInfo;
use indicatif::HumanBytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::tcgetwinsize;
use serde_json::json;
use signal_hook::low_level::pipe;

use super::{Surveyed, survey, to_json, to_line};
use crate::exit::{Failure, print_line, standard_output};
use crate::signals;

/// Watches until a signal says that it is enough.
pub(super) fn watch(interval: Duration, json: bool) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::system("cannot watch mounts", &error);
    let events = Events::new().map_err(failed)?;
    let table = io::stdout().is_terminal() && !json;
    let (mut screen, mut log) = (Screen::default(), Log::default());
    loop {
        let mounts = survey()?;
        if table {
            screen.show(&mounts)?;
        } else {
            log.tell(&mounts, json)?;
        }
        if !events.wait(interval).map_err(failed)? {
            return Ok(());
        }
    }
}

/// What ends a wait before its time.
struct Events {
    signals: UnixStream,
    /// The kernel tells whoever polls it of each change (proc_pid_mounts(5)).
    mounts: File,
}

impl Events {
    fn new() -> io::Result<Self> {
        let (signals, told) = UnixStream::pair()?;
        for signal in signals::heeded() {
            pipe::register(signal, told.try_clone()?)?;
        }
        Ok(Self { signals, mounts: File::open("/proc/self/mountinfo")? })
    }

    /// Whether to go on, after some time or when a mount came or went.
    fn wait(&self, time: Duration) -> io::Result<bool> {
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        let mut polled = [
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.mounts.as_fd(), PollFlags::PRI),
        ];
        match poll(&mut polled, Some(&time)) {
            Ok(_) => Ok(polled.first().is_none_or(|signals| signals.revents().is_empty())),
            // By a signal that ends this, which the next poll sees, or by another one.
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Lines for programs and files.
#[derive(Default)]
struct Log {
    told: HashMap<u64, (String, MountInfo)>,
}

impl Log {
    fn tell(&mut self, mounts: &[Surveyed], json: bool) -> Result<(), Failure> {
        for mount in mounts {
            // It has nothing of which asking is the cause.
            let line = to_line(mount);
            let before = self.told.insert(mount.info.id, (line.clone(), mount.info.clone()));
            if before.is_none_or(|(before, _)| before != line) {
                if json { print_line(to_json(mount))? } else { print_line(line)? }
            }
        }
        let there = |id: &u64| mounts.iter().any(|mount| mount.info.id == *id);
        let mut gone: Vec<u64> = self.told.keys().copied().filter(|id| !there(id)).collect();
        gone.sort_unstable();
        for (_, info) in gone.iter().filter_map(|id| self.told.remove(id)) {
            if json {
                print_line(json!({
                    "schema": "epk.mounts/1",
                    "mountpoint": info.mountpoint.to_string_lossy(),
                    "image": info.source.to_string_lossy(),
                    "state": "gone",
                }))?;
            } else {
                let (place, image) = shown(&info);
                print_line(format!("{place}: {image}, gone"))?;
            }
        }
        Ok(())
    }
}

fn shown(info: &MountInfo) -> (String, String) {
    let text = |path: &std::path::Path| path::display(path.as_os_str().as_bytes()).into_owned();
    (text(&info.mountpoint), text(&info.source))
}

/// A terminal with a table at its end.
#[derive(Default)]
struct Screen {
    /// Lines of the table that is on the screen.
    lines: usize,
    before: HashMap<u64, (Instant, Counts)>,
}

/// The columns' heads; all but the last two stand on the right.
const HEADS: [&str; 8] =
    ["PID", "STATE", "CACHE", "READS/S", "BYTES/S", "LOADED/S", "DAMAGED", "MOUNT"];

impl Screen {
    fn show(&mut self, mounts: &[Surveyed]) -> Result<(), Failure> {
        let now = Instant::now();
        let mut rows = vec![HEADS.map(str::to_owned)];
        let mut after = HashMap::new();
        for mount in mounts {
            rows.push(self.row(mount, now));
            if let Ok(status) = &mount.answer {
                after.insert(mount.info.id, (now, status.counters.clone()));
            }
        }
        self.before = after;
        let (width, height) = match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
            _ => (80, 24),
        };
        let mut lines = aligned(&rows, usize::from(width));
        // The cursor's own line is the last, and what is above the screen can't be drawn again.
        let most = usize::from(height).saturating_sub(2).max(1);
        if lines.len() > most {
            let more = lines.len() - most + 1;
            lines.truncate(most - 1);
            lines.push(format!("… and {more} more"));
        }
        let mut text = String::new();
        if self.lines > 0 {
            // Up to the table's first line, and away with what is there.
            text.push_str(&format!("\x1b[{}A\r\x1b[J", self.lines));
        }
        lines.iter().for_each(|line| text.extend([line, "\n"]));
        self.lines = lines.len();
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| standard_output(&error))
    }

    fn row(&self, mount: &Surveyed, now: Instant) -> [String; HEADS.len()] {
        let (place, image) = shown(&mount.info);
        let place = format!("{place}  {image}");
        let state = mount.state().to_owned();
        let Ok(status) = &mount.answer else {
            let none = || "-".to_owned();
            return [none(), state, none(), none(), none(), none(), none(), place];
        };
        let counters = &status.counters;
        let before = self.before.get(&mount.info.id);
        let rate = |of: fn(&Counts) -> u64| {
            let (since, before) = before?;
            let milliseconds = u64::try_from(now.duration_since(*since).as_millis()).ok()?;
            let more = of(counters).saturating_sub(of(before));
            more.saturating_mul(1000).checked_div(milliseconds)
        };
        let number = |rate: Option<u64>| rate.map_or("-".to_owned(), |rate| rate.to_string());
        let bytes = rate(|counts| counts.bytes_read);
        [
            status.pid.to_string(),
            state,
            HumanBytes(status.cache_bytes as u64).to_string(),
            number(rate(|counts| counts.read)),
            bytes.map_or("-".to_owned(), |bytes| HumanBytes(bytes).to_string()),
            number(rate(|counts| counts.blocks_loaded)),
            counters.damaged_blocks.to_string(),
            place,
        ]
    }
}

/// The rows as lines of at most `width` characters, columns two blanks apart.
fn aligned<const N: usize>(rows: &[[String; N]], width: usize) -> Vec<String> {
    let length = |text: &String| text.chars().count();
    let widths: Vec<usize> = (0..N)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(length).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let last = column + 1 == N;
            if last { cell.clone() } else { format!("{cell:>width$}  ") }
        });
        cells.collect::<String>().chars().take(width).collect()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_and_cut() {
        let rows =
            [["a", "b", "place"], ["long", "-", "/a/b/c/d"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows, 80), ["   a  b  place", "long  -  /a/b/c/d"]);
        assert_eq!(aligned(&rows, 12), ["   a  b  pla", "long  -  /a/"]);
        assert_eq!(aligned(&rows, 0), ["", ""]);
    }
}
