//! Distances between the rows of two matrices.

use alloc::vec::Vec;
use burn::tensor::Tensor;

/// Squared Euclidean distances of all rows of `x` to all rows of `y`, by direct differences.
///
/// The expansion |x|^2 + |y|^2 - 2 x.y would be one matrix product, but loses small distances between rows far from
/// the origin. At most `max_elements` differences exist at one time, or those of one row of `x` where they are more.
///
/// # Shapes
///
/// - `x`: `[rows, feature_dim]`, at least one row
/// - `y`: `[others, feature_dim]`
/// - output: `[rows, others]`
pub(crate) fn squared_euclidean(x: Tensor<2>, y: Tensor<2>, max_elements: usize) -> Tensor<2> {
    let [rows, feature_dim] = x.dims();
    let [others, _] = y.dims();
    let rows_at_once = (max_elements / (others * feature_dim)).clamp(1, rows);
    let y = y.unsqueeze_dim::<3>(0);
    let parts: Vec<Tensor<2>> = x
        .split(rows_at_once, 0)
        .into_iter()
        .map(|part| {
            let difference = part.unsqueeze_dim::<3>(1) - y.clone();
            (difference.clone() * difference).sum_dim(2).squeeze_dim(2)
        })
        .collect();
    Tensor::cat(parts, 0)
}
