//! Batches of P classes with K samples each.

use std::collections::BTreeMap;

use super::error::SamplingError;
use super::passes::{Passes, SplitMix64};

/// Batches of P classes with K samples each, as indices into a dataset.
///
/// A loss over pairs or proxies learns from classes that meet in a batch. Shuffled batches of a dataset with many or
/// uneven classes seldom have two samples of a small class. P x K batches draw every class equally often.
///
/// ```text
/// batches = ceil(ceil(n_max / K) * C / P)
/// ```
///
/// is the default number of batches of an epoch, with C classes and `n_max` samples in the largest. Every sample is
/// then drawn at least once. If all classes have as many samples and nothing is rounded, it is drawn exactly once. With
/// very uneven classes the number is large; [`with_batches`](Self::with_batches) sets another one.
///
/// An epoch is a function of its number and the arguments of this type alone, with a random generator of its own: it is
/// the same on every platform, and resuming at an epoch needs no state. Under Burn's `Learner` a `PkDataLoader` (feature
/// `train`) loads the batches.
///
/// # Guarantees
///
/// - A batch has P different classes, one after the other, with K samples each.
/// - After every batch of an epoch, the numbers of draws of two classes differ by at most 1. So do those of two samples
///   of a class.
/// - A class with n samples has each of them floor(K / n) or one more times in a batch. So none occurs twice if n is at
///   least K.
///
/// # Differences from the references
///
/// | | these batches | `MPerClassSampler`, pytorch-metric-learning 2 |
/// |---|---|---|
/// | draws | shuffled passes over the classes and over the samples of each | independent for each batch: an epoch misses classes and samples |
/// | default length of an epoch | the formula above | the number of samples, or `length_before_new_iter` |
/// | batch | whole, as a list | part of one list, which a loader with another batch size cuts elsewhere |
///
/// By its release notes, version 3 of that library goes through shuffled passes too.
///
/// # Example
///
/// ```
/// use burn_center_loss::PkBatches;
///
/// let labels = [3, 8, 3, 8, 5, 3, 3, 5];
/// let batches = PkBatches::new(&labels, 2, 2, 7)?;
/// assert_eq!(batches.batch_size(), 4);
/// assert_eq!(batches.num_batches(), 3); // ceil(ceil(4 / 2) * 3 / 2)
///
/// for batch in batches.epoch(1) {
///     let [a, b, c, d] = batch[..] else { unreachable!() };
///     assert_eq!(labels[a], labels[b]);
///     assert_eq!(labels[c], labels[d]);
///     assert_ne!(labels[a], labels[c]);
/// }
/// assert_ne!(batches.epoch(1), batches.epoch(2));
/// # Ok::<(), burn_center_loss::SamplingError>(())
/// ```
///
/// # References
///
/// A. Hermans, L. Beyer, B. Leibe, *In Defense of the Triplet Loss for Person Re-Identification*, 2017.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PkBatches {
    /// The label of each class that is drawn, and its samples.
    classes: BTreeMap<i128, Vec<usize>>,
    /// The labels of the classes that are too small, ascending.
    skipped: Vec<i128>,
    /// The number of labels, ignored and skipped ones included.
    labels: usize,
    classes_per_batch: usize,
    samples_per_class: usize,
    /// The number of batches of an epoch, if it is not the default.
    batches: Option<usize>,
    seed: u64,
}

impl PkBatches {
    /// Batches of `classes_per_batch` (P) classes with `samples_per_class` (K) samples each.
    ///
    /// Label `i` is the class of sample `i`. Labels are of any integer type, in any order and with gaps. Those of a tensor
    /// come from [`label_values`](crate::evaluation::label_values).
    ///
    /// # Errors
    ///
    /// [`SamplingError`] if there are no labels, `classes_per_batch` is not in `1..=C`, `samples_per_class` is 0, or
    /// `i128` does not hold a label.
    pub fn new<L: Copy + TryInto<i128>>(
        labels: &[L],
        classes_per_batch: usize,
        samples_per_class: usize,
        seed: u64,
    ) -> Result<Self, SamplingError> {
        if labels.is_empty() {
            return Err(SamplingError::NoLabels);
        }
        if samples_per_class == 0 {
            return Err(SamplingError::SamplesPerClass);
        }
        let mut classes = BTreeMap::<_, Vec<usize>>::new();
        for (sample, &label) in labels.iter().enumerate() {
            let Ok(label) = label.try_into() else {
                return Err(SamplingError::Label { sample });
            };
            classes.entry(label).or_default().push(sample);
        }
        let batches = Self {
            classes,
            skipped: vec![],
            labels: labels.len(),
            classes_per_batch,
            samples_per_class,
            batches: None,
            seed,
        };
        batches.checked()
    }

