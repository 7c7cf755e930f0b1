use burn::tensor::{DType, Int, Tensor};

use crate::device::{computes_in, is_host};
use crate::distance::{Directions, no_zero};
use crate::reduce::sum_dim;

/// Position of each feature to the vector of its class: of its sub-centers, to the closest one. All without
/// autodiff.
#[derive(Clone, Debug)]
pub(crate) struct TargetAngles {
    /// The row of that vector in the centers, `[batch_size]`.
    pub rows: Tensor<1, Int>,
    /// In `0..=pi`, `[batch_size]`; a right angle if one of both is zero.
    pub angle: Tensor<1>,
    /// `[batch_size]`
    pub cosine: Tensor<1>,
    /// `[batch_size]`
    pub sine: Tensor<1>,
    /// The norms of the features, `[batch_size]`.
    pub norms: Tensor<1>,
    /// The negative gradient of the angle by the feature, `[batch_size, feature_dim]`: a vector of length
    /// `1 / |x|`, or zero if feature and class vector are collinear or one of them is zero.
    pub by_features: Tensor<2>,
    /// The negative gradient of the angle by the class vector, of length `1 / |w|`.
    pub by_centers: Tensor<2>,
}

/// The angles between features and the vectors of their classes: with rows `u` and `w` of unit length,
///
/// ```text
/// angle = 2 atan2(|u - w|, |u + w|)
/// ```
///
/// which is exact at 0 and pi too (W. Kahan, How Futile are Mindless Assessments of Roundoff in
/// Floating-Point Computation?, 2006, section 12). The gradients are projections, so that no angle loses its
/// derivative. Sums and roots are in `f64` where the device computes in it, and so are angles on the host.
///
/// # Shapes
///
/// - features: `[batch_size, feature_dim]`
/// - centers: `[num_classes * sub_centers, feature_dim]`
/// - classes: `[batch_size]`
pub(crate) fn target_angles(
    features: &Tensor<2>,
    centers: &Tensor<2>,
    classes: &Tensor<1, Int>,
    sub_centers: usize,
) -> TargetAngles {
    let device = classes.device();
    let wide = match computes_in(&device, DType::F64) {
        true => DType::F64,
        false => features.dtype(),
    };
    by_operations(features, centers, classes, sub_centers, wide)
}

/// [`target_angles`] with sums and roots in the given data type.
pub(super) fn by_operations(
    features: &Tensor<2>,
    centers: &Tensor<2>,
    classes: &Tensor<1, Int>,
    sub_centers: usize,
    wide: DType,
) -> TargetAngles {
    let dtype = features.dtype();
    let directions = |rows: Tensor<2>| {
        let rows = rows.cast(wide);
        if wide == dtype {
            return Directions::of(rows);
        }
        // No square of an f32 overflows or vanishes in f64.
        let norms = norm(&rows);
        let units = rows / no_zero(norms.clone());
        Directions { units, norms }
    };
    let centers = centers.clone().without_autodiff();
    let vectors = |rows: &Tensor<1, Int>| directions(centers.clone().select(0, rows.clone()));
    let x = directions(features.clone().without_autodiff());
    let mut rows = classes.clone().mul_scalar(sub_centers as i64);
    let mut w = vectors(&rows);
    if sub_centers > 1 {
        let first = rows.clone();
        let cosine = |w: &Directions| dot(&x.units, &w.units).squeeze_dim::<1>(1);
        let mut largest = cosine(&w);
        for sub_center in 1..sub_centers {
            let others = first.clone().add_scalar(sub_center as i64);
            let other = cosine(&vectors(&others));
            let is_closer = other.clone().greater(largest.clone());
            rows = rows.mask_where(is_closer.clone(), others);
            largest = largest.mask_where(is_closer, other);
        }
        w = vectors(&rows);
    }
    let is_zero = (x.norms.clone().equal_elem(0.0)).bool_or(w.norms.clone().equal_elem(0.0));
    // Two unit rows at a right angle have a difference and a sum of this norm.
    let right_angle = std::f64::consts::SQRT_2;
    let norm_of = |rows: Tensor<2>| norm(&rows).mask_fill(is_zero.clone(), right_angle);
    let difference = norm_of(x.units.clone() - w.units.clone());
    let sum = norm_of(x.units.clone() + w.units.clone());
    let sine = (difference.clone() * sum.clone()).mul_scalar(0.5);
    let cosine =
        ((sum.clone() - difference.clone()) * (sum.clone() + difference.clone())).mul_scalar(0.25);
    // A sine up to this is rounding. NaN is not above it.
    let rounding = if wide == DType::F64 { 1e-14 } else { 1e-6 };
    let has_direction = sine.clone().greater_elem(rounding);
    let is_collinear = has_direction.bool_not().bool_or(is_zero);
    let negative_gradient = |to: &Directions, from: &Directions| {
        let across = to.units.clone() - from.units.clone() * cosine.clone();
        let divisors = no_zero(norm(&across)) * no_zero(from.norms.clone());
        let shape = across.dims();
        (across / divisors)
            .mask_fill(is_collinear.clone().expand(shape), 0.0)
            .cast(dtype)
    };
    // A GPU may compute in f64 without having functions of angles in it.
    let narrow = if is_host(&x.units.device()) {
        wide
    } else {
        dtype
    };
    let numbers = |column: Tensor<2>| column.squeeze_dim::<1>(1).cast(narrow);
    TargetAngles {
        angle: numbers(difference).atan2(numbers(sum)).mul_scalar(2.0),
        by_features: negative_gradient(&w, &x),
        by_centers: negative_gradient(&x, &w),
        cosine: numbers(cosine),
        sine: numbers(sine),
        norms: numbers(x.norms),
        rows,
    }
}

/// The inner products of rows, `[rows, 1]`.
fn dot(one: &Tensor<2>, other: &Tensor<2>) -> Tensor<2> {
    sum_dim(one.clone() * other.clone(), 1)
}

/// The norms of rows whose squares neither overflow nor vanish, `[rows, 1]`.
fn norm(rows: &Tensor<2>) -> Tensor<2> {
    dot(rows, rows).sqrt()
}
