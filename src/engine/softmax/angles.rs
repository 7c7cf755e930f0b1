use alloc::vec::Vec;
use burn::tensor::{Bool, DType, Int, Tensor};

use super::arithmetic::Arithmetic;
use super::problem::Angles;
use crate::batch::PerSample;
#[cfg(any(feature = "flex", feature = "_kernels"))]
use crate::device::{Engine, engine_of};
use crate::distance::no_zero;
#[cfg(feature = "_kernels")]
use crate::engine::cube;
#[cfg(feature = "flex")]
use crate::engine::host;
use crate::reduce::{max_dim, sum_dim};

/// The angles between features and the vectors of their classes, from products in `f64` where the device has
/// it.
///
/// The part of one vector that is orthogonal to the other gives sine and direction. It is taken twice, so
/// that no part along the other one is left by rounding. There is neither an arc cosine nor a clamp, and
/// so no angle at which the derivative is lost.
///
/// # Shapes
///
/// - features: `[batch_size, feature_dim]`
/// - centers: `[num_classes * sub_centers, feature_dim]`
/// - classes: `[batch_size]`
pub(crate) fn own_angles(
    features: Tensor<2>,
    centers: Tensor<2>,
    classes: Tensor<1, Int>,
    sub_centers: usize,
) -> Angles {
    let (features, centers) = (features.without_autodiff(), centers.without_autodiff());
    #[cfg(feature = "flex")]
    if let Engine::Host = engine_of(&classes.device())
        && let Some(angles) = host::own_angles(&features, &centers, &classes, sub_centers)
    {
        return angles;
    }
    let arithmetic = Arithmetic::of(&features.device(), features.dtype());
    #[cfg(feature = "_kernels")]
    if let Engine::Cube = engine_of(&classes.device()) {
        return cube::own_angles(features, centers, classes, sub_centers, arithmetic);
    }
    by_operations(features, centers, classes, sub_centers, arithmetic)
}

/// [`own_angles`] by tensor operations.
pub(super) fn by_operations(
    features: Tensor<2>,
    centers: Tensor<2>,
    classes: Tensor<1, Int>,
    sub_centers: usize,
    arithmetic: Arithmetic,
) -> Angles {
    let dtype = features.dtype();
    let vectors = |rows: Tensor<2>| Vectors::new(rows.cast(arithmetic.dtype), &arithmetic);
    let x = vectors(features);
    let first = classes.mul_scalar(sub_centers as i64);
    let of_sub_center = |sub_center: usize| {
        let rows = first.clone().add_scalar(sub_center as i64);
        let w = vectors(centers.clone().select(0, rows.clone()));
        (rows, w)
    };
    let (rows, w) = if sub_centers == 1 {
        of_sub_center(0)
    } else {
        let cosines: Vec<Tensor<2>> = (0..sub_centers)
            .map(|sub_center| x.cosine(&of_sub_center(sub_center).1))
            .collect();
        let closest = Tensor::cat(cosines, 1).argmax(1).squeeze_dim::<1>(1);
        let rows = first.clone() + closest;
        let w = vectors(centers.select(0, rows.clone()));
        (rows, w)
    };
    let is_zero = x.is_zero().bool_or(w.is_zero());
    let (across_w, across_x) = (w.across(&x), x.across(&w));
    let sine = (across_w.length.clone() / w.length.clone()).mask_fill(is_zero.clone(), 1.0);
    let none = is_zero
        .clone()
        .bool_or(sine.clone().lower_equal_elem(arithmetic.collinear));
    let direction = |across: Vectors, of: &Vectors| {
        let divisors = no_zero(across.length) * of.length.clone();
        let shape = across.scaled.dims();
        let by = across.scaled / divisors * of.factor.clone();
        by.mask_fill(none.clone().expand(shape), 0.0).cast(dtype)
    };
    // From here on in the data type of the features: not every device that computes in f64 has functions
    // of angles in it.
    let number = |column: Tensor<2>| column.squeeze_dim::<1>(1).cast(dtype);
    let (cosine, sine) = (number(x.cosine(&w).mask_fill(is_zero, 0.0)), number(sine));
    Angles {
        rows,
        angle: PerSample::Device(sine.clone().atan2(cosine.clone())),
        cosine: PerSample::Device(cosine),
        sine: PerSample::Device(sine),
        length: PerSample::Device(number(x.true_length())),
        by_features: direction(across_w, &x),
        by_centers: direction(across_x, &w),
    }
}

/// Rows multiplied by a power of two, so that their squares neither overflow nor vanish, and their lengths.
struct Vectors {
    /// `[rows, feature_dim]`
    scaled: Tensor<2>,
    /// Of the scaled rows, `[rows, 1]`; 1 for a zero row.
    length: Tensor<2>,
    /// `[rows, 1]`
    factor: Tensor<2>,
    /// Which rows are zero, `[rows, 1]`.
    is_zero: Tensor<2, Bool>,
}

impl Vectors {
    fn new(rows: Tensor<2>, arithmetic: &Arithmetic) -> Self {
        let largest = max_dim(rows.clone().abs(), 1);
        let Arithmetic { usual, power, .. } = *arithmetic;
        let factor = largest
            .ones_like()
            .mask_fill(largest.clone().greater_elem(usual), 1.0 / power)
            .mask_fill(largest.clone().lower_elem(1.0 / usual), power);
        let scaled = rows * factor.clone();
        Self {
            length: no_zero(length(&scaled)),
            scaled,
            factor,
            is_zero: largest.equal_elem(0.0),
        }
    }

    fn is_zero(&self) -> Tensor<2, Bool> {
        self.is_zero.clone()
    }

    fn true_length(&self) -> Tensor<2> {
        (self.length.clone() / self.factor.clone()).mask_fill(self.is_zero(), 0.0)
    }

    fn dot(&self, other: &Self) -> Tensor<2> {
        sum_dim(self.scaled.clone() * other.scaled.clone(), 1)
    }

    fn cosine(&self, other: &Self) -> Tensor<2> {
        self.dot(other) / (self.length.clone() * other.length.clone())
    }

    /// The part of these rows that is orthogonal to those of another matrix.
    fn across(&self, other: &Self) -> Self {
        let squared = other.length.clone() * other.length.clone();
        let mut rows = self.scaled.clone();
        for _ in 0..2 {
            let along = sum_dim(rows.clone() * other.scaled.clone(), 1) / squared.clone();
            rows = less_multiples(rows, along, &other.scaled);
        }
        Self {
            length: length(&rows),
            scaled: rows,
            factor: self.factor.clone(),
            is_zero: self.is_zero(),
        }
    }
}

/// Rows less multiples of others, each as if it were rounded but once.
///
/// The terms nearly cancel where rows are nearly collinear. In `f64`, values that come from `f32` leave
/// enough digits. In `f32`, both factors are split into halves of their digits (Dekker 1971), whose products are
/// exact.
fn less_multiples(rows: Tensor<2>, multiples: Tensor<2>, others: &Tensor<2>) -> Tensor<2> {
    if rows.dtype() == DType::F64 {
        return rows - others.clone() * multiples;
    }
    let halves = |values: Tensor<2>| {
        let above = values.clone().mul_scalar(4097.0);
        let high = above.clone() - (above - values.clone());
        (high.clone(), values - high)
    };
    let ((high, low), (other_high, other_low)) = (halves(multiples), halves(others.clone()));
    rows - other_high.clone() * high.clone()
        - other_high * low.clone()
        - other_low.clone() * high
        - other_low * low
}

fn length(rows: &Tensor<2>) -> Tensor<2> {
    sum_dim(rows.clone() * rows.clone(), 1).sqrt()
}
