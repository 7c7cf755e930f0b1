//! Which samples of a batch count, and what the loss of each is multiplied by: the same for every loss.
//!
//! A sample that does not count has its rows replaced by zeros before anything is computed from them. So
//! it has exact zeros in the loss and the gradients, whatever it holds.

use alloc::vec::Vec;
use burn::tensor::{Bool, DType, Device, Int, IntDType, Tensor};

use super::class_totals::class_totals;
use super::strict::{StrictSamples, Unread};
use crate::batch::{BatchError, BatchRules, DeviceSamples, FittedBatch, PerSample, Weighing};
use crate::device::is_host;
use crate::reduce::sum_dim;

/// The samples of a batch whose loss needs nothing but features and classes to be finite.
pub(crate) struct Counted<'a> {
    /// `[batch_size, feature_dim]`, on the features' graph: zeros where a sample does not count.
    pub features: Tensor<2>,
    /// `[batch_size]`, in range and in the device's own integer type. The class of a sample that does not
    /// count has no meaning.
    pub classes: Tensor<1, Int>,
    pub samples: Samples<'a>,
    /// `[4]`, under deferred checking: how many samples were left out for their label, features, weight
    /// and distance, of which there is none here.
    pub left_out: Option<Tensor<1, Int>>,
}

/// Weight of each sample, and what its loss is multiplied by, where checking knows them.
#[allow(
    clippy::large_enum_variant,
    reason = "lives for one call, on the stack; which backends are on decides how large it is"
)]
pub(crate) enum Samples<'a> {
    Strict(StrictSamples<'a>),
    /// Under deferred checking, where the host must not read them.
    Deferred {
        /// `[batch_size]`
        weights: Tensor<1>,
        coefficients: Coefficients,
    },
}

/// Under strict checking: all samples that are not ignored, if none of them is bad.
///
/// The host reads the memory of its own devices at once. It would have to wait for other devices, so there it
/// reads the samples together with their losses. Until then rows that are not finite are zeros, as if such a
/// sample did not count.
pub(super) fn count_strictly<'a>(
    batch: FittedBatch,
    rules: &BatchRules,
    weighing: Weighing<'a>,
) -> Result<Counted<'a>, BatchError> {
    let device = batch.device();
    let classes = classes_in_range(rules, &batch);
    let features = batch.features.clone();
    let magnitudes = magnitudes(features.clone().without_autodiff());
    let ignored = rules.ignored(&batch.labels);
    let unread = Unread {
        batch,
        rules: *rules,
        weighing,
        magnitudes,
    };
    let (samples, masked) = if is_host(&device) {
        let (known, _) = unread.read(PerSample::Host(Vec::new()))?;
        (StrictSamples::Known(known), ignored)
    } else {
        let is_bad = unread.magnitudes.clone().is_finite().bool_not();
        let masked = match ignored {
            Some(ignored) => is_bad.bool_or(ignored),
            None => is_bad,
        };
        (StrictSamples::Unread(unread), Some(masked))
    };
    Ok(Counted {
        features: match masked {
            Some(masked) => zero_rows(features, masked),
            None => features,
        },
        classes,
        samples: Samples::Strict(samples),
        left_out: None,
    })
}

/// Under deferred checking: all good samples that are not ignored, without reading anything.
pub(super) fn count_on_device(
    batch: &FittedBatch,
    rules: &BatchRules,
    weighing: &Weighing,
) -> Counted<'static> {
    let classes = classes_in_range(rules, batch);
    let weights = weights_or_ones(batch);
    let states = States::new(batch, rules, &weights, None);
    let samples = DeviceSamples {
        classes,
        weights: weights.mask_fill(states.masked(), 0.0),
        are_weighted: batch.weights.is_some(),
    };
    Counted {
        features: zero_rows(batch.features.clone(), states.masked()),
        samples: Samples::Deferred {
            coefficients: Coefficients::on_device(weighing, &samples, rules.num_classes),
            weights: samples.weights,
        },
        classes: samples.classes,
        left_out: Some(states.left_out()),
    }
}

