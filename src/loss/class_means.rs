use burn::tensor::{DType, IndexingUpdateOp, Int, Tensor};

use super::common::LossConfig;
use crate::batch::{Checking, LabelledBatch, Weighing};
use crate::centers::Centers;
use crate::distance::{CenterDistance, no_zero, unit_rows};
use crate::error::{LossError, within};

/// Centers at the means of the samples of each class. A class without samples keeps its center. The means are
/// those of unit features under the cosine distance.
pub(crate) fn class_means<C: LossConfig>(
    config: &C,
    centers: &Centers,
    batches: impl IntoIterator<Item = (Tensor<2>, Tensor<1, Int>)>,
) -> Result<Tensor<2>, LossError> {
    let sub_centers = config.sub_centers();
    let rule = "it must be 1 for a start at class means";
    within("sub_centers", sub_centers as f64, sub_centers == 1, rule)?;
    let device = centers.device();
    let [num_classes, _] = centers.shape();
    let options = (device, DType::from(centers.dtype()));
    let mut means = centers.constant().zeros_like();
    let mut seen = Tensor::<1>::zeros([num_classes], options);
    let rules = config.rules(Checking::Strict);
    for (features, labels) in batches {
        let batch = LabelledBatch::new(features.without_autodiff(), labels);
        let mut batch = rules.check(batch, device, centers.dtype())?;
        let features = match config.distance() {
            CenterDistance::Euclidean => batch.features(),
            CenterDistance::Cosine => unit_rows(batch.features()),
        };
        let zeros = Tensor::zeros([features.dims()[0]], options);
        batch.weigh(&zeros, None, &Weighing::plain(), &means)?;
        let (classes, weights) = (batch.classes.clone(), batch.weights());
        seen = seen.select_assign(0, classes.clone(), weights.clone(), IndexingUpdateOp::Add);
        // The mean moves by the share that the batch has in all samples seen.
        let shares = weights / no_zero(seen.clone().select(0, classes.clone()));
        let rows = (features - means.clone().select(0, classes.clone())) * shares.unsqueeze_dim(1);
        means = means.select_assign(0, classes, rows, IndexingUpdateOp::Add);
    }
    let is_absent = seen.equal_elem(0.0).unsqueeze_dim::<2>(1);
    Ok(means.mask_where(is_absent.expand(centers.shape()), centers.constant()))
}
