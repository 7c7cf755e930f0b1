//! The samples of a batch that take part, found before a loss is computed.

use burn::tensor::{Bool, DType, Device, FloatDType, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::LossError;
use crate::reduce::{fusion_barrier, sum_then};

/// A labelled batch, with one weight per sample if there are weights.
///
/// A weight of 2 counts as having the sample twice, a weight of 0 as not having it. Every loss takes a
/// batch where it returns errors as values. A pair of features and labels converts into a batch.
///
/// # Shapes
///
/// - features: `[batch_size, feature_dim]`
/// - labels, weights: `[batch_size]`; labels are of any integer type
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{CenterLossConfig, LabelledBatch};
///
/// let device = Device::flex().autodiff();
/// let loss = CenterLossConfig::new(2, 1).init_with_centers(Tensor::zeros([2, 1], &device))?;
/// let features = Tensor::<2>::from_data([[2.0], [4.0]], &device);
/// let labels = Tensor::from_data([0, 1], &device);
///
/// // (3 * 2^2 / 2 + 1 * 4^2 / 2) / (3 + 1)
/// let weights = Tensor::from_data([3.0, 1.0], &device);
/// let batch = LabelledBatch::new(features, labels).with_weights(weights);
/// assert_eq!(loss.try_forward(batch)?.into_scalar::<f32>(), 3.5);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LabelledBatch {
    pub(crate) features: Tensor<2>,
    pub(crate) labels: Tensor<1, Int>,
    pub(crate) weights: Option<Tensor<1>>,
}

impl LabelledBatch {
    /// A batch in which every sample counts the same.
    pub fn new(features: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        Self {
            features,
            labels,
            weights: None,
        }
    }

    /// The same batch with one weight per sample, `[batch_size]`: 0, or in `1e-15..=1e15`.
    pub fn with_weights(self, weights: Tensor<1>) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }
}

impl From<(Tensor<2>, Tensor<1, Int>)> for LabelledBatch {
    fn from((features, labels): (Tensor<2>, Tensor<1, Int>)) -> Self {
        Self::new(features, labels)
    }
}

/// The time when bad samples are reported.
///
/// A sample is bad if its label names no class, a feature or its loss is not finite, or its weight is
/// outside its range.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{CenterLossConfig, Checking};
///
/// let device = Device::flex();
/// let batch = || (Tensor::from_data([[1.0, 1.0]], &device), Tensor::from_data([7], &device));
/// let config = CenterLossConfig::new(3, 2);
///
/// let error = config.init(&device).try_forward(batch()).unwrap_err();
/// assert_eq!(error.to_string(), "labels[0] is 7: it must be in 0..3");
///
/// let deferred = config.with_checking(Checking::Deferred).init(&device);
/// assert_eq!(deferred.try_forward(batch())?.into_scalar::<f32>(), 0.0);
/// assert_eq!(deferred.take_skipped()?.labels, 1);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Checking {
    /// Every call reads the labels and a few numbers per sample back from the device, all at once. A
    /// batch with a bad sample is refused as a whole, and so is a step of the centers that is not finite.
    #[default]
    Strict,
    /// No call reads from the device. Bad samples are skipped: they change neither loss, gradients nor
    /// centers. The device counts them, and `take_skipped` of the loss reads the counts.
    Deferred,
}

/// The demands of a loss on its batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchRules {
    pub num_classes: usize,
    pub feature_dim: usize,
    pub ignore_label: Option<i64>,
    pub checking: Checking,
}

/// A batch whose shapes and devices fit. Under deferred checking its bad samples are known too; under
/// strict checking [`weigh`](Self::weigh) finds them.
pub(crate) struct CheckedBatch {
    /// `[batch_size]`, in range and in the device's own integer type.
    pub classes: Tensor<1, Int>,
    /// Whether the features are on an autodiff device.
    pub is_autodiff: bool,
    pub(super) rules: BatchRules,
    /// Without autodiff.
    pub(super) labels: Tensor<1, Int>,
    /// In the data type of the centers, without autodiff.
    pub(super) weights: Option<Tensor<1>>,
    /// The features in the data type of the centers, on the graph of the given ones, and as they were given, for
    /// messages.
    unmasked: Tensor<2>,
    pub(super) given: Tensor<2>,
    /// The samples that take no part, `[batch_size]`, if there may be any.
    pub(super) resting: Option<Tensor<1, Bool>>,
    /// Under deferred checking, the standing of each sample, `[batch_size]`: 0 if it takes part, 1 to 4 if it is
    /// skipped by its label, features, weight or loss, and [`RESTS`]. A GPU starts fewer kernels for one number
    /// than for a mask each.
    pub(super) standing: Option<Tensor<1, Int>>,
}

