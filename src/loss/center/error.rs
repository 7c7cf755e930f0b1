#[cfg(feature = "std")]
use alloc::string::String;
use thiserror::Error;

use super::rule::UpdateRule;
use crate::batch::{BatchError, ClassWeightsError};
use crate::centers::CentersError;
use crate::error::SettingError;

/// Why a [`CenterLoss`](crate::CenterLoss) could not be made, or refused a call.
///
/// Whatever the error, the centers and the schedules are as they were before the call.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum CenterLossError {
    /// A setting is outside its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The class weights are not one per class, or one of them is not a weight.
    #[error(transparent)]
    ClassWeights(#[from] ClassWeightsError),
    /// The batch was refused.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Given centers, or an update of the centers, were refused.
    #[error(transparent)]
    Centers(#[from] CentersError),
    /// An update was given to a loss that does not move its centers itself.
    #[error("update_rule is {rule:?}: only direct rules apply a CenterUpdate")]
    RuleTakesNoUpdate {
        /// The rule of this loss.
        rule: UpdateRule,
    },
    /// Alpha was set on a loss that does not move its centers itself.
    #[error("update_rule is {rule:?}: only direct rules have an alpha")]
    RuleHasNoAlpha {
        /// The rule of this loss.
        rule: UpdateRule,
    },
    /// An update was given to a loss that is frozen or in validation mode.
    #[error("the centers are frozen (`freeze`, `valid`): they take no CenterUpdate")]
    Frozen,
    /// A worker of [`UpdateTiming::OnStepOfWorkers`](crate::UpdateTiming) has ended, by a panic or
    /// otherwise, while others need its updates.
    #[cfg(feature = "std")]
    #[error("the worker {worker} has ended: no update can be applied without it")]
    WorkerGone {
        /// Its thread, and its name if it has one.
        worker: String,
    },
    /// More threads train than [`UpdateTiming::OnStepOfWorkers`](crate::UpdateTiming) has workers.
    #[cfg(feature = "std")]
    #[error("workers is {workers}: {worker} would be one more")]
    TooManyWorkers {
        /// Its thread, and its name if it has one.
        worker: String,
        /// The number of workers of the rule.
        workers: usize,
    },
    /// `forward` has noted update after update, and nobody applied them.
    #[error("{count} updates wait for apply_pending: call it where the optimizer steps")]
    PendingNotApplied {
        /// How many updates wait.
        count: usize,
    },
}
