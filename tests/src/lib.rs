//! Support for the end-to-end tests: the real binaries, images made to measure, mounts that
//! vanish with the test.
//!
//! Functions panic where something that a test takes for granted fails: a test can't go on.

pub mod app;
pub mod binaries;
pub mod clock;
pub mod daemon;
pub mod disk;
pub mod failing;
pub mod files;
pub mod generated;
pub mod map;
pub mod memory_group;
pub mod native;
pub mod places;
pub mod processes;
pub mod tool;
pub mod tree;
pub mod users;
pub mod wait;
