//! A package's tree as the plan of another package, and its content as the source of that one's.

pub(crate) mod contents;
pub(crate) mod tree;
