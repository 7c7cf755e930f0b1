use alloc::string::String;
use thiserror::Error;

/// Why a loss refused a batch.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The batch has no sample.
    #[error("the batch is empty: features must have at least one row")]
    EmptyBatch,
    /// The features are not `feature_dim` wide.
    #[error(
        "features have shape {found:?}: it must be [batch_size, feature_dim] with feature_dim = {feature_dim}"
    )]
    FeaturesShape {
        /// The shape of the features.
        found: [usize; 2],
        /// The width of the centers.
        feature_dim: usize,
    },
    /// There is not one label, or one weight, per sample.
    #[error("{name} have {found} values: they must have one for each of the {batch_size} samples")]
    SampleCount {
        /// `labels` or `weights`.
        name: &'static str,
        /// How many values there are.
        found: usize,
        /// How many samples the batch has.
        batch_size: usize,
    },
    /// A tensor is on another device than the centers.
    #[error("{name} are on {found}: they must be on the device of the centers, {expected}")]
    Device {
        /// `features`, `labels` or `weights`.
        name: &'static str,
        /// The tensor's device.
        found: String,
        /// The centers' device.
        expected: String,
    },
    /// A label names no class.
    #[error("labels[{sample}] is {label}: it must be in 0..{num_classes}")]
    Label {
        /// The row of the sample.
        sample: usize,
        /// Its label. `i128` holds every value of every integer type.
        label: i128,
        /// The number of classes.
        num_classes: usize,
    },
    /// A feature is infinite or NaN, as it is or in the data type of the centers.
    #[error("features[{sample}][{dim}] is {value}: every feature must be finite")]
    Feature {
        /// The row of the sample.
        sample: usize,
        /// The column.
        dim: usize,
        /// The refused value.
        value: f64,
    },
    /// A sample weight is negative, infinite or NaN.
    #[error("weights[{sample}] is {value}: it must be finite and not negative")]
    Weight {
        /// The row of the sample.
        sample: usize,
        /// Its weight.
        value: f64,
    },
    /// The center of a sample's class is not finite: a training diverged, or a checkpoint is bad.
    #[error("centers[{class}][{dim}] is {value}: every center must be finite")]
    Center {
        /// The class.
        class: usize,
        /// The column.
        dim: usize,
        /// The value found.
        value: f64,
    },
    /// A feature and its center are finite, but their distance is not.
    #[error(
        "features[{sample}] is too far from center {class}: their difference overflows {dtype}"
    )]
    Distance {
        /// The row of the sample.
        sample: usize,
        /// Its class.
        class: usize,
        /// The data type of the centers.
        dtype: String,
    },
    /// The loss, or a gradient of it, is beyond the data type.
    #[error(
        "the {what} overflows {dtype}: {value:e} is the largest, at features[{sample}], and it must stay below {limit:e}"
    )]
    Overflow {
        /// `loss`, `gradient of the features` or `gradient of the centers`.
        what: &'static str,
        /// The sample that has the largest part in it.
        sample: usize,
        /// An upper bound of what overflows.
        value: f64,
        /// A little less than the largest number of the data type.
        limit: f64,
        /// The data type of the centers.
        dtype: String,
    },
    /// The device did not return the values to check.
    #[error("the batch could not be read from the device: {0}")]
    Read(String),
}
