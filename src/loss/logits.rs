use burn::tensor::Tensor;

use super::surface::LossConfig;
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
    Ok(rules
        .check(batch, centers.device(), centers.dtype())?
        .features)
}