impl BatchRules {
    /// The batch, if its shapes fit each other and the centers, and all of it is on the device of the
    /// centers. `dtype` is the data type of the centers.
    pub fn check(
        &self,
        batch: LabelledBatch,
        device: &Device,
        dtype: FloatDType,
    ) -> Result<CheckedBatch, LossError> {
        self.check_fits(&batch, device)?;
        let LabelledBatch {
            features: given,
            labels,
            weights,
        } = batch;
        let labels = labels.without_autodiff();
        let features = fusion_barrier(if given.dtype() == dtype.into() {
            given.clone()
        } else {
            given.clone().cast(dtype)
        });
        let mut checked = CheckedBatch {
            classes: self.classes(&labels),
            is_autodiff: features.is_autodiff(),
            rules: *self,
            // A weight that is finite in f64 need not be in f32, so weights are checked after the cast.
            weights: weights.map(|weights| weights.without_autodiff().cast(dtype)),
            labels,
            unmasked: features,
            given: given.without_autodiff(),
            resting: None,
            standing: None,
        };
        match self.checking {
            Checking::Strict => {
                let ignored = self.is_ignored(&checked.labels);
                let weightless = checked.weights.clone().map(|w| w.equal_elem(0.0));
                for resting in [ignored, weightless].into_iter().flatten() {
                    checked.rest(resting);
                }
            }
            Checking::Deferred => checked.skip_bad_samples(),
        }
        Ok(checked)
    }

    /// Checks that shapes and devices fit.
    pub fn check_fits(&self, batch: &LabelledBatch, device: &Device) -> Result<(), LossError> {
        self.check_shapes(batch)?;
        check_devices(batch, device)
    }

    fn check_shapes(&self, batch: &LabelledBatch) -> Result<(), LossError> {
        let found = batch.features.dims();
        let [batch_size, feature_dim] = found;
        if feature_dim != self.feature_dim {
            return Err(LossError::FeaturesShape {
                found,
                feature_dim: self.feature_dim,
            });
        }
        if batch_size == 0 {
            return Err(LossError::EmptyBatch);
        }
        let weights = batch.weights.as_ref();
        let lengths = [
            ("labels", Some(batch.labels.dims()[0])),
            ("weights", weights.map(|weights| weights.dims()[0])),
        ];
        for (name, found) in lengths {
            if let Some(found) = found.filter(|found| *found != batch_size) {
                return Err(LossError::SampleCount {
                    name,
                    found,
                    batch_size,
                });
            }
        }
        Ok(())
    }
}

fn check_devices(batch: &LabelledBatch, expected: &Device) -> Result<(), LossError> {
    let weights = batch.weights.as_ref();
    let devices = [
        ("features", Some(batch.features.device())),
        ("labels", Some(batch.labels.device())),
        ("weights", weights.map(|weights| weights.device())),
    ];
    for (name, found) in devices {
        // Burn compares devices without regard to autodiff.
        if let Some(found) = found.filter(|found| found != expected) {
            return Err(LossError::Device {
                name,
                found: format!("{:?}", found.without_autodiff()),
                expected: format!("{expected:?}"),
            });
        }
    }
    Ok(())
}

impl CheckedBatch {
    /// The device of the batch, without autodiff.
    pub fn device(&self) -> Device {
        self.labels.device()
    }

    /// `[batch_size, feature_dim]`, in the data type of the centers, on the graph of the given features. A
    /// row is zero where a sample takes no part.
    pub fn features(&self) -> Tensor<2> {
        match &self.resting {
            // What becomes of the features is fused without what masks them.
            Some(_) => fusion_barrier(self.masked(self.unmasked.clone())),
            None => self.unmasked.clone(),
        }
    }

    /// The features in the data type of the centers, without autodiff.
    pub(super) fn unmasked(&self) -> Tensor<2> {
        self.unmasked.clone().without_autodiff()
    }