impl Samples<'_> {
    /// The weight of each sample, `[batch_size]`: 0 for one that does not count. Of a bad sample that has not
    /// been read yet it may be anything.
    pub fn weights(&self, device: &Device, dtype: DType) -> Tensor<1> {
        match self {
            Self::Strict(StrictSamples::Known(known)) => {
                PerSample::Host(known.samples.weights.clone()).tensor(device, dtype)
            }
            Self::Strict(StrictSamples::Unread(unread)) => {
                let weights = weights_or_ones(&unread.batch);
                match unread.rules.ignored(&unread.batch.labels) {
                    Some(ignored) => weights.mask_fill(ignored, 0.0),
                    None => weights,
                }
            }
            Self::Deferred { weights, .. } => weights.clone(),
        }
    }

    /// What the loss of each sample is multiplied by, if the host knows it.
    pub fn coefficients(&self) -> Option<&[f64]> {
        match self {
            Self::Strict(StrictSamples::Known(known)) => Some(&known.coefficients),
            Self::Strict(StrictSamples::Unread(_)) | Self::Deferred { .. } => None,
        }
    }
}

/// The class of each sample, in the device's own integer type. A label that names no class is replaced
/// by 0 before anything is looked up with it, since an index out of range is undefined on some backends.
pub(super) fn classes_in_range(rules: &BatchRules, batch: &FittedBatch) -> Tensor<1, Int> {
    let dtype: IntDType = batch.device().settings().int_dtype;
    batch
        .labels
        .clone()
        .mask_fill(rules.in_range(&batch.labels).bool_not(), 0)
        .cast(dtype)
}

/// The rows with zeros where `masked`, `[batch_size]`.
pub(super) fn zero_rows(rows: Tensor<2>, masked: Tensor<1, Bool>) -> Tensor<2> {
    let shape = rows.dims();
    rows.mask_fill(masked.unsqueeze_dim::<2>(1).expand(shape), 0.0)
}

/// Half of the mean absolute value of each row, `[rows]`: finite if and only if the row is. Each value is
/// divided before they are added, and half of that leaves room for rounding.
pub(super) fn magnitudes(rows: Tensor<2>) -> Tensor<1> {
    let [_, columns] = rows.dims();
    sum_dim(rows.abs().mul_scalar(0.5 / columns as f64), 1).squeeze_dim(1)
}

/// The weights of the samples, 1 for each if there are none.
pub(super) fn weights_or_ones(batch: &FittedBatch) -> Tensor<1> {
    match &batch.weights {
        Some(weights) => weights.clone(),
        None => {
            let options = (&batch.device(), batch.features.dtype());
            Tensor::ones([batch.batch_size()], options)
        }
    }
}

/// Which samples count, and why the others do not; each `[batch_size]`.
pub(super) struct States {
    counts: Tensor<1, Bool>,
    /// Labels, features, weights, distances. A sample is bad for one reason only.
    bad: [Tensor<1, Bool>; 4],
}

impl States {
    /// `is_near` tells whether the distance of each sample from its center is finite, for a loss that
    /// measures one.
    pub fn new(
        batch: &FittedBatch,
        rules: &BatchRules,
        weights: &Tensor<1>,
        is_near: Option<Tensor<1, Bool>>,
    ) -> Self {
        let labels = &batch.labels;
        let is_named = rules.in_range(labels);
        let is_weight = weights
            .clone()
            .is_finite()
            .bool_and(weights.clone().greater_equal_elem(0.0));
        let is_finite = all_finite(batch.features.clone().without_autodiff());
        let is_near = is_near.unwrap_or_else(|| is_finite.clone());

        let not_ignored = |flags: Tensor<1, Bool>| match rules.ignored(labels) {
            Some(ignored) => flags.bool_and(ignored.bool_not()),
            None => flags,
        };
        let bad_label = not_ignored(is_named.clone().bool_not());
        let mut counts = not_ignored(is_named);
        let [bad_features, bad_weight, bad_distance] =
            [is_finite, is_weight, is_near].map(|is_good| {
                let bad = counts.clone().bool_and(is_good.clone().bool_not());
                counts = counts.clone().bool_and(is_good);
                bad
            });
        let bad = [bad_label, bad_features, bad_weight, bad_distance];
        Self { counts, bad }
    }

    pub fn masked(&self) -> Tensor<1, Bool> {
        self.counts.clone().bool_not()
    }

