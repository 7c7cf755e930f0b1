//! The losses of the samples, checked, weighed and reduced: the same for every loss.

use burn::nn::loss::Reduction;
use burn::tensor::{Bool, DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::check::{CheckedBatch, Checking, row_magnitudes};
use super::labels::{LabelKind, read_labels};
use crate::distance::no_zero;
use crate::error::{LossError, WEIGHT_RULE, is_weight};
use crate::reads::Reads;
use crate::reduce::fusion_barrier;

/// The balance of the classes of a batch: frequent classes may weigh less.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{CenterLossConfig, ClassBalance};
///
/// let device = Device::flex();
/// let loss = CenterLossConfig::new(2, 1)
///     .with_class_balance(ClassBalance::Histogram)
///     .init_with_centers(Tensor::zeros([2, 1], &device))?;
/// let features = Tensor::from_data([[2.0], [2.0], [4.0]], &device);
/// let losses = loss.forward_no_reduction(features, Tensor::from_data([0, 0, 1], &device));
///
/// // Half squares of 2, 2 and 8; the first two are of one class.
/// assert_eq!(losses.into_data(), [1.0_f32, 1.0, 8.0].into());
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClassBalance {
    /// Every sample weighs the same.
    #[default]
    None,
    /// The loss of a sample is divided by the number of samples of the batch with its label, or by the sum of
    /// their weights. Every class of the batch then weighs the same.
    Histogram,
}

/// How a loss weighs its samples.
#[derive(Clone, Copy)]
pub(crate) struct Weighing<'a> {
    pub lambda: f64,
    /// `None` for one loss per sample.
    pub reduction: Option<&'a Reduction>,
    pub class_balance: ClassBalance,
    /// `[num_classes]`
    pub class_weights: Option<&'a Tensor<1>>,
}

impl Weighing<'_> {
    /// The factor that all samples of weight 1 have, if it is one.
    pub fn common_factor(&self, batch_size: usize) -> Option<f64> {
        if self.class_weights.is_some() || self.class_balance == ClassBalance::Histogram {
            return None;
        }
        Some(match self.reduction {
            Some(Reduction::Mean | Reduction::Auto | Reduction::BatchMean) => {
                self.lambda / batch_size as f64
            }
            Some(Reduction::Sum) | None => self.lambda,
        })
    }

    /// The factors of samples with weights and classes, `[batch_size]`, their common factor, and the sum of the weights
    /// in a weighted mean, `[1]`.
    pub fn factors(
        &self,
        weights: Tensor<1>,
        classes: &Tensor<1, Int>,
        num_classes: usize,
    ) -> (Tensor<1>, f64, Option<Tensor<1>>) {
        let mut each = weights.clone();
        if let Some(class_weights) = self.class_weights {
            let class_weights = class_weights.clone().without_autodiff();
            each = each * class_weights.select(0, classes.clone());
        }
        let mut factor = self.lambda;
        let total = match self.reduction {
            Some(Reduction::Mean | Reduction::Auto) => Some(each.clone().sum()),
            Some(Reduction::BatchMean) => {
                factor /= weights.dims()[0] as f64;
                None
            }
            Some(Reduction::Sum) | None => None,
        };
        // First by the class, so that a small share of a large sum is not rounded away in between.
        if self.class_balance == ClassBalance::Histogram {
            let totals = class_totals(classes, weights, num_classes);
            each = each / no_zero(totals);
        }
        if let Some(total) = total.clone() {
            each = each / no_zero(total);
        }
        (each, factor, total)
    }

    /// All samples count alike.
    pub fn plain() -> Self {
        Self {
            lambda: 1.0,
            reduction: None,
            class_balance: ClassBalance::None,
            class_weights: None,
        }
    }
}

/// The factor of each sample's loss.
pub(crate) struct Weights {
    /// `[batch_size]`: 0 where a sample takes no part. `None` if all are 1.
    each: Option<Tensor<1>>,
    /// The factor that all samples have in common.
    factor: f64,
    /// The sum of the weights in a weighted mean, `[1]`.
    total: Option<Tensor<1>>,
    resting: Option<Tensor<1, Bool>>,
    pub is_reduced: bool,
    /// Under deferred checking, the standing of each sample, `[batch_size]`.
    pub skipped: Option<Tensor<1, Int>>,
}

