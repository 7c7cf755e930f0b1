use burn::tensor::{DType, Int, Tensor};

use crate::device::is_host;
use crate::distance::Directions;
use crate::reduce::{fusion_barrier, sum_dim};

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
    /// The directions of the features, where they are tensors on the way.
    pub directions: Option<Directions>,
    /// The negative gradient of the angle by the feature, `[batch_size, feature_dim]`: a vector of length
    /// `1 / |x|`, or zero if feature and class vector are collinear or one of them is zero.
    pub by_features: Tensor<2>,
    /// The negative gradient of the angle by the class vector, of length `1 / |w|`.
    pub by_centers: Tensor<2>,
}

/// The angles between features and the closest vectors of their classes. `pairs` finds them for features, as many
/// class vectors, and the rows of the latter in the centers.
pub(super) fn to_closest(
    features: &Tensor<2>,
    centers: &Tensor<2>,
    classes: &Tensor<1, Int>,
    sub_centers: usize,
    pairs: impl Fn(Tensor<2>, Tensor<2>, Tensor<1, Int>) -> TargetAngles,
) -> TargetAngles {
    let features = features.clone().without_autodiff();
    let centers = centers.clone().without_autodiff();
    let pairs = |rows: Tensor<1, Int>| {
        let centers = centers.clone().select(0, rows.clone());
        pairs(features.clone(), centers, rows)
    };
    let first = classes.clone().mul_scalar(sub_centers as i64);
    let found = pairs(first.clone());
    if sub_centers == 1 {
        return found;
    }
    let (mut rows, mut largest) = (found.rows, found.cosine);
    for sub_center in 1..sub_centers {
        let other = pairs(first.clone().add_scalar(sub_center as i64));
        let is_closer = other.cosine.clone().greater(largest.clone());
        rows = rows.mask_where(is_closer.clone(), other.rows);
        largest = largest.mask_where(is_closer, other.cosine);
    }
    pairs(rows)
}

/// The angles between features and as many class vectors by tensor operations. Sums and roots are in the data
/// type `wide`, and so are angles on the host.
pub(super) fn pairs(
    features: Tensor<2>,
    centers: Tensor<2>,
    rows: Tensor<1, Int>,
    wide: DType,
) -> TargetAngles {
    let dtype = features.dtype();
    // In f64 no square of an f32 overflows or vanishes.
    let has_room = wide == DType::F64 && dtype != DType::F64;
    let [x, w] = [features, centers].map(|rows| match has_room {
        true => Directions::unscaled(rows.cast(wide)),
        false => Directions::of(rows.cast(wide)),
    });
    // Burn's fusion knows no operation between masks, so that each mask fills on its own.
    let is_zero = |rows: &Directions| rows.norms.clone().equal_elem(0.0);
    // Two unit rows at a right angle have a difference and a sum of this norm.
    let right_angle = std::f64::consts::SQRT_2;
    let norm_of = |rows: Tensor<2>| {
        let norms = norm(&rows).mask_fill(is_zero(&x), right_angle);
        norms.mask_fill(is_zero(&w), right_angle)
    };
    let difference = norm_of(x.units.clone() - w.units.clone());
    let sum = norm_of(x.units.clone() + w.units.clone());
    let sine = (difference.clone() * sum.clone()).mul_scalar(0.5);
    let cosine =
        ((sum.clone() - difference.clone()) * (sum.clone() + difference.clone())).mul_scalar(0.25);
    // A sine up to this is rounding.
    let rounding = if wide == DType::F64 { 1e-14 } else { 1e-6 };
    let is_collinear = sine.clone().lower_equal_elem(rounding);
    let negative_gradient = |to: &Directions, from: &Directions| {
        // A row of the length of the sine.
        let across = to.units.clone() - from.units.clone() * cosine.clone();
        let divisors =
            (sine.clone() * from.norms.clone()).mask_fill(is_collinear.clone(), f64::INFINITY);
        (across / divisors.mask_fill(is_zero(from), f64::INFINITY)).cast(dtype)
    };
    // A GPU may compute in f64 without having functions of angles in it.
    let narrow = if is_host(&x.units.device()) {
        wide
    } else {
        dtype
    };
    let numbers = |column: Tensor<2>| column.squeeze_dim::<1>(1).cast(narrow);
    // The angle comes last: Burn's fusion knows no arc tangent, and would fuse nothing after it.
    let [by_features, by_centers] = [negative_gradient(&w, &x), negative_gradient(&x, &w)];
    let [cosine, sine] = [cosine.clone(), sine.clone()].map(numbers);
    let directions = Directions {
        units: x.units.clone().cast(dtype),
        norms: x.norms.clone().cast(dtype),
    };
    TargetAngles {
        by_features,
        by_centers,
        cosine,
        sine,
        norms: directions.norms.clone().squeeze_dim(1),
        directions: Some(directions),
        angle: fusion_barrier(numbers(difference).atan2(numbers(sum))).mul_scalar(2.0),
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
