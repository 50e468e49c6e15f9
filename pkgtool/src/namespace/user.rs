//! The user namespace (user_namespaces(7)): lets an ordinary user mount, in it and only in it.

use std::{fmt, fs, io};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// Whether this process may mount as it is.
pub(crate) fn may_mount() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN))
}

/// Why there is no user namespace, or none that is good for anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// What was tried: a system call or a file.
    pub(crate) step: String,
    /// What the system said.
    pub(crate) reason: String,
    /// Whether this process is in the namespace all the same. There is no way back.
    pub(crate) entered: bool,
}

impl Refusal {
    pub(crate) fn new(step: &str, error: &io::Error, entered: bool) -> Self {
        Self { step: step.into(), reason: error.to_string(), entered }
    }

    /// As the end of a launch: what the kernel said, and what the administrator can change.
    pub(crate) fn into_failure(self) -> Failure {
        let failure = Failure::launch(self);
        match remedy() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot make a user namespace: {}: {}", self.step, self.reason)
    }
}

/// Moves this process, which must have one thread, into a user namespace of its own where user
/// and group are the same numbers as outside.
pub(crate) fn enter() -> Result<(), Failure> {
    try_enter().map_err(Refusal::into_failure)
}

/// The same, with a failure that says how far it went.
pub(crate) fn try_enter() -> Result<(), Refusal> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| Refusal::new("unshare(2)", &errno.into(), false))?;
    // An unprivileged process may map its group only after it gave up setgroups(2).
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{user} {user} 1")),
        ("/proc/self/gid_map", format!("{group} {group} 1")),
    ];
    for (path, text) in maps {
        fs::write(path, text).map_err(|error| Refusal::new(path, &error, true))?;
    }
    Ok(())
}

/// Whether AppArmor lets only programs with a profile of their own use user namespaces.
pub(crate) fn is_restricted_by_apparmor() -> bool {
    fs::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
        .is_ok_and(|text| text.trim() == "1")
}

/// The setting that forbids user namespaces here, as far as one shows.
pub(crate) fn remedy() -> Option<String> {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    if is_restricted_by_apparmor() {
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
