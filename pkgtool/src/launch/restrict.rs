//! What a process gives up right before it becomes the application.

use std::path::Path;

use epkfs::filter::{
    ARCHITECTURE, EQUAL, LOAD, NUMBER, RETURN, X86, X86_64, argument, error, jump, statement,
};
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};
use nix::libc;

use crate::exit::Failure;
use crate::isolation::{Access, Capabilities, Plan};
use crate::namespace::privileges;

/// Applies the plan's last restrictions to this process, which must have one thread.
pub(super) fn restrict(plan: &Plan) -> Result<(), Failure> {
    let failed = |what: &str, errno: nix::Error| {
        Failure::launch(format!("cannot restrict the application: {what}: {errno}"))
    };
    if !plan.landlock.is_empty() {
        landlock(plan).map_err(|error| {
            Failure::launch(format!("cannot restrict the application: Landlock: {error}"))
        })?;
    }
    if plan.capabilities == Capabilities::Dropped {
        privileges::drop_capabilities().map_err(|errno| failed("drop privileges", errno))?;
    }
    privileges::forbid_new_privileges().map_err(|errno| failed("forbid privileges", errno))?;
    epkfs::process::filter_system_calls(&FILTER)
        .map_err(|errno| failed("forbid input to other programs", errno))
}

/// The newest version of Landlock whose rights the rules are made of. Of those that the kernel
/// has not, the mounts alone must do.
const KNOWN: ABI = ABI::V6;

/// Says once more, and independent of mounts, what the application may reach.
fn landlock(plan: &Plan) -> Result<(), Box<dyn std::error::Error>> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::AbstractUnixSocket)?
        .create()?;
    for (path, access) in &plan.landlock {
        // The host may lack it, and then so does the view.
        let Ok(opened) = PathFd::new(path) else { continue };
        rules = rules.add_rule(PathBeneath::new(opened, rights(*access, path)))?;
    }
    let status = rules.restrict_self()?;
    // A kernel without Landlock, or with it switched off, has the mounts.
    match status.landlock {
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => {
            tracing::debug!("Landlock is not there");
        }
        LandlockStatus::Available { .. } => {}
    }
    Ok(())
}

fn rights(access: Access, path: &Path) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let rights = match access {
        Access::List => AccessFs::ReadDir.into(),
        Access::Read => read,
        Access::Execute => read | AccessFs::Execute,
        Access::Use => read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev,
        Access::All => AccessFs::from_all(KNOWN),
    };
    // The kernel refuses rights on folders for what is none.
    if path.is_dir() { rights } else { rights & AccessFs::from_file(KNOWN) }
}

/// ioctl(2) of 64-bit programs, of those with 32-bit pointers (x32), and of 32-bit ones.
const IOCTL_64: u32 = 16;
const IOCTL_X32: u32 = 0x4000_0000 | 514;
const IOCTL_32: u32 = 54;
/// <asm-generic/ioctls.h>: puts a byte into a terminal's input, as if it were typed.
const TIOCSTI: u32 = 0x5412;
/// The same by a detour: pastes what is selected on a virtual console.
const TIOCLINUX: u32 = 0x541C;

/// The kernel looks at no more than the low half of an ioctl's command.
const COMMAND: u32 = argument(1);

/// Refuses (EPERM) to put words into the mouth of whoever else reads the terminal: the shell that
/// started the launch, for one.
const FILTER: [libc::sock_filter; 13] = [
    statement(LOAD, ARCHITECTURE),
    jump(EQUAL, X86_64, 1, 0),
    jump(EQUAL, X86, 3, 8),
    // 64 bits
    statement(LOAD, NUMBER),
    jump(EQUAL, IOCTL_64, 3, 0),
    jump(EQUAL, IOCTL_X32, 2, 5),
    // 32 bits
    statement(LOAD, NUMBER),
    jump(EQUAL, IOCTL_32, 0, 3),
    // ioctl
    statement(LOAD, COMMAND),
    jump(EQUAL, TIOCSTI, 2, 0),
    jump(EQUAL, TIOCLINUX, 1, 0),
    statement(RETURN, libc::SECCOMP_RET_ALLOW),
    statement(RETURN, error(libc::EPERM)),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would make of a call.
    fn judge(architecture: u32, number: u32, command: u64) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let one = FILTER[at];
            at += 1;
            match u32::from(one.code) {
                LOAD => {
                    value = match one.k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        COMMAND => u32::try_from(command & 0xFFFF_FFFF).expect("32 bits"),
                        other => panic!("loads from {other}"),
                    };
                }
                EQUAL => at += usize::from(if value == one.k { one.jt } else { one.jf }),
                RETURN => return one.k,
                other => panic!("instruction {other}"),
            }
        }
    }

    #[test]
    fn typing_for_others_is_refused_and_nothing_else() {
        let refused = libc::SECCOMP_RET_ERRNO | 1;
        let ioctls = [(X86_64, IOCTL_64), (X86_64, IOCTL_X32), (X86, IOCTL_32)];
        for (architecture, number) in ioctls {
            for command in [u64::from(TIOCSTI), u64::from(TIOCLINUX), 0xFFFF_FFFF_0000_5412] {
                assert_eq!(judge(architecture, number, command), refused, "{command:#x}");
            }
            for command in [0x5401, 0x5413, 0, u64::MAX] {
                assert_eq!(judge(architecture, number, command), libc::SECCOMP_RET_ALLOW);
            }
        }
        for (architecture, number) in [(X86_64, 54), (X86, 16), (X86_64, 0), (0, 16)] {
            let judged = judge(architecture, number, u64::from(TIOCSTI));
            assert_eq!(judged, libc::SECCOMP_RET_ALLOW, "{architecture:#x} {number}");
        }
    }
}
