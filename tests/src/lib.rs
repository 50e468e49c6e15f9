//! Support for the end-to-end tests: the real binaries, images made to measure, mounts that
//! vanish with the test.
//!
//! Functions panic where something that a test takes for granted fails: a test can't go on.

pub mod binaries;
pub mod daemon;
pub mod files;
pub mod tree;
