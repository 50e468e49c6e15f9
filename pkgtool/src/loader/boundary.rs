//! The fixed system runtime: what a package may take from the host without carrying it.
//!
//! It is the C library's own family, and nothing else: one project, which keeps old programs
//! running for decades; which every host with that C library has; and which must come as a whole,
//! since a loader works with its own C library only. `libgcc_s` belongs to it because the C library
//! itself loads it. `libstdc++` doesn't: minimal hosts lack it, and old ones lack what new programs
//! need of it.

use super::elf::Machine;

/// A loader of the host: where programs expect it, and for which machine it is.
pub(crate) struct Interpreter {
    pub(crate) path: &'static str,
    pub(crate) machine: Machine,
}

/// The host's loaders, which every program for the machine names (`PT_INTERP`).
pub(crate) const INTERPRETERS: [Interpreter; 2] = [
    Interpreter { path: "/lib64/ld-linux-x86-64.so.2", machine: Machine::X86_64 },
    Interpreter { path: "/lib/ld-linux.so.2", machine: Machine::X86_32 },
];

/// Loaders that a package may carry, by the path that programs have for them: the host's, and
/// musl's, which are no part of the boundary.
pub(crate) const CARRIED: [&str; 4] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux.so.2",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-i386.so.1",
];

/// The libraries (`DT_SONAME`), for both machines but where the name says which.
pub(crate) const SONAMES: [&str; 12] = [
    "ld-linux-x86-64.so.2",
    "ld-linux.so.2",
    "libanl.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libmvec.so.1",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libutil.so.1",
];

/// What only x86-64 has.
const WIDE_ONLY: [&str; 2] = ["ld-linux-x86-64.so.2", "libmvec.so.1"];
/// What only x86-32 has.
const NARROW_ONLY: [&str; 1] = ["ld-linux.so.2"];

/// The one library of them that works with any loader: it is the compiler's.
pub(crate) const COMPILER_LIBRARY: &str = "libgcc_s.so.1";

/// Whether the fixed system runtime has this library for this machine.
pub(crate) fn has_library(name: &[u8], machine: Machine) -> bool {
    let others: &[&str] = match machine {
        Machine::X86_64 => &NARROW_ONLY,
        Machine::X86_32 => &WIDE_ONLY,
        _ => return false,
    };
    let is = |known: &&str| known.as_bytes() == name;
    SONAMES.iter().any(is) && !others.iter().any(is)
}

/// Whether the fixed system runtime has this loader for this machine.
pub(crate) fn has_interpreter(path: &[u8], machine: Machine) -> bool {
    INTERPRETERS.iter().any(|known| known.path.as_bytes() == path && known.machine == machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_has_its_own_loader() {
        let cases = [
            ("libc.so.6", true, true),
            ("libgcc_s.so.1", true, true),
            ("ld-linux-x86-64.so.2", true, false),
            ("ld-linux.so.2", false, true),
            ("libmvec.so.1", true, false),
            ("libstdc++.so.6", false, false),
            ("libc.so", false, false),
        ];
        for (name, wide, narrow) in cases {
            assert_eq!(has_library(name.as_bytes(), Machine::X86_64), wide, "{name}");
            assert_eq!(has_library(name.as_bytes(), Machine::X86_32), narrow, "{name}");
        }
        assert!(has_interpreter(b"/lib/ld-linux.so.2", Machine::X86_32));
        assert!(!has_interpreter(b"/lib/ld-linux.so.2", Machine::X86_64));
    }

    #[test]
    fn the_text_names_the_same() {
        let text = include_str!("../../../spec/runtime.md");
        let chapter = text.split(" Loaders and libraries\n").nth(1).expect("a chapter");
        for name in SONAMES.iter().chain(&CARRIED) {
            assert!(chapter.contains(&format!("`{name}`")), "`{name}` is not in the text");
        }
    }
}
