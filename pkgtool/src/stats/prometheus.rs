//! The text format of Prometheus, version 0.0.4: units are seconds and bytes, counters end in
//! `_total`. Names of files are no labels: there may be any number of them.

use std::fmt::{Display, Write as _};

use epkfs::stats::Durations;
use serde_json::{Value, json};

use super::{Stats, cumulative};

/// A scrape.
pub(crate) fn to_prometheus(stats: &Stats) -> String {
    let details = &stats.details;
    let status = &details.status;
    let counters = json!(status.counters);
    let counter = |name: &str| counters.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mountpoint = stats.mountpoint.to_string_lossy();
    let mut page = Page { out: String::new(), mountpoint: &mountpoint };

    page.family("epk_mount_info", "gauge", "The mounted package; always 1.");
    page.sample(
        "epk_mount_info",
        &[
            ("image", &stats.image.to_string_lossy()),
            ("package_hash", &status.package_hash),
            ("pid", &status.pid.to_string()),
        ],
        1,
    );
    for (name, help, value) in [
        ("epk_mount_start_time_seconds", "When it was mounted, since 1970.", status.started),
        ("epk_mount_threads", "Event loops of the server.", status.threads as u64),
        ("epk_cache_bytes", "Plain bytes in the block cache.", status.cache_bytes as u64),
        ("epk_cache_capacity_bytes", "Most that the cache keeps.", status.cache_capacity as u64),
    ] {
        page.family(name, "gauge", help);
        page.sample(name, &[], value);
    }
    page.family("epk_requests_total", "counter", "Requests of the kernel.");
    for request in REQUESTS {
        page.sample("epk_requests_total", &[("request", request)], counter(request));
    }
    for (name, help, key) in [
        ("epk_delivered_bytes_total", "Bytes of content delivered.", "bytes_read"),
        ("epk_blocks_loaded_total", "Blocks read from the image and verified.", "blocks_loaded"),
        ("epk_inflated_bytes_total", "Plain bytes of those blocks.", "bytes_loaded"),
        ("epk_cache_hits_total", "Blocks found in the cache.", "cache_hits"),
        ("epk_cache_waits_total", "Waits for a block that was being loaded.", "cache_waits"),
        ("epk_errors_total", "Requests answered with an I/O error.", "errors"),
        ("epk_damaged_blocks_total", "Different blocks found damaged.", "damaged_blocks"),
    ] {
        page.family(name, "counter", help);
        page.sample(name, &[], counter(key));
    }
    let name = "epk_block_step_seconds_total";
    page.family(name, "counter", "Time that the steps of loading blocks took.");
    for (step, nanoseconds) in
        [("fetch", details.fetching), ("hash", details.hashing), ("inflate", details.inflating)]
    {
        page.sample(name, &[("step", step)], seconds(nanoseconds));
    }
    page.histogram("epk_block_load_seconds", "How long loading a block took.", &details.loads);
    page.family("epk_read_timing", "gauge", "Whether requests for content are timed, 0 or 1.");
    page.sample("epk_read_timing", &[], u8::from(details.timed));
    page.histogram(
        "epk_read_seconds",
        "How long requests for content took, while they were timed.",
        &details.reads,
    );
    page.out
}

/// The counters that are of requests.
pub(super) const REQUESTS: [&str; 13] = [
    "lookup",
    "getattr",
    "readlink",
    "open",
    "opendir",
    "read",
    "lseek",
    "readdir",
    "readdirplus",
    "statfs",
    "ioctl",
    "xattr",
    "write",
];

struct Page<'m> {
    out: String,
    mountpoint: &'m str,
}

impl Page<'_> {
    /// Begins a family of samples. Help has no backslashes and line ends.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.add(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.add(format_args!("{name}{{mountpoint=\"{}\"", escaped(self.mountpoint)));
        for (label, text) in labels {
            self.add(format_args!(",{label}=\"{}\"", escaped(text)));
        }
        self.add(format_args!("}} {value}\n"));
    }

    fn histogram(&mut self, name: &str, help: &str, durations: &Durations) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, count) in cumulative(durations) {
            let bound = bound.map_or("+Inf".to_owned(), |bound| seconds(bound).to_string());
            self.sample(&bucket, &[("le", &bound)], count);
        }
        self.sample(&format!("{name}_sum"), &[], seconds(durations.nanoseconds));
        self.sample(&format!("{name}_count"), &[], durations.count());
    }

    /// Writing to a string cannot fail.
    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = self.out.write_fmt(text);
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// A label's value between double quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_stay_within_their_quotes() {
        assert_eq!(escaped("/a \"b\"\\\n} 1"), "/a \\\"b\\\"\\\\\\n} 1");
    }

    #[test]
    fn every_counter_is_on_the_page() {
        let counters = json!(epkfs::stats::Counts::default());
        let told: Vec<&str> = REQUESTS
            .into_iter()
            .chain(["bytes_read", "blocks_loaded", "bytes_loaded", "cache_hits", "cache_waits"])
            .chain(["errors", "damaged_blocks"])
            .collect();
        let known = counters.as_object().expect("an object");
        assert_eq!(known.len(), told.len());
        assert!(told.iter().all(|name| known.contains_key(*name)), "{told:?}");
    }

    #[test]
    fn seconds_are_written_as_decimals() {
        for (nanoseconds, text) in
            [(0, "0"), (1000, "0.000001"), (524_288_000, "0.524288"), (3_000_000_000, "3")]
        {
            assert_eq!(seconds(nanoseconds).to_string(), text);
        }
    }
}
