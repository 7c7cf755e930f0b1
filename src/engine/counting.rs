//! Which samples of a batch count, and what the loss of each is multiplied by: the same for every loss.
//!
//! A sample that does not count has its rows replaced by zeros before anything is computed from them. So
//! it has exact zeros in the loss and the gradients, whatever it holds.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use burn::tensor::{Bool, DType, Device, Int, IntDType, Tensor, TensorData};

use super::class_totals::class_totals;
use super::overflow::{at_most, exceeds, limit};
use crate::batch::{
    BatchError, BatchRules, DeviceSamples, FittedBatch, HostSamples, Meaning, PerSample, Weighing,
    read_labels,
};
use crate::reads::Reads;

/// The samples of a batch whose loss needs nothing but features and classes to be finite.
pub(crate) struct Counted {
    /// `[batch_size, feature_dim]`, on the features' graph: zeros where a sample does not count.
    pub features: Tensor<2>,
    /// `[batch_size]`, in range and in the device's own integer type. The class of a sample that does not
    /// count has no meaning.
    pub classes: Tensor<1, Int>,
    pub coefficients: Coefficients,
    pub samples: Samples,
    /// `[4]`, under deferred checking: how many samples were left out for their label, features, weight
    /// and distance, of which there is none here.
    pub left_out: Option<Tensor<1, Int>>,
}

/// Class and weight of each sample, where checking knows them.
#[allow(
    clippy::large_enum_variant,
    reason = "lives for one call, on the stack; which backends are on decides how large it is"
)]
pub(crate) enum Samples {
    /// Under strict checking, with a lower bound of the length of each feature.
    Host {
        samples: HostSamples,
        lengths: Vec<f64>,
    },
    /// Under deferred checking, where the host must not read them.
    Device(DeviceSamples),
}

/// Under strict checking: all samples that are not ignored, if none of them is bad.
pub(super) fn count_strictly(
    batch: &FittedBatch,
    rules: &BatchRules,
    weighing: &Weighing,
) -> Result<Counted, BatchError> {
    let classes = classes_in_range(rules, batch);
    let features = match rules.ignored(&batch.labels) {
        Some(ignored) => zero_rows(batch.features.clone(), ignored),
        None => batch.features.clone(),
    };
    let magnitudes = magnitudes(features.clone().without_autodiff());
    let read = read_samples(batch, rules, magnitudes.unsqueeze_dim(1), |sample, _| {
        Ok(match not_finite(given_features(batch), sample)? {
            Some((dim, value)) => BatchError::Feature { sample, dim, value },
            None => unreachable!("the mean of finite magnitudes is finite"),
        })
    })?;
    let factor = 2.0 * num_traits::Float::sqrt(rules.feature_dim as f64);
    Ok(Counted {
        features,
        classes,
        coefficients: Coefficients::Host(weighing.of_samples(&read.samples)),
        samples: Samples::Host {
            samples: read.samples,
            lengths: read.numbers.into_iter().map(|half| half * factor).collect(),
        },
        left_out: None,
    })
}

/// Under deferred checking: all good samples that are not ignored, without reading anything.
pub(super) fn count_on_device(
    batch: &FittedBatch,
    rules: &BatchRules,
    weighing: &Weighing,
) -> Counted {
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
        classes: samples.classes.clone(),
        coefficients: Coefficients::on_device(weighing, &samples, rules.num_classes),
        samples: Samples::Device(samples),
        left_out: Some(states.left_out()),
    }
}

impl Samples {
    /// The weight of each sample, `[batch_size]`: 0 for one that does not count.
    pub fn weights(&self, device: &Device, dtype: DType) -> Tensor<1> {
        match self {
            Self::Host { samples, .. } => {
                PerSample::Host(samples.weights.clone()).tensor(device, dtype)
            }
            Self::Device(samples) => samples.weights.clone(),
        }
    }
}

/// Refuses centers, `[rows, feature_dim]` and without autodiff, if one of them is not finite. Goes through
/// them in blocks, so that no copy of them is made.
pub(crate) fn check_centers(centers: &Tensor<2>) -> Result<(), BatchError> {
    const VALUES: usize = 1 << 20;
    let [rows, columns] = centers.dims();
    let step = (VALUES / columns).max(1);
    for first in (0..rows).step_by(step) {
        let block = centers.clone().narrow(0, first, step.min(rows - first));
        let data = magnitudes(block)
            .try_into_data()
            .map_err(|error| BatchError::Read(error.to_string()))?;
        if let Some(row) = data.iter::<f64>().position(|value| !value.is_finite()) {
            let class = first + row;
            if let Some((dim, value)) = not_finite(centers, class)? {
                return Err(BatchError::Center { class, dim, value });
            }
        }
    }
    Ok(())
}

/// Refuses centers that are not finite, where losses are not.
pub(crate) fn check_losses(losses: &[f64], centers: &Tensor<2>) -> Result<(), BatchError> {
    if losses.iter().all(|loss| loss.is_finite()) {
        return Ok(());
    }
    check_centers(centers)
}

