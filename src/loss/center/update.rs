use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{Bool, DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::samples::{
    DeviceSamples, HostSamples, PerSample, Samples, class_totals_on_device, index,
};
use super::{CenterLossError, UpdateRule};
use crate::distance::no_zero;

/// What a batch would do to the centers, as a value: per class the mean of its pulls and its total weight.
///
/// Updates of shards or micro-batches that were measured against the same centers [merge](Self::merge) into the update
/// of the whole batch, up to float association; sample weights and ignored labels included. It holds
/// `O(batch_size x feature_dim)` values however many classes there are, and none of it belongs to an autodiff graph.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor, Tolerance};
/// use burn_center_loss::CenterLossConfig;
///
/// let device = Device::flex();
/// let features = Tensor::<2>::from_data([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [5.0, 5.0]], &device);
/// let labels = Tensor::from_data([0, 0, 1, 0], &device);
/// let config = CenterLossConfig::new(3, 2);
///
/// let whole = config.init_with_centers(Tensor::zeros([3, 2], &device))?;
/// let (_, update) = whole.measure(features.clone(), labels.clone(), None)?;
/// whole.apply(update)?;
///
/// let parts = config.init_with_centers(Tensor::zeros([3, 2], &device))?;
/// let (_, first) = parts.measure(features.clone().slice(0..2), labels.clone().slice(0..2), None)?;
/// let (_, second) = parts.measure(features.slice(2..4), labels.slice(2..4), None)?;
/// parts.apply(first.merge(second)?)?;
///
/// let tolerance = Tolerance::<f32>::default();
/// parts.centers().into_data().assert_approx_eq(&whole.centers().into_data(), tolerance);
/// # Ok::<(), burn_center_loss::CenterLossError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CenterUpdate {
    /// `[entries, feature_dim]`: a mean of `p_i` over some samples of the class; zero where the weight is zero.
    pulls: Tensor<2>,
    /// The class and the weight of each entry; classes may repeat.
    samples: Samples,
}

/// What is added to the centers: `factors[i] * pulls[i]` to center `classes[i]`, whose classes may repeat.
pub(super) struct Step {
    pub classes: Classes,
    pub pulls: Tensor<2>,
    pub factors: PerSample,
}

/// The classes of a step.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one call, on the stack"
)]
pub(super) enum Classes {
    Host(Vec<usize>),
    Device(Tensor<1, Int>),
}

impl Step {
    /// The classes and the rows to add, as tensors. Where the factor is zero they change no bit of a center.
    pub fn rows(self) -> (Tensor<1, Int>, Tensor<2>) {
        let (device, dtype) = (self.pulls.device(), self.pulls.dtype());
        let (factors, still) = match self.factors {
            PerSample::Host(factors) => {
                let still: Vec<bool> = factors.iter().map(|factor| *factor == 0.0).collect();
                let still = still.contains(&true).then(|| {
                    let rows = still.len();
                    Tensor::<2, Bool>::from_data(TensorData::new(still, [rows, 1]), &device)
                });
                (PerSample::Host(factors), still)
            }
            PerSample::Device(factors) => {
                let still = factors.clone().equal_elem(0.0).unsqueeze_dim(1);
                (PerSample::Device(factors), Some(still))
            }
        };
        let rows = self.pulls * factors.column(&device, dtype);
        let rows = match still {
            // Adding -0 leaves every value as it is, bit by bit; adding +0 turns -0 into +0.
            Some(still) => {
                let shape = rows.dims();
                rows.mask_fill(still.expand(shape), -0.0)
            }
            None => rows,
        };
        (self.classes.on(&device), rows)
    }
}

impl Classes {
    /// As a tensor on the device of the step.
    pub fn on(self, device: &Device) -> Tensor<1, Int> {
        match self {
            Self::Host(classes) => index(&classes, device),
            Self::Device(classes) => classes,
        }
    }
}

impl CenterUpdate {
    pub(super) fn new(pulls: Tensor<2>, samples: Samples) -> Self {
        Self { pulls, samples }
    }

    /// The width of the features it was measured on.
    pub fn feature_dim(&self) -> usize {
        self.pulls.dims()[1]
    }

    /// The update of both batches together. The other one may come from another device; the result is on this one's.
    ///
    /// Under strict checking the result has at most one entry per class, so that any number of micro-batches takes
    /// bounded memory; under deferred checking it grows with every batch.
    ///
    /// # Errors
    ///
    /// [`CenterLossError::UpdateShape`] if the two differ in their feature dimension.
    pub fn merge(self, other: Self) -> Result<Self, CenterLossError> {
        other.expect_feature_dim(self.feature_dim())?;
        let device = self.pulls.device();
        let dtype = self.pulls.dtype();
        let pulls = other.pulls.to_device(&device).cast(dtype);
        let samples = match (self.samples, other.samples) {
            (Samples::Host(mut a), Samples::Host(b)) => {
                a.classes.extend(b.classes);
                a.weights.extend(b.weights);
                a.reach = a.reach.max(b.reach);
                Samples::Host(a)
            }
            (a, b) => {
                let [(classes, weights), (more_classes, more_weights)] =
                    [a, b].map(|samples| samples.on(&device, dtype));
                let more_classes = more_classes.cast(classes.dtype());
                Samples::Device(Box::new(DeviceSamples {
                    classes: Tensor::cat(vec![classes, more_classes], 0),
                    weights: Tensor::cat(vec![weights, more_weights], 0),
                }))
            }
        };
        Ok(Self {
            pulls: Tensor::cat(vec![self.pulls, pulls], 0),
            samples,
        }
        .compact())
    }

