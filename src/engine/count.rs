use super::counting::{Counted, count_on_device, count_strictly};
#[cfg(feature = "flex")]
use super::host;
use crate::batch::{BatchError, BatchRules, Checking, FittedBatch, Weighing};
#[cfg(feature = "flex")]
use crate::device::{Engine, engine_of};

/// Decides which samples count: those that are not ignored under strict checking, which refuses a bad
/// sample, and of these the good ones under deferred checking.
///
/// On devices whose memory the host does not reach, strict checking refuses a bad sample later, when the losses
/// are accepted.
pub(crate) fn count<'a>(
    batch: FittedBatch,
    rules: &BatchRules,
    weighing: Weighing<'a>,
) -> Result<Counted<'a>, BatchError> {
    #[cfg(feature = "flex")]
    if let Engine::Host = engine_of(&batch.device())
        && let Some(counted) = host::count(&batch, rules, &weighing)
    {
        return Ok(counted);
    }
    match rules.checking {
        Checking::Strict => count_strictly(batch, rules, weighing),
        Checking::Deferred => Ok(count_on_device(&batch, rules, &weighing)),
    }
}
