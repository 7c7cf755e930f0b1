use burn::tensor::{Int, Tensor};

use super::problem::Scale;
use crate::distance::{norms, unit_rows};
use crate::reduce::max_dim;

/// The scores of features without any margin, `[batch_size, num_classes]`, on the graph of both inputs. A zero
/// vector has cosine 0 with everything and receives no gradient.
///
/// # Shapes
///
/// - features: `[batch_size, feature_dim]`
/// - centers: `[num_classes * sub_centers, feature_dim]`
pub(crate) fn logits(
    features: Tensor<2>,
    centers: Tensor<2>,
    sub_centers: usize,
    scale: Scale,
) -> Tensor<2> {
    let units = |rows| unit_rows(constant_at_zero(rows));
    let (cosines, _) = cosines(&units(features.clone()), &units(centers), sub_centers);
    match scale {
        Scale::Fixed(scale) => cosines.mul_scalar(scale),
        Scale::Length(scale) => cosines * norms(features).mul_scalar(scale),
    }
}

/// The rows, with zero rows as constants: no gradient can turn a row without a direction.
fn constant_at_zero(rows: Tensor<2>) -> Tensor<2> {
    if !rows.is_autodiff() {
        return rows;
    }
    let largest = max_dim(rows.clone().without_autodiff().abs(), 1);
    let is_zero = largest.equal_elem(0.0).expand(rows.dims());
    rows.mask_fill(is_zero, 0.0)
}

/// The largest cosine between each feature and the sub-centers of each class, and the number of the closest one
/// if there are several. `[batch_size, classes]` each.
pub(super) type Cosines = (Tensor<2>, Option<Tensor<2, Int>>);

/// The cosines between rows of unit length. NaN may lose against a number.
pub(super) fn cosines(features: &Tensor<2>, centers: &Tensor<2>, sub_centers: usize) -> Cosines {
    let cosines = |sub_center| {
        let centers = every(centers, sub_centers, sub_center);
        features.clone().matmul(centers.transpose())
    };
    let mut largest = cosines(0);
    if sub_centers == 1 {
        return (largest, None);
    }
    let mut closest = Tensor::zeros(largest.dims(), &largest.device().without_autodiff());
    for sub_center in 1..sub_centers {
        let other = cosines(sub_center);
        let is_closer = other.clone().greater(largest.clone());
        largest = largest.mask_where(is_closer.clone(), other);
        closest = closest.mask_fill(is_closer, sub_center as i64);
    }
    (largest, Some(closest))
}

/// One sub-center of every class, `[classes, feature_dim]`.
pub(super) fn every(centers: &Tensor<2>, sub_centers: usize, sub_center: usize) -> Tensor<2> {
    let [rows, feature_dim] = centers.dims();
    if sub_centers == 1 {
        return centers.clone();
    }
    centers
        .clone()
        .reshape([rows / sub_centers, sub_centers, feature_dim])
        .narrow(1, sub_center, 1)
        .squeeze_dim(1)
}
