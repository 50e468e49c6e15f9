//! The system calls that Rust can't vouch for. All of the crate's unsafe code is here.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use nix::unistd::{ForkResult, Pid};

use crate::control::{
    COMMAND_TYPE, DETAILS_BYTES, DETAILS_NUMBER, REPORT_BYTES, STATUS_NUMBER, TIME_NUMBER,
    UNTIME_NUMBER,
};

mod raw {
    use super::{COMMAND_TYPE, DETAILS_NUMBER, STATUS_NUMBER, TIME_NUMBER, UNTIME_NUMBER};

    nix::ioctl_read_buf!(status, COMMAND_TYPE, STATUS_NUMBER, u8);
    nix::ioctl_read_buf!(details, COMMAND_TYPE, DETAILS_NUMBER, u8);
    nix::ioctl_none!(time, COMMAND_TYPE, TIME_NUMBER);
    nix::ioctl_none!(untime, COMMAND_TYPE, UNTIME_NUMBER);
    // <linux/fuse.h>: FUSE_DEV_IOC_CLONE
    nix::ioctl_read!(clone_device, 229, 0, u32);
}

/// Asks the filesystem of an open root folder for its status.
pub(crate) fn status(folder: impl AsFd, report: &mut [u8; REPORT_BYTES]) -> nix::Result<()> {
    // SAFETY: the command's number carries the length of the buffer, and no driver writes more
    // than that into it.
    unsafe { raw::status(folder.as_fd().as_raw_fd(), report) }.map(|_| ())
}

/// Asks the filesystem of an open root folder for its details.
pub(crate) fn details(folder: impl AsFd, report: &mut [u8; DETAILS_BYTES]) -> nix::Result<()> {
    // SAFETY: as in `status`.
    unsafe { raw::details(folder.as_fd().as_raw_fd(), report) }.map(|_| ())
}

/// Tells the filesystem of an open root folder to time requests, or no more.
pub(crate) fn time_requests(folder: impl AsFd, on: bool) -> nix::Result<()> {
    let folder = folder.as_fd().as_raw_fd();
    // SAFETY: both commands carry nothing, so no driver touches memory of ours.
    let done = unsafe { if on { raw::time(folder) } else { raw::untime(folder) } };
    done.map(|_| ())
}

/// Makes `other`, a freshly opened `/dev/fuse`, a second queue of the connection of `device`.
pub(crate) fn clone_device(device: impl AsFd, other: impl AsFd) -> nix::Result<()> {
    let mut number =
        u32::try_from(device.as_fd().as_raw_fd()).map_err(|_| nix::errno::Errno::EBADF)?;
    // SAFETY: the driver reads one u32 at the pointer, which is valid for that.
    unsafe { raw::clone_device(other.as_fd().as_raw_fd(), &raw mut number) }.map(|_| ())
}

/// Receives one message that carries one descriptor. `None` when the sender hung up instead.
pub(crate) fn receive_descriptor(socket: impl AsFd) -> nix::Result<Option<OwnedFd>> {
    let mut byte = [0; 1];
    let mut buffer = [io::IoSliceMut::new(&mut byte)];
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let message = recvmsg::<UnixAddr>(
        socket.as_fd().as_raw_fd(),
        &mut buffer,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    for item in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = item {
            // SAFETY: the kernel has just made these descriptors for us, nobody else knows them.
            let mut owned = descriptors.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
            return Ok(owned.next());
        }
    }
    Ok(None)
}

/// Takes over a descriptor that the parent process left open for us and named by its number.
/// Standard streams stay open and are copied.
///
/// # Errors
/// When it isn't open.
pub fn inherited_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: borrowed for the next call only, which tells a number that isn't open by an error.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let copy = fcntl(borrowed, FcntlArg::F_DUPFD_CLOEXEC(libc::STDERR_FILENO + 1))?;
    if number > libc::STDERR_FILENO {
        nix::unistd::close(number)?;
    }
    // SAFETY: the kernel has just made it for us, nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Whether a descriptor is open.