    /// The same batches without the samples of a label.
    ///
    /// # Errors
    ///
    /// [`SamplingError::ClassesPerBatch`] if too few classes remain.
    pub fn with_ignore_label(mut self, label: i128) -> Result<Self, SamplingError> {
        self.classes.remove(&label);
        self.skipped.retain(|skipped| *skipped != label);
        self.checked()
    }

    /// The same batches without the classes of fewer than `size` samples: [`skipped_classes`](Self::skipped_classes).
    /// With a `size` of K no sample occurs twice in a batch.
    ///
    /// # Errors
    ///
    /// [`SamplingError::ClassesPerBatch`] if too few classes remain.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_center_loss::PkBatches;
    ///
    /// let batches = PkBatches::new(&[0, 0, 0, 1, 2, 2, -1], 2, 2, 7)?;
    /// let batches = batches.with_ignore_label(-1)?.with_min_class_size(2)?;
    /// assert_eq!(batches.skipped_classes(), [1]);
    ///
    /// let error = batches.with_min_class_size(3).unwrap_err();
    /// let message = "classes_per_batch is 2: it must be at least 1 and at most 1, the number of classes";
    /// assert_eq!(error.to_string(), message);
    /// # Ok::<(), burn_center_loss::SamplingError>(())
    /// ```
    pub fn with_min_class_size(mut self, size: usize) -> Result<Self, SamplingError> {
        let small = self
            .classes
            .extract_if(.., |_, samples| samples.len() < size);
        self.skipped.extend(small.map(|(label, _)| label));
        self.skipped.sort_unstable();
        self.checked()
    }

    /// The same batches with another number of them in an epoch.
    ///
    /// # Errors
    ///
    /// [`SamplingError::Batches`] if it is 0.
    pub fn with_batches(mut self, batches: usize) -> Result<Self, SamplingError> {
        if batches == 0 {
            return Err(SamplingError::Batches);
        }
        self.batches = Some(batches);
        Ok(self)
    }

    fn checked(self) -> Result<Self, SamplingError> {
        if (1..=self.classes.len()).contains(&self.classes_per_batch) {
            return Ok(self);
        }
        Err(SamplingError::ClassesPerBatch {
            classes_per_batch: self.classes_per_batch,
            classes: self.classes.len(),
        })
    }

    /// The labels of the classes that [`with_min_class_size`](Self::with_min_class_size) left out, in ascending order.
    pub fn skipped_classes(&self) -> &[i128] {
        &self.skipped
    }

    /// The number of batches of an epoch.
    pub fn num_batches(&self) -> usize {
        self.batches.unwrap_or_else(|| {
            let largest = self.classes.values().map(Vec::len).max().unwrap_or(0);
            let draws = largest.div_ceil(self.samples_per_class) * self.classes.len();
            draws.div_ceil(self.classes_per_batch)
        })
    }

    /// P * K.
    pub fn batch_size(&self) -> usize {
        self.classes_per_batch * self.samples_per_class
    }

    /// The number of labels that the batches were made from.
    pub fn num_labels(&self) -> usize {
        self.labels
    }

    /// The batches of an epoch. Each has the indices of its samples, those of a class one after the other.
    ///
    /// Takes time and memory for all samples and batches of the epoch.
    pub fn epoch(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut random = SplitMix64::new(self.seed, epoch as u64);
        let mut samples: Vec<_> = self.classes.values().cloned().map(Passes::new).collect();
        let mut classes = Passes::new((0..samples.len()).collect());
        (0..self.num_batches())
            .map(|_| {
                let drawn = classes.take(self.classes_per_batch, &mut random);
                drawn
                    .into_iter()
                    .flat_map(|class| samples[class].take(self.samples_per_class, &mut random))
                    .collect()
            })
            .collect()
    }
}