impl CheckedBatch {
    /// The factor of each sample's loss, once the samples are checked.
    ///
    /// `losses`, `[batch_size]`, are those of the samples before they are weighed, without autodiff. Strict
    /// checking reads them with the samples in one wait, and refuses the batch if a sample is bad. If a loss
    /// is not finite, it names the first row of `centers` that is not. `step`, `[batch_size]`, is a number
    /// per sample that is not finite if the step that it asks of its center is not.
    ///
    /// Deferred checking reads nothing. It skips the samples whose loss or step is not finite.
    pub fn weigh(
        &mut self,
        losses: &Tensor<1>,
        step: Option<Tensor<1>>,
        weighing: &Weighing,
        centers: &Tensor<2>,
    ) -> Result<Weights, LossError> {
        match self.rules.checking {
            Checking::Strict => self.refuse_bad_samples(losses, step, centers)?,
            Checking::Deferred => {
                // Burn's fusion starts anew with the checks.
                let losses = fusion_barrier(losses.clone());
                self.skip_losses([Some(losses), step].into_iter().flatten())
            }
        }
        let is_plain = self.resting.is_none() && self.weights.is_none();
        let [batch_size] = losses.dims();
        let common = weighing.common_factor(batch_size).filter(|_| is_plain);
        let (each, factor, total) = match common {
            Some(factor) => (None, factor, None),
            None => {
                let num_classes = self.rules.num_classes;
                let weights = self.weights();
                let (each, factor, total) = weighing.factors(weights, &self.classes, num_classes);
                (Some(each), factor, total)
            }
        };
        Ok(Weights {
            each,
            factor,
            total,
            resting: self.resting.clone(),
            is_reduced: weighing.reduction.is_some(),
            skipped: self.standing.clone(),
        })
    }

    fn refuse_bad_samples(
        &self,
        losses: &Tensor<1>,
        step: Option<Tensor<1>>,
        centers: &Tensor<2>,
    ) -> Result<(), LossError> {
        let mut reads = Reads::from(&self.device())
            .register(self.labels.clone())
            .register(row_magnitudes(self.unmasked()))
            .register(losses.clone());
        for tensor in [&self.weights, &step].into_iter().flatten() {
            reads = reads.register(tensor.clone());
        }
        let data = reads.execute()?;
        let mut data = data.iter();
        let mut next = || data.next().expect("every registered tensor is read");
        let labels = read_labels(next());
        let (magnitudes, losses) = (floats(next()), floats(next()));
        let weights = self.weights.as_ref().map(|_| floats(next()));
        let step = step.map(|_| floats(next()));
        let not_finite = |name, sample| LossError::NotFinite {
            name,
            sample,
            dtype: format!("{:?}", self.unmasked().dtype()),
        };
        let mut taking_part = Vec::with_capacity(losses.len());
        for (sample, label) in labels.into_iter().enumerate() {
            match self.rules.kind_of(label) {
                LabelKind::Ignored => continue,
                LabelKind::Unknown => {
                    return Err(LossError::Label {
                        sample,
                        label,
                        num_classes: self.rules.num_classes,
                    });
                }
                LabelKind::Class(_) => {}
            }
            if !magnitudes[sample].is_finite() {
                return Err(self.bad_feature(sample)?);
            }
            let value = weights.as_ref().map_or(1.0, |weights| weights[sample]);
            if !is_weight(value) {
                return Err(LossError::Weight { sample, value });
            }
            if value > 0.0 {
                taking_part.push(sample);
            }
        }
        // A loss may depend on other samples, so that a bad sample is named before it.
        for sample in taking_part {
            if !losses[sample].is_finite() {
                check_finite(centers)?;
                return Err(not_finite("loss", sample));
            }
            if step.as_ref().is_some_and(|step| !step[sample].is_finite()) {
                return Err(not_finite("step of the center", sample));
            }
        }
        Ok(())
    }

    /// The first entry of a row that is not finite, as it was given or in the data type of the centers.
    fn bad_feature(&self, sample: usize) -> Result<LossError, LossError> {
        let found = match not_finite_entry(&self.given, sample)? {
            None => not_finite_entry(&self.unmasked(), sample)?,
            found => found,
        };
        let (dim, value) = found.expect("the mean of finite values is finite");
        Ok(LossError::Feature { sample, dim, value })
    }
}

impl Weights {
    /// Whether no sample takes part, `[1]`, if that may be.
    pub fn all_rest(&self) -> Option<Tensor<1, Bool>> {
        let each = self.each.as_ref().filter(|_| self.resting.is_some())?;
        let total = self.total.clone().unwrap_or_else(|| each.clone().sum());
        Some(total.equal_elem(0.0))
    }

