//! A private view of the host: its own table of mounts, and, where the caller isn't allowed to
//! mount, its own user namespace with the same user in it.
//!
//! The kernel throws the view away with its last process: there is nothing to clean up.

pub(crate) mod confine;
pub(crate) mod privileges;
pub(crate) mod probe;
pub(crate) mod user;
pub(crate) mod view;

mod root;
mod step;

use nix::sched::CloneFlags;

use crate::isolation::Namespace;

/// What unshare(2) calls a namespace.
pub(crate) fn flag(namespace: Namespace) -> CloneFlags {
    match namespace {
        Namespace::Process => CloneFlags::CLONE_NEWPID,
        Namespace::Network => CloneFlags::CLONE_NEWNET,
        Namespace::Ipc => CloneFlags::CLONE_NEWIPC,
        Namespace::HostName => CloneFlags::CLONE_NEWUTS,
        Namespace::ControlGroup => CloneFlags::CLONE_NEWCGROUP,
    }
}
