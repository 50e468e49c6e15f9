//! One file a verb: its options, whose comments are the help text, and what it does.

pub(crate) mod add;
pub(crate) mod cat;
pub(crate) mod confine;
pub(crate) mod convert;
pub(crate) mod diff;
pub(crate) mod extract;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod keygen;
pub(crate) mod list;
pub(crate) mod ls;
pub(crate) mod mount;
pub(crate) mod mounts;
pub(crate) mod pack;
pub(crate) mod remove;
pub(crate) mod run;
pub(crate) mod umount;
pub(crate) mod verify;
