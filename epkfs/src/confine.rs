//! Walls around a process that serves a mount: whoever takes it over through a hole in the reading
//! of packages has the bytes of one package, and nothing else of the machine.
//!
//! A server reads the image, answers the kernel and writes its log, all through descriptors that it
//! has. So it gives up the rest: privileges, present ones and those of programs that it could
//! become; by Landlock every file, network port and process outside; and by a filter the system
//! calls that it has no use for. What neither wall lets through needs a hole in the kernel.
//!
//! What a kernel has not is done without ([`offered`]). What it has and refuses is an error.

use std::io;
use std::sync::Once;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath,
    PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use nix::libc::{self, c_long, sock_filter};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use crate::filter::{
    ARCHITECTURE, EQUAL, HAS, LOAD, NATIVE, NUMBER, RETURN, argument, error, jump, statement,
};
use crate::mount::DEVICE;
use crate::sys;

/// What this machine's kernel has of the walls, as far as whoever restricts this process lets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offered {
    /// The version of Landlock.
    pub landlock: Option<u32>,
    /// Whether system calls can be filtered.
    pub filter: bool,
}

/// Asks the kernel.
#[must_use]
pub fn offered() -> Offered {
    Offered {
        landlock: sys::landlock_version().ok(),
        filter: NATIVE.is_some() && sys::can_filter_system_calls(),
    }
}

/// Puts this process, which must have one thread, behind all walls.
///
/// # Errors
/// What the kernel has and refuses.
pub fn confine() -> io::Result<()> {
    let (walls, gate) = prepare(false)?;
    walls.close()?;
    gate.close()
}

/// The walls that a process closes while it has one thread. Its later threads are born behind them.
#[must_use]
#[derive(Debug)]
pub struct Walls(RulesetCreated);

/// The wall that is closed last, by any thread for all of them.
#[derive(Debug)]
pub struct Gate {
    filter: bool,
    closed: Once,
}

/// Does of the walls what may fail, before anybody is told that all is well. With `device`, further
/// queues of a mount may be opened until the gate is closed.
///
/// # Errors
/// What the kernel has and refuses.
pub fn prepare(device: bool) -> io::Result<(Walls, Gate)> {
    let rules = rules(device).map_err(|error| io::Error::other(format!("Landlock: {error}")))?;
    Ok((Walls(rules), Gate { filter: offered().filter, closed: Once::new() }))
}

/// The newest version of Landlock that is made use of; of those that the kernel has not, it takes
/// what it knows.
const KNOWN: ABI = ABI::V9;

fn rules(device: bool) -> Result<RulesetCreated, Box<dyn std::error::Error>> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    // One that isn't there needs no permission.
    if let Some(opened) = device.then(|| PathFd::new(DEVICE).ok()).flatten() {
        let use_it: BitFlags<AccessFs> =
            AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
        rules = rules.add_rule(PathBeneath::new(opened, use_it))?;
    }
    Ok(rules)
}

impl Walls {
    /// Gives up privileges, files, ports and other processes, for this thread and those that it
    /// starts.
    ///
    /// # Errors
    /// What the kernel has and refuses.
    pub fn close(self) -> io::Result<()> {
        set_no_new_privs(true)?;
        let none = CapabilitySet::empty();
        set_capabilities(
            None,
            CapabilitySets { effective: none, permitted: none, inheritable: none },
        )?;
        let closed = self.0.restrict_self();
        closed.map(drop).map_err(|error| io::Error::other(format!("Landlock: {error}")))
    }
}

impl Gate {
    /// Filters the system calls of all threads of this process, which must be behind its [`Walls`],
    /// unless that was done before.
    ///
    /// # Errors
    /// What the kernel has and refuses.
    pub fn close(&self) -> io::Result<()> {
        let mut result = Ok(());
        self.closed.call_once(|| {
            if self.filter
                && let Some(program) = program(std::process::id())
            {
                result = sys::filter_all_threads(&program);
            }
        });
        result.map_err(|errno| io::Error::other(format!("filter of system calls: {errno}")))
    }

    /// Closes it. A process that goes on to read packages without it is what it was asked not to be:
    /// it ends.
    pub(crate) fn close_or_end(&self) {
        if self.closed.is_completed() {
            return;
        }
        if let Err(error) = self.close() {
            tracing::error!(target: "epkfs::confine", %error, "the server cannot be confined and ends");
            sys::exit(1);
        }
    }
}

