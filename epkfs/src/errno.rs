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
fn of(error: &Error) -> Errno {
    match error {
        // The only rejection after opening that isn't damage: a node that doesn't exist.
        Error::Rejected(reject) if reject.code == epk_format::RejectCode::InvalidArgument => {
            Errno::ENOENT
        }
        _ => Errno::EIO,
    }
}

/// Tells of each damage once: whoever reads a damaged file in a loop doesn't fill the log.
#[derive(Debug)]
pub(crate) struct DamageLog {
    image: PathBuf,
    blocks: Mutex<BTreeSet<u32>>,
    pages: Mutex<BTreeSet<String>>,
}

/// Most different damages of metadata that are told of.
const MOST_PAGES: usize = 1000;

impl DamageLog {
    pub(crate) fn new(image: PathBuf) -> Self {
        Self { image, blocks: Mutex::default(), pages: Mutex::default() }
    }

    /// Logs why a block can't be delivered, and counts the block, unless that happened before.
    pub(crate) fn block(&self, block: BlockIndex, error: &Error, damaged: &Counter) -> Failure {
        if crate::lock(&self.blocks).insert(block.0) {
            damaged.one();
            let (code, name) = code(error);
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

    /// Logs why metadata can't be delivered, unless that happened before; gives the `errno`.
    pub(crate) fn metadata(&self, error: &Error) -> Errno {
        let errno = of(error);
        let mut pages = crate::lock(&self.pages);
        if errno.code() == Errno::EIO.code()
            && pages.len() < MOST_PAGES
            && pages.insert(error.to_string())
        {
            let (code, name) = code(error);
            tracing::error!(
                target: "epkfs::damage",
                code,
                code_name = name,
                image = %self.image.display(),
                detail = %error,
                "metadata cannot be delivered"
            );
        }
        errno
    }
}

/// The reject code of an error, and its name, for log lines.
pub(crate) fn code(error: &Error) -> (i64, &'static str) {
    error.code().map_or((-1, "IO"), |code| (i64::from(code.number()), code.name()))
}
