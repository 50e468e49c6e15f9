//! What `stat` answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use epk_format::package::{Kind, Node};
use epk_format::time::Timestamp;
use fuser::{FileAttr, FileType, INodeNo};

use crate::inode;

/// `st_blksize`, and the unit of `statfs`: the page size, because the kernel keeps its power of
/// two in the inode and larger ones than a page confuse some kernels' page caches.
pub(crate) const BLOCK_SIZE: u32 = 4096;

/// Who owns every file of a mount.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The attributes of a node.
pub(crate) fn of(node: &Node, owner: Owner) -> FileAttr {
    let time = system_time(node.modified);
    FileAttr {
        ino: inode::number(node.id),
        size: node.size,
        blocks: node.size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(node.kind),
        perm: u16::try_from(node.mode & 0o7777).unwrap_or(0),
        nlink: node.links,
        uid: owner.uid,
        gid: owner.gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// The answer that a name doesn't exist: inode 0, which the kernel remembers as long as any
/// other.
pub(crate) fn nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// The kind as `d_type` and `st_mode` have it.
pub(crate) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Folder => FileType::Directory,
        Kind::Link => FileType::Symlink,
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let nanoseconds = Duration::from_nanos(u64::from(time.nanoseconds));
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = if time.seconds < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    whole.and_then(|whole| whole.checked_add(nanoseconds)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_count_forward() {
        let time = system_time(Timestamp { seconds: -1, nanoseconds: 250_000_000 });
        assert_eq!(UNIX_EPOCH.duration_since(time).expect("earlier"), Duration::from_millis(750));
        let time = system_time(Timestamp { seconds: 1, nanoseconds: 5 });
        assert_eq!(time.duration_since(UNIX_EPOCH).expect("later"), Duration::new(1, 5));
        assert_eq!(
            system_time(Timestamp { seconds: i64::MIN, nanoseconds: 0 }),
            UNIX_EPOCH
                .checked_sub(Duration::from_secs(i64::MIN.unsigned_abs()))
                .unwrap_or(UNIX_EPOCH)
        );
    }
}
