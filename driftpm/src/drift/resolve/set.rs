//! Sets of a package's versions, by their places in its sorted list.
//!
//! Constraints are not intervals: `^1.2` leaves out the pre-releases of everything in between.
//! Over the versions that there are every constraint is a set of numbers, so that is what the
//! solver calculates with: exactly, and without knowing what a pre-release is.

use std::fmt;

use pubgrub::VersionSet;

/// The place of a version in the sorted list of its package.
pub(super) type Place = usize;

/// Some places, or all but some.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Places {
    /// One bit a place, for the first places: most packages have no more versions than this, and
    /// the solver makes and joins millions of sets.
    first: u64,
    /// One bit a place, for the others; no zero at the end, so equal sets are equal.
    rest: Vec<u64>,
    /// Whether the bits are those that are *not* in the set.
    inverted: bool,
}

const BITS: usize = 64;

impl Places {
    /// The places of which `contains` says so, of the first `count`.
    pub(super) fn of(count: usize, contains: impl Fn(Place) -> bool) -> Self {
        let mut set = Self::empty();
        for place in (0..count).filter(|place| contains(*place)) {
            set.add(place);
        }
        set
    }

    fn add(&mut self, place: Place) {
        let bit = 1 << (place % BITS);
        let Some(word) = (place / BITS).checked_sub(1) else {
            self.first |= bit;
            return;
        };
        if self.rest.len() <= word {
            self.rest.resize(word.saturating_add(1), 0);
        }
        if let Some(word) = self.rest.get_mut(word) {
            *word |= bit;
        }
    }

    fn has_bit(&self, place: Place) -> bool {
        let word = match (place / BITS).checked_sub(1) {
            None => self.first,
            Some(word) => self.rest.get(word).copied().unwrap_or(0),
        };
        word & (1 << (place % BITS)) != 0
    }

    /// Whether `place` is in it.
    pub(super) fn has(&self, place: Place) -> bool {
        self.has_bit(place) != self.inverted
    }

    /// The places in it among the first `count`.
    pub(super) fn among(&self, count: usize) -> impl DoubleEndedIterator<Item = Place> + '_ {
        (0..count).filter(|place| self.has(*place))
    }

    /// Joins two sets word by word.
    fn zip(&self, other: &Self, inverted: bool, join: impl Fn(u64, u64) -> u64) -> Self {
        let length = self.rest.len().max(other.rest.len());
        let word = |set: &Self, at: usize| set.rest.get(at).copied().unwrap_or(0);
        let mut rest: Vec<u64> =
            (0..length).map(|at| join(word(self, at), word(other, at))).collect();
        while rest.last() == Some(&0) {
            rest.pop();
        }
        Self { first: join(self.first, other.first), rest, inverted }
    }
}

impl VersionSet for Places {
    type V = Place;

    fn empty() -> Self {
        Self { first: 0, rest: Vec::new(), inverted: false }
    }

    fn full() -> Self {
        Self { first: 0, rest: Vec::new(), inverted: true }
    }

    fn singleton(place: Place) -> Self {
        let mut set = Self::empty();
        set.add(place);
        set
    }

    fn complement(&self) -> Self {
        Self { inverted: !self.inverted, ..self.clone() }
    }

    fn intersection(&self, other: &Self) -> Self {
        match (self.inverted, other.inverted) {
            (false, false) => self.zip(other, false, |a, b| a & b),
            (false, true) => self.zip(other, false, |a, b| a & !b),
            (true, false) => self.zip(other, false, |a, b| !a & b),
            (true, true) => self.zip(other, true, |a, b| a | b),
        }
    }

    fn contains(&self, place: &Place) -> bool {
        self.has(*place)
    }

    // The solver asks these two most, and needs no new set for the answer.
    fn is_disjoint(&self, other: &Self) -> bool {
        if !self.rest.is_empty() || !other.rest.is_empty() {
            return self.intersection(other) == Self::empty();
        }
        match (self.inverted, other.inverted) {
            (false, false) => self.first & other.first == 0,
            (false, true) => self.first & !other.first == 0,
            (true, false) => !self.first & other.first == 0,
            (true, true) => false,
        }
    }

    fn subset_of(&self, other: &Self) -> bool {
        if !self.rest.is_empty() || !other.rest.is_empty() {
            return *self == self.intersection(other);
        }
        match (self.inverted, other.inverted) {
            (false, false) => self.first & !other.first == 0,
            (false, true) => self.first & other.first == 0,
            (true, false) => false,
            (true, true) => other.first & !self.first == 0,
        }
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<String> = (0..self.rest.len().saturating_add(1).saturating_mul(BITS))
            .filter(|place| self.has_bit(*place))
            .map(|place| place.to_string())
            .collect();
        write!(f, "{}{{{}}}", if self.inverted { "not " } else { "" }, places.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_set() -> impl Strategy<Value = Places> {
        let places = prop::sample::select(vec![5_usize, 150])
            .prop_flat_map(|most| prop::collection::btree_set(0..most, 0..5));
        (places, any::<bool>()).prop_map(|(places, inverted)| {
            let set = Places::of(150, |place| places.contains(&place));
            if inverted { set.complement() } else { set }
        })
    }

    proptest! {
        #[test]
        fn it_is_the_algebra_of_sets(a in any_set(), b in any_set()) {
            let (both, either) = (a.intersection(&b), a.union(&b));
            prop_assert_eq!(a.is_disjoint(&b), both == Places::empty());
            prop_assert_eq!(a.subset_of(&b), both == a);
            prop_assert!(both.subset_of(&a) && a.subset_of(&either));
            prop_assert!(a.is_disjoint(&a.complement()));
            for place in 0..200 {
                prop_assert_eq!(both.has(place), a.has(place) && b.has(place));
                prop_assert_eq!(either.has(place), a.has(place) || b.has(place));
                prop_assert_eq!(a.complement().has(place), !a.has(place));
            }
            // Equal sets are equal values.
            prop_assert_eq!(a.complement().complement(), a.clone());
            prop_assert_eq!(a.intersection(&a.complement()), Places::empty());
            prop_assert_eq!(a.union(&a.complement()), Places::full());
            prop_assert_eq!(either.intersection(&a), a);
        }
    }
}