pub(crate) fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD only asks, and any number may be asked for.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Closes a descriptor that the parent process left open and that no Rust value here owns.
pub(crate) fn close_inherited(number: RawFd) {
    // SAFETY: the caller recorded the number before this process had opened anything.
    unsafe { libc::close(number) };
}

/// Closes everything but the standard streams and `kept`, whoever owns it. For a process that ends by
/// [`exit`], without a return to where the owners are. It needs no descriptor for that, from Linux
/// 5.9 on.
///
/// # Errors
/// When an older kernel's `/proc` can't be read.
pub(crate) fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<RawFd> =
        kept.iter().copied().filter(|&number| number > libc::STDERR_FILENO).collect();
    kept.sort_unstable();
    let mut first = libc::STDERR_FILENO + 1;
    for after in kept.iter().copied().chain([RawFd::MAX]) {
        if first < after {
            // SAFETY: the owners are never used again, as the caller promises, so nobody closes
            // twice what is closed here.
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, after - 1, 0) };
            if nix::errno::Errno::result(result).is_err() {
                return close_listed(&kept);
            }
        }
        first = after.saturating_add(1);
    }
    Ok(())
}

/// The same, one by one.
fn close_listed(kept: &[RawFd]) -> io::Result<()> {
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > libc::STDERR_FILENO && !kept.contains(number))
        .collect();
    for number in numbers {
        // SAFETY: as above.
        unsafe { libc::close(number) };
    }
    Ok(())
}

/// The two sides of [`fork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The process that was there before; the other one's id.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Splits the process in two.
///
/// # Errors
/// When the process has more than one thread: the child would keep their locks for ever.
pub fn fork() -> io::Result<Fork> {
    // A thread that has been joined may still be seen for a moment.
    let mut threads = count_threads()?;
    for _ in 0..1000 {
        if threads == 1 {
            break;
        }
        std::thread::yield_now();
        threads = count_threads()?;
    }
    if threads != 1 {
        return Err(io::Error::other(format!("cannot fork: the process has {threads} threads")));
    }
    // SAFETY: this is the only thread, so the child may do all that the parent could.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Fork::Parent(child)),
        ForkResult::Child => Ok(Fork::Child),
    }
}

/// The threads of this process. The folder of them has a link for each besides its usual two
/// (`proc_task_getattr` in the kernel's fs/proc/base.c), which spares listing it.
fn count_threads() -> io::Result<u64> {
    Ok(std::fs::metadata("/proc/self/task")?.nlink().saturating_sub(2))
}

/// Closes what a parent process left open: in a daemon it would keep locks held and pipes'
/// readers waiting. What this program opened itself stays, standard streams too.
///
/// # Errors
/// When `/proc` can't be read.
pub(crate) fn close_all_inherited() -> io::Result<()> {
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&number| number > libc::STDERR_FILENO)
        .collect();
    for number in numbers {
        // SAFETY: borrowed for the next call only, which tells a number that isn't open (the
        // listing's own, by now) by an error.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        // Everything here is opened with FD_CLOEXEC, so what lacks it came with the program's
        // start and belongs to no object of ours.
        if fcntl(borrowed, FcntlArg::F_GETFD).is_ok_and(|flags| flags & libc::FD_CLOEXEC == 0) {
            nix::unistd::close(number)?;
        }
    }
    Ok(())
}

/// Becomes another program, by execve(2), with no signal blocked, and SIGPIPE, which Rust's runtime
/// ignores, with its default action. Returns only when that fails.
///
/// `Command` does the same, but by execvp(3), which hands files that the kernel can't execute to
/// the shell.
pub fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> nix::Error {
    // SAFETY: the default action runs no code of this process.
    let executed = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }
        .and_then(|_| SigSet::empty().thread_set_mask())
        .and_then(|()| nix::unistd::execve(program, arguments, environment));
    match executed {
        Ok(never) => match never {},
        Err(errno) => errno,
    }
}