    /// The factor of each sample's loss, `[batch_size, 1]`, like `losses`.
    pub fn coefficients(&self, losses: &Tensor<1>) -> Tensor<2> {
        match &self.each {
            Some(each) => fusion_barrier(each.clone().mul_scalar(self.factor).unsqueeze_dim(1)),
            None => losses.clone().unsqueeze_dim(1).full_like(self.factor),
        }
    }

    /// The weighed losses of the samples, `[batch_size]`, or their sum, `[1]`, on the graph of the losses. A
    /// sample that takes no part has loss 0, and no gradient passes, whatever arrives.
    pub fn apply(&self, losses: Tensor<1>) -> Tensor<1> {
        self.reduce(self.weigh(losses))
    }

    /// [`apply`](Self::apply) up to the sum.
    pub fn weigh(&self, losses: Tensor<1>) -> Tensor<1> {
        let losses = match &self.each {
            Some(each) => losses * each.clone(),
            None => losses,
        };
        let losses = if self.is_reduced || self.factor == 1.0 {
            losses
        } else {
            losses.mul_scalar(self.factor)
        };
        match &self.resting {
            Some(resting) => losses.mask_fill(resting.clone(), 0.0),
            None => losses,
        }
    }

    /// The sum of weighed losses, or themselves if they are not reduced.
    pub fn reduce(&self, losses: Tensor<1>) -> Tensor<1> {
        match self.is_reduced {
            // Burn fuses nothing with a sum of all values, but with what follows it.
            true => fusion_barrier(losses.sum()).mul_scalar(self.factor),
            false => losses,
        }
    }
}

/// The total weight of the class of each sample, `[samples]`, by a histogram over the classes. Burn adds to
/// one place in the order of the samples, so that equal inputs give equal bits.
pub(crate) fn class_totals(
    classes: &Tensor<1, Int>,
    weights: Tensor<1>,
    num_classes: usize,
) -> Tensor<1> {
    // Flex aligns `zeros` for bytes, and copies them at the first addition.
    Tensor::full([num_classes], 0.0, (&weights.device(), weights.dtype()))
        .select_assign(0, classes.clone(), weights, IndexingUpdateOp::Add)
        .select(0, classes.clone())
}

/// Checks that there is one weight per class, each in its range.
pub(crate) fn check_class_weights(
    values: Option<&[f64]>,
    num_classes: usize,
) -> Result<(), LossError> {
    let name = "class_weights";
    let Some(values) = values else {
        return Ok(());
    };
    if values.len() != num_classes {
        return Err(LossError::ClassCount {
            name,
            found: values.len(),
            num_classes,
        });
    }
    match values.iter().position(|value| !is_weight(*value)) {
        Some(class) => Err(LossError::ClassValue {
            name,
            class,
            value: values[class],
            rule: WEIGHT_RULE,
        }),
        None => Ok(()),
    }
}

/// Class weights on the device of the centers, `[num_classes]`.
pub(crate) fn class_weights(
    values: Option<&[f64]>,
    device: &Device,
    dtype: DType,
) -> Option<Tensor<1>> {
    let device = device.clone().without_autodiff();
    values.map(|values| Tensor::from_data(values, (&device, dtype)))
}

/// Refuses centers, `[rows, feature_dim]` without autodiff, if one of them is not finite. Goes through them
/// in blocks, so that no copy of them is made.
pub(crate) fn check_finite(centers: &Tensor<2>) -> Result<(), LossError> {
    const VALUES: usize = 1 << 20;
    let [rows, columns] = centers.dims();
    let step = (VALUES / columns).max(1);
    for first in (0..rows).step_by(step) {
        let block = centers.clone().narrow(0, first, step.min(rows - first));
        let data = row_magnitudes(block).try_into_data()?;
        if let Some(row) = data.iter::<f64>().position(|value| !value.is_finite()) {
            let row = first + row;
            if let Some((dim, value)) = not_finite_entry(centers, row)? {
                return Err(LossError::Center { row, dim, value });
            }
        }
    }
    Ok(())
}

/// Column and value of the first entry of a row that is not finite.
fn not_finite_entry(rows: &Tensor<2>, row: usize) -> Result<Option<(usize, f64)>, LossError> {
    let row = rows.clone().narrow(0, row, 1).try_into_data()?;
    Ok(row
        .iter::<f64>()
        .enumerate()
        .find(|(_, value)| !value.is_finite()))
}

fn floats(data: &TensorData) -> Vec<f64> {
    data.iter::<f64>().collect()
}
