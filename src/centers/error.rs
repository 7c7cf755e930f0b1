use alloc::string::String;
use thiserror::Error;

/// Why centers, or an update of centers, were refused. The centers are as they were before the call.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum CentersError {
    /// The given centers do not have one row of `feature_dim` values per class.
    #[error("centers have shape {found:?}: it must be [num_classes, feature_dim] = {expected:?}")]
    Shape {
        /// The shape of the given centers.
        found: [usize; 2],
        /// `[num_classes, feature_dim]`.
        expected: [usize; 2],
    },
    /// A given center is infinite or NaN.
    #[error("centers[{class}] has a value that is not finite: every center must be finite")]
    NotFinite {
        /// The class of that center.
        class: usize,
    },
    /// Two updates of different feature dimensions were merged, or an update of another dimension
    /// was applied.
    #[error("the update has feature_dim {found}: it must have {expected}")]
    UpdateFeatureDim {
        /// The width of the update.
        found: usize,
        /// The width that was asked for.
        expected: usize,
    },
    /// The update was measured on a loss with more classes.
    #[error("the update is of {found} classes: this loss has {num_classes}")]
    UpdateClasses {
        /// The number of classes that the update may name.
        found: usize,
        /// The number of classes of the loss.
        num_classes: usize,
    },
    /// The update was measured in another data type.
    #[error("the update is in {found}: it must be in {expected}")]
    UpdateDType {
        /// The data type of the update.
        found: String,
        /// The data type that was asked for.
        expected: String,
    },
    /// The step that the update rule asks for is too large for the centers' data type.
    #[error(
        "the update moves a center by up to {step:e}: it must stay below {limit:e} (alpha is {alpha})"
    )]
    UpdateOverflow {
        /// An upper bound of the step.
        step: f64,
        /// A quarter of the largest number of the centers' data type.
        limit: f64,
        /// The rate of the centers.
        alpha: f64,
    },
    /// The device computes in `f64`, but has no exponentials or angles in it, as GPUs under Vulkan.
    #[error("precision is F64: {device} must have exponentials, logarithms and angles in f64")]
    Precision {
        /// The device.
        device: String,
    },
    /// The backend failed in the middle of an earlier update.
    #[error(
        "the centers were lost when the backend failed during an update: load the last checkpoint"
    )]
    Lost,
    /// The device of an update did not return it.
    #[error("the update could not be read from its device: {0}")]
    ReadUpdate(String),
    /// The device did not return the centers.
    #[error("the centers could not be read from the device: {0}")]
    Read(String),
}