/// Lets this process be told of its children's ends, and says whether it ignored them: with
/// SIGCHLD ignored the kernel keeps no status of them.
///
/// # Errors
/// What the system says.
pub fn heed_children() -> nix::Result<bool> {
    // SAFETY: the default action runs no code of this process.
    let before = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    Ok(matches!(before, SigHandler::SigIgn))
}

/// Ignores SIGCHLD: what [`heed_children`] undid.
///
/// # Errors
/// What the system says.
pub fn ignore_children() -> nix::Result<()> {
    // SAFETY: ignoring runs no code of this process.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.map(drop)
}

/// Sends a signal by its number, real-time ones included, which nix has no names for.
///
/// # Errors
/// What the system says.
pub fn send_signal(process: Pid, number: i32) -> nix::Result<()> {
    // SAFETY: kill(2) takes any numbers and touches no memory of ours.
    nix::errno::Errno::result(unsafe { libc::kill(process.as_raw(), number) }).map(drop)
}

/// Ends this process as a signal ended another one, without a core of its own.
pub fn end_by_signal(number: i32) -> ! {
    let nothing = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _kept = rustix::process::setrlimit(rustix::process::Resource::Core, nothing);
    if let Ok(named) = Signal::try_from(number) {
        // SAFETY: the default action runs no code of this process.
        let _set = unsafe { signal(named, SigHandler::SigDfl) };
    }
    let _sent = send_signal(Pid::this(), number);
    let _unblocked = SigSet::empty().thread_set_mask();
    // It doesn't end processes. A shell would say it with this status.
    exit(128_i32.saturating_add(number))
}

/// Gives the mount at `path`, and all below it, further restrictions
/// (mount_setattr(2), Linux 5.12): flags `MOUNT_ATTR_…` of the kernel's `<linux/mount.h>`.
///
/// # Errors
/// What the system says.
pub fn restrict_mounts(path: &CStr, flags: u64) -> nix::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: flags, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: path and structure live through the call, which reads them only; the length is the
    // structure's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE | libc::AT_SYMLINK_NOFOLLOW,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    nix::errno::Errno::result(result).map(drop)
}

/// Filters the system calls of this process, which must have one thread, and of all that it becomes
/// and makes, by a program of the kernel's (seccomp(2)). `no_new_privs` must be set before.
///
/// # Errors
/// What the system says.
pub fn filter_system_calls(program: &[libc::sock_filter]) -> nix::Result<()> {
    filter(program, 0)
}

/// The same for all threads of this process, at once.
pub(crate) fn filter_all_threads(program: &[libc::sock_filter]) -> nix::Result<()> {
    filter(program, libc::SECCOMP_FILTER_FLAG_TSYNC)
}

fn filter(program: &[libc::sock_filter], flags: libc::c_ulong) -> nix::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| nix::errno::Errno::EINVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, whose length is given, and writes nothing to it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            // Without it old kernels switch on a costly protection, which no filter here needs.
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW | flags,
            &raw const program,
        )
    };
    match nix::errno::Errno::result(result)? {
        0 => Ok(()),
        // A thread with filters of its own, which these can't be put behind.
        _ => Err(nix::errno::Errno::EBUSY),
    }
}

/// Whether the kernel can filter system calls, and end a process for one.
pub(crate) fn can_filter_system_calls() -> bool {
    let action = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the call reads a u32 at the pointer, which is valid for that, and changes nothing.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action)
    };
    result == 0
}

/// The version of Landlock that the kernel has (landlock(7)), from 1.
///
/// # Errors
/// What the kernel says: ENOSYS if it has none, EOPNOTSUPP if it is switched off.
pub fn landlock_version() -> io::Result<u32> {
    const CREATE_RULESET_VERSION: libc::c_uint = 1;
    let (attributes, size): (*const libc::c_void, libc::size_t) = (std::ptr::null(), 0);
    // SAFETY: with this flag and no attributes the call only gives a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, attributes, size, CREATE_RULESET_VERSION)
    };
    u32::try_from(version).map_err(|_| io::Error::last_os_error())
}

/// Ends this process without running what the parent registered for its own end.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit takes any number and touches no memory of ours.
    unsafe { libc::_exit(status) }
}