    /// The weight of each sample, `[batch_size]`: 1 without weights, 0 where a sample takes no part.
    pub fn weights(&self) -> Tensor<1> {
        let weights = match &self.weights {
            Some(weights) => weights.clone(),
            None => {
                let options = (&self.device(), self.unmasked.dtype());
                Tensor::ones([self.unmasked.dims()[0]], options)
            }
        };
        match &self.resting {
            Some(resting) => weights.mask_fill(resting.clone(), 0.0),
            None => weights,
        }
    }

    /// Rows of the samples, `[batch_size, columns]`, with zeros where a sample takes no part.
    pub fn masked(&self, rows: Tensor<2>) -> Tensor<2> {
        match &self.resting {
            Some(resting) => zero_rows(rows, resting.clone()),
            None => rows,
        }
    }

    /// Under deferred checking, skips the samples of which a number, `[batch_size]` without autodiff, is not finite.
    pub fn skip_losses(&mut self, numbers: impl IntoIterator<Item = Tensor<1>>) {
        let Some(before) = self.standing.clone() else {
            return;
        };
        let (mut standing, reason) = (before.clone(), before.full_like(4));
        for numbers in numbers {
            standing = reason.clone().mask_where(is_finite(numbers), standing);
        }
        let takes_part = before.clone().equal_elem(0);
        self.stand(before.mask_where(takes_part, standing));
    }

    /// The first reason that holds is the last one written.
    fn skip_bad_samples(&mut self) {
        let magnitudes = row_magnitudes(self.unmasked());
        let mut standing = Tensor::<1, Int>::zeros(magnitudes.dims(), &self.device());
        let reason = |reason: i64| standing.full_like(reason);
        let [of_features, of_weights] = [2, 3].map(reason);
        if let Some(weights) = &self.weights {
            standing = standing.mask_fill(weights.clone().lower_elem(1e-15), 3);
            standing = standing.mask_fill(weights.clone().equal_elem(0.0), RESTS);
            // NaN is not within.
            let is_within = weights.clone().lower_equal_elem(1e15);
            standing = of_weights.mask_where(is_within, standing);
        }
        standing = of_features.mask_where(is_finite(magnitudes), standing);
        for outside in self.rules.outside(&self.labels) {
            standing = standing.mask_fill(outside, 1);
        }
        if let Some(ignored) = self.rules.is_ignored(&self.labels) {
            standing = standing.mask_fill(ignored, RESTS);
        }
        self.stand(standing);
    }

    fn stand(&mut self, standing: Tensor<1, Int>) {
        let resting = standing.clone().greater_elem(0);
        (self.standing, self.resting) = (Some(standing), Some(resting));
    }

    /// Lets more samples take no part.
    fn rest(&mut self, resting: Tensor<1, Bool>) {
        self.resting = Some(match self.resting.take() {
            Some(others) => others.bool_or(resting),
            None => resting,
        });
    }
}

/// The standing of a sample that is ignored or has weight 0.
const RESTS: i64 = 5;

/// Burn's `is_finite` by one comparison, which its fusion knows.
fn is_finite<const D: usize>(numbers: Tensor<D>) -> Tensor<D, Bool> {
    let largest = largest(numbers.dtype());
    numbers.abs().lower_equal_elem(largest)
}

fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    }
}

/// The numbers, with the largest number of their type in place of those that are not finite. Those get no gradient.
pub(crate) fn largest_if_not_finite<const D: usize>(numbers: Tensor<D>) -> Tensor<D> {
    let constant = numbers.clone().without_autodiff();
    // Burn makes a constant on an autodiff device on the host.
    let mut largest = constant.full_like(largest(numbers.dtype()));
    if numbers.is_autodiff() {
        largest = Tensor::from_inner(largest);
    }
    largest.mask_where(is_finite(constant), numbers)
}

/// The rows with zeros where `resting`, `[batch_size]`. No gradient passes there, whatever arrives.
pub(crate) fn zero_rows(rows: Tensor<2>, resting: Tensor<1, Bool>) -> Tensor<2> {
    let shape = rows.dims();
    rows.mask_fill(resting.unsqueeze_dim::<2>(1).expand(shape), 0.0)
}

/// Half of the absolute mean of each row, `[rows]`: finite if and only if the row is. Each value is divided before
/// they are added, and half of that leaves room for rounding.
pub(crate) fn row_magnitudes(rows: Tensor<2>) -> Tensor<1> {
    let [_, columns] = rows.dims();
    let halves = rows.mul_scalar(0.5 / columns as f64);
    sum_then(halves, 1, Tensor::abs).squeeze_dim(1)
}
