//! What becomes of a packaged program before its first own instruction: which loader maps it,
//! and where its libraries come from (`spec/runtime.md` §11).
//!
//! [`program`] decides how a target is executed, [`check`] says before a launch what a package's
//! programs and libraries would not find. Both read ELF files as hostile input.

pub(crate) mod boundary;
pub(crate) mod check;
pub(crate) mod elf;
mod objects;
pub(crate) mod problem;
pub(crate) mod program;
mod search;
mod view;
