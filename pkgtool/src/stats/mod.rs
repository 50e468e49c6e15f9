//! What a mount did so far, as JSON, as text, or for Prometheus.

mod prometheus;
mod text;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use epk_format::OpenOptions;
use epkfs::control::{self, Details, QueryError};
use epkfs::stats::Durations;
use epkfs::table;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::input::open_package;
use crate::select;

pub(crate) use prometheus::to_prometheus;
pub(crate) use text::to_text;

/// How long a server may take to answer before it counts as hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// What a mount did so far.
pub(crate) struct Stats {
    mountpoint: PathBuf,
    /// The image's path when it was mounted.
    image: PathBuf,
    details: Details,
    /// Paths of the hot files, as far as the image could be asked; without a slash before them.
    paths: HashMap<u64, Vec<u8>>,
}

impl Stats {
    /// Asks the server of the mount on a folder.
    pub(crate) fn gather(folder: &Path) -> Result<Self, Failure> {
        let details = control::details(folder, PATIENCE).map_err(|error| unanswered(&error))?;
        // It answers, so this doesn't hang.
        let mountpoint = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let mounts =
            table::list().map_err(|error| Failure::system("cannot list mounts", &error))?;
        let listed = mounts.into_iter().rfind(|mount| mount.mountpoint == mountpoint);
        let image = details.status.image.clone().or(listed.map(|mount| mount.source));
        let image = image.unwrap_or_default();
        let paths = paths(&image, &details);
        Ok(Self { mountpoint, image, details, paths })
    }

    /// The object epk.stats/1.
    pub(crate) fn to_json(&self) -> Value {
        let Details { status, .. } = &self.details;
        let hot = self.details.hot.iter().map(|file| {
            let path = self.paths.get(&file.inode);
            let path = path.map(|path| format!("/{}", String::from_utf8_lossy(path)));
            json!({ "path": path, "inode": file.inode, "reads": file.reads })
        });
        json!({
            "schema": "epk.stats/1",
            "mountpoint": self.mountpoint.to_string_lossy(),
            "image": self.image.to_string_lossy(),
            "package_hash": status.package_hash,
            "pid": status.pid,
            "started": status.started,
            "threads": status.threads,
            "cache_bytes": status.cache_bytes,
            "cache_capacity": status.cache_capacity,
            "counters": status.counters,
            "blocks": {
                "fetch_ns": self.details.fetching,
                "hash_ns": self.details.hashing,
                "inflate_ns": self.details.inflating,
                "load": histogram(&self.details.loads),
            },
            "requests": {
                "timed": self.details.timed,
                "read": histogram(&self.details.reads),
            },
            "hot_files": hot.collect::<Vec<_>>(),
        })
    }
}

/// Switches the timing of requests on or off.
pub(crate) fn time_requests(folder: &Path, on: bool) -> Result<(), Failure> {
    control::time_requests(folder, on, PATIENCE).map_err(|error| match &error {
        QueryError::Io { source, .. } if source.raw_os_error() == Some(EPERM) => {
            Failure::refused(format!("`{}` is another user's mount", folder.display()))
                .hint("its owner and root may say what is timed")
        }
        _ => unanswered(&error),
    })
}

/// What the kernel says to those who may not.
const EPERM: i32 = nix::errno::Errno::EPERM as i32;

fn unanswered(error: &QueryError) -> Failure {
    match error {
        QueryError::NotMounted(_) => Failure::because(Exit::Finding, error)
            .hint("`pkgtool mounts` lists the mounts of packages"),
        QueryError::Dead(_) => {
            Failure::because(Exit::Environment, error).hint("`pkgtool umount` takes it away")
        }
        _ => Failure::because(Exit::Environment, error),
    }
}

/// The paths of the hot files out of the image, if that can be read and still is what is mounted.
/// Asking the mount instead would change what is counted.
fn paths(image: &Path, details: &Details) -> HashMap<u64, Vec<u8>> {
    let mut paths = HashMap::new();
    if details.hot.is_empty() {
        return paths;
    }
    let Ok(package) = open_package(image, &OpenOptions::default()) else { return paths };
    if details.status.package_hash != format!("sha256:{}", package.package_hash()) {
        return paths;
    }
    let walked = select::walk(&package, image, &[], |visit| {
        let inode = u64::from(visit.node.id.number()) + 1;
        if details.hot.iter().any(|file| file.inode == inode) {
            paths.entry(inode).or_insert_with(|| visit.path.to_vec());
        }
        Ok(())
    });
    // What was found until something was damaged is right.
    drop(walked);
    paths
}

fn histogram(durations: &Durations) -> Value {
    let buckets: Vec<Value> = cumulative(durations)
        .map(|(bound, count)| json!({ "le_ns": bound, "count": count }))
        .collect();
    json!({ "count": durations.count(), "sum_ns": durations.nanoseconds, "buckets": buckets })
}

/// The longest duration of each place of a histogram, and how often it took no longer than that.
fn cumulative(durations: &Durations) -> impl Iterator<Item = (Option<u64>, u64)> {
    let mut sum = 0_u64;
    durations.counts.iter().enumerate().map(move |(place, count)| {
        sum = sum.saturating_add(*count);
        (durations.bound(place), sum)
    })
}
