//! A control group with little memory (cgroups(7)), of version 2 or 1, for programs to run in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tool;
use crate::users::is_machine_root;
use crate::wait;

/// Where the controllers of version 1 and the tree of version 2 are mounted (systemd's way, which all
/// others follow).
const PLACES: [(&str, Names); 2] =
    [("/sys/fs/cgroup", VERSION_2), ("/sys/fs/cgroup/memory", VERSION_1)];

/// What the files are called.
#[derive(Debug, Clone, Copy)]
struct Names {
    limit: &'static str,
    /// The limit of what is swapped out, and of version 1 what it is together with memory.
    swap: &'static str,
    swap_with_memory: bool,
    /// The file with a line `oom_kill NUMBER`.
    events: &'static str,
    /// What stands before the group's path in a line of `/proc/self/cgroup`.
    own: &'static str,
}

const VERSION_2: Names = Names {
    limit: "memory.max",
    swap: "memory.swap.max",
    swap_with_memory: false,
    events: "memory.events",
    own: "0::/",
};

const VERSION_1: Names = Names {
    limit: "memory.limit_in_bytes",
    swap: "memory.memsw.limit_in_bytes",
    swap_with_memory: true,
    events: "memory.oom_control",
    own: ":memory:/",
};

/// A group of processes that have so much memory together, what the kernel keeps for them included.
/// Gone when it is dropped, with all processes in it.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    names: Names,
}

impl MemoryGroup {
    /// A group with a limit in bytes, as far as this process may make one. Where it may not, this
    /// says so, and fails if `EPK_TEST_PROGRAMS` is set and this is root.
    #[must_use]
    pub fn new(bytes: u64) -> Option<Self> {
        let made = PLACES.iter().find_map(|&(mount, names)| Self::below(mount, names));
        if made.is_none() {
            let required = std::env::var_os("EPK_TEST_PROGRAMS").is_some() && is_machine_root();
            assert!(!required, "no group with a limit of memory can be made below /sys/fs/cgroup");
            eprintln!("no group with a limit of memory can be made: nothing was tested");
        }
        let group = made?;
        let Names { limit, swap, swap_with_memory, .. } = group.names;
        fs::write(group.folder.join(limit), bytes.to_string()).expect("a limit can be set");
        let swap = group.folder.join(swap);
        // A kernel may have no swap.
        if swap.exists() {
            let bytes = if swap_with_memory { bytes } else { 0 };
            fs::write(swap, bytes.to_string()).expect("a limit can be set");
        }
        Some(group)
    }

    /// Makes one in this process's own group or in the nearest one above that has the files.
    fn below(mount: &str, names: Names) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| Some(line.split_once(names.own)?.1))?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("epk-test-{}-{number}", std::process::id());
        Path::new(mount).join(own).ancestors().take_while(|at| at.starts_with(mount)).find_map(
            |at| {
                let folder = at.join(&name);
                fs::create_dir(&folder).ok()?;
                if folder.join(names.limit).exists() {
                    return Some(Self { folder, names });
                }
                // This one gives no memory to groups below it.
                fs::remove_dir(&folder).expect("it was just made");
                None
            },
        )
    }

    /// The same command, in the group.
    #[must_use]
    pub fn command(&self, command: &Command) -> Command {
        let mut starter = Command::new("/bin/sh");
        starter.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        starter.arg(self.folder.join("cgroup.procs"));
        tool::started_by(starter, command)
    }

    /// How many processes of it the kernel has killed for their memory.
    #[must_use]
    pub fn kills(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join(self.names.events)).expect("a group");
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
        count.expect("the kernel counts them")
    }

    fn processes(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let gone = || {
            for pid in self.processes() {
                let _killed = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            fs::remove_dir(&self.folder).is_ok()
        };
        if std::thread::panicking() {
            let _tried = gone();
        } else {
            wait::until("the group is empty", gone);
        }
    }
}
