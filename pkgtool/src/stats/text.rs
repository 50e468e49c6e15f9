//! What a mount did so far, for people.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use epk_format::path;
use epkfs::stats::Durations;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::Stats;
use crate::pack::losses::counted;

/// The longest bar of a histogram, in characters.
const BAR: u64 = 40;

/// Lines, without an end of the last.
pub(crate) fn to_text(stats: &Stats) -> String {
    let details = &stats.details;
    let status = &details.status;
    let counters = &status.counters;
    let mut out = String::new();
    let mut line = |name: &str, text: String| {
        // Writing to a string can't fail.
        let _ = writeln!(out, "{name:<10} {text}");
    };
    line("mount", path::display(stats.mountpoint.as_os_str().as_bytes()).into_owned());
    line("image", path::display(stats.image.as_os_str().as_bytes()).into_owned());
    line("package", status.package_hash.clone());
    let threads = counted(status.threads as u64, "thread");
    line("server", format!("pid {}, {threads}", status.pid));
    line("requests", requests(&json!(counters)));
    line("delivered", format!("{}", HumanBytes(counters.bytes_read)));
    line(
        "blocks",
        format!(
            "{} loaded ({} plain), {} found in the cache, {} waited for",
            counters.blocks_loaded,
            HumanBytes(counters.bytes_loaded),
            counters.cache_hits,
            counters.cache_waits
        ),
    );
    let (held, most) = (status.cache_bytes as u64, status.cache_capacity as u64);
    line("cache", format!("{} of {}", HumanBytes(held), HumanBytes(most)));
    line(
        "damage",
        format!(
            "{}, {}",
            counted(counters.damaged_blocks, "damaged block"),
            counted(counters.errors, "error")
        ),
    );
    line(
        "time",
        format!(
            "{} reading blocks, {} hashing, {} inflating",
            duration(details.fetching),
            duration(details.hashing),
            duration(details.inflating)
        ),
    );
    line("loads", histogram(&details.loads));
    let reads = match (details.timed, details.reads.count()) {
        (false, 0) => "not timed; `--timing on` begins that".to_owned(),
        (timed, _) => {
            let ended = if timed { "" } else { ", timed until `--timing off`" };
            let text = histogram(&details.reads);
            let (numbers, bars) = text.split_once('\n').unwrap_or((&text, ""));
            format!("{numbers}{ended}\n{bars}").trim_end().to_owned()
        }
    };
    line("reads", reads);
    let mut name = "hot files";
    for file in &details.hot {
        let path = match stats.paths.get(&file.inode) {
            Some(path) => format!("/{}", path::display(path)),
            None => format!("inode {}", file.inode),
        };
        line(name, format!("{:>8} {path}", file.reads));
        name = "";
    }
    out.truncate(out.trim_end().len());
    out
}

/// The requests that there were, the most frequent first.
fn requests(counters: &Value) -> String {
    let number = |name: &str| counters.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mut found: Vec<(u64, &str)> = super::prometheus::REQUESTS
        .into_iter()
        .map(|name| (number(name), name))
        .filter(|(count, _)| *count > 0)
        .collect();
    found.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let words: Vec<String> = found.iter().map(|(count, name)| format!("{count} {name}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// The number and the mean, and a bar for each place up to the last that has something.
fn histogram(durations: &Durations) -> String {
    let count = durations.count();
    let mut text = match durations.nanoseconds.checked_div(count) {
        None => "none".to_owned(),
        Some(mean) => format!("{count}, {} on average", duration(mean)),
    };
    let most = durations.counts.iter().copied().max().unwrap_or(0).max(1);
    let places = durations.counts.iter().enumerate();
    let mut shown = places.clone().filter(|(_, count)| **count > 0).map(|(place, _)| place);
    let Some(first) = shown.next() else { return text };
    let last = shown.next_back().unwrap_or(first);
    for (place, count) in places.skip(first).take(last - first + 1) {
        let bound = match durations.bound(place) {
            Some(bound) => format!("<= {}", duration(bound)),
            None => "longer".to_owned(),
        };
        let bar = usize::try_from((count * BAR).div_ceil(most)).unwrap_or(0);
        let bar = "#".repeat(bar);
        // Writing to a string can't fail.
        let _ = write!(text, "\n{:<10} {}", "", format!("{bound:<12} {count:>8} {bar}").trim_end());
    }
    text
}

/// A duration in a unit that suits it.
fn duration(nanoseconds: u64) -> String {
    let number = nanoseconds as f64;
    match nanoseconds {
        0..1_000_000 => format!("{} µs", nanoseconds / 1000),
        1_000_000..1_000_000_000 => format!("{:.1} ms", number / 1e6),
        _ => format!("{:.2} s", number / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (nanoseconds, text) in
            [(0, "0 µs"), (64_000, "64 µs"), (1_024_000, "1.0 ms"), (3_210_000_000, "3.21 s")]
        {
            assert_eq!(duration(nanoseconds), text);
        }
    }

    #[test]
    fn the_most_frequent_requests_come_first() {
        assert_eq!(
            requests(&json!({ "read": 3, "lookup": 7, "bytes_read": 99 })),
            "7 lookup, 3 read"
        );
        assert_eq!(requests(&json!({})), "none");
    }
}
