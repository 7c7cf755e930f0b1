use alloc::boxed::Box;
use alloc::vec::Vec;
use burn::config::Config;
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::batch::{
    Checking, DeviceSamples, HostSamples, PerGroup, PerSample, Scaled, totals_and_shares,
};
use crate::centers::{CentersError, Classes, Entries, OnDevice, Pulls, Step, largest_step};
use crate::engine::class_totals;
#[cfg(feature = "std")]
use crate::error::at_least_one;
use crate::error::{SettingError, not_negative};
use crate::schedule::Schedule;

/// How the centers follow the features.
///
/// `n_j` is how many samples of the batch have label `j` (the sum of their weights, if the batch has
/// weights). `p_i` is `x_i - c_{y_i}`, shortened by the radius if there is one.
///
/// | rule | change of center `j` | source |
/// |---|---|---|
/// | [`DirectRule::paper`] | `alpha * sum_{y_i=j} p_i / (1 + n_j)` | Wen et al., ECCV 2016, and their caffe-face |
/// | [`DirectRule::mean`] | `alpha * sum_{y_i=j} p_i / n_j` | Wen et al., IJCV 2019, code |
/// | [`DirectRule::sum`] | `alpha * sum_{y_i=j} p_i` | facenet, with `alpha` for its `1 - alpha` |
/// | [`UpdateRule::Gradient`] | what the optimizer makes of the gradient of the loss | the MXNet and PyTorch ports |
/// | [`UpdateRule::Frozen`] | none | training with center loss alone |
///
/// # Example
///
/// ```
/// use burn_center_loss::{CenterLossConfig, DirectRule, UpdateRule};
///
/// let paper = CenterLossConfig::new(10, 2);
/// assert_eq!(paper.update_rule, DirectRule::paper().with_alpha(0.5).into());
/// let mean = paper.with_update_rule(DirectRule::mean().with_alpha(0.3).into());
/// let gradient = mean.with_update_rule(UpdateRule::Gradient);
/// assert_eq!(gradient.update_rule, UpdateRule::Gradient);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum UpdateRule {
    /// The loss moves the centers itself, in `forward`.
    Direct(DirectRule),
    /// The centers are an ordinary trainable parameter. They get a rate of their own from a parameter
    /// group, see [`CenterLoss::centers_group`](crate::CenterLoss::centers_group). A center whose class
    /// is absent has a zero gradient, which keeps it in place under plain SGD only: momentum, weight
    /// decay and Adam's moments move it all the same.
    Gradient,
    /// The centers never move.
    Frozen,
}

impl Default for UpdateRule {
    fn default() -> Self {
        DirectRule::paper().into()
    }
}

impl From<DirectRule> for UpdateRule {
    fn from(rule: DirectRule) -> Self {
        Self::Direct(rule)
    }
}

/// A rule by which the loss moves the centers itself, at a rate of their own.
///
/// Lambda, the reduction, the class balance and the class weights do not change how fast the centers
/// move. A class that is absent from the batch keeps its center bit by bit, whatever optimizer the
/// model has.
#[derive(Config, Debug, PartialEq)]
pub struct DirectRule {
    /// What the sum of the pulls on a center is divided by.
    pub normalization: Normalization,
    /// The rate of the centers; finite and not negative. Default: 0.5.
    #[config(default = 0.5)]
    pub alpha: f64,
    /// How alpha changes over the training steps. Default: [`Schedule::Constant`].
    #[config(default = "Schedule::Constant")]
    pub alpha_schedule: Schedule,
    /// When the centers move. Default: [`UpdateTiming::Immediate`].
    #[config(default = "UpdateTiming::Immediate")]
    pub timing: UpdateTiming,
}

/// What a direct rule divides the sum of the pulls on center `j` by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Normalization {
    /// By `1 + n_j`: the mean over the batch and one more sample, which does not pull. A class that is
    /// seen once moves by half of alpha, so single samples do not tear their center about.
    Paper,
    /// By `n_j`: alpha is the part of the way to the mean of the batch's samples that a center goes.
    Mean,
    /// By 1: every sample pulls with its full weight. Above `alpha * n_j = 2` the centers swing further
    /// at every step.
    Sum,
}

