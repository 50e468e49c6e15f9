//! The kernel, what mounting needs of the machine, and mounts that are dead.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use epkfs::mount::open_device;
use epkfs::{landlock_version, mount};
use nix::libc;

use super::{Finding, State};
use crate::commands::mounts::{Surveyed, survey};

const DEVICE: &str = "/dev/fuse";

pub(super) fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let found = format!("Linux {release} on {}", std::env::consts::ARCH);
    // FUSE in user namespaces: 4.18. pidfd_open(2), by which a server knows its client's end: 5.3.
    if version >= (5, 3) {
        Finding::ok("kernel", "fine", found)
    } else {
        Finding::new("kernel", State::Problem, "old", found).remedy("update to Linux 5.3 or later")
    }
}

pub(super) fn device() -> Finding {
    const CHECK: &str = "fuse-device";
    let metadata = fs::metadata(DEVICE);
    let described = match &metadata {
        Ok(metadata) => {
            let (mode, user, group) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            format!("`{DEVICE}`, mode {mode:04o}, user {user}, group {group}")
        }
        Err(error) => format!("`{DEVICE}`: {error}"),
    };
    let problem = |result, found| Finding::new(CHECK, State::Problem, result, found);
    let absent = "`modprobe fuse` as root; for a container, pass it in with `--device /dev/fuse`";
    match (&metadata, open_device()) {
        (_, Ok(_)) => Finding::ok(CHECK, "fine", described),
        (Ok(_), Err(attempt)) if attempt.errno == Some(libc::EACCES) => {
            problem("closed", format!("{described}: {}", attempt.reason))
                .remedy("`chmod 0666 /dev/fuse` as root, and for good a udev rule `KERNEL==\"fuse\", MODE=\"0666\"`")
        }
        (Ok(_), Err(attempt)) => {
            problem("absent", format!("{described}: {}", attempt.reason)).remedy(absent)
        }
        (Err(_), Err(_)) => problem("absent", described).remedy(absent),
    }
}

pub(super) fn helper() -> Finding {
    const CHECK: &str = "fusermount3";
    let remedy = "install the package `fuse3`";
    let Some(path) = mount::helper(std::env::var_os("PATH").as_deref()) else {
        let found = "not found: ordinary users can run packages, not mount them for all to see";
        return Finding::new(CHECK, State::Note, "absent", found).remedy(remedy);
    };
    let shown = path.display();
    match fs::metadata(&path) {
        Ok(metadata) if metadata.mode() & 0o4000 != 0 && metadata.uid() == 0 => {
            Finding::ok(CHECK, "fine", format!("`{shown}`, set-user-ID root"))
        }
        Ok(_) => {
            let found = format!("`{shown}` is not set-user-ID root, and so can't mount");
            Finding::new(CHECK, State::Note, "powerless", found)
                .remedy(format!("`chown root {shown} && chmod u+s {shown}` as root"))
        }
        Err(error) => {
            Finding::new(CHECK, State::Note, "absent", format!("`{shown}`: {error}")).remedy(remedy)
        }
    }
}

pub(super) fn landlock() -> Finding {
    const CHECK: &str = "landlock";
    match landlock_version() {
        Ok(version) => Finding::ok(CHECK, "fine", format!("ABI {version}")),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            let found = "the kernel has it, switched off";
            Finding::new(CHECK, State::Note, "off", found)
                .remedy("add `landlock` to the kernel's parameter `lsm=`")
        }
        Err(error) => Finding::new(CHECK, State::Note, "absent", lacking(&error))
            .remedy("use a kernel with CONFIG_SECURITY_LANDLOCK"),
    }
}

/// What a server of a mount is kept from by.
pub(super) fn confinement() -> Finding {
    const CHECK: &str = "confinement";
    let note = |result, found| {
        Finding::new(CHECK, State::Note, result, found)
            .remedy("use a kernel with CONFIG_SECCOMP_FILTER and CONFIG_SECURITY_LANDLOCK")
    };
    let offered = epkfs::confine::offered();
    match (offered.filter, offered.landlock.is_some()) {
        (true, true) => Finding::ok(
            CHECK,
            "fine",
            "servers are kept in by Landlock and a filter of system calls",
        ),
        (true, false) => note("partial", "servers are kept in by a filter of system calls only"),
        (false, true) => note("partial", "servers are kept in by Landlock only"),
        (false, false) => note("absent", "the kernel has nothing to keep servers in"),
    }
}

fn lacking(error: &io::Error) -> String {
    format!("the kernel has none: {error}")
}

pub(super) fn mounts() -> Finding {
    const CHECK: &str = "mounts";
    match survey() {
        Err(failure) => Finding::new(CHECK, State::Note, "unknown", failure.message()),
        Ok(mounts) => {
            let dead: Vec<String> = mounts
                .iter()
                .filter(|mount| mount.is_dead())
                .map(|mount: &Surveyed| format!("`{}`", mount.info.mountpoint.display()))
                .collect();
            if dead.is_empty() {
                return Finding::ok(CHECK, "fine", format!("{} mounted, none dead", mounts.len()));
            }
            let found = format!("the servers of these are gone: {}", dead.join(", "));
            Finding::new(CHECK, State::Problem, "stale", found).remedy("`pkgtool umount --dead`")
        }
    }
}

/// Which way `pkgtool run` takes here.
pub(super) fn way(findings: &[Finding]) -> Finding {
    const CHECK: &str = "run";
    let fine = |check: &str| findings.iter().any(|f| f.check == check && f.result == "fine");
    let view = fine("user-namespaces") || crate::namespace::user::may_mount();
    if fine("mounting") {
        return Finding::ok(CHECK, "userns", "applications run in namespaces of their own");
    }
    let (result, how) = if fine("fuse-device") && fine("fusermount3") {
        ("fuse", "packages are mounted by `fusermount3`")
    } else {
        ("extract", "packages are unpacked in the user's cache")
    };
    let place = if view { "" } else { ", and are not seen at `/package`" };
    Finding::new(CHECK, State::Problem, result, format!("{how}{place}"))
        .remedy("what the lines above say")
}
