#![deny(unsafe_code)]
//! Mounts EPK packages read-only through FUSE, verifying each block before a byte of it is
//! delivered.
//!
//! - [`daemon::run`] mounts an image and serves it until it is unmounted; [`daemon::start`] does
//!   so in a process of its own and returns when the mount answers.
//! - [`session::serve`] is the serving alone, for callers that mount by themselves, with
//!   [`mount::open_device`] and [`mount::mount_device`], in namespaces of their own;
//!   [`handover`] does it in a process that stays outside of those.
//! - [`daemon::lend`] mounts a package for the calling process and what that becomes.
//! - [`confine`] is what keeps a server from everything but its package.
//! - [`stamp::open`] opens an image without hashing all of it a second time; [`own_cache`] is where
//!   what it needs for that lies.
//! - [`table::list`] finds mounts, [`control::query`] asks one for its status and counters,
//!   [`control::details`] for more, [`unmount::unmount`] ends one, dead ones included.
//!
//! ```no_run
//! use std::path::Path;
//! use std::time::{Duration, SystemTime};
//!
//! use epkfs::{control, daemon, options::Options, unmount};
//!
//! let mut options = Options::new(SystemTime::now());
//! options.apply("cache=32M,noexec")?;
//! let ready = daemon::start(Path::new("app.epk"), Path::new("mnt"), &options)?;
//! let status = control::query(&ready.mountpoint, Duration::from_secs(5))?;
//! println!("{} by process {}", status.package_hash, ready.pid);
//! unmount::unmount(&ready.mountpoint, false, None)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: what a package holds beyond its tree (that is [`epk_format`]'s), and who launches
//! what (`pkgtool`'s).

pub mod apart;
pub mod confine;
pub mod control;
pub mod daemon;
pub mod filter;
pub mod handover;
pub mod log;
pub mod mount;
pub mod notify;
pub mod options;
pub mod own_cache;
pub mod policy;
pub mod session;
pub mod stamp;
pub mod stats;
pub mod table;
pub mod unmount;

/// What a launcher does with processes that the standard library can't do safely.
pub mod process {
    pub use crate::sys::{
        Fork, end_by_signal, execute, exit, filter_system_calls, fork, heed_children,
        ignore_children, restrict_mounts, send_signal,
    };
}

mod attr;
mod attributes;
mod cache;
mod errno;
mod filesystem;
mod fusermount;
mod inode;
mod keeper;
mod linger;
mod profile;
mod read;
mod readdir;
mod signals;
mod sys;
mod tally;
mod timing;

pub use sys::{inherited_descriptor, landlock_version};

use std::sync::{Mutex, MutexGuard};

/// Locks a mutex whose holders leave it in order even when they panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
