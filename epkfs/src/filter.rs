//! Programs that judge system calls (seccomp(2)), and the words that they are written in.
//!
//! Such a program sees the number of a call, the architecture that the number belongs to, and the
//! arguments as numbers; what pointers point to it never sees.

use nix::libc::{self, sock_filter};

/// Takes a part of the call.
pub const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
/// Jumps on whether it is a number.
pub const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
/// Jumps on whether it has one of some bits.
pub const HAS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
/// Judges.
pub const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Where `struct seccomp_data` has a call's number.
pub const NUMBER: u32 = 0;
/// Where it has the architecture.
pub const ARCHITECTURE: u32 = 4;

/// <linux/audit.h>: AUDIT_ARCH_X86_64.
pub const X86_64: u32 = 0xC000_003E;
/// AUDIT_ARCH_I386.
pub const X86: u32 = 0x4000_0003;
/// AUDIT_ARCH_AARCH64.
pub const AARCH64: u32 = 0xC000_00B7;

/// The architecture of this program's system calls, of those that are known here.
pub const NATIVE: Option<u32> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(X86_64)
} else if cfg!(target_arch = "x86") {
    Some(X86)
} else if cfg!(all(target_arch = "aarch64", target_pointer_width = "64")) {
    Some(AARCH64)
} else {
    None
};

/// Where the lower half of an argument is, on machines whose lower half comes first.
#[must_use]
pub const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// An instruction that goes on with the next one, or ends.
#[must_use]
pub const fn statement(code: u32, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

/// An instruction that skips `jt` others if it is so, and `jf` if not.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the kernel's codes have 16 bits")]
pub const fn jump(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

/// The judgement that gives the caller an error.
#[must_use]
pub const fn error(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()
}
