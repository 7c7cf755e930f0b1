use burn::tensor::Tensor;

use crate::distance::norms;

/// `1/2 * d_i * scale(d_i)`, `[rows]`, for the part `d_i` of each row's norm that lies beyond the radius.
pub(super) fn half_squares(
    rows: Tensor<2>,
    radius: f64,
    scale: impl FnOnce(Tensor<2>) -> Tensor<2>,
) -> Tensor<1> {
    let distances = match radius > 0.0 {
        true => norms(rows).sub_scalar(radius).clamp_min(0.0),
        false => rows,
    };
    (scale(distances.clone()) * distances.mul_scalar(0.5))
        .sum_dim(1)
        .squeeze_dim(1)
}

/// The part of each row that lies beyond the radius, `max(0, 1 - radius / norm)`, `[rows, 1]`.
pub(super) fn beyond(rows: Tensor<2>, radius: f64) -> Tensor<2> {
    norms(rows)
        .clamp_min(radius)
        .recip()
        .mul_scalar(-radius)
        .add_scalar(1.0)
}