    /// One entry per class, where the classes are known on the host.
    fn compact(self) -> Self {
        let Samples::Host(host) = &self.samples else {
            return self;
        };
        if host.is_one_per_class() {
            return self;
        }
        let groups = host.groups();
        let weights = groups.totals(Some(&host.weights));
        let slots = groups.of_samples();
        let shares = host
            .weights
            .iter()
            .zip(&slots)
            .map(|(weight, slot)| share(*weight, weights[*slot]))
            .collect();
        let (device, dtype) = (self.pulls.device(), self.pulls.dtype());
        let rows = self.pulls.clone() * PerSample::Host(shares).column(&device, dtype);
        let pulls = Tensor::zeros([groups.len(), self.feature_dim()], (&device, dtype))
            .select_assign(0, index(&slots, &device), rows, IndexingUpdateOp::Add);
        Self {
            pulls,
            samples: Samples::Host(HostSamples {
                classes: groups.classes,
                weights,
                reach: host.reach,
            }),
        }
    }

    /// What the rule adds to the centers.
    pub(super) fn step(self, rule: UpdateRule, alpha: f64) -> Result<Step, CenterLossError> {
        let dtype = self.pulls.dtype();
        let (classes, factors) = match self.samples {
            Samples::Host(host) => {
                let factors = host.factors(rule, alpha, dtype)?;
                (Classes::Host(host.classes), PerSample::Host(factors))
            }
            Samples::Device(samples) => {
                let DeviceSamples { classes, weights } = *samples;
                let totals = no_zero(class_totals_on_device(&classes, &weights));
                let weights = weights.mul_scalar(alpha);
                let factors = match rule {
                    UpdateRule::Paper => weights / totals.add_scalar(1.0),
                    UpdateRule::Mean => weights / totals,
                    UpdateRule::Sum => weights,
                    UpdateRule::Gradient | UpdateRule::Frozen => weights.mul_scalar(0.0),
                };
                (Classes::Device(classes), PerSample::Device(factors))
            }
        };
        Ok(Step {
            classes,
            pulls: self.pulls,
            factors,
        })
    }

    /// What brings centers at the means of the samples seen before to the means of those and these. `seen` has
    /// the number of samples of each class and is brought up to date.
    ///
    /// For updates of strict checking alone, which know their classes on the host.
    pub(super) fn running_mean_step(self, seen: &mut [f64]) -> Step {
        let Samples::Host(host) = self.samples else {
            unreachable!("the caller measures with strict checking")
        };
        for (class, weight) in host.classes.iter().zip(&host.weights) {
            seen[*class] += weight;
        }
        let factors = host
            .classes
            .iter()
            .zip(&host.weights)
            .map(|(class, weight)| share(*weight, seen[*class]))
            .collect();
        Step {
            classes: Classes::Host(host.classes),
            pulls: self.pulls,
            factors: PerSample::Host(factors),
        }
    }

    pub(super) fn moved_to(self, device: &Device) -> Self {
        let samples = match self.samples {
            Samples::Host(host) => Samples::Host(host),
            Samples::Device(samples) => Samples::Device(Box::new(samples.moved_to(device))),
        };
        Self {
            pulls: self.pulls.to_device(device),
            samples,
        }
    }

    pub(super) fn expect_feature_dim(&self, expected: usize) -> Result<(), CenterLossError> {
        match self.feature_dim() {
            found if found != expected => Err(CenterLossError::UpdateShape { found, expected }),
            _ => Ok(()),
        }
    }
}

impl HostSamples {
    /// What the rule multiplies each pull by, or why the centers might not stay finite.
    pub fn factors(
        &self,
        rule: UpdateRule,
        alpha: f64,
        dtype: DType,
    ) -> Result<Vec<f64>, CenterLossError> {
        // No center goes further than the total of its factors times the longest pull.
        let mut largest = 0.0_f64;
        let entries = self.weights.iter().zip(self.class_totals());
        let factors = entries
            .map(|(weight, total)| match total > 0.0 {
                true => {
                    let normalization = rule.normalization(total);
                    largest = largest.max(alpha * total * normalization);
                    alpha * weight * normalization
                }
                false => 0.0,
            })
            .collect();
        let (step, limit) = (largest * self.reach, limit(dtype));
        if !(step < limit && largest < limit) {
            return Err(CenterLossError::UpdateOverflow { step, limit, alpha });
        }
        Ok(factors)
    }
}

/// The part that a sample has in its class; none in a class without weight.
pub(super) fn share(weight: f64, total: f64) -> f64 {
    match total > 0.0 {
        true => weight / total,
        false => 0.0,
    }
}

/// A quarter of the largest finite value: below it, a center that is finite stays so.
fn limit(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX / 4.0,
        _ => f64::from(f32::MAX) / 4.0,
    }
}
