//! The commands of `pkgtool`: what they print, where, and how they exit. `run` has tests of its
//! own.
//!
//! `suite` holds for everyone; `users` runs it again as an ordinary user, and has what only such
//! a user meets.

#[path = "../../driftpm/tests/browser/mod.rs"]
mod browser;
mod suite;
mod users;
