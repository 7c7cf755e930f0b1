//! Errors of batches by class.

use thiserror::Error;

/// Error of settings or labels that batches by class cannot be made from.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SamplingError {
    /// There is no sample.
    #[error("labels is empty: it must have at least 1 value")]
    NoLabels,
    /// A label that `i128` does not hold.
    #[error("labels[{sample}] is too large: it must be at most i128::MAX")]
    Label {
        /// The index of the label.
        sample: usize,
    },
    /// So many classes cannot be drawn for a batch.
    #[error(
        "classes_per_batch is {classes_per_batch}: it must be at least 1 and at most {classes}, the number of classes"
    )]
    ClassesPerBatch {
        /// The classes of a batch.
        classes_per_batch: usize,
        /// The classes that samples are drawn from, without ignored and skipped ones.
        classes: usize,
    },
    /// A batch would be empty.
    #[error("samples_per_class is 0: it must be at least 1")]
    SamplesPerClass,
    /// An epoch would be empty.
    #[error("batches is 0: it must be at least 1")]
    Batches,
    /// A loader was given the labels of another dataset.
    #[error("labels has {labels} values and dataset has {items} items: the numbers must be equal")]
    DatasetLength {
        /// The number of labels.
        labels: usize,
        /// The number of items of the dataset.
        items: usize,
    },
}
