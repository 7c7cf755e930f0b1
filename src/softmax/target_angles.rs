use burn::tensor::{DType, Int, Tensor};

use crate::device::is_host;
use crate::distance::{Directions, Scaled};
use crate::reduce::{fusion_barrier, sum_then};

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
    if sub_centers == 1 {
        return pairs(classes.clone());
    }
    let first = classes.clone().mul_scalar(sub_centers as i64);
    let found = pairs(first.clone());
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
    // A GPU may compute in f64 without having functions of angles in it.
    let narrow = match is_host(&features.device()) {
        true => wide,
        false => dtype,
    };
    // In f64 no square of an f32 overflows or vanishes.
    let has_room = wide == DType::F64 && dtype != DType::F64;
    let [x, w] = [features, centers].map(|rows| match has_room {
        true => Scaled::undivided(rows.cast(wide)),
        false => Scaled::of(rows.cast(wide)),
    });
    let [x, w] = [x, w].map(Directions::from);
    let is_zero = |rows: &Directions| rows.norms.clone().equal_elem(0.0);
    let (cosine, narrow_cosine) = sum_then(x.units.clone() * w.units.clone(), 1, |cosine| {
        (cosine.clone(), cosine.cast(narrow))
    });
    // A row of the length of the sine.
    let across =
        |to: &Directions, from: &Directions| to.units.clone() - from.units.clone() * cosine.clone();
    let of_features = across(&w, &x);
    // A sine up to this is rounding.
    let rounding = if wide == DType::F64 { 1e-14 } else { 1e-6 };
    let (sine, divisors) = sum_then(of_features.clone() * of_features, 1, |squared| {
        // With a class vector of zero the angle is a right one, as it is with such a feature.
        let sine = squared.sqrt().mask_fill(is_zero(&w), 1.0);
        let divisors = [&x, &w].map(|from| {
            let is_collinear = sine.clone().lower_equal_elem(rounding);
            let divisors = sine.clone() * from.norms.clone();
            // Burn's fusion knows no operation between masks, so that each mask fills on its own.
            divisors
                .mask_fill(is_collinear, f64::INFINITY)
                .mask_fill(is_zero(from), f64::INFINITY)
        });
        (sine.cast(narrow), divisors)
    });
    let [of_features, of_centers] = divisors;
    let by_features = (across(&w, &x) / of_features).cast(dtype);
    let by_centers = (across(&x, &w) / of_centers).cast(dtype);
    let directions = Directions {
        units: x.units.cast(dtype),
        norms: x.norms.cast(dtype),
    };
    let [cosine, sine] = [narrow_cosine, sine].map(|column| column.squeeze_dim::<1>(1));
    TargetAngles {
        // Burn's fusion knows no arc tangent, and would fuse nothing after it.
        angle: fusion_barrier(sine.clone().atan2(cosine.clone())),
        by_features,
        by_centers,
        cosine,
        sine,
        norms: directions.norms.clone().squeeze_dim(1),
        directions: Some(directions),
        rows,
    }
}
