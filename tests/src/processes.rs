//! Which processes and mounts are there.

use std::fs;

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

/// Whether nothing of a process runs any more, and all that it had open is closed. It may still
/// wait for its parent to ask.
#[must_use]
pub fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The first thread may be gone before the others.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')) && threads <= 1
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