impl Counted {
    /// Refuses a batch whose loss or gradient of the features is not finite, under strict checking.
    ///
    /// `losses` are those of the samples before they are weighed. If one of them is not finite, the first class
    /// vector of `centers` that is not is named. `slope` is the most that the loss of a sample changes with the
    /// direction of its feature, per radian.
    pub fn check(
        &self,
        losses: PerSample,
        centers: &Tensor<2>,
        slope: f64,
        is_reduced: bool,
    ) -> Result<(), BatchError> {
        let (Samples::Host { lengths, .. }, Coefficients::Host(coefficients)) =
            (&self.samples, &self.coefficients)
        else {
            return Ok(());
        };
        let losses = losses.into_values()?;
        check_losses(&losses, centers)?;
        let dtype = centers.dtype();
        let counts = |i: &usize| coefficients[*i] > 0.0;
        let limit = limit(dtype);
        let refuse = |what, (sample, value)| {
            Err(BatchError::Overflow {
                what,
                sample,
                value,
                limit,
                dtype: format!("{dtype:?}"),
            })
        };
        let samples = || (0..losses.len()).filter(counts);
        let magnitudes = samples().map(|i| (i, coefficients[i] * losses[i].abs()));
        let most = at_most(magnitudes.clone());
        let total = if is_reduced {
            magnitudes.map(|(_, loss)| loss).sum()
        } else {
            most.1
        };
        if exceeds(total, limit) {
            return refuse("loss", (most.0, total));
        }
        let slopes = samples().filter(|i| lengths[*i] > 0.0);
        let most = at_most(slopes.map(|i| (i, coefficients[i] * slope / lengths[i])));
        if exceeds(most.1, limit) {
            return refuse("gradient of the features", most);
        }
        Ok(())
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
fn magnitudes(rows: Tensor<2>) -> Tensor<1> {
    let [_, columns] = rows.dims();
    rows.abs()
        .mul_scalar(0.5 / columns as f64)
        .sum_dim(1)
        .squeeze_dim(1)
}

/// What strict checking reads of a batch whose samples are all good.
pub(super) struct Read {
    pub samples: HostSamples,
    /// The numbers of each sample, one after the other.
    pub numbers: Vec<f64>,
}

/// Reads labels, weights and some numbers of each sample, `[batch_size, numbers]`, and refuses the batch
/// if a sample is bad. `reason` says why a number of a sample, whose class it gets too, is not finite.
pub(super) fn read_samples(
    batch: &FittedBatch,
    rules: &BatchRules,
    numbers: Tensor<2>,
    reason: impl Fn(usize, usize) -> Result<BatchError, BatchError>,
) -> Result<Read, BatchError> {
    let [_, columns] = numbers.dims();
    let mut reads = Reads::from(&batch.device())
        .register(batch.labels.clone())
        .register(numbers);
    if let Some(weights) = &batch.weights {
        reads = reads.register(weights.clone());
    }
    let data = reads
        .execute()
        .map_err(|error| BatchError::Read(error.to_string()))?;
    let labels = read_labels(&data[0]);
    let numbers = host_floats(&data[1]);
    let weights: Option<Vec<f64>> = data.get(2).map(host_floats);

    let mut samples = HostSamples::default();
    for (sample, label) in labels.into_iter().enumerate() {
        let (class, weight) = match rules.meaning(label) {
            Meaning::Ignored => (0, 0.0),
            Meaning::Unknown => {
                return Err(BatchError::Label {
                    sample,
                    label,
                    num_classes: rules.num_classes,
                });
            }
            Meaning::Class(class) => {
                let of_sample = &numbers[sample * columns..][..columns];
                if !of_sample.iter().all(|number| number.is_finite()) {
                    return Err(reason(sample, class)?);
                }
                let value = weights.as_ref().map_or(1.0, |weights| weights[sample]);
                if !(value.is_finite() && value >= 0.0) {
                    return Err(BatchError::Weight { sample, value });
                }
                (class, value)
            }
        };
        samples.classes.push(class);
        samples.weights.push(weight);
    }
    Ok(Read { samples, numbers })
}

fn host_floats(data: &TensorData) -> Vec<f64> {
    data.iter::<f64>().collect()
}

/// The features as the caller gave them, for messages.
pub(super) fn given_features(batch: &FittedBatch) -> &Tensor<2> {
    batch.given.as_ref().unwrap_or(&batch.features)
}

/// Column and value of the first entry of a row that is not finite.
pub(super) fn not_finite(rows: &Tensor<2>, row: usize) -> Result<Option<(usize, f64)>, BatchError> {
    let row = rows.clone().without_autodiff().narrow(0, row, 1);
    let row = row
        .try_into_data()
        .map_err(|error| BatchError::Read(error.to_string()))?;
    Ok(row
        .iter::<f64>()
        .enumerate()
        .find(|(_, value)| !value.is_finite()))
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

    /// The coefficients, if they are on the host and no digit is lost in `f32`.
    #[cfg(feature = "flex")]
    pub fn within_single(&self) -> Option<&[f64]> {
        let Self::Host(coefficients) = self else {
            return None;
        };
        let is_within = |value: &f64| *value == 0.0 || SINGLE.contains(value);
        coefficients.iter().all(is_within).then_some(coefficients)
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

/// The numbers that `f32` holds with all their digits, but for 0.
#[cfg(feature = "flex")]
const SINGLE: core::ops::RangeInclusive<f64> = f32::MIN_POSITIVE as f64..=f32::MAX as f64;

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
