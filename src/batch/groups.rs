use alloc::vec;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

/// The class of a sample that has none.
pub(crate) const NO_CLASS: usize = usize::MAX;

/// The samples of a batch by class: classes in ascending order, and the samples of each class in
/// the order of the batch.
pub(crate) struct Groups {
    /// The samples, group after group.
    pub order: Vec<usize>,
    /// The class of each group.
    pub classes: Vec<usize>,
    /// Where each group ends in `order`.
    ends: Vec<usize>,
}

impl Groups {
    /// Groups samples by their class; those of [`NO_CLASS`] are in no group.
    pub fn new(classes: &[usize]) -> Self {
        // Adding 1 makes `NO_CLASS` wrap to 0.
        let ends = classes.iter().map(|class| class.wrapping_add(1));
        let bound = ends.max().unwrap_or(0);
        // Counting is faster than sorting, but few samples of many classes must not cost
        // O(num_classes).
        if bound <= 8 * classes.len() {
            Self::counted(classes, bound)
        } else {
            Self::sorted(classes)
        }
    }

    /// By counting the samples of each class below `bound`.
    fn counted(classes: &[usize], bound: usize) -> Self {
        let mut starts = vec![0; bound];
        for class in classes {
            // `NO_CLASS` is beyond the bound.
            if let Some(count) = starts.get_mut(*class) {
                *count += 1;
            }
        }
        // A class without samples is overwritten by the next class. This needs no branch on the
        // counts, which no processor could predict.
        let most = bound.min(classes.len());
        let mut groups = Self {
            order: Vec::new(),
            classes: vec![0; most + 1],
            ends: vec![0; most + 1],
        };
        let (mut group, mut end) = (0, 0);
        for (class, start) in starts.iter_mut().enumerate() {
            end += mem::replace(start, end);
            groups.classes[group] = class;
            groups.ends[group] = end;
            group += usize::from(end > *start);
        }
        groups.classes.truncate(group);
        groups.ends.truncate(group);
        groups.order.resize(end, 0);
        for (sample, class) in classes.iter().enumerate() {
            if let Some(start) = starts.get_mut(*class) {
                groups.order[*start] = sample;
                *start += 1;
            }
        }
        groups
    }

    fn sorted(classes: &[usize]) -> Self {
        // One number holds class and sample, because a number sorts faster than a pair.
        let mut keys: Vec<u128> = (0_u64..)
            .zip(classes)
            .filter(|(_, class)| **class != NO_CLASS)
            .map(|(sample, class)| (*class as u128) << 64 | u128::from(sample))
            .collect();
        keys.sort_unstable();
        let mut groups = Self {
            order: Vec::with_capacity(keys.len()),
            classes: Vec::with_capacity(keys.len()),
            ends: Vec::with_capacity(keys.len()),
        };
        for key in keys {
            let class = (key >> 64) as usize;
            if groups.classes.last() != Some(&class) {
                groups.classes.push(class);
                groups.ends.push(groups.order.len());
            }
            groups.order.push(key as u64 as usize);
            if let Some(end) = groups.ends.last_mut() {
                *end += 1;
            }
        }
        groups
    }

    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// The places in `order` that a range of groups takes.
    pub fn places(&self, groups: Range<usize>) -> Range<usize> {
        let start_of = |group: usize| match group.checked_sub(1) {
            Some(before) => self.ends[before],
            None => 0,
        };
        start_of(groups.start)..start_of(groups.end)
    }

    /// The samples of a group.
    pub fn samples(&self, group: usize) -> &[usize] {
        &self.order[self.places(group..group + 1)]
    }

    /// The group of each sample of a batch in which every sample has a class.
    pub fn of_samples(&self) -> Vec<usize> {
        let mut groups = vec![0; self.order.len()];
        for group in 0..self.len() {
            for sample in self.samples(group) {
                groups[*sample] = group;
            }
        }
        groups
    }

    /// The places in `order` that each group takes, one group after the other.
    pub fn each_places(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut start = 0;
        self.ends
            .iter()
            .map(move |end| mem::replace(&mut start, *end)..*end)
    }

    /// How many samples each group has.
    pub fn counts(&self) -> Vec<f64> {
        self.each_places()
            .map(|places| places.len() as f64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_in_ascending_order_and_leave_out_samples_without_class() {
        for offset in [0, 1_000_000] {
            let class = |class: usize| class + offset;
            let groups = Groups::new(&[class(3), NO_CLASS, class(1), class(3), class(0)]);
            assert_eq!(groups.classes, [class(0), class(1), class(3)]);
            assert_eq!(groups.order, [4, 2, 0, 3]);
            assert_eq!(groups.samples(2), [0, 3]);
            assert_eq!(groups.places(1..3), 1..4);
            assert_eq!(groups.counts(), [1.0, 1.0, 2.0]);
        }
        assert_eq!(Groups::new(&[3, 1, 3]).of_samples(), [1, 0, 1]);
    }

    #[test]
    fn a_batch_without_classes_has_no_groups() {
        assert_eq!(Groups::new(&[NO_CLASS, NO_CLASS]).len(), 0);
    }
}
