//! Errors of settings and of losses.

use burn::tensor::ExecutionError;
use thiserror::Error;

/// Error of a loss: a setting that it cannot be made with, or a call that it refuses.
///
/// After an error, centers, statistics and schedules are as they were before the call.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{CenterLossConfig, LossError};
///
/// let device = Device::flex();
/// let loss = CenterLossConfig::new(3, 2).init(&device);
/// match loss.try_forward((Tensor::ones([1, 2], &device), Tensor::from_data([7], &device))) {
///     Err(LossError::Label { sample, label, num_classes }) => assert_eq!((sample, label, num_classes), (0, 7, 3)),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum LossError {
    /// A setting is outside its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A list does not have one value per class.
    #[error("{name} has {found} values: it must have one for each of the {num_classes} classes")]
    ClassCount {
        /// `class_weights` or `class_margins`.
        name: &'static str,
        /// The number of values.
        found: usize,
        /// The number of classes.
        num_classes: usize,
    },
    /// The value of a class is outside its range.
    #[error("{name}[{class}] is {value}: {rule}")]
    ClassValue {
        /// `class_weights` or `class_margins`.
        name: &'static str,
        /// The class.
        class: usize,
        /// The refused value.
        value: f64,
        /// The range that the value must be in.
        rule: &'static str,
    },
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
        /// The number of values.
        found: usize,
        /// The number of samples.
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
    /// A sample weight is outside its range.
    #[error("weights[{sample}] is {value}: {WEIGHT_RULE}")]
    Weight {
        /// The row of the sample.
        sample: usize,
        /// Its weight.
        value: f64,
    },
    /// The given centers are not of the expected shape.
    #[error("centers have shape {found:?}: it must be [num_classes, feature_dim] = {expected:?}")]
    CentersShape {
        /// The shape of the given centers.
        found: [usize; 2],
        /// `[num_classes, feature_dim]`, or `[num_classes * sub_centers, feature_dim]`.
        expected: [usize; 2],
    },
    /// A center is not finite: it was given so, a training diverged, or a checkpoint is bad.
    #[error("centers[{row}][{dim}] is {value}: every center must be finite")]
    Center {
        /// The row of the centers, which is the class if each has one center.
        row: usize,
        /// The column.
        dim: usize,
        /// The value found.
        value: f64,
    },
    /// The loss of a sample, or the step that it asks of its center, is beyond the data type.
    #[error(
        "the {name} of features[{sample}] is not finite in {dtype}: features, weights and rates must be smaller"
    )]
    NotFinite {
        /// `loss`, or `step of the center`.
        name: &'static str,
        /// The row of the sample, or of the update.
        sample: usize,
        /// The data type of the centers.
        dtype: String,
    },
    /// The device computes in `f64`, but has no exponentials or angles in it, as GPUs under Vulkan.
    #[error("dtype is F64: {device} must have exponentials, logarithms and angles in f64")]
    DType {
        /// The device.
        device: String,
    },
    /// An update of the centers does not fit: it comes from a loss of another shape or data type.
    #[error("the update has {name} {found}: {rule} {expected}")]
    Update {
        /// `feature_dim`, `num_classes` or `dtype`.
        name: &'static str,
        /// The value of the update.
        found: String,
        /// The relation that the value must have to the expected one.
        rule: &'static str,
        /// The value of the loss, or of the update that it was merged with.
        expected: String,
    },
    /// The update rule does not move the centers by itself.
    #[error("update_rule is {rule}: only direct rules have {name}")]
    Rule {
        /// The rule of this loss.
        rule: String,
        /// The thing that was asked for.
        name: &'static str,
    },
    /// An update was given to a loss that is frozen or in validation mode.
    #[error("the centers are frozen (`freeze`, `valid`): they take no update")]
    Frozen,
    /// Too many updates are pending: `forward` keeps them, and nothing applies them.
    #[error("{count} updates wait for apply_pending: call it where the optimizer steps")]
    PendingNotApplied {
        /// The number of waiting updates.
        count: usize,
    },
    /// The backend failed in the middle of an earlier update.
    #[error(
        "the centers were lost when the backend failed during an update: load the last checkpoint"
    )]
    CentersLost,
    /// A device did not return values.
    #[error("the device returned no values: {0}")]
    Read(String),
}

impl From<ExecutionError> for LossError {
    fn from(error: ExecutionError) -> Self {
        Self::Read(error.to_string())
    }
}

/// The range of sample and class weights. Products of two of them are within `f32`.
pub(crate) const WEIGHT_RULE: &str = "it must be 0 or in 1e-15..=1e15";

/// Whether a number is a sample or class weight.
pub(crate) fn is_weight(value: f64) -> bool {
    value == 0.0 || (1e-15..=1e15).contains(&value)
}

/// A setting that is outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("{name} is {value}: {rule}")]
pub struct SettingError {
    /// The setting's name.
    pub name: &'static str,
    /// The refused value.
    pub value: f64,
    /// The range that the value must be in.
    pub rule: &'static str,
}

/// The value, if it is finite and not negative.
pub(crate) fn not_negative(name: &'static str, value: f64) -> Result<f64, SettingError> {
    let rule = "it must be finite and not negative";
    within(name, value, value.is_finite() && value >= 0.0, rule)
}

/// The value, if it is between 0 and 1, both included.
pub(crate) fn fraction(name: &'static str, value: f64) -> Result<f64, SettingError> {
    within(
        name,
        value,
        (0.0..=1.0).contains(&value),
        "it must be in 0..=1",
    )
}

/// The value, if it is not zero.
pub(crate) fn at_least_one(name: &'static str, value: u64) -> Result<u64, SettingError> {
    within(name, value as f64, value > 0, "it must be at least 1")?;
    Ok(value)
}

/// The value, if it is an angle from 0 to below pi.
pub(crate) fn radians(name: &'static str, value: f64) -> Result<f64, SettingError> {
    within(
        name,
        value,
        (0.0..std::f64::consts::PI).contains(&value),
        "it must be at least 0 and below pi, in radians (degrees times pi / 180)",
    )
}

/// The value, if it is greater than 0 and finite.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<f64, SettingError> {
    within(
        name,
        value,
        value.is_finite() && value > 0.0,
        "it must be finite and greater than 0",
    )
}

/// The value, if it is within the range that the rule describes.
pub(crate) fn within(
    name: &'static str,
    value: f64,
    is_within: bool,
    rule: &'static str,
) -> Result<f64, SettingError> {
    if is_within {
        Ok(value)
    } else {
        Err(SettingError { name, value, rule })
    }
}
