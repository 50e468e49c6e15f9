//! Which processes and mounts are there.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// The processes, but for this one, that have `text` in their command line or environment, as
/// far as this user may read those. A test's own folder in it makes them the test's own.
#[must_use]
pub fn mentioning(text: &str) -> Vec<i32> {
    let has = |path: String| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let processes = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|&id| id != own)
        .filter(|id| has(format!("/proc/{id}/cmdline")) || has(format!("/proc/{id}/environ")))
        .collect()
}

/// A field of a process's `/proc/PID/stat`, from the third, which is its state (proc_pid_stat(5)).
fn stat(pid: i32, field: usize) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(field - 3).map(str::to_owned)
}

/// The processes that a process has forked off and that are still there.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|&id| stat(id, 4).is_some_and(|parent| parent == pid.to_string())).collect()
}

/// Kills the server of a mount, and its keeper first, which would clear up after it: what is left
/// is a dead mount.
///
/// # Panics
/// When they aren't there.
pub fn kill_server_and_keeper(server: Pid) {
    let keepers = children(server.as_raw());
    assert_eq!(keepers.len(), 1, "a server has one keeper: {keepers:?}");
    let keeper = Pid::from_raw(keepers[0]);
    kill(keeper, Signal::SIGKILL).expect("the keeper is there");
    wait::until("the keeper is gone", || is_gone(keeper.as_raw()));
    kill(server, Signal::SIGKILL).expect("the server is there");
}

/// The values of a line of `/proc/PID/task/*/status`, of each thread.
#[must_use]
pub fn of_threads(pid: i32, line: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process").flatten();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let value = |text: String| {
        let found = text.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(':'));
        found.expect("the kernel has this line").trim().to_owned()
    };
    texts.map(value).collect()
}

/// Demands that all threads of a server are behind all walls that this kernel has.
///
/// # Panics
/// When one isn't.
pub fn is_confined(server: Pid) {
    let all = |line: &str, value: &str| {
        let values = of_threads(server.as_raw(), line);
        assert!(!values.is_empty() && values.iter().all(|one| one == value), "{line}: {values:?}");
    };
    all("NoNewPrivs", "1");
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        all(set, "0000000000000000");
    }
    assert!(epkfs::confine::offered().filter, "this kernel can't filter system calls");
    all("Seccomp", "2");
}

/// Whether nothing of a process runs any more, and all that it had open is closed. It may still
/// wait for its parent to ask.
#[must_use]
pub fn is_gone(pid: i32) -> bool {
    // The first thread may be gone before the others.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    stat(pid, 3).is_none_or(|state| state == "Z") && threads <= 1
}

/// The mounts that this process sees and that a launch, or anything about `folder`, would have
/// made.
#[must_use]
pub fn mounts_about(folder: &str) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let ours = |line: &&str| {
        line.contains(folder)
            || line.contains(" - tmpfs epk ")
            || line.contains(" /package ")
            || line.contains(" /user-data ")
    };
    table.lines().filter(ours).map(str::to_owned).collect()
}
