//! The commands, one file a verb.

pub(crate) mod pack;
