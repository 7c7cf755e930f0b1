//! Lengths and directions of the rows of a matrix, and distances between the rows of two.

use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::reduce::{max_then, sum_dim, sum_then};

/// The distance between a feature and its center.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{CenterDistance, CenterLossConfig};
///
/// let device = Device::flex();
/// let value = |distance| {
///     let config = CenterLossConfig::new(1, 2).with_distance(distance);
///     let loss = config.init_with_centers(Tensor::from_data([[1.0, 0.0]], &device)).unwrap();
///     loss.forward(Tensor::from_data([[0.0, 3.0]], &device), Tensor::from_data([0], &device)).into_scalar::<f32>()
/// };
/// assert_eq!(value(CenterDistance::Euclidean), 5.0); // (1^2 + 3^2) / 2
/// assert_eq!(value(CenterDistance::Cosine), 1.0); // 1 - cos of a right angle
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CenterDistance {
    /// The Euclidean distance `||x - c||`.
    #[default]
    Euclidean,
    /// The Euclidean distance between directions, `|| x/||x|| - c/||c|| ||`, so that half its square
    /// is `1 - cos(x, c)`.
    ///
    /// The centers themselves are not normalised: the direct rules move them towards the normalised
    /// features, and only their direction enters the loss. A zero vector has the direction zero.
    Cosine,
}

/// The distance in the exponents of a [`DistanceSoftmax`](crate::DistanceSoftmax).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SoftmaxDistance {
    /// The squared Euclidean distance `||x - c||^2`: a mixture of Gaussians of equal width.
    #[default]
    SquaredEuclidean,
    /// The Euclidean distance `||x - c||`.
    Euclidean,
}

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
            sum_dim(difference.clone() * difference, 2).squeeze_dim(2)
        })
        .collect();
    Tensor::cat(parts, 0)
}

/// Rows divided by their Euclidean norm; a zero row stays zero.
pub(crate) fn unit_rows(rows: Tensor<2>) -> Tensor<2> {
    let (_, divisors) = root_of_largest(&rows);
    let scaled = scaled_rows(rows, divisors);
    let norms = sum_then(scaled.clone() * scaled.clone(), 1, scaled_norms);
    scaled / norms
}

/// [`unit_rows`] and [`norms`] of the same rows, without autodiff.
#[derive(Clone, Debug)]
pub(crate) struct Directions {
    /// `[rows, columns]`
    pub units: Tensor<2>,
    /// `[rows, 1]`
    pub norms: Tensor<2>,
}

impl From<Scaled> for Directions {
    fn from(scaled: Scaled) -> Self {
        Self {
            units: scaled.rows / scaled.scaled_norms,
            norms: scaled.norms,
        }
    }
}

/// Euclidean norms of the rows, `[rows, 1]`, with a gradient of zero at zero.
pub(crate) fn norms(rows: Tensor<2>) -> Tensor<2> {
    let scaled = Scaled::of(rows.clone());
    if !rows.is_autodiff() {
        return scaled.norms;
    }
    // The slope of the norm is the direction. Zeros that are multiplied with it have this slope, and
    // nothing on the way can overflow.
    let zeros = rows.clone() - rows.without_autodiff();
    sum_dim(zeros * (scaled.rows / scaled.scaled_norms), 1) + scaled.norms
}

/// Rows without autodiff, divided by their largest absolute entry where squares may overflow or vanish.
pub(crate) struct Scaled {
    /// `[rows, columns]`
    rows: Tensor<2>,
    /// Of the divided rows, `[rows, 1]`; above zero.
    scaled_norms: Tensor<2>,
    /// Of the rows as they were, `[rows, 1]`.
    norms: Tensor<2>,
}

impl Scaled {
    pub fn of(rows: Tensor<2>) -> Self {
        let rows = rows.without_autodiff();
        let (root, divisors) = root_of_largest(&rows);
        let rows = scaled_rows(rows, divisors);
        let (scaled_norms, norms) = sum_then(rows.clone() * rows.clone(), 1, |squared| {
            let norms = scaled_norms(squared);
            (norms.clone(), norms * root.clone() * root)
        });
        Self {
            rows,
            scaled_norms,
            norms,
        }
    }

    /// Rows whose squares neither overflow nor vanish, as they are.
    pub fn undivided(rows: Tensor<2>) -> Self {
        let (scaled_norms, norms) = sum_then(rows.clone() * rows.clone(), 1, |squared| {
            let norms = squared.sqrt();
            (no_zero(norms.clone()), norms)
        });
        Self {
            rows,
            scaled_norms,
            norms,
        }
    }
}

/// Rows divided by their largest absolute entry, of which the divisor is the root, so that squares neither overflow
/// nor vanish. A zero row stays zero.
///
/// Dividing by the root twice keeps gradients finite. The reciprocal of a subnormal number, which the
/// gradient of a division is multiplied by, is infinite.
fn scaled_rows(rows: Tensor<2>, divisors: Tensor<2>) -> Tensor<2> {
    rows / divisors.clone() / divisors
}

