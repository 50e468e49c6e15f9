//! What can be wrong with something that is imported.

use std::fmt::Display;
use std::io;

use thiserror::Error;

use crate::exit::{Exit, Failure};

/// Why something can't be imported.
#[derive(Debug, Error)]
pub(crate) enum Problem {
    /// Bytes that make no sense: cut off, or changed.
    #[error("{0}")]
    Damaged(String),
    /// Good, and not allowed or not supported.
    #[error("{0}")]
    Refused(String),
    /// The system fails.
    #[error("{0}: {1}")]
    System(String, io::Error),
}

impl Problem {
    /// An error while reading the input: by the system, or by a decompressor, which knows no other
    /// errors than bad data.
    pub(crate) fn read(error: io::Error) -> Self {
        if error.raw_os_error().is_some() {
            return Self::System("cannot read".into(), error);
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Damaged("ends in the middle".into());
        }
        Self::Damaged(format!("is damaged: {error}"))
    }

    /// The failure of the command, for the input by this name.
    pub(crate) fn failure(&self, name: impl Display) -> Failure {
        let exit = match self {
            Self::Damaged(_) => Exit::InvalidPackage,
            Self::Refused(_) => Exit::Finding,
            Self::System(..) => Exit::Environment,
        };
        Failure::new(exit, format!("`{name}`: {self}"))
    }
}
