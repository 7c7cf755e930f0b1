//! Shuffled passes over items, the same on every platform.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

/// SplitMix64: the state grows by a constant, and each state is mixed into a number.
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    /// The generator of an epoch.
    pub(super) fn new(seed: u64, epoch: u64) -> Self {
        let start = Self(seed).number();
        Self(start.wrapping_add(epoch))
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    }

    /// A number below `bound`, each with the same probability.
    fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        // Numbers from the last multiple of the bound on would favor small remainders.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let number = self.number();
            if number < limit {
                return (number % bound) as usize;
            }
        }
    }

    /// Fisher-Yates.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

/// Shuffled passes over items, one after the other without end.
pub(super) struct Passes<T> {
    items: Vec<T>,
    /// What is left of the present pass. The last item is the next.
    rest: Vec<T>,
}

impl<T: Copy + Eq + Hash> Passes<T> {
    /// Passes over items that differ from each other; there must be some.
    pub(super) fn new(items: Vec<T>) -> Self {
        let rest = Vec::new();
        Self { items, rest }
    }

    /// The next `count` items. How often each is among them differs by at most one.
    pub(super) fn take(&mut self, count: usize, random: &mut SplitMix64) -> Vec<T> {
        let mut taken = self.take_from_pass(count);
        while taken.len() < count {
            self.rest.clone_from(&self.items);
            random.shuffle(&mut self.rest);
            let mut times = HashMap::new();
            for item in &taken {
                *times.entry(*item).or_insert(0) += 1;
            }
            // The items that this call has taken least often come next.
            self.rest
                .sort_by_key(|item| Reverse(times.get(item).copied()));
            let next = self.take_from_pass(count - taken.len());
            taken.extend(next);
            random.shuffle(&mut self.rest);
        }
        taken
    }

    /// The next `count` items of the present pass, or all of them.
    fn take_from_pass(&mut self, count: usize) -> Vec<T> {
        let left = self.rest.len().saturating_sub(count);
        self.rest.drain(left..).rev().collect()
    }
}
