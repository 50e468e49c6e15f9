//! Errors as the kernel wants them, and the log line that says what lies behind an `EIO`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;

use epk_format::Error;
use epk_format::package::BlockIndex;
use fuser::Errno;

use crate::cache::Failure;
use crate::stats::Counter;

/// The `errno` of an error that isn't about a block's content.
pub(crate) fn of(error: &Error) -> Errno {
    match error {
        // The only rejection after opening that isn't damage: a node that doesn't exist.
        Error::Rejected(reject) if reject.code == epk_format::RejectCode::InvalidArgument => {
            Errno::ENOENT
        }
        _ => Errno::EIO,
    }
}

/// Tells of each damaged block once: whoever reads a damaged file in a loop doesn't fill the log.
#[derive(Debug)]
pub(crate) struct DamageLog {
    image: PathBuf,
    reported: Mutex<BTreeSet<u32>>,
}

impl DamageLog {
    pub(crate) fn new(image: PathBuf) -> Self {
        Self { image, reported: Mutex::default() }
    }

    /// Logs why a block can't be delivered, and counts the block, unless that happened before.
    pub(crate) fn report(&self, block: BlockIndex, error: &Error, damaged: &Counter) -> Failure {
        let new = crate::lock(&self.reported).insert(block.0);
        if new {
            damaged.one();
            let (code, name) = match error.code() {
                Some(code) => (i64::from(code.number()), code.name()),
                None => (-1, "IO"),
            };
            tracing::error!(
                target: "epkfs::damage",
                code,
                code_name = name,
                block = block.0,
                image = %self.image.display(),
                detail = %error,
                "block cannot be delivered"
            );
        }
        Failure
    }
}
