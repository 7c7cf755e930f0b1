//! The weighed losses of a batch.

use burn::tensor::Tensor;

use crate::batch::{CheckedBatch, SkippedCounter, Weighing};
use crate::error::LossError;
use crate::reduce::{max_dim, sum_dim};

/// The weighed loss of a batch. `losses` is the formula: the loss of each sample, `[batch_size]`, which must be
/// finite where the batch is [masked](CheckedBatch::masked).
pub(super) fn weigh(
    mut batch: CheckedBatch,
    centers: Tensor<2>,
    weighing: &Weighing,
    skipped: &SkippedCounter,
    losses: impl Fn(&CheckedBatch, Tensor<2>) -> Tensor<1>,
) -> Result<Tensor<1>, LossError> {
    let found = losses(&batch, centers.clone());
    let constants = found.clone().without_autodiff();
    let constant_centers = centers.clone().without_autodiff();
    let weights = batch.weigh(&constants, None, weighing, &constant_centers)?;
    let Some(counts) = weights.skipped.clone() else {
        return Ok(weights.apply(found));
    };
    skipped.add(counts);
    // Samples whose loss is not finite are masked only now. If no sample is left, a center may be the cause.
    let none_left = max_dim(batch.weights(), 0).equal_elem(0.0);
    let shape = centers.dims();
    let centers = centers.mask_fill(none_left.unsqueeze_dim::<2>(1).expand(shape), 0.0);
    Ok(weights.apply(losses(&batch, centers)))
}

/// The differences of the features from rows, `[batch_size, feature_dim]` or `[1, feature_dim]`. Zero where a
/// sample takes no part.
pub(super) fn offsets(batch: &CheckedBatch, rows: Tensor<2>) -> Tensor<2> {
    batch.masked(batch.features() - rows)
}

/// The squared norms of rows, `[rows, 1]`.
pub(super) fn squares(rows: Tensor<2>) -> Tensor<2> {
    sum_dim(rows.clone() * rows, 1)
}

/// Zeros, with NaN where a number is not finite. Without autodiff.
pub(super) fn nan_unless_finite(numbers: &Tensor<2>) -> Tensor<2> {
    numbers.clone().without_autodiff().mul_scalar(0.0)
}
