//! `pkgtool stats`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::exit::{Failure, print_line};
use crate::stats::{self, Stats};

/// Show what a mount did so far
///
/// Requests, bytes, the cache, how long blocks took to read, hash and inflate, and the files that
/// are read most. Its server is asked, and not waited for longer than two seconds.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// The folder on which the package is mounted
    #[arg(value_name = "MOUNT")]
    mount: PathBuf,

    /// Begin, or stop, to time each request for content; both leave what was counted
    ///
    /// Blocks are timed always: a look at the clock is nothing beside reading one. Requests that
    /// are answered out of memory are timed only when asked for.
    #[arg(long, value_enum, value_name = "WHETHER")]
    timing: Option<Switch>,

    /// Print a JSON object
    #[arg(long)]
    json: bool,

    /// Print the text format of Prometheus
    #[arg(long, conflicts_with = "json")]
    prometheus: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// From now on
    On,
    /// No more
    Off,
}

pub(crate) fn stats(args: &StatsArgs) -> Result<(), Failure> {
    if let Some(timing) = args.timing {
        stats::time_requests(&args.mount, timing == Switch::On)?;
    }
    let stats = Stats::gather(&args.mount)?;
    if args.json {
        print_line(stats.to_json())
    } else if args.prometheus {
        print_line(stats::to_prometheus(&stats).trim_end())
    } else {
        print_line(stats::to_text(&stats))
    }
}
