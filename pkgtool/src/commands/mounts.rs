//! `pkgtool mounts`

mod watch;

use std::thread;
use std::time::Duration;

use clap::Args;
use epk_format::path;
use epkfs::control::{QueryError, Status, query};
use epkfs::table::{self, MountInfo};
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt as _;

use crate::exit::{Failure, print_line};
use crate::stats::PATIENCE;

/// List mounted packages
///
/// What their servers say of themselves: process, cache, counters. Mounts whose server is gone
/// show as `dead`, those whose server doesn't answer within two seconds as `silent`.
#[derive(Debug, Args)]
pub(crate) struct MountsArgs {
    /// Go on: a table that is kept up to date on a terminal, else a line when something changes
    ///
    /// SIGINT, SIGTERM and SIGHUP end it with status 0.
    #[arg(long)]
    watch: bool,

    /// With `--watch`, seconds from one look to the next; a mount that comes or goes is seen at once
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval, requires = "watch")]
    interval: Duration,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86400.0).contains(seconds));
    let interval = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    interval.ok_or_else(|| "expected seconds from 0.1 to 86400".to_owned())
}

/// A mount, and what its server said.
pub(crate) struct Surveyed {
    pub(crate) info: MountInfo,
    answer: Result<Status, QueryError>,
}

impl Surveyed {
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.answer, Err(QueryError::Dead(_)))
    }

    fn state(&self) -> &'static str {
        match &self.answer {
            Ok(_) => "live",
            Err(QueryError::Dead(_)) => "dead",
            Err(QueryError::Timeout(..)) => "silent",
            // Another user's mount, or one that something else covers.
            Err(_) => "unknown",
        }
    }
}

/// Every mount that this process sees, each asked at the same time.
pub(crate) fn survey() -> Result<Vec<Surveyed>, Failure> {
    let mounts = table::list().map_err(|error| Failure::system("cannot list mounts", &error))?;
    let answers: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> =
            mounts.iter().map(|info| scope.spawn(|| query(&info.mountpoint, PATIENCE))).collect();
        asking.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let pairs = mounts.into_iter().zip(answers);
    Ok(pairs.filter_map(|(info, answer)| Some(Surveyed { info, answer: answer.ok()? })).collect())
}

pub(crate) fn mounts(args: &MountsArgs) -> Result<(), Failure> {
    if args.watch {
        return watch::watch(args.interval, args.json);
    }
    let mounts = survey()?;
    mounts.iter().try_for_each(|mount| {
        if args.json { print_line(to_json(mount)) } else { print_line(to_line(mount)) }
    })
}

fn to_line(mount: &Surveyed) -> String {
    let place = path::display(mount.info.mountpoint.as_os_str().as_bytes());
    let image = path::display(mount.info.source.as_os_str().as_bytes());
    match &mount.answer {
        Ok(status) => format!(
            "{place}: {image}, pid {}, cache {} of {} KiB, {} reads, {} blocks loaded, {} damaged",
            status.pid,
            status.cache_bytes / 1024,
            status.cache_capacity / 1024,
            status.counters.read,
            status.counters.blocks_loaded,
            status.counters.damaged_blocks,
        ),
        Err(error) => format!("{place}: {image}, {}: {error}", mount.state()),
    }
}

fn to_json(mount: &Surveyed) -> Value {
    let mut object = json!({
        "schema": "epk.mounts/1",
        "mountpoint": mount.info.mountpoint.to_string_lossy(),
        "image": mount.info.source.to_string_lossy(),
        "state": mount.state(),
    });
    match &mount.answer {
        Ok(status) => {
            object["package_hash"] = json!(status.package_hash);
            object["pid"] = json!(status.pid);
            object["started"] = json!(status.started);
            object["threads"] = json!(status.threads);
            object["cache_bytes"] = json!(status.cache_bytes);
            object["cache_capacity"] = json!(status.cache_capacity);
            object["counters"] = json!(status.counters);
        }
        Err(error) => object["error"] = json!(error.to_string()),
    }
    object
}
