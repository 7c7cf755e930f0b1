use thiserror::Error;

use crate::batch::{BatchError, ClassWeightsError};
use crate::centers::CentersError;
use crate::error::SettingError;

/// Why a [`MarginSoftmax`](crate::MarginSoftmax) could not be made, or refused a call.
///
/// Whatever the error, statistics and schedules are as they were before the call.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum MarginSoftmaxError {
    /// A setting is outside its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The class weights are not one per class, or one of them is not a weight.
    #[error(transparent)]
    ClassWeights(#[from] ClassWeightsError),
    /// There is not one margin per class.
    #[error(
        "class_margins has {found} values: it must have one for each of the {num_classes} classes"
    )]
    ClassMarginCount {
        /// How many margins there are.
        found: usize,
        /// How many there must be.
        num_classes: usize,
    },
    /// The margin of a class is outside its range.
    #[error(
        "class_margins[{class}] is {value}: it must be in the range of the margin, an angle in radians below pi (not in degrees)"
    )]
    ClassMargin {
        /// The class.
        class: usize,
        /// Its margin.
        value: f64,
    },
    /// The batch was refused.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Given class vectors were refused.
    #[error(transparent)]
    Centers(#[from] CentersError),
}
