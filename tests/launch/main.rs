//! The contract of a launch (`spec/runtime.md`), line by line and in every kind of place: as root,
//! as an ordinary user, and as one in another user namespace.

mod commands;
mod matrix;
mod probe;
mod signals;
mod storm;
mod terminal;
