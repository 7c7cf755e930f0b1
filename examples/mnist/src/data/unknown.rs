//! Classes that are left out of training, so that a run can be asked for what it does not know.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::classes::Classes;
use super::{Samples, shuffled};

/// Telling samples of known classes from those of classes that are left out.
pub struct Parting {
    /// Among the known classes, the number of each class; `None` if it is left out.
    numbers: Vec<Option<u8>>,
}

impl Parting {
    /// `known` are some of `all` classes.
    pub fn of(all: &Classes, known: &Classes) -> Self {
        let number = |label| known.number(label).map(|number| number as u8);
        Self {
            numbers: all.labels().map(number).collect(),
        }
    }

    /// The samples of known classes, numbered among these, and the others as they are.
    pub fn part(&self, samples: &Samples) -> (Samples, Samples) {
        let is_known = |&index: &usize| self.numbers[usize::from(samples.labels[index])].is_some();
        let (known, unknown): (Vec<usize>, Vec<usize>) = (0..samples.len()).partition(is_known);
        let mut known = samples.subset(&known);
        for label in &mut known.labels {
            *label = self.numbers[usize::from(*label)].expect("it is known");
        }
        (known, samples.subset(&unknown))
    }
}

/// The labels of all but `known` of the classes, drawn at random.
pub fn random_unknown_classes(classes: &Classes, known: usize, seed: u64) -> Vec<u8> {
    let labels: Vec<u8> = classes.labels().collect();
    let order = shuffled(labels.len(), &mut StdRng::seed_from_u64(seed));
    let mut unknown: Vec<u8> = order[known..]
        .iter()
        .map(|&number| labels[number])
        .collect();
    unknown.sort_unstable();
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_classes_are_numbered_anew_and_unknown_samples_are_kept() {
        let samples = Samples {
            pixels: (0..4 * 64).map(|value| (value / 64) as u8).collect(),
            labels: vec![3, 0, 1, 3],
            height: 8,
            width: 8,
        };
        let all = Classes::counted(4, None).unwrap();
        let classes = all.without(&[1, 2]).unwrap();
        let (known, unknown) = Parting::of(&all, &classes).part(&samples);
        assert_eq!(known.labels, [1, 0, 1]);
        assert_eq!((unknown.labels, unknown.pixels[0]), (vec![1], 2));
    }

    #[test]
    fn every_seed_leaves_other_classes_out() {
        let classes = Classes::counted(10, None).unwrap();
        let draw = |seed| random_unknown_classes(&classes, 6, seed);
        let splits: Vec<_> = (0..5).map(draw).collect();
        assert!(splits.iter().all(|split| split.len() == 4));
        assert_ne!(splits[0], splits[1]);
        assert_eq!(splits[0], draw(0));
    }
}
