//! How often each file is read.
//!
//! Exact, without a lock, and with memory only for stretches of node numbers in which something
//! was read: a package of a million files may be mounted for ten of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::OnceLock;

use epk_format::package::NodeId;

use crate::stats::Counter;

/// Nodes whose counters are made together: 4 KiB.
const PAGE: usize = 512;

/// A counter for each node.
pub(crate) struct Tally(Box<[OnceLock<Box<[Counter; PAGE]>>]>);

impl Tally {
    /// Counters for so many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self((0..nodes.div_ceil(PAGE)).map(|_| OnceLock::new()).collect())
    }

    /// A node is read. Those that the package doesn't have aren't counted.
    pub(crate) fn one(&self, id: NodeId) {
        let Ok(number) = usize::try_from(id.number()) else { return };
        let Some(page) = self.0.get(number / PAGE) else { return };
        let page = page.get_or_init(|| Box::new(std::array::from_fn(|_| Counter::default())));
        if let Some(counter) = page.get(number % PAGE) {
            counter.one();
        }
    }

    /// The nodes that were read most often, up to `most` of them, with the number of reads.
    pub(crate) fn hottest(&self, most: usize) -> Vec<(NodeId, u64)> {
        let mut hottest = BinaryHeap::new();
        for (at, page) in self.0.iter().enumerate() {
            for (offset, counter) in page.get().into_iter().flat_map(|page| page.iter().enumerate())
            {
                let reads = counter.get();
                if reads > 0 {
                    hottest.push(Reverse((reads, Reverse(at * PAGE + offset))));
                }
                if hottest.len() > most {
                    hottest.pop();
                }
            }
        }
        let sorted = hottest.into_sorted_vec().into_iter();
        sorted
            .filter_map(|Reverse((reads, Reverse(number)))| {
                Some((NodeId::from_index(number)?, reads))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hottest_come_first() {
        let tally = Tally::new(2000);
        let id = |number| NodeId::from_index(number).expect("a small number");
        for (number, reads) in [(3, 2), (1999, 5), (512, 1), (511, 2), (1024, 4)] {
            for _ in 0..reads {
                tally.one(id(number));
            }
        }
        // Nobody's.
        tally.one(id(1 << 20));
        let hottest = |most| -> Vec<_> {
            let found = tally.hottest(most).into_iter();
            found.map(|(id, reads)| (id.number(), reads)).collect()
        };
        assert_eq!(hottest(3), [(1999, 5), (1024, 4), (3, 2)]);
        assert_eq!(hottest(9), [(1999, 5), (1024, 4), (3, 2), (511, 2), (512, 1)]);
        assert_eq!(hottest(0), []);
        assert_eq!(tally.0.iter().filter(|page| page.get().is_some()).count(), 4);
        assert_eq!(Tally::new(0).hottest(3), []);
    }
}