/// The root of the largest absolute entry of each row, `[rows, 1]`, as a constant: scaling by it cancels out. And the
/// same as a divisor.
fn root_of_largest(rows: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    max_then(rows.clone().without_autodiff().abs(), 1, |largest| {
        let mut root = largest.clone().sqrt();
        if root.dtype() == DType::F64 {
            // The root of a number that is not zero but below the normal ones is NaN on some GPUs.
            let is_small = largest.lower_elem(f64::MIN_POSITIVE);
            let is_lost = root.clone().is_nan().bool_and(is_small);
            root = root.mask_fill(is_lost, 0.0);
        }
        (root.clone(), no_zero(root))
    })
}

/// Divisors, with 1 in place of 0: where the divisor is zero, so is all that it divides.
pub(crate) fn no_zero<const D: usize>(divisors: Tensor<D>) -> Tensor<D> {
    let zero = divisors.clone().equal_elem(0.0);
    divisors.mask_fill(zero, 1.0)
}

/// Norms of rows whose largest entry is 1 or which are zero, from their squares; the latter are given a norm above zero,
/// since the slope of the root at zero is infinite.
fn scaled_norms(squared: Tensor<2>) -> Tensor<2> {
    let squared = squared.clamp_min(0.5);
    // A Newton step from the root has the root's value and slope. Burn 0.22.1's own slope of `sqrt` is wrong in f64 on
    // wgpu, where the power that it takes is not to be had.
    let root = squared.clone().without_autodiff().sqrt();
    (squared / root.clone() + root).mul_scalar(0.5)
}

/// Half the squared part of each row's norm beyond the radius, `[rows]`.
pub(crate) fn half_squares(rows: Tensor<2>, radius: f64) -> Tensor<1> {
    let distances = if radius > 0.0 {
        norms(rows).sub_scalar(radius).clamp_min(0.0)
    } else {
        rows
    };
    sum_dim(distances.clone() * distances.mul_scalar(0.5), 1).squeeze_dim(1)
}

/// The part of each row that lies beyond the radius, `max(0, norm - radius) / norm`, `[rows, 1]`.
pub(crate) fn beyond(rows: Tensor<2>, radius: f64) -> Tensor<2> {
    let norms = norms(rows);
    norms.clone().sub_scalar(radius).clamp_min(0.0) / no_zero(norms)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn matrix<const R: usize>(rows: [[f32; 2]; R]) -> Tensor<2> {
        Tensor::from_data(rows, &Device::flex())
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    #[test]
    fn norms_and_directions_of_rows_of_any_length() {
        let rows = matrix([[3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0], [-3.0, 0.0]]);
        for (norm, expected) in values(norms(rows.clone()))
            .iter()
            .zip([5e30, 5e-30, 0.0, 3.0])
        {
            approx::assert_relative_eq!(*norm, expected, max_relative = 1e-6);
        }
        let expected = [0.6, 0.8, 0.6, 0.8, 0.0, 0.0, -1.0, 0.0];
        for (value, expected) in values(unit_rows(rows)).iter().zip(expected) {
            approx::assert_relative_eq!(*value, expected, max_relative = 1e-6);
        }
    }

    #[test]
    fn the_norm_has_no_slope_at_zero() {
        let rows = matrix([[0.0, 0.0], [3.0, 4.0]]).autodiff().require_grad();
        let gradients = norms(rows.clone()).sum().backward();
        let gradient = values(rows.grad(&gradients).unwrap());
        for (value, expected) in gradient.iter().zip([0.0, 0.0, 0.6, 0.8]) {
            approx::assert_abs_diff_eq!(*value, expected, epsilon = 1e-6);
        }
    }

    #[test]
    fn what_lies_beyond_the_radius() {
        let rows = matrix([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]);
        assert_eq!(
            values(beyond(rows.clone(), 1.0)),
            [f64::from(0.8_f32), 0.0, 0.0]
        );
        let half_squares = |radius| values(half_squares(rows.clone(), radius));
        assert_eq!(half_squares(1.0), [8.0, 0.0, 0.0]);
        assert_eq!(half_squares(0.0)[0], 12.5);
    }

    #[test]
    fn squared_distances_of_all_pairs_in_parts_of_any_size() {
        let (x, y) = (
            matrix([[0.0, 0.0], [1e4, 1.0]]),
            matrix([[3.0, 4.0], [1e4, 0.5], [0.0, 0.0]]),
        );
        for max_elements in [1, 6, 100] {
            let squared = values(squared_euclidean(x.clone(), y.clone(), max_elements));
            assert_eq!(
                squared[..3],
                [25.0, 1e8 + 0.25, 0.0].map(|v: f64| f64::from(v as f32))
            );
            assert_eq!(squared[4], 0.25);
        }
    }
}