/// When a direct rule moves the centers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateTiming {
    /// In `forward`: for one device without gradient accumulation.
    #[default]
    Immediate,
    /// `forward` only notes its update, and
    /// [`CenterLoss::apply_pending`](crate::CenterLoss::apply_pending) applies all noted updates at
    /// once: for gradient accumulation. A clone starts with a copy of the notes and goes its own way.
    OnStep,
    /// As [`OnStep`](Self::OnStep), but all clones and forks note into one list: for several devices,
    /// where Burn trains clones and drops them.
    OnStepShared,
    /// As [`OnStep`](Self::OnStep), but so many worker threads, each with its own model, apply the updates of
    /// all of them together: for Burn's distributed data parallel training.
    /// [`CenterLoss::apply_pending`](crate::CenterLoss::apply_pending) waits until every worker has called
    /// it. The updates are merged once, in the order of the workers' devices, and each worker applies the
    /// result to its own centers, so that those of all workers stay equal bit by bit.
    #[cfg(feature = "std")]
    OnStepOfWorkers {
        /// How many devices the training has; at least 1.
        workers: usize,
    },
}

impl DirectRule {
    /// The rule of the paper, Wen et al., ECCV 2016, with alpha 0.5.
    pub fn paper() -> Self {
        Self::new(Normalization::Paper)
    }

    /// The rule of the paper's successor, Wen et al., IJCV 2019, with alpha 0.5.
    pub fn mean() -> Self {
        Self::new(Normalization::Mean)
    }

    /// The rule of facenet, with alpha 0.5 for its `1 - alpha`.
    pub fn sum() -> Self {
        Self::new(Normalization::Sum)
    }

    pub(super) fn validate(&self) -> Result<(), SettingError> {
        not_negative("alpha", self.alpha)?;
        #[cfg(feature = "std")]
        if let UpdateTiming::OnStepOfWorkers { workers } = self.timing {
            at_least_one("workers", workers as u64)?;
        }
        self.alpha_schedule.validate()
    }
}

impl Normalization {
    /// What the mean pull on a center is multiplied by, per unit of alpha, for a class of total weight
    /// `n`.
    fn of_mean(self, n: f64) -> f64 {
        match self {
            Self::Paper if n.is_finite() => n / (1.0 + n),
            Self::Paper | Self::Mean => 1.0,
            Self::Sum => n,
        }
    }

    /// What the rule adds to the centers. Strict checking refuses a step that might carry a center beyond
    /// what is finite, and deferred checking leaves its pulls out.
    pub(super) fn step(
        self,
        pulls: Pulls,
        alpha: f64,
        checking: Checking,
    ) -> Result<Step, CentersError> {
        let dtype = pulls.dtype();
        let (classes, factors) = match pulls.entries {
            Entries::Host { samples, reach } => {
                let factors = self.host_factors(&samples, reach, alpha, dtype, checking)?;
                (Classes::Host(samples.classes), PerSample::Host(factors))
            }
            Entries::Device(entries) => {
                let OnDevice { samples, reach } = *entries;
                let factors = self.device_factors(&samples, reach, alpha, pulls.num_classes);
                (
                    Classes::Device(Box::new(samples.classes)),
                    PerSample::Device(factors),
                )
            }
        };
        Ok(Step {
            classes,
            pulls: pulls.rows,
            factors,
            num_classes: pulls.num_classes,
            singles: pulls.singles,
        })
    }

    /// What each pull is multiplied by.
    fn host_factors(
        self,
        samples: &HostSamples,
        reach: f64,
        alpha: f64,
        dtype: DType,
        checking: Checking,
    ) -> Result<Vec<f64>, CentersError> {
        // No center goes further than the total of its factors times the longest pull.
        let mut largest = 0.0_f64;
        let mut of_class = |total: f64| {
            let factor = if total > 0.0 {
                alpha * self.of_mean(total)
            } else {
                0.0
            };
            largest = largest.max(factor);
            factor
        };
        let factors = if samples.is_one_per_class() {
            samples
                .weights
                .iter()
                .map(|total| of_class(*total))
                .collect()
        } else {
            let groups = samples.groups();
            let (totals, shares) = totals_and_shares(&groups, Some(&samples.weights));
            let PerGroup::Each(mut factors) = shares else {
                unreachable!("weights give one share per sample")
            };
            for (group, total) in totals.into_iter().enumerate() {
                let of_class = of_class(total);
                for sample in groups.samples(group) {
                    factors[*sample] *= of_class;
                }
            }
            factors
        };
        let (step, limit) = (largest * reach, largest_step(dtype));
        if step < limit && largest < limit {
            return Ok(factors);
        }
        match checking {
            Checking::Strict => Err(CentersError::UpdateOverflow { step, limit, alpha }),
            Checking::Deferred => {
                let share = limit / factors.len() as f64;
                let is_small = |factor: &f64| factor * reach < share && *factor < limit;
                Ok(factors
                    .into_iter()
                    .map(|factor| if is_small(&factor) { factor } else { 0.0 })
                    .collect())
            }
        }
    }

