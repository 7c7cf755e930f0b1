//! Whether loss and gradients of a batch stay finite, decided on the host before anything moves.

use alloc::format;
use burn::tensor::DType;

use super::problem::Problem;
use crate::batch::{BatchError, HostSamples};
use crate::distance::CenterDistance;

/// What is known of the samples of a batch, one number for each; everything is finite.
pub(super) struct Look<'a> {
    /// Distances from the centers, the radius included.
    pub distances: &'a [f64],
    /// Norms of features and centers, under the cosine distance.
    pub norms: Option<(&'a [f64], &'a [f64])>,
    pub samples: &'a HostSamples,
    pub coefficients: &'a [f64],
}

/// Refuses a batch whose loss or gradient is not finite.
///
/// The gradients are judged by an upper bound: their lengths are added, whatever their directions.
/// Under the cosine distance the bound is also above all that is computed on the way to them.
pub(super) fn check(problem: &Problem, look: &Look, dtype: DType) -> Result<(), BatchError> {
    let beyond = |i: usize| (look.distances[i] - problem.radius).max(0.0);
    let counts = |i: usize| look.coefficients[i] > 0.0;
    let samples = || (0..look.coefficients.len()).filter(|i| counts(*i));
    let loss = |i: usize| look.coefficients[i] * 0.5 * beyond(i) * beyond(i);
    let limit = limit(dtype);
    let refuse = |what, most| Err(overflow(what, most, dtype));

    let most = at_most(samples().map(|i| (i, loss(i))));
    let total = match problem.weighing.reduction {
        Some(_) => samples().map(loss).sum(),
        None => most.1,
    };
    if exceeds(total, limit) {
        return refuse("loss", (most.0, total));
    }
    // How fast the loss of a sample changes with its features, or with its center.
    let slope = |i: usize, norms: Option<&[f64]>| {
        let slope = look.coefficients[i] * beyond(i);
        match (problem.distance, norms) {
            (CenterDistance::Cosine, Some(norms)) if norms[i] > 0.0 => {
                4.0 * slope.max(slope / norms[i])
            }
            _ => slope,
        }
    };
    if problem.batch.is_autodiff {
        let norms = look.norms.map(|(features, _)| features);
        let most = at_most(samples().map(|i| (i, slope(i, norms))));
        if exceeds(most.1, limit) {
            return refuse("gradient of the features", most);
        }
    }
    if problem.tracked {
        let norms = look.norms.map(|(_, centers)| centers);
        let groups = look.samples.groups();
        for group in 0..groups.len() {
            let of_group = || groups.samples(group).iter().copied().filter(|i| counts(*i));
            let total: f64 = of_group().map(|i| slope(i, norms)).sum();
            if exceeds(total, limit) {
                let (sample, _) = at_most(of_group().map(|i| (i, slope(i, norms))));
                return refuse("gradient of the centers", (sample, total));
            }
        }
    }
    Ok(())
}

/// The error of a sample whose value is above the limit of the data type.
pub(super) fn overflow(
    what: &'static str,
    (sample, value): (usize, f64),
    dtype: DType,
) -> BatchError {
    BatchError::Overflow {
        what,
        sample,
        value,
        limit: limit(dtype),
        dtype: format!("{dtype:?}"),
    }
}

/// Whether a value is above the limit. NaN is.
pub(super) fn exceeds(value: f64, limit: f64) -> bool {
    value.is_nan() || value > limit
}

/// The sample with the largest value, and the value.
pub(super) fn at_most(values: impl Iterator<Item = (usize, f64)>) -> (usize, f64) {
    values.fold(
        (0, 0.0),
        |most, next| if next.1 > most.1 { next } else { most },
    )
}

/// What loss and gradients must stay below: a little less than the largest number of the data type, which
/// sums of rounded numbers may reach before exact sums do.
pub(super) fn limit(dtype: DType) -> f64 {
    0.999 * largest(dtype)
}

/// The largest number of a data type.
pub(super) fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    }
}

/// The numbers that a data type holds with all their digits.
#[cfg(feature = "_kernels")]
pub(super) fn normal(dtype: DType) -> core::ops::RangeInclusive<f64> {
    match dtype {
        DType::F64 => f64::MIN_POSITIVE..=f64::MAX,
        _ => f32::MIN_POSITIVE.into()..=f32::MAX.into(),
    }
}
