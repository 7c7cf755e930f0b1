//! Scores of all classes, which some losses have beside their value.

use burn::tensor::Tensor;

use super::common::{Call, LossConfig};
use crate::batch::{BatchRules, Checking, LabelledBatch};
use crate::centers::Centers;
use crate::error::LossError;

/// Features without labels, for logits: on the device of the centers, and in their data type.
pub(crate) fn checked_features<C: LossConfig>(
    config: &C,
    centers: &Centers,
    features: Tensor<2>,
) -> Result<Tensor<2>, LossError> {
    centers.check_present()?;
    let [rows, _] = features.dims();
    let labels = Tensor::zeros([rows], &features.device().without_autodiff());
    let rules = BatchRules {
        ignore_label: None,
        ..config.rules(Checking::Strict)
    };
    let batch = LabelledBatch::new(features, labels);
    let batch = rules.check(batch, centers.device(), centers.dtype())?;
    Ok(batch.features())
}

/// A loss whose scores are at hand after a pass.
pub(crate) trait LossWithLogits {
    /// The value of a batch, and the logits without autodiff if they are wanted.
    fn value_and_logits(
        &self,
        batch: LabelledBatch,
        call: Call,
        wants_logits: bool,
    ) -> Result<(Tensor<1>, Option<Tensor<2>>), LossError>;
}

/// Writes the methods that give loss and logits from one pass.
macro_rules! logits_methods {
    ($Loss:ident) => {
        impl $Loss {
            /// The loss of a batch, and the scores of all classes from the same pass. It trains as
            /// [`forward`](Self::forward) does.
            ///
            /// The scores are those of [`logits`](Self::logits) as a constant without autodiff. A sample that
            /// takes no part has scores of 0.
            ///
            /// # Shapes
            ///
            /// - features: `[batch_size, feature_dim]`
            /// - labels: `[batch_size]`
            /// - output: `[1]`, and `[batch_size, num_classes]`
            ///
            /// # Panics
            ///
            /// With the message of [`try_forward_with_logits`](Self::try_forward_with_logits). The loss is
            /// unchanged then.
            pub fn forward_with_logits(
                &self,
                features: burn::tensor::Tensor<2>,
                labels: burn::tensor::Tensor<1, burn::tensor::Int>,
            ) -> (burn::tensor::Tensor<1>, burn::tensor::Tensor<2>) {
                self.try_forward_with_logits((features, labels))
                    .unwrap_or_else(|error| panic!("{error}"))
            }

            /// [`forward_with_logits`](Self::forward_with_logits) with errors as values, also for sample
            /// weights.
            ///
            /// # Errors
            ///
            /// As [`try_forward`](Self::try_forward).
            pub fn try_forward_with_logits(
                &self,
                batch: impl Into<crate::LabelledBatch>,
            ) -> Result<(burn::tensor::Tensor<1>, burn::tensor::Tensor<2>), crate::LossError> {
                use crate::loss::common::Call;
                use crate::loss::logits::LossWithLogits;
                let (value, logits) = self.value_and_logits(batch.into(), Call::FORWARD, true)?;
                Ok((value, logits.expect("the logits are wanted")))
            }
        }
    };
}

pub(crate) use logits_methods;
