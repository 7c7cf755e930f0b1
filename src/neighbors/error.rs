//! Errors of classifiers.

use crate::error::WEIGHT_RULE;
use thiserror::Error;

/// Error of a classifier that could not be fitted or could not answer.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum KnnError {
    /// A matrix without rows: there is nothing to fit, or nothing to answer.
    #[error("{name} has 0 rows; it must have at least 1")]
    NoRows {
        /// The argument.
        name: &'static str,
    },
    /// A matrix without columns.
    #[error("{name} has 0 columns; it must have at least 1")]
    NoColumns {
        /// The argument.
        name: &'static str,
    },
    /// `k` neighbors do not exist.
    #[error("k is {k}; it must be at least 1 and at most {references}, the number of references")]
    K {
        /// The number of neighbors asked for.
        k: usize,
        /// The number of references.
        references: usize,
    },
    /// `k` neighbors with a weight above 0 do not exist.
    #[error(
        "k is {k}; it must be at least 1 and at most {voters}, the number of references with a weight above 0"
    )]
    KVoters {
        /// The number of neighbors asked for.
        k: usize,
        /// The number of references with a weight above 0.
        voters: usize,
    },
    /// A memory bound that allows no work.
    #[error("max_pairs is 0; it must be at least 1")]
    MaxPairs,
    /// Weights by inverse distance were asked for a metric that is not a distance.
    #[error(
        "weights is InverseDistance and metric is InnerProduct; an inner product is not a distance, so weights must be Uniform"
    )]
    InverseInnerProduct,
    /// Queries of another width than the references or centers.
    #[error(
        "queries has shape {queries:?} and {name} has shape {fitted:?}; the second numbers must be equal"
    )]
    FeatureDim {
        /// Shape of the queries.
        queries: [usize; 2],
        /// `references` or `centers`.
        name: &'static str,
        /// Its shape.
        fitted: [usize; 2],
    },
    /// Not one label for each row.
    #[error("labels has {labels} entries and {name} has {rows} rows; the numbers must be equal")]
    LabelCount {
        /// The number of labels.
        labels: usize,
        /// The matrix that the labels belong to.
        name: &'static str,
        /// Its number of rows.
        rows: usize,
    },
    /// Not one weight for each reference.
    #[error(
        "sample_weights has {weights} entries and references has {references} rows; the numbers must be equal"
    )]
    SampleWeightCount {
        /// The number of weights.
        weights: usize,
        /// The number of references.
        references: usize,
    },
    /// A weight outside its range.
    #[error("sample_weights holds {value} at index {index}; {WEIGHT_RULE}")]
    SampleWeight {
        /// The weight.
        value: f64,
        /// The first index with such a weight.
        index: usize,
    },
    /// A NaN or an infinity among the features.
    #[error("{name} holds {value} in row {row}, column {column}; every value must be finite")]
    NonFinite {
        /// The argument.
        name: &'static str,
        /// The value found: NaN, inf or -inf.
        value: f64,
        /// The first row with such a value.
        row: usize,
        /// Its first column with such a value.
        column: usize,
    },
    /// Tensors on different devices.
    #[error(
        "{name} is on {device} and {expected_name} is on {expected}; the devices must be equal"
    )]
    Devices {
        /// The argument on the other device.
        name: &'static str,
        /// Its device.
        device: String,
        /// The tensor whose device is expected.
        expected_name: &'static str,
        /// The expected device.
        expected: String,
    },
    /// No classes.
    #[error("num_classes is 0; it must be at least 1")]
    NumClasses,
    /// A label that is no class.
    #[error("labels holds {label} at index {index}; it must be in 0..{num_classes}")]
    LabelRange {
        /// The label.
        label: i128,
        /// Where it stands.
        index: usize,
        /// The number of classes.
        num_classes: usize,
    },
    /// A class whose mean does not exist.
    #[error("labels holds no sample of class {class}; each of the {num_classes} classes needs one")]
    EmptyClass {
        /// The lowest class without a sample.
        class: usize,
        /// The number of classes.
        num_classes: usize,
    },
    /// Stored data that no classifier wrote, or that the device cannot hold.
    #[error("{name} is stored {reason}")]
    Stored {
        /// The stored argument.
        name: &'static str,
        /// The value and the rule.
        reason: String,
    },
    /// The device did not hand out a tensor's values.
    #[error("{name} could not be read from its device: {reason}")]
    Read {
        /// The argument.
        name: &'static str,
        /// The message of the device.
        reason: String,
    },
}
