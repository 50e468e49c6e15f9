//! Lists of names.

use epk_format::path::display;

use super::super::limits::Limits;
use super::super::problem::Problem;
use super::metadata::{Metadata, Place};
use super::{Fields, damaged};

/// What a folder's size counts more than its list: `.` and `..`.
const EXTRA: u32 = 3;
/// Most entries after one header.
const RUN: u32 = 256;
/// Most bytes of a name.
const NAME: usize = 255;

/// The names in a folder, with references to their inodes. `folder` is how long its path is.
pub(super) fn list(
    metadata: &Metadata,
    mut place: Place,
    size: u32,
    folder: usize,
    limits: &mut Limits,
) -> Result<Vec<(Vec<u8>, u64)>, Problem> {
    let mut left = size.saturating_sub(EXTRA);
    let mut found = Vec::new();
    let bad = |what: &str| damaged(format!("a folder with {what}"));
    while left > 0 {
        let head: [u8; 12] = metadata.take(&mut place)?;
        let mut head = Fields(&head);
        let (count, block) = (head.u32(), u64::from(head.u32()));
        left = left.checked_sub(12).ok_or_else(|| bad("half a header"))?;
        if count >= RUN {
            return Err(bad("too long a run of entries"));
        }
        for _ in 0..=count {
            let row: [u8; 8] = metadata.take(&mut place)?;
            let mut row = Fields(&row);
            let (offset, _number, _kind) = (row.u16(), row.u16(), row.u16());
            let length = usize::from(row.u16()) + 1;
            if length > NAME {
                return Err(bad("too long a name"));
            }
            let mut name = vec![0; length];
            metadata.read(&mut place, &mut name)?;
            let read = u32::try_from(length).unwrap_or(u32::MAX).saturating_add(8);
            left = left.checked_sub(read).ok_or_else(|| bad("half an entry"))?;
            if matches!(&*name, b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
                return Err(bad(&format!("the name `{}`", display(&name))));
            }
            limits.node(folder + length)?;
            found.push((name, block << 16 | u64::from(offset)));
        }
    }
    // The format sorts them; a name twice is nobody's.
    if !found.is_sorted_by(|(left, _), (right, _)| left < right) {
        return Err(bad("names that are not in order"));
    }
    Ok(found)
}
