//! Giving up what a program that is kept from the host must not have.

use nix::errno::Errno;
use rustix::thread::{
    CapabilitySet, clear_ambient_capability_set, remove_capability_from_bounding_set,
};

/// Sees to it that whatever this process becomes has no capability, root neither.
pub(crate) fn drop_capabilities() -> nix::Result<()> {
    for capability in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(raw(errno)),
        }
    }
    clear_ambient_capability_set().map_err(raw)?;
    // What is inherited passes the bounds.
    let mut sets = rustix::thread::capabilities(None).map_err(raw)?;
    sets.inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets).map_err(raw)
}

/// Sees to it that no program that this process becomes has more privileges for its file's sake.
pub(crate) fn forbid_new_privileges() -> nix::Result<()> {
    rustix::thread::set_no_new_privs(true).map_err(raw)
}

fn raw(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}
