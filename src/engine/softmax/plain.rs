//! The reference: all scores at once, by Burn's tensor operations and their own autodiff.

use burn::tensor::{Int, Tensor};

use super::problem::{Scale, Softmax};
use crate::distance::{norms, unit_rows};
use crate::reduce::{max_dim, sum_dim};

/// The loss of each sample, `[batch_size]`.
pub(super) fn losses(problem: &Softmax) -> Tensor<1> {
    let (features, centers) = (problem.features.clone(), problem.centers.clone());
    let [batch_size, _] = features.dims();
    let num_classes = centers.dims()[0] / problem.sub_centers;
    let cosines = cosines(features.clone(), centers, problem.sub_centers);
    let cosines = match problem.bound {
        Some(bound) => cosines.clamp(-bound, bound),
        None => cosines,
    };
    let classes = problem.classes.clone().unsqueeze_dim::<2>(1);
    let is_own = classes
        .clone()
        .expand([batch_size, num_classes])
        .equal(columns(0, batch_size, num_classes, &problem.classes));
    let own = own_values(problem);
    let scores = cosines.mask_where(is_own, own.expand([batch_size, num_classes]));
    let scores = scaled(scores, features, problem.scale);
    let largest = max_dim(scores.clone().without_autodiff(), 1);
    let shifted = scores - largest;
    let total = sum_dim(shifted.clone().exp(), 1).log();
    let own = shifted.clone().gather(1, classes);
    let losses = total - own.mul_scalar(1.0 - problem.smoothing);
    let losses = if problem.smoothing > 0.0 {
        losses - sum_dim(shifted, 1).mul_scalar(problem.smoothing / num_classes as f64)
    } else {
        losses
    };
    losses.squeeze_dim(1)
}

/// The cosines between features and classes, `[batch_size, num_classes]`; of the sub-centers of a class,
/// the largest one. A zero vector has cosine 0 with everything and receives no gradient.
fn cosines(features: Tensor<2>, centers: Tensor<2>, sub_centers: usize) -> Tensor<2> {
    let unit = |rows| unit_rows(constant_at_zero(rows));
    let cosines = unit(features).matmul(unit(centers).transpose());
    if sub_centers == 1 {
        return cosines;
    }
    let [batch_size, columns] = cosines.dims();
    let shape = [batch_size, columns / sub_centers, sub_centers];
    max_dim(cosines.reshape(shape), 2).squeeze_dim(2)
}

/// The rows, with zero rows as constants: a zero row has no direction that a gradient could turn.
fn constant_at_zero(rows: Tensor<2>) -> Tensor<2> {
    if !rows.is_autodiff() {
        return rows;
    }
    let largest = max_dim(rows.clone().without_autodiff().abs(), 1);
    let is_zero = largest.equal_elem(0.0).expand(rows.dims());
    rows.mask_fill(is_zero, 0.0)
}

fn scaled(scores: Tensor<2>, features: Tensor<2>, scale: Scale) -> Tensor<2> {
    match scale {
        Scale::Fixed(scale) => scores.mul_scalar(scale),
        Scale::Length(scale) => scores * norms(features).mul_scalar(scale),
    }
}

/// The scores of features without any margin, `[batch_size, num_classes]`, on their graph.
pub(crate) fn logits(
    features: Tensor<2>,
    centers: Tensor<2>,
    sub_centers: usize,
    scale: Scale,
) -> Tensor<2> {
    scaled(
        cosines(features.clone(), centers, sub_centers),
        features,
        scale,
    )
}

/// The numbers of the classes from `first` on, in each row: `[rows, count]`.
pub(super) fn columns(
    first: usize,
    rows: usize,
    count: usize,
    like: &Tensor<1, Int>,
) -> Tensor<2, Int> {
    let last = (first + count) as i64;
    Tensor::<1, Int>::arange(first as i64..last, &like.device())
        .cast(like.dtype())
        .unsqueeze_dim::<2>(0)
        .expand([rows, count])
}

/// The changed scores of the own classes, `[batch_size, 1]`, which change with features and centers at
/// the given slope.
fn own_values(problem: &Softmax) -> Tensor<2> {
    let (device, dtype) = (problem.classes.device(), problem.features.dtype());
    let column =
        |numbers: &crate::batch::PerSample| numbers.clone().column(&device, dtype).cast(dtype);
    let (value, slope) = (column(&problem.own.value), column(&problem.own.slope));
    let by = |vectors: Tensor<2>, rate: &Tensor<2>| {
        let change = vectors.clone() - vectors.without_autodiff();
        sum_dim(change * rate.clone() * slope.clone(), 1)
    };
    let own_centers = problem
        .centers
        .clone()
        .select(0, problem.angles.rows.clone());
    value
        + by(problem.features.clone(), &problem.angles.by_features)
        + by(own_centers, &problem.angles.by_centers)
}