    /// `[4]`
    pub fn left_out(self) -> Tensor<1, Int> {
        Tensor::cat(self.bad.map(|bad| bad.int().sum()).to_vec(), 0)
    }
}

/// Which rows are finite, `[rows]`.
pub(super) fn all_finite(rows: Tensor<2>) -> Tensor<1, Bool> {
    magnitudes(rows).is_finite()
}

/// What the losses of the samples are multiplied by.
#[derive(Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "lives for one call, on the stack; which backends are on decides how large it is"
)]
pub(crate) enum Coefficients {
    Host(Vec<f64>),
    /// The roots of the coefficients, `[batch_size]`.
    Roots(Tensor<1>),
}

impl Coefficients {
    /// Without reading anything.
    pub fn on_device(weighing: &Weighing, samples: &DeviceSamples, num_classes: usize) -> Self {
        Self::Roots(weighing.roots_on_device(samples, |weights| {
            class_totals(&samples.classes, &weights, num_classes)
        }))
    }

    /// Two multiples of the rows, `[batch_size, columns]`, whose product has the coefficient of its
    /// sample in every row.
    pub fn pair(self, rows: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        match self {
            Self::Host(coefficients) => {
                let [a, b, c, d] = factors(&coefficients, rows.dtype());
                (times(times(rows.clone(), a), b), times(times(rows, c), d))
            }
            Self::Roots(roots) => {
                let rows = rows * roots.unsqueeze_dim::<2>(1);
                (rows.clone(), rows)
            }
        }
    }

    /// The losses, `[batch_size]`, each multiplied by its coefficient, or their sum, `[1]`.
    pub fn weigh_all(self, losses: Tensor<1>, is_reduced: bool) -> Tensor<1> {
        let weighed = match self {
            Self::Host(coefficients) => {
                let factors = factors(&coefficients, losses.dtype());
                factors
                    .into_iter()
                    .fold(losses.unsqueeze_dim(1), times)
                    .squeeze_dim(1)
            }
            Self::Roots(roots) => losses * roots.clone() * roots,
        };
        if is_reduced { weighed.sum() } else { weighed }
    }
}

/// Whether `f32` holds all coefficients with all their digits.
#[cfg(feature = "flex")]
pub(super) fn are_within_single(coefficients: &[f64]) -> bool {
    const SINGLE: core::ops::RangeInclusive<f64> = f32::MIN_POSITIVE as f64..=f32::MAX as f64;
    let is_within = |value: &f64| *value == 0.0 || SINGLE.contains(value);
    coefficients.iter().all(is_within)
}

/// Four factors of each coefficient: the first, the second, the third and the fourth of all.
fn factors(coefficients: &[f64], dtype: DType) -> [Vec<f64>; 4] {
    [0, 1, 2, 3].map(|which| {
        let factors = coefficients.iter().map(|value| split(*value, dtype)[which]);
        factors.collect()
    })
}

/// Each row times its factor.
fn times(rows: Tensor<2>, factors: Vec<f64>) -> Tensor<2> {
    if factors.iter().all(|factor| *factor == 1.0) {
        rows
    } else if factors.iter().all(|factor| *factor == factors[0]) {
        rows.mul_scalar(factors[0])
    } else {
        let (device, dtype) = (rows.device(), rows.dtype());
        rows * PerSample::Host(factors).column(&device.without_autodiff(), dtype)
    }
}

/// Four factors whose product is the coefficient.
///
/// A coefficient outside the normal range of `f32` becomes its fourth root four times. A product with
/// two numbers then stays in range, step by step, if the result does.
fn split(coefficient: f64, dtype: DType) -> [f64; 4] {
    // A coefficient below 1 and a number above, or the reverse, may be multiplied at once.
    let normal = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX) / 4.0;
    if coefficient == 0.0 || normal.contains(&coefficient) {
        return [coefficient, 1.0, 1.0, 1.0];
    }
    let root = num_traits::Float::sqrt(num_traits::Float::sqrt(coefficient));
    // The last factor makes up for the rounding of the others to the data type.
    let root = match dtype {
        DType::F64 => root,
        _ => f64::from(root as f32),
    };
    if root > 0.0 {
        [root, root, root, coefficient / root / root / root]
    } else {
        [0.0; 4]
    }
}
