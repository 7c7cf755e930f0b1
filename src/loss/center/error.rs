use alloc::string::String;
use thiserror::Error;

use super::config::UpdateRule;

/// Why a [`CenterLoss`](super::CenterLoss) could not be made or refused a batch.
///
/// Whatever the error, the centers are as they were before the call.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum CenterLossError {
    /// `num_classes` is zero.
    #[error("num_classes is 0: it must be at least 1")]
    ZeroClasses,
    /// `feature_dim` is zero.
    #[error("feature_dim is 0: it must be at least 1")]
    ZeroFeatureDim,
    /// A rate or the radius is negative, infinite or NaN.
    #[error("{name} is {value}: it must be finite and not negative")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// The refused value.
        value: f64,
    },
    /// A schedule that is not defined at every step.
    #[error("{name} is {value}: {rule}")]
    Schedule {
        /// The schedule's field.
        name: &'static str,
        /// The refused value.
        value: f64,
        /// What the value must be.
        rule: &'static str,
    },
    /// There is not one class weight per class.
    #[error(
        "class_weights has {found} values: it must have one for each of the {num_classes} classes"
    )]
    ClassWeightCount {
        /// How many class weights there are.
        found: usize,
        /// How many there must be.
        num_classes: usize,
    },
    /// A class weight is negative, infinite or NaN.
    #[error("class_weights[{class}] is {value}: it must be finite and not negative")]
    ClassWeight {
        /// The class.
        class: usize,
        /// Its weight.
        value: f64,
    },
    /// The given centers do not have one row of `feature_dim` values per class.
    #[error("centers have shape {found:?}: it must be [num_classes, feature_dim] = {expected:?}")]
    CentersShape {
        /// The shape of the given centers.
        found: [usize; 2],
        /// `[num_classes, feature_dim]`.
        expected: [usize; 2],
    },
    /// A given center is infinite or NaN.
    #[error("centers[{class}] has a value that is not finite: every center must be finite")]
    CenterNotFinite {
        /// The class of that center.
        class: usize,
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
        /// How many there are.
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
        /// Its label.
        label: i64,
        /// The number of classes.
        num_classes: usize,
    },
    /// A feature is infinite or NaN.
    #[error("features[{sample}][{dim}] is {value}: every feature must be finite")]
    Feature {
        /// The row of the sample.
        sample: usize,
        /// The column.
        dim: usize,
        /// The refused value.
        value: f64,
    },
    /// A sample is finite, but its difference from its center is not.
    #[error(
        "features[{sample}] is too far from center {class}: their difference overflows {dtype}"
    )]
    Difference {
        /// The row of the sample.
        sample: usize,
        /// Its class.
        class: usize,
        /// The data type of the centers.
        dtype: String,
    },
    /// A sample weight is negative, infinite or NaN.
    #[error("weights[{sample}] is {value}: it must be finite and not negative")]
    Weight {
        /// The row of the sample.
        sample: usize,
        /// Its weight.
        value: f64,
    },
    /// The step that the update rule asks for is too large for the centers' data type.
    #[error(
        "the update moves a center by up to {step:e}: it must stay below {limit:e} (alpha is {alpha})"
    )]
    UpdateOverflow {
        /// An upper bound of the step.
        step: f64,
        /// What the data type of the centers allows.
        limit: f64,
        /// The rate of the centers.
        alpha: f64,
    },
    /// An update was handed to a loss whose rule does not take updates.
    #[error("update_rule is {rule:?}: only Paper, Mean and Sum apply a CenterUpdate")]
    RuleTakesNoUpdate {
        /// The rule of this loss.
        rule: UpdateRule,
    },
    /// An update was handed to a loss that is frozen or in validation mode.
    #[error("the centers are frozen (`freeze`, `valid`): they take no CenterUpdate")]
    Frozen,
    /// Two updates of different feature dimensions were merged, or an update of another dimension was applied.
    #[error("the update has feature_dim {found}: it must have {expected}")]
    UpdateShape {
        /// The width of the update.
        found: usize,
        /// The width that was asked for.
        expected: usize,
    },
    /// `forward` has noted update after update, and nobody applied them.
    #[error("{count} updates wait for apply_pending: call it where the optimizer steps")]
    PendingNotApplied {
        /// How many updates wait.
        count: usize,
    },
    /// What deferred checking left out since the last [`check`](super::CenterLoss::check).
    #[error(
        "{labels} labels outside 0..num_classes, {features} samples with features that are not finite and {weights} \
         invalid weights were left out since the last check"
    )]
    LeftOut {
        /// Samples whose label names no class.
        labels: u64,
        /// Samples with an infinite or NaN feature.
        features: u64,
        /// Samples with a negative, infinite or NaN weight.
        weights: u64,
    },
    /// The device could not hand back the values to check.
    #[error("the batch could not be read from the device: {0}")]
    Read(String),
}
