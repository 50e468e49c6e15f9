//! Names in a folder: `.`, `..` and the children, each with the position to go on from.
//!
//! Position 0 is the start, 1 comes after `.`, 2 after `..`, and those of the package follow.

use std::ops::ControlFlow;

use epk_format::Package;
use epk_format::package::{Kind, NodeId};
use epk_format::source::Source;

/// Positions before the first child.
const DOTS: u64 = 2;

/// A name in a folder.
pub(crate) struct Name<'n> {
    pub(crate) next: u64,
    pub(crate) name: &'n [u8],
    pub(crate) id: NodeId,
    pub(crate) kind: Kind,
}

/// Shows `visit` the names of a folder from a position on, until it says that it is full.
pub(crate) fn names<S: Source>(
    package: &Package<S>,
    folder: NodeId,
    from: u64,
    mut visit: impl FnMut(Name<'_>) -> ControlFlow<()>,
) -> Result<(), epk_format::Error> {
    let parent = package.parent(folder)?;
    let dots: [(&[u8], NodeId); 2] = [(b".", folder), (b"..", parent)];
    for (next, (name, id)) in (1..).zip(dots) {
        if next > from && visit(Name { next, name, id, kind: Kind::Folder }).is_break() {
            return Ok(());
        }
    }
    package.read_folder(folder, from.saturating_sub(DOTS), |child| {
        let next = child.next.saturating_add(DOTS);
        visit(Name { next, name: child.name, id: child.id, kind: child.kind })
    })
}
