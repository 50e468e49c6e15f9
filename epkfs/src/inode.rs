//! Inode numbers: a node's number plus one, because FUSE's root is 1 and 0 means "no inode".

use epk_format::package::NodeId;
use fuser::INodeNo;

/// The inode number of a node.
pub(crate) fn number(id: NodeId) -> INodeNo {
    INodeNo(u64::from(id.number()) + 1)
}

/// The node of an inode number. Whether the package has it, [`epk_format::Package`] knows.
pub(crate) fn node(inode: INodeNo) -> Option<NodeId> {
    inode
        .0
        .checked_sub(1)
        .and_then(|index| usize::try_from(index).ok())
        .and_then(NodeId::from_index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_there_and_back() {
        assert_eq!(number(NodeId::ROOT), INodeNo::ROOT);
        for index in [0, 1, 77, 1 << 23] {
            let id = NodeId::from_index(index).expect("a small number");
            assert_eq!(node(number(id)), Some(id));
        }
        assert_eq!(node(INodeNo(0)), None);
        assert_eq!(node(INodeNo(u64::MAX)), None);
    }
}
