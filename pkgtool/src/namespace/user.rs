//! The user namespace (user_namespaces(7)): lets an ordinary user mount, in it and only in it.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::exit::Failure;

/// Whether this process may mount as it is.
pub(crate) fn may_mount() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN))
}

/// Moves this process, which must have one thread, into a user namespace of its own where user
/// and group are the same numbers as outside.
pub(crate) fn enter() -> Result<(), Failure> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| refused("unshare(2)", &errno.into()))?;
    // An unprivileged process may map its group only after it gave up setgroups(2).
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{user} {user} 1")),
        ("/proc/self/gid_map", format!("{group} {group} 1")),
    ];
    for (path, text) in maps {
        fs::write(path, text).map_err(|error| refused(path, &error))?;
    }
    Ok(())
}

/// What the kernel said, and what the administrator can change.
pub(crate) fn refused(step: &str, error: &io::Error) -> Failure {
    let failure = Failure::launch(format!("cannot make a user namespace: {step}: {error}"));
    match remedy() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The setting that forbids user namespaces here, as far as one shows.
fn remedy() -> Option<String> {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        return Some(
            "AppArmor restricts user namespaces: give pkgtool a profile with `userns,`, or set \
             kernel.apparmor_restrict_unprivileged_userns=0"
                .into(),
        );
    }
    if setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        return Some("set kernel.unprivileged_userns_clone=1".into());
    }
    if setting("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        return Some("set user.max_user_namespaces above 0".into());
    }
    None
}
