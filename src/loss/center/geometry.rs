use burn::tensor::Tensor;

/// Rows divided by their Euclidean norm; a zero row stays zero.
///
/// Each row is divided by its largest entry first, so that squares neither overflow nor vanish.
pub(super) fn unit_rows(rows: Tensor<2>) -> Tensor<2> {
    let scaled = rows.clone() / no_zero(largest(&rows));
    let norms = scaled_norms(scaled.clone());
    scaled / norms
}

/// Euclidean norms of the rows, `[rows, 1]`, with a gradient of zero at zero.
pub(super) fn norms(rows: Tensor<2>) -> Tensor<2> {
    let largest = largest(&rows);
    scaled_norms(rows / no_zero(largest.clone())) * largest
}

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

/// The largest absolute entry of each row, `[rows, 1]`, as a constant: scaling by it cancels out.
fn largest(rows: &Tensor<2>) -> Tensor<2> {
    rows.clone().without_autodiff().abs().max_dim(1)
}

fn no_zero(scales: Tensor<2>) -> Tensor<2> {
    let zero = scales.clone().equal_elem(0.0);
    scales.mask_fill(zero, 1.0)
}

/// Norms of rows whose largest entry is 1 or which are zero; the latter are given a norm above zero, since the slope of
/// the root at zero is infinite.
fn scaled_norms(rows: Tensor<2>) -> Tensor<2> {
    (rows.clone() * rows).sum_dim(1).clamp_min(0.5).sqrt()
}
