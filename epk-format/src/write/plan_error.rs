//! Why entries make no package.

use std::fmt;

use thiserror::Error;

use super::format::{Format, LINK_BYTES, XATTR_NAME_BYTES, XATTR_VALUE_BYTES};
use crate::error::RejectCode;
use crate::limits;

/// Why a path can't be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathProblem {
    /// Readers would refuse it.
    Rejected {
        /// The code that they would give.
        code: RejectCode,
        /// What was found.
        detail: String,
    },
    /// It has a backslash, which EXOS's packer takes for a slash: two packers would make two
    /// trees of one.
    Backslash,
}

impl fmt::Display for PathProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected { detail, .. } => f.write_str(detail),
            Self::Backslash => f.write_str("path with a backslash"),
        }
    }
}

/// What is wrong with an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AliasProblem {
    /// No target bytes.
    Empty,
    /// More bytes than a path may have.
    TooLong,
    /// A NUL byte in the target.
    Nul,
    /// The target is no UTF-8.
    NotUtf8,
    /// Nothing is at the target; aliases inside a target path are not followed.
    Missing,
    /// The target is a file or a symbolic link.
    File,
    /// More than [`limits::ALIAS_CHAIN`] aliases follow each other, or they form a ring.
    Chain,
}

impl fmt::Display for AliasProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => f.write_str("is longer than a path may be"),
            Self::Nul => f.write_str("has a NUL byte"),
            Self::NotUtf8 => f.write_str("is not UTF-8"),
            Self::Missing => f.write_str("is not in the package"),
            Self::File => f.write_str("is not a folder"),
            Self::Chain => {
                write!(f, "is reached through more than {} aliases", limits::ALIAS_CHAIN)
            }
        }
    }
}

/// What format 1.0 has no place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unheld {
    /// A symbolic link.
    Symlink,
    /// Extended attributes.
    Xattrs,
    /// A time outside of the years 1 to 9999.
    Time,
}

impl fmt::Display for Unheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Symlink => "a symbolic link",
            Self::Xattrs => "extended attributes",
            Self::Time => "a time outside of the years 1 to 9999",
        })
    }
}

/// What is wrong with the target of a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkProblem {
    /// No bytes.
    Empty,
    /// More than 4095 bytes.
    TooLong,
    /// A NUL byte.
    Nul,
}

impl fmt::Display for LinkProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => write!(f, "is longer than {LINK_BYTES} bytes"),
            Self::Nul => f.write_str("has a NUL byte"),
        }
    }
}

/// What is wrong with an extended attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum XattrProblem {
    /// The name has another prefix than `user.`, nothing after it, or a NUL byte.
    Name,
    /// The name is too long.
    NameTooLong,
    /// The value is too long.
    ValueTooLong,
    /// The name is there twice.
    Duplicate,
    /// The file has too many.
    TooMany,
}

impl fmt::Display for XattrProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("is not `user.` and a name"),
            Self::NameTooLong => write!(f, "has a name of more than {XATTR_NAME_BYTES} bytes"),
            Self::ValueTooLong => write!(f, "has a value of more than {XATTR_VALUE_BYTES} bytes"),
            Self::Duplicate => f.write_str("is there twice"),
            Self::TooMany => write!(f, "is one of more than {}", limits::XATTRS),
        }
    }
}

/// Why entries make no package.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A path that can't be packed.
    #[error("{problem}: `{path}`")]
    Path {
        /// The path, escaped where it is no text.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// Two entries have one path.
    #[error("path `{path}` appears twice")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// An entry lies below something that isn't a folder.
    #[error("`{path}` lies below `{parent}`, which is not a folder")]
    Parent {
        /// The entry's path.
        path: String,
        /// The file or alias above it.
        parent: String,
    },
    /// Permission bits that no entry may have.
    #[error("`{path}` has permissions {found:o}, at most 777 can be stored")]
    Permissions {
        /// The entry's path.
        path: String,
        /// Its permission bits.
        found: u32,
    },
    /// An alias that leads nowhere.
    #[error("the target `{target}` of the alias `{path}` {problem}")]
    Alias {
        /// The alias's path.
        path: String,
        /// Its target.
        target: String,
        /// What is wrong.
        problem: AliasProblem,
    },
    /// Something that the format has no place for.
    #[error("`{path}`: format {format} cannot hold {what}")]
    Unheld {
        /// The entry's path.
        path: String,
        /// The format.
        format: Format,
        /// What it is.
        what: Unheld,
    },
    /// A fraction of a second that is a second or more.
    #[error("`{path}` changed at a second and {found} nanoseconds")]
    Nanoseconds {
        /// The entry's path.
        path: String,
        /// The nanoseconds.
        found: u32,
    },
    /// A symbolic link that can't be stored.
    #[error("the target of the symbolic link `{path}` {problem}")]
    Link {
        /// The link's path.
        path: String,
        /// What is wrong.
        problem: LinkProblem,
    },
    /// An extended attribute that can't be stored.
    #[error("the attribute `{name}` of `{path}` {problem}")]
    Xattr {
        /// The entry's path.
        path: String,
        /// The attribute's name.
        name: String,
        /// What is wrong.
        problem: XattrProblem,
    },
    /// Two names of one file that don't agree about its size, permissions, time or attributes.
    #[error("`{path}` and `{other}` are one file, but are not described alike")]
    Unlike {
        /// The first name.
        other: String,
        /// A later name.
        path: String,
    },
}