    /// What each pull is multiplied by, without reading anything; 0 for a pull that might carry its
    /// center beyond what is finite.
    fn device_factors(
        self,
        samples: &DeviceSamples,
        reach: Tensor<1>,
        alpha: f64,
        num_classes: usize,
    ) -> Tensor<1> {
        let of_classes = |weights: Tensor<1>| class_totals(&samples.classes, &weights, num_classes);
        let divided_by = |totals: Scaled| (samples.scaled_weights() / totals).into_tensor();
        let factors = match self {
            Self::Sum => samples.weights.clone(),
            Self::Paper => divided_by(samples.scaled_totals(of_classes).plus_one()),
            Self::Mean => divided_by(samples.scaled_totals(of_classes)),
        };
        let factors = factors.mul_scalar(alpha);
        let [entries] = samples.weights.dims();
        let limit = largest_step(reach.dtype()) / entries as f64;
        let is_small = (factors.clone() * reach).lower_elem(limit);
        factors.mask_fill(is_small.bool_not(), 0.0)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::{Device, Int};
    use proptest::prelude::*;

    const RULES: [Normalization; 3] = [
        Normalization::Paper,
        Normalization::Mean,
        Normalization::Sum,
    ];

    fn on_host(classes: &[usize], weights: &[f64]) -> HostSamples {
        HostSamples {
            classes: classes.to_vec(),
            weights: weights.to_vec(),
        }
    }

    /// The factors that the device computes, for pulls of length `reach`.
    fn device_factors(
        rule: Normalization,
        samples: &HostSamples,
        reach: f64,
        alpha: f64,
    ) -> Vec<f64> {
        let device = Device::flex();
        let classes: Vec<i64> = samples.classes.iter().map(|class| *class as i64).collect();
        let on_device = DeviceSamples {
            classes: Tensor::<1, Int>::from_data(classes.as_slice(), &device),
            weights: Tensor::from_data(samples.weights.as_slice(), &device),
            are_weighted: true,
        };
        let reach = Tensor::full([classes.len()], reach, &device);
        let factors = rule.device_factors(&on_device, reach, alpha, 100);
        factors.into_data().iter::<f64>().collect()
    }

    #[test]
    fn factors_by_hand() {
        // Class 4 has weight 4, class 1 has weight 0.5.
        let samples = on_host(&[4, 1, 4], &[1.0, 0.5, 3.0]);
        for (rule, expected) in RULES.iter().zip([
            [0.2 / 5.0, 0.1 / 1.5, 0.6 / 5.0],
            [0.2 / 4.0, 0.1 / 0.5, 0.6 / 4.0],
            [0.2, 0.1, 0.6],
        ]) {
            let factors = rule
                .host_factors(&samples, 1.0, 0.2, DType::F32, Checking::Strict)
                .unwrap();
            for (factor, expected) in factors.iter().zip(expected) {
                approx::assert_relative_eq!(*factor, expected, max_relative = 1e-14);
            }
        }
    }

    #[test]
    fn a_step_beyond_a_quarter_of_the_largest_number_is_refused() {
        let samples = on_host(&[0, 0], &[1.0, 1.0]);
        let limit = largest_step(DType::F32);
        for rule in RULES {
            let refused = |reach: f64| {
                rule.host_factors(&samples, reach, 1.0, DType::F32, Checking::Strict)
                    .is_err()
            };
            let longest = limit / rule.of_mean(2.0);
            assert!(!refused(longest * 0.999));
            assert!(refused(longest * 1.001));
            assert!(refused(f64::INFINITY) && refused(f64::NAN));
            assert!(
                rule.host_factors(&samples, 0.0, f64::MAX, DType::F32, Checking::Strict)
                    .is_err()
            );
            assert!(
                rule.host_factors(&samples, longest, 1.0, DType::F64, Checking::Strict)
                    .is_ok()
            );
            // On the device such pulls are left out.
            assert_eq!(device_factors(rule, &samples, longest * 1.1, 1.0), [0.0; 2]);
            assert_eq!(device_factors(rule, &samples, 0.0, f64::MAX), [0.0; 2]);
        }
    }

    proptest! {
        #[test]
        fn the_device_finds_the_factors_of_the_host(
            entries in prop::collection::vec((0_usize..5, prop_oneof![Just(0.0), 0.01..100.0_f64]), 1..20),
            alpha in 0.0..2.0_f64,
        ) {
            let (classes, weights): (Vec<usize>, Vec<f64>) = entries.into_iter().unzip();
            let samples = on_host(&classes, &weights);
            for rule in RULES {
                let host = rule.host_factors(&samples, 1.0, alpha, DType::F32, Checking::Strict).unwrap();
                let device = device_factors(rule, &samples, 1.0, alpha);
                for (host, device) in host.iter().zip(device) {
                    approx::assert_relative_eq!(*host, device, max_relative = 1e-5);
                }
            }
        }
    }
}
