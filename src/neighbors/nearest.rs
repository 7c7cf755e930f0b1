//! The nearest of the references met so far.

use std::cmp::Ordering;

/// A reference and its rank, by which the nearest come first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Neighbor {
    pub(crate) rank: f64,
    pub(crate) index: usize,
}

impl Neighbor {
    /// Comes after every reference, also after one whose rank is infinite or NaN.
    pub(crate) const NONE: Self = Self {
        rank: f64::from_bits(i64::MAX as u64),
        index: usize::MAX,
    };

    /// Nearer first, and of two equally near the one with the lower index.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        self.rank
            .total_cmp(&other.rank)
            .then(self.index.cmp(&other.index))
    }

    fn precedes(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Less
    }
}

/// As many of the nearest references as there are slots: a heap with the farthest on top.
pub(crate) struct Nearest<'a>(&'a mut [Neighbor]);

impl<'a> Nearest<'a> {
    pub(crate) fn new(slots: &'a mut [Neighbor]) -> Self {
        slots.fill(Neighbor::NONE);
        Self(slots)
    }

    /// Whether the reference would be among the nearest.
    #[inline]
    pub(crate) fn accepts(&self, neighbor: &Neighbor) -> bool {
        let farthest = &self.0[0];
        // Nearly all end at the first comparison, which costs less.
        let farther = neighbor.rank > farthest.rank;
        !farther && neighbor.precedes(farthest)
    }

    /// Keeps the reference if it is among the nearest. Each must be offered once only.
    #[inline]
    pub(crate) fn offer(&mut self, neighbor: Neighbor) {
        if self.accepts(&neighbor) {
            self.replace_farthest(neighbor);
        }
    }

    fn replace_farthest(&mut self, neighbor: Neighbor) {
        let mut slot = 0;
        loop {
            let mut child = 2 * slot + 1;
            if child >= self.0.len() {
                break;
            }
            if child + 1 < self.0.len() && self.0[child].precedes(&self.0[child + 1]) {
                child += 1;
            }
            if !neighbor.precedes(&self.0[child]) {
                break;
            }
            self.0[slot] = self.0[child];
            slot = child;
        }
        self.0[slot] = neighbor;
    }

    /// Puts the nearest first.
    pub(crate) fn sort(self) {
        self.0.sort_unstable_by(Neighbor::order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Few ranks, so that many references are equally near, some of them infinitely far.
        #[test]
        fn the_nearest_are_kept_in_order(
            ranks in prop::collection::vec(
                prop_oneof![(0_u8..6).prop_map(f64::from), Just(f64::INFINITY), Just(-1.0)],
                1..60,
            ),
            k in any::<prop::sample::Index>(),
            backwards in any::<bool>(),
        ) {
            let k = 1 + k.index(ranks.len());
            let mut all: Vec<Neighbor> = ranks
                .into_iter()
                .enumerate()
                .map(|(index, rank)| Neighbor { rank, index })
                .collect();
            if backwards {
                all.reverse();
            }
            let mut slots = vec![Neighbor { rank: -5.0, index: 99 }; k];
            let mut nearest = Nearest::new(&mut slots);
            for neighbor in &all {
                let mut before = nearest.0.to_vec();
                nearest.offer(*neighbor);
                before.push(*neighbor);
                before.sort_by(Neighbor::order);
                let mut after = nearest.0.to_vec();
                after.sort_by(Neighbor::order);
                for (before, after) in before.iter().zip(&after) {
                    prop_assert_eq!(before.order(after), Ordering::Equal);
                }
                for other in &all {
                    let farther_exists = after.iter().any(|kept| other.order(kept).is_lt());
                    prop_assert_eq!(nearest.accepts(other), farther_exists);
                }
            }
            nearest.sort();
            all.sort_by(|a, b| a.rank.total_cmp(&b.rank).then(a.index.cmp(&b.index)));
            prop_assert_eq!(&slots[..], &all[..k]);
        }
    }

    #[test]
    fn no_reference_comes_after_none() {
        for rank in [f64::INFINITY, f64::MAX, f64::NAN] {
            let last = Neighbor {
                rank,
                index: usize::MAX - 1,
            };
            assert!(last.order(&Neighbor::NONE).is_lt());
        }
    }
}