/// What is done about a system call. All others end the process.
enum Rule {
    Allowed,
    /// Answered with an error: libraries ask such things and can do without.
    Answered(i32),
    /// Allowed if the argument is one of these, answered with EPERM if not.
    OneOf(u32, &'static [u32]),
    /// Allowed if the argument is this process's id, answered with EPERM if not.
    OnSelf(u32),
    /// Allowed if the argument has the bit.
    With(u32, u32),
    /// Allowed if the argument doesn't have the bit.
    Without(u32, u32),
}

/// prctl(2): names of threads, which std gives them, and of memory, which allocators may.
const NAMES: &[u32] = &[libc::PR_SET_NAME.cast_unsigned(), libc::PR_SET_VMA.cast_unsigned()];
/// fcntl(2): what concerns this process's own descriptors.
const DESCRIPTORS: &[u32] = &[
    libc::F_GETFD.cast_unsigned(),
    libc::F_GETFL.cast_unsigned(),
    libc::F_DUPFD_CLOEXEC.cast_unsigned(),
];
/// Memory that can be executed.
const EXECUTABLE: u32 = libc::PROT_EXEC.cast_unsigned();

/// What a server needs once it serves.
const CALLS: &[(c_long, Rule)] = &[
    // The device, the image, the log; whichever of them was opened.
    (libc::SYS_read, Rule::Allowed),
    (libc::SYS_pread64, Rule::Allowed),
    (libc::SYS_write, Rule::Allowed),
    (libc::SYS_writev, Rule::Allowed),
    (libc::SYS_ppoll, Rule::Allowed),
    (libc::SYS_close, Rule::Allowed),
    (libc::SYS_dup3, Rule::Allowed),
    (libc::SYS_fstat, Rule::Allowed),
    (libc::SYS_lseek, Rule::Allowed),
    (libc::SYS_fcntl, Rule::OneOf(1, DESCRIPTORS)),
    // Memory.
    (libc::SYS_brk, Rule::Allowed),
    (libc::SYS_munmap, Rule::Allowed),
    (libc::SYS_mremap, Rule::Allowed),
    (libc::SYS_madvise, Rule::Allowed),
    (libc::SYS_mprotect, Rule::Without(2, EXECUTABLE)),
    // Threads, and the ends of them all.
    (libc::SYS_futex, Rule::Allowed),
    (libc::SYS_clone, Rule::With(0, libc::CLONE_THREAD.cast_unsigned())),
    // Its arguments are behind a pointer. The C library takes clone(2) then.
    (libc::SYS_clone3, Rule::Answered(libc::ENOSYS)),
    (libc::SYS_set_robust_list, Rule::Allowed),
    (libc::SYS_rseq, Rule::Allowed),
    (libc::SYS_sched_yield, Rule::Allowed),
    (libc::SYS_sched_getaffinity, Rule::Allowed),
    (libc::SYS_gettid, Rule::Allowed),
    (libc::SYS_getpid, Rule::Allowed),
    (libc::SYS_prctl, Rule::OneOf(0, NAMES)),
    (libc::SYS_exit, Rule::Allowed),
    (libc::SYS_exit_group, Rule::Allowed),
    // Signals: waiting for them, and sending them to itself.
    (libc::SYS_rt_sigtimedwait, Rule::Allowed),
    (libc::SYS_rt_sigprocmask, Rule::Allowed),
    (libc::SYS_rt_sigaction, Rule::Allowed),
    (libc::SYS_rt_sigreturn, Rule::Allowed),
    (libc::SYS_sigaltstack, Rule::Allowed),
    (libc::SYS_tgkill, Rule::OnSelf(0)),
    (libc::SYS_kill, Rule::OnSelf(0)),
    // Time, and waiting on after somebody stopped the process.
    (libc::SYS_clock_gettime, Rule::Allowed),
    (libc::SYS_gettimeofday, Rule::Allowed),
    (libc::SYS_clock_nanosleep, Rule::Allowed),
    (libc::SYS_nanosleep, Rule::Allowed),
    (libc::SYS_restart_syscall, Rule::Allowed),
    // Keys of hash tables.
    (libc::SYS_getrandom, Rule::Allowed),
    // What the C library looks for to find out how many processors there are, or a panic to name
    // lines of source.
    (libc::SYS_openat, Rule::Answered(libc::EPERM)),
    (libc::SYS_faccessat, Rule::Answered(libc::EPERM)),
    (libc::SYS_readlinkat, Rule::Answered(libc::EPERM)),
    (libc::SYS_statx, Rule::Answered(libc::EPERM)),
    (libc::SYS_getcwd, Rule::Answered(libc::EPERM)),
    (libc::SYS_prlimit64, Rule::Answered(libc::EPERM)),
    (libc::SYS_sysinfo, Rule::Answered(libc::EPERM)),
    // What a log line would be sent through.
    (libc::SYS_socket, Rule::Answered(libc::EPERM)),
];

#[cfg(not(target_arch = "x86"))]
const MORE: &[(c_long, Rule)] = &[
    (libc::SYS_mmap, Rule::Without(2, EXECUTABLE)),
    (libc::SYS_newfstatat, Rule::Answered(libc::EPERM)),
];

/// Numbers of calls with times of 64 bits, which are the same on all machines of 32 bits
/// (<asm-generic/unistd.h>): clock_gettime, clock_nanosleep, ppoll, rt_sigtimedwait, futex.
#[cfg(target_arch = "x86")]
const MORE: &[(c_long, Rule)] = &[
    (403, Rule::Allowed),
    (407, Rule::Allowed),
    (414, Rule::Allowed),
    (421, Rule::Allowed),
    (422, Rule::Allowed),
    (libc::SYS_mmap2, Rule::Without(2, EXECUTABLE)),
    (libc::SYS_fcntl64, Rule::OneOf(1, DESCRIPTORS)),
    (libc::SYS_fstat64, Rule::Allowed),
    (libc::SYS__llseek, Rule::Allowed),
    (libc::SYS_sigreturn, Rule::Allowed),
    (libc::SYS_fstatat64, Rule::Answered(libc::EPERM)),
];

/// Older calls of the same meaning.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
const OLDER: &[(c_long, Rule)] = &[
    (libc::SYS_poll, Rule::Allowed),
    (libc::SYS_dup2, Rule::Allowed),
    (libc::SYS_time, Rule::Allowed),
    (libc::SYS_open, Rule::Answered(libc::EPERM)),
    (libc::SYS_access, Rule::Answered(libc::EPERM)),
    (libc::SYS_readlink, Rule::Answered(libc::EPERM)),
    (libc::SYS_stat, Rule::Answered(libc::EPERM)),
];
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
const OLDER: &[(c_long, Rule)] = &[];

/// The filter of the process `own`. `None` where the numbers of calls aren't known.
fn program(own: u32) -> Option<Vec<sock_filter>> {
    let native = NATIVE?;
    let end = statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS);
    let allow = statement(RETURN, libc::SECCOMP_RET_ALLOW);
    let forbid = statement(RETURN, error(libc::EPERM));
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        jump(EQUAL, native, 1, 0),
        end,
        // A call of the same machine by other numbers (x32) is among none of those that follow.
        statement(LOAD, NUMBER),
    ];
    for (number, rule) in CALLS.iter().chain(MORE).chain(OLDER) {
        let one_of = |index: u32, values: &[u32]| {
            let tests = values.iter().flat_map(|&value| [jump(EQUAL, value, 0, 1), allow]);
            [statement(LOAD, argument(index))].into_iter().chain(tests).chain([forbid]).collect()
        };
        let has = |index, bits, yes, no| {
            vec![statement(LOAD, argument(index)), jump(HAS, bits, 0, 1), yes, no]
        };
        let body = match rule {
            Rule::Allowed => vec![allow],
            Rule::Answered(errno) => vec![statement(RETURN, error(*errno))],
            Rule::OneOf(index, values) => one_of(*index, values),
            Rule::OnSelf(index) => one_of(*index, &[own]),
            Rule::With(index, bits) => has(*index, *bits, allow, end),
            Rule::Without(index, bits) => has(*index, *bits, end, allow),
        };
        program.push(jump(EQUAL, u32::try_from(*number).ok()?, 0, u8::try_from(body.len()).ok()?));
        program.extend(body);
    }
    program.push(end);
    Some(program)
}
